"""The watermark in clips: how often it is read after a clip was encoded again, made smaller, cropped or trimmed, how often in
clips that never had it, and at what price.

    python bench/watermark_clips.py                        200 marked and 1,000 unmarked clips a size
    python bench/watermark_clips.py --count 8 --nulls 8    a short run
    python bench/watermark_clips.py --workers 16           more processes (one thread each)

Clips are made from a number, 24 frames of 12 a second: three in eight pan over a render of the posters world, three in eight
move into one, one in eight stands still, one in eight is of plain greys that change. Marked clips go through every change
below, unmarked ones through one of them in turn. Each finished clip is a line in `--state`: a run that was stopped goes on
where it stood.
"""

from __future__ import annotations

import io
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from harness.ledger import prepare, record
from harness.timing import Usage
from PIL import Image
from watermark import CROPPED, measured, poster, psnr

from polarlight.media.clip_watermark import GROUPS, detect_clip, mark_clip
from polarlight.media.clips import encode_clip
from polarlight.media.watermark import embed, threshold

KINDS = ("pan", "zoom", "pan", "zoom", "pan", "zoom", "still", "grey")  # by the number, modulo 8
SIZES = (128, 256, 512)  # px of the square
FRAMES, FPS = 24, 12
MOVED = 0.4  # of the side that a pan goes
GOALS = {"true positives": 0.99, "false positives": 1e-4}
GOAL_CHANGES = ("CRF 28", "resize 0.5", "crop 10 %", "trim to a third")
Frames = list[np.ndarray]


def halved(frames: Frames) -> Frames:
    height, width = (side // 4 * 2 for side in frames[0].shape[:2])
    return [np.array(Image.fromarray(one).resize((width, height), Image.Resampling.LANCZOS)) for one in frames]


def cropped(frames: Frames) -> Frames:
    """CROPPED of each side, from the lower right."""
    tops = [side - round(side * CROPPED) // 2 * 2 for side in frames[0].shape[:2]]
    return [np.ascontiguousarray(one[tops[0] :, tops[1] :]) for one in frames]


def trimmed(frames: Frames) -> Frames:
    return frames[FRAMES // 3 : 2 * FRAMES // 3]


CHANGES: dict[str, tuple[Callable[[Frames], Frames], int | None]] = {
    "none": (list, None),
    "CRF 23": (list, 23),
    "CRF 28": (list, 28),
    "resize 0.5": (halved, 23),
    "resize 0.5, CRF 28": (halved, 28),
    "crop 10 %": (cropped, 23),
    "crop 10 %, CRF 28": (cropped, 28),
    "trim to a third": (trimmed, 23),
    "trim to a third, CRF 28": (trimmed, 28),
}


def clip(number: int, size: int) -> Frames:
    """The frames of the benchmark's clip of a number."""
    random, kind = np.random.default_rng((number, 0)), KINDS[number % len(KINDS)]
    if kind == "grey":
        first, step = (int(value) for value in random.integers((20, 1), (180, 8)))
        return [np.full((size, size, 3), 20 + (first + step * time) % 215, np.uint8) for time in range(FRAMES)]
    large = round(size * (1 + MOVED))
    whole = Image.fromarray(poster(number, large, random))
    angle = random.uniform(0, np.pi / 2)
    frames = []
    for share in np.linspace(0, 0 if kind == "still" else 1, FRAMES):
        side = large - (large - size) * share if kind == "zoom" else size
        left, top = (large - size) * share * np.array((np.cos(angle), np.sin(angle)))
        if kind == "zoom":
            left = top = (large - side) / 2
        box = (left, top, left + side, top + side)
        frames.append(np.array(whole.resize((size, size), Image.Resampling.BICUBIC, box)))
    return frames


def frames_of(content: bytes) -> Frames:
    with av.open(io.BytesIO(content)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def changed(content: bytes, name: str) -> bytes:
    """The clip as another program would have it after a change: encoded with x264's own settings at a CRF."""
    change, crf = CHANGES[name]
    if crf is None:
        return content
    frames, buffer = change(frames_of(content)), io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": str(crf)})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return buffer.getvalue()


def marked_row(number: int, size: int) -> dict[str, Any]:
    """Mark one clip and look for the mark after every change."""
    frames, payload = clip(number, size), number * 2654435761 % 2**32
    start = time.process_time()
    plain = encode_clip(np.stack(frames), FPS)
    encoded = time.process_time()
    marked = mark_clip(plain, payload)
    row: dict[str, Any] = {
        "encode": (encoded - start) / FRAMES,
        "mark": (time.process_time() - encoded) / FRAMES,
        "psnr_mark": psnr(frames[FRAMES // 2], embed(frames[FRAMES // 2], payload)),
        "psnr_file": psnr(frames_of(plain)[FRAMES // 2], frames_of(marked)[FRAMES // 2]),
        "longer": len(marked) / len(plain),
        "changes": {},
    }
    for name in CHANGES:
        content = changed(marked, name)
        start = time.process_time()
        found = detect_clip(content)
        row["changes"][name] = [found.score, found.found, found.payload == payload, time.process_time() - start]
    return row


def null_row(number: int, size: int) -> dict[str, Any]:
    """Look for the mark in a clip without one, after one of the changes."""
    name = list(CHANGES)[number // len(KINDS) % len(CHANGES)]
    content = changed(encode_clip(np.stack(clip(number, size)), FPS), name)
    start = time.process_time()
    found = detect_clip(content)
    return {"score": found.score, "found": found.found, "seconds": time.process_time() - start}


def rows(task: tuple[str, int, list[int]]) -> list[dict[str, Any]]:
    """The finished lines of one task (kind, size, numbers)."""
    torch.set_num_threads(1)
    kind, size, numbers = task
    make = marked_row if kind == "marked" else null_row
    return [{"kind": kind, "size": size, "number": number, **make(number, size)} for number in numbers]


def summary(lines: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """The table of one size. Times are medians in milliseconds of processor time."""
    marked = [line for line in lines if line["size"] == size and line["kind"] == "marked"]
    nulls = [line for line in lines if line["size"] == size and line["kind"] == "null"]
    table = {
        name: {
            "found": statistics.fmean(line["changes"][name][1] for line in marked),
            "payload": statistics.fmean(line["changes"][name][2] for line in marked),
            "median_score": statistics.median(line["changes"][name][0] for line in marked),
            "detect_milliseconds": 1e3 * statistics.median(line["changes"][name][3] for line in marked),
        }
        for name in (CHANGES if marked else ())
    }
    figures = {
        "psnr_mark_least": min((line["psnr_mark"] for line in marked), default=None),
        "psnr_file_median": statistics.median(line["psnr_file"] for line in marked) if marked else None,
        "longer_median": statistics.median(line["longer"] for line in marked) if marked else None,
        **{
            f"{name}_milliseconds_a_frame": 1e3 * statistics.median(line[name] for line in marked) if marked else None
            for name in ("encode", "mark")
        },
    }
    return {
        "size": size,
        "marked": len(marked),
        "unmarked": len(nulls),
        **figures,
        "false_positives": sum(line["found"] for line in nulls),
        "highest_unmarked_score": max((line["score"] for line in nulls), default=None),
        "unmarked_milliseconds": 1e3 * statistics.median(line["seconds"] for line in nulls) if nulls else None,
        "changes": table,
    }


def main() -> None:
    options = prepare(
        __doc__ or "",
        ("--count", {"type": int, "default": 200, "help": "marked clips a size"}),
        ("--nulls", {"type": int, "default": 1000, "help": "unmarked clips a size"}),
        ("--sizes", {"type": int, "nargs": "+", "default": list(SIZES)}),
        ("--workers", {"type": int, "default": 1}),
        ("--state", {"type": Path, "default": Path("runs/watermark_clips.jsonl")}),
    )
    start = Usage.now()
    lines = measured(rows, options, {"marked": options.count, "null": options.nulls})
    result = {
        "threshold": threshold(1 + GROUPS),
        "goals": GOALS,
        "goal_changes": GOAL_CHANGES,
        "sizes": [summary(lines, size) for size in options.sizes],
    }
    record("watermark_clips", result, Usage.now().since(start)[1])


if __name__ == "__main__":
    main()
