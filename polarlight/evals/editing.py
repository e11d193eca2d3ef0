"""How well pictures are changed by instruction: held-out edits with exact truth, beside the true result and beside doing nothing.

An edit passes where the judge finds what was asked for in the place of the change: a thing in its new colour, a thing that came,
none of the name where one went, words that Tesseract reads without an error; and where every other thing that it found before is
found again. What lies outside that place is to stay as it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count as count_up
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image

from ..base.errors import UserError
from ..base.files import atomic_path, atomic_write
from ..base.seeds import stream_seed
from ..infer.image_requests import EditRequest
from ..infer.images import Picture
from ..media.grid import contact_sheet
from ..models.detector import box_iou
from ..models.weights import read_card, record
from ..worlds.edits import KINDS, Edit, draw_edit
from ..worlds.posters import Posters
from ..worlds.scene import Spec, World, picture_size
from ..worlds.tabletop import Tabletop
from .composition import PASSED, Verdict, failed, interval
from .image_card import framed
from .judge import Detection, Judge
from .ocr import TextScore, find_tesseract, read_pictures, score_text, summarise

FIRST_SEED = 1_700_000_000  # of the evaluation's range, apart from the scenes of the other cards
TABLETOP_EVERY = 5
BATCH = 32
SAME_PLACE = 0.3  # least intersection over union of a detection with the box of what is meant
ROWS = 24  # of the sheet at most
Pixels = UInt8[np.ndarray, "_ _ 3"]


@runtime_checkable
class Editor(Protocol):
    """What can be evaluated: infer.images.ImageGenerator, or anything that edits as it does."""

    def edit(self, requests: Sequence[EditRequest]) -> list[Picture]: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Case:
    """One edit with both of its renders. `mask` marks the place of the change."""

    seed: int
    world: str
    edit: Edit
    before: Pixels
    truth: Pixels
    mask: Bool[np.ndarray, "h w"]

    def request(self, mode: str, masked: bool) -> EditRequest:
        mask = self.mask if masked else None
        return EditRequest(picture=self.before, instruction=self.edit.instruction, mask=mask, seed=self.seed, mode=mode)


def make_cases(count: int) -> list[Case]:
    """`count` held-out edits, the kinds in turn, one in five on a tabletop. They do not depend on their number."""
    posters, tabletop = Posters(), Tabletop()
    return [
        make_case(number, tabletop if number % TABLETOP_EVERY == TABLETOP_EVERY - 1 else posters)
        for number in range(count)
    ]


def make_case(number: int, world: World) -> Case:
    """Edit `number`, of the first held-out scene that allows its kind."""
    seed, kind = FIRST_SEED + number, KINDS[number % len(KINDS)]
    for attempt in count_up():
        scene = world.sample(FIRST_SEED + stream_seed(seed, "edited scene", attempt) % 2**28, "heldout")
        try:
            edit = draw_edit(scene, seed, split="heldout", kind=kind)
        except UserError:
            continue
        break
    size = picture_size(scene.spec["aspect"])
    before, truth = (world.render([spec], size).pixels[0].numpy() for spec in (edit.before, edit.after))
    return Case(seed=seed, world=world.name, edit=edit, before=before, truth=truth, mask=box_mask(edit.box, size))


def box_mask(box: Sequence[float], size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """All pixels that a box in fractions touches."""
    mask, (high, wide) = np.zeros(size, dtype=bool), size
    mask[int(box[1] * high) : int(np.ceil(box[3] * high)), int(box[0] * wide) : int(np.ceil(box[2] * wide))] = True
    return mask


def check(edit: Edit, seen: Sequence[Detection], before: Sequence[Detection]) -> Verdict:
    """Whether an edit of things was made, by what is seen in the result and in the picture before it."""
    if edit.kind == "recolour":
        pairs = zip(edit.before["objects"], edit.after["objects"], strict=True)
        wanted = [after for before, after in pairs if before["colour"] != after["colour"]]
    else:
        wanted = [_only(edit.after, edit.before)] if edit.kind == "add" else []
    gone = [_only(edit.before, edit.after)] if edit.kind == "remove" else []
    kept = [thing for thing in edit.before["objects"] if thing in edit.after["objects"] and _at(thing, before)]
    verdicts = [_there(thing, seen) for thing in wanted]
    verdicts += [failed(f"{thing['name']} is still there") for thing in gone if _at(thing, seen)]
    verdicts += [failed(f"{thing['name']} went too") for thing in kept if not _at(thing, seen)]
    return next((verdict for verdict in verdicts if not verdict.passed), PASSED)


def _there(thing: Spec, seen: Sequence[Detection]) -> Verdict:
    """Whether a thing is seen in its place, in its colour if it has one."""
    found = _at(thing, seen)
    if not found:
        return failed(f"no {thing['name']}")
    colours = [detection.colour for detection in found]
    right = thing["colour"] is None or thing["colour"] in colours
    return PASSED if right else failed(f"{thing['name']} {colours[0]}, not {thing['colour']}")


def _at(thing: Spec, seen: Sequence[Detection]) -> list[Detection]:
    """Detections of a thing's name in its place."""
    named = [detection for detection in seen if detection.name == thing["name"]]
    if not named:
        return []
    shares = box_iou(torch.tensor([thing["box"]]).float(), torch.tensor([each.box for each in named]))[0]
    return [detection for detection, share in zip(named, shares.tolist(), strict=True) if share >= SAME_PLACE]


def _only(one: Spec, other: Spec) -> Spec:
    """The object that one spec has and the other has not."""
    return next(thing for thing in one["objects"] if thing not in other["objects"])


def new_text(edit: Edit) -> Spec:
    """The text that a "retext" edit writes."""
    pairs = zip(edit.before["texts"], edit.after["texts"], strict=True)
    return next(after for before, after in pairs if before["text"] != after["text"])


def score(
    judge: Judge, cases: Sequence[Case], pictures: Sequence[Pixels], before: Sequence[Sequence[Detection]]
) -> tuple[dict[str, Any], list[Verdict]]:
    """Shares of edits made by kind, "text" as Tesseract reads it, and "kept": the PSNR (dB) of what lies outside the place of the
    change, None where all stayed; and each edit's verdict. before: what the judge sees in the pictures before their edits."""
    seen = judge.detect_all(pictures)
    texts = read_texts(cases, pictures)
    verdicts = [
        check(case.edit, *both) if text is None else PASSED if text.exact else failed(f"reads {text.read!r}")
        for case, *both, text in zip(cases, seen, before, texts, strict=True)
    ]
    table: dict[str, Any] = {}
    for kind in KINDS:
        own = [verdict.passed for case, verdict in zip(cases, verdicts, strict=True) if case.edit.kind == kind]
        if own:
            low, high = interval(sum(own), len(own))
            table[kind] = {
                "count": len(own),
                "passed": sum(own),
                "share": sum(own) / len(own),
                "low": low,
                "high": high,
            }
    errors = [
        np.square(case.before[~case.mask].astype(float) - picture[~case.mask]).mean()
        for case, picture in zip(cases, pictures, strict=True)
        if not case.mask.all()
    ]
    mean = float(np.mean(errors)) if errors else 0.0
    scores = [text for text in texts if text is not None]
    kept = 10 * float(np.log10(255**2 / mean)) if mean else None
    return {"kinds": table, "text": summarise(scores), "kept": kept}, verdicts


def read_texts(cases: Sequence[Case], pictures: Sequence[Pixels]) -> list[TextScore | None]:
    """The new text of each "retext" edit against what is read in its place; None for the other kinds."""
    scores: list[TextScore | None] = [None] * len(cases)
    wanted = {number: new_text(case.edit) for number, case in enumerate(cases) if case.edit.kind == "retext"}
    for script in sorted({text["script"] for text in wanted.values()}):
        chosen = [number for number, text in wanted.items() if text["script"] == script]
        places = [[wanted[number]["box"]] for number in chosen]
        for number, found in zip(chosen, read_pictures([pictures[n] for n in chosen], places, script), strict=True):
            scores[number] = score_text(wanted[number]["text"], found)
    return scores


def evaluate(
    editor: Editor,
    count: int,
    folder: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    mode: str = "quality",
    judge: Judge | None = None,
) -> dict[str, Any]:
    """Score an editor on `count` held-out edits, each by instruction alone and with the place of the change as its mask; write
    card.json and edits.png into `folder`.

    Args:
        on_progress: called with (done, of all) after every batch.
        mode: the editor's mode.
        judge: the shipped one unless another is given.

    Returns the card: for "instruction" and "mask" the scores of the results, for "ceiling" those of the true results, for
    "unchanged" those of the pictures as they were; see `score`.

    Raises:
        UserError: Tesseract is missing, or the report cannot be written.
    """
    find_tesseract()
    judge, cases, started = judge or Judge.load(), make_cases(count), time.monotonic()
    made: dict[str, list[Pixels]] = {"instruction": [], "mask": []}
    for turn, (name, pictures) in enumerate(made.items()):
        for start in range(0, count, BATCH):
            part = cases[start : start + BATCH]
            pictures += [each.pixels for each in editor.edit([case.request(mode, name == "mask") for case in part])]
            on_progress(turn * count + len(pictures), 2 * count)
    seconds = (time.monotonic() - started) / (2 * count)
    made |= {"ceiling": [case.truth for case in cases], "unchanged": [case.before for case in cases]}
    before = judge.detect_all(made["unchanged"])
    scored = {name: score(judge, cases, pictures, before) for name, pictures in made.items()}
    card = {"count": count, "mode": mode, "seeds": [cases[0].seed, cases[-1].seed], "seconds_per_picture": seconds}
    card |= {name: scores for name, (scores, _) in scored.items()}
    atomic_write(folder / "card.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    write_sheet(cases, made, {name: verdicts for name, (_, verdicts) in scored.items()}, folder / "edits.png")
    return card


def write_sheet(
    cases: Sequence[Case], made: dict[str, list[Pixels]], verdicts: dict[str, list[Verdict]], path: Path
) -> None:
    """Four pictures a row: before, the true result, by instruction alone, with the mask; framed green where it passed, else red."""
    tiles, labels = list[Pixels](), list[str]()
    for number, case in enumerate(cases[:ROWS]):
        tiles += [framed(case.before, True), framed(case.truth, verdicts["ceiling"][number].passed)]
        labels += [case.edit.instruction, "true result"]
        for name in ("instruction", "mask"):
            verdict = verdicts[name][number]
            tiles.append(framed(made[name][number], verdict.passed))
            labels.append(f"{name} {verdict.reason and f'[{verdict.reason}]'}")
    with atomic_path(path) as temporary:
        Image.fromarray(contact_sheet(tiles, labels, columns=4)).save(temporary)


def record_scores(card: dict[str, Any], weights: Path) -> None:
    """Put the scores of `evaluate` on the card of the image model in folder `weights`."""
    path = weights / "image.safetensors"
    command = f"polarlight eval edits --count {card['count']} --mode {card['mode']}"
    record(path, scores={**read_card(path).get("scores", {}), "edits": {"command": command, **card}})
