"""The watermark's table: how often it is found after common changes, how often in pictures that never had it, and at what price.

    python bench/watermark.py                          10,000 unmarked and 1,000 marked pictures a size
    python bench/watermark.py --count 40 --nulls 100   a short run
    python bench/watermark.py --workers 16             more processes (one thread each)

Pictures are made from a number: six in eight are renders of the posters world, turned, mirrored and with their colours
exchanged; one is a gradient of two colours with or without grain; one is noise whose spectrum falls with a power of 0 to 2.
Marked pictures go through every change below, unmarked ones through one of them in turn. Each finished picture is a line in
`--state`: a run that was stopped goes on where it stood.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness.ledger import prepare, record
from harness.timing import Usage
from PIL import Image

from polarlight.media.watermark import FACTORS, THRESHOLD, detect, embed
from polarlight.worlds.posters import Posters

KINDS = ("poster",) * 6 + ("gradient", "noise")  # by the number, modulo 8
SIZES = (128, 256, 512)  # px of the square
GOALS = {"true positives": 0.99, "false positives": 1e-4, "PSNR": 40.0}
GOAL_CHANGES = ("JPEG q50", "resize 0.5", "crop 10 %")
CROPPED = 0.9  # of each side
BATCH = 8  # pictures a task of a worker


def jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality)
    return np.array(Image.open(buffer).convert("RGB"))


def webp(pixels: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "WEBP", quality=quality)
    return np.array(Image.open(buffer).convert("RGB"))


def resized(pixels: np.ndarray, factor: float) -> np.ndarray:
    height, width = (round(side * factor) for side in pixels.shape[:2])
    return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def cropped(pixels: np.ndarray, seed: int) -> np.ndarray:
    """A part of CROPPED of each side, anywhere."""
    random = np.random.default_rng((seed, 1))
    sides = [round(side * CROPPED) for side in pixels.shape[:2]]
    top, left = (int(random.integers(0, whole - side + 1)) for whole, side in zip(pixels.shape[:2], sides, strict=True))
    return np.ascontiguousarray(pixels[top : top + sides[0], left : left + sides[1]])


def brighter(pixels: np.ndarray) -> np.ndarray:
    return np.clip(pixels * 1.15 + 10, 0, 255).astype(np.uint8)


CHANGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "none": lambda pixels, seed: pixels,
    "JPEG q90": lambda pixels, seed: jpeg(pixels, 90),
    "JPEG q50": lambda pixels, seed: jpeg(pixels, 50),
    "WebP q80": lambda pixels, seed: webp(pixels, 80),
    "WebP q50": lambda pixels, seed: webp(pixels, 50),
    "resize 0.5": lambda pixels, seed: resized(pixels, 0.5),
    "resize 0.73": lambda pixels, seed: resized(pixels, 0.73),
    "resize 1.6": lambda pixels, seed: resized(pixels, 1.6),
    "crop 10 %": cropped,
    "crop 10 %, JPEG q50": lambda pixels, seed: jpeg(cropped(pixels, seed), 50),
    "resize 0.5, JPEG q75": lambda pixels, seed: jpeg(resized(pixels, 0.5), 75),
    "brighter": lambda pixels, seed: brighter(pixels),
}


def picture(number: int, size: int) -> np.ndarray:
    """The benchmark's picture of a number, uint8 [size, size, 3]."""
    random, kind = np.random.default_rng((number, 0)), KINDS[number % len(KINDS)]
    if kind == "poster":
        return poster(number, size, random)
    return gradient(size, random) if kind == "gradient" else noise(size, random)


def poster(number: int, size: int, random: np.random.Generator) -> np.ndarray:
    world, seed = Posters(), number
    while (spec := world.sample(seed).spec)["aspect"] != "1:1":
        seed += 1_000_003
    pixels = world.render([spec], (size, size)).pixels[0].numpy()
    pixels = np.rot90(pixels, int(random.integers(4)))[..., random.permutation(3)]
    return np.ascontiguousarray(pixels[:, ::-1] if random.integers(2) else pixels)


def gradient(size: int, random: np.random.Generator) -> np.ndarray:
    """From one colour to another, straight or round, with grain of up to 3 grey levels."""
    y, x = np.mgrid[0:size, 0:size] / size - 0.5
    angle = random.uniform(0, 2 * np.pi)
    share = 0.5 + x * np.cos(angle) + y * np.sin(angle) if random.integers(2) else 1.4 * np.hypot(x, y)
    first, last = random.uniform(0, 255, (2, 3))
    grain = random.normal(0, random.uniform(0, 3), (size, size, 1))
    return np.clip(first + (last - first) * np.clip(share, 0, 1)[..., None] + grain, 0, 255).astype(np.uint8)


def noise(size: int, random: np.random.Generator) -> np.ndarray:
    """Gaussian noise of deviation 20 to 60 whose amplitude falls with the frequency to a power of 0 to 2."""
    radius = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None])
    spectrum = np.fft.rfft2(random.normal(size=(size, size))) / np.maximum(radius, 1 / size) ** random.uniform(0, 2)
    values = np.fft.irfft2(spectrum, (size, size))
    values *= random.uniform(20, 60) / values.std()
    return np.clip(values[..., None] + random.uniform(90, 165, 3), 0, 255).astype(np.uint8)


def psnr(first: np.ndarray, second: np.ndarray) -> float:
    error = np.mean(np.square(first.astype(np.float64) - second))
    return float(10 * np.log10(255**2 / max(error, 1e-12)))


def marked_row(number: int, size: int) -> dict[str, Any]:
    """Mark one picture and look for the mark after every change."""
    pixels, payload = picture(number, size), number * 2654435761 % 2**32
    start = time.process_time()
    marked = embed(pixels, payload)
    row: dict[str, Any] = {"psnr": psnr(pixels, marked), "embed": time.process_time() - start, "changes": {}}
    for name, change in CHANGES.items():
        changed = change(marked, number)
        start = time.process_time()
        found = detect(changed)
        seconds = time.process_time() - start
        row["changes"][name] = [found.score, found.found, found.payload == payload, seconds]
    return row


def null_row(number: int, size: int) -> dict[str, Any]:
    """Look for the mark in a picture without one, after one of the changes."""
    name = list(CHANGES)[number // len(KINDS) % len(CHANGES)]
    pixels = CHANGES[name](picture(number, size), number)
    start = time.process_time()
    found = detect(pixels)
    return {"score": found.score, "found": found.found, "seconds": time.process_time() - start}


def rows(task: tuple[str, int, list[int]]) -> list[dict[str, Any]]:
    """The finished lines of one task (kind, size, numbers)."""
    torch.set_num_threads(1)
    kind, size, numbers = task
    make = marked_row if kind == "marked" else null_row
    return [{"kind": kind, "size": size, "number": number, **make(number, size)} for number in numbers]


def tasks(counts: dict[str, int], sizes: Iterable[int], done: set[tuple[str, int, int]]) -> Iterator[Any]:
    for kind, count in counts.items():
        for size in sizes:
            left = [number for number in range(count) if (kind, size, number) not in done]
            for first in range(0, len(left), BATCH):
                yield kind, size, left[first : first + BATCH]


def summary(lines: list[dict[str, Any]], size: int) -> dict[str, Any]:
    """The table of one size."""
    marked = [line for line in lines if line["size"] == size and line["kind"] == "marked"]
    nulls = [line for line in lines if line["size"] == size and line["kind"] == "null"]
    table = {}
    for name in CHANGES if marked else ():
        results = [line["changes"][name] for line in marked]
        kinds = [(KINDS[line["number"] % len(KINDS)], line["changes"][name][1]) for line in marked]
        table[name] = {
            **{f"found_{kind}": mean(found for own, found in kinds if own == kind) for kind in sorted(set(KINDS))},
            "found": statistics.fmean(one[1] for one in results),
            "payload": statistics.fmean(one[2] for one in results),
            "median_score": statistics.median(one[0] for one in results),
            "lowest_score": min(one[0] for one in results),
            "milliseconds": 1e3 * statistics.median(one[3] for one in results),
        }
    return {
        "size": size,
        "marked": len(marked),
        "unmarked": len(nulls),
        "psnr_mean": statistics.fmean(line["psnr"] for line in marked) if marked else None,
        "psnr_least": min((line["psnr"] for line in marked), default=None),
        "embed_milliseconds": 1e3 * statistics.median(line["embed"] for line in marked) if marked else None,
        "false_positives": sum(line["found"] for line in nulls),
        "highest_unmarked_score": max((line["score"] for line in nulls), default=None),
        "unmarked_milliseconds": 1e3 * statistics.median(line["seconds"] for line in nulls) if nulls else None,
        "changes": table,
    }


def mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return statistics.fmean(known) if known else None


def measured(
    rows: Callable[[Any], list[dict[str, Any]]], options: argparse.Namespace, kinds: dict[str, int]
) -> list[dict[str, Any]]:
    """A line for each of `kinds` at each size, in processes; those that `options.state` already holds are kept."""
    options.state.parent.mkdir(parents=True, exist_ok=True)
    text = options.state.read_text(encoding="utf-8") if options.state.exists() else ""
    lines = [json.loads(line) for line in text.splitlines() if line.endswith("}")]  # a line cut off is made again
    done = {(line["kind"], line["size"], line["number"]) for line in lines}
    todo = list(tasks(kinds, options.sizes, done))
    with ProcessPoolExecutor(options.workers) as pool, options.state.open("a", encoding="utf-8") as state:
        state.write("\n" if text and not text.endswith("\n") else "")
        for number, finished in enumerate(pool.map(rows, todo), 1):
            state.writelines(json.dumps(row) + "\n" for row in finished)
            state.flush()
            lines += finished
            print(f"\r{number} of {len(todo)} tasks", end="", flush=True)
    print()
    return lines


def main() -> None:
    options = prepare(
        __doc__ or "",
        ("--count", {"type": int, "default": 1000, "help": "marked pictures a size"}),
        ("--nulls", {"type": int, "default": 10_000, "help": "unmarked pictures a size"}),
        ("--sizes", {"type": int, "nargs": "+", "default": list(SIZES)}),
        ("--workers", {"type": int, "default": 1}),
        ("--state", {"type": Path, "default": Path("runs/watermark.jsonl")}),
    )
    start = Usage.now()
    lines = measured(rows, options, {"marked": options.count, "null": options.nulls})
    result = {
        "threshold": THRESHOLD,
        "factors": FACTORS,
        "goals": GOALS,
        "goal_changes": GOAL_CHANGES,
        "sizes": [summary(lines, size) for size in options.sizes],
    }
    record("watermark", result, Usage.now().since(start)[1])


if __name__ == "__main__":
    main()
