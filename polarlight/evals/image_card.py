"""The card of an image model: what it was asked, what it drew, and how much of that is right, beside the ceiling.

Every score is taken twice: on the model's pictures and on true renders of the same scenes, drawn by a "generator" that has
the renderer inside (`RealRenders`). The second number is what the judges would say of a perfect model.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ..base.errors import UserError
from ..base.files import atomic_path, atomic_write
from ..infer.images import ImageRequest, Picture
from ..media.grid import contact_sheet
from ..models.weights import read_card, record
from ..text.plan import parse_plan
from ..worlds.captions import evaluation_prompt
from ..worlds.posters import Posters
from ..worlds.scene import Scene, Spec, World, picture_size
from ..worlds.tabletop import Tabletop
from .composition import PASSED, RULES, Verdict, failed, interval
from .fidelity import fidelity
from .judge import TEXT, Detection, Judge
from .ocr import LANGUAGES, TextScore, by_length, find_tesseract, read_pictures, score_text, summarise

FIRST_SEED = 1_000_000_000  # no training run uses seeds from here on
TABLETOP_EVERY = 5  # one case in five is a tabletop, the others are posters
BATCH = 64
FIDELITY_SCENES = 200
# what a prompt asks for (worlds.captions.CATEGORIES) -> the category of scene that the worlds draw for it
SCENES = {
    "single_object": "single",
    "two_objects": "two",
    "counting": "counting",
    "colours": "colours",
    "position": "position",
    "colour_attribution": "attributes",
    "text": "text",
    "materials": "single",  # every tabletop thing has a material
}
SHORT = 6  # letters of the Latin words that the goal speaks of
FRAME = {True: (60, 160, 90), False: (205, 60, 50)}  # of a picture on the contact sheet that passed, that failed

Progress = Callable[[int, int], None]


@runtime_checkable
class Generator(Protocol):
    """What can be evaluated: infer.images.ImageGenerator, or anything that draws and reconstructs as it does."""

    def draw(self, requests: Sequence[ImageRequest]) -> list[Picture]: ...

    def reconstruct(self, pixels: UInt8[Tensor, "b h w 3"]) -> UInt8[Tensor, "b h w 3"]: ...


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing asked for. `seed` numbers both the scene and the picture."""

    category: str
    scene: Scene
    prompt: str

    @property
    def seed(self) -> int:
        return self.scene.seed

    @property
    def world(self) -> str:
        return self.scene.spec["world"]

    @property
    def wanted(self) -> Spec:
        """The text that the prompt of a "text" case asks for."""
        return self.scene.spec["texts"][0]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of a case. `text` only where the category is "text"."""

    case: Case
    verdict: Verdict
    text: TextScore | None = None


class RealRenders:
    """The renderer as a generator: it draws exactly the scene that a prompt was written from, and loses nothing."""

    def __init__(self, cases: Sequence[Case], worlds: dict[str, World]) -> None:
        self.cases = {case.seed: case for case in cases}
        self.worlds = worlds

    def draw(self, requests: Sequence[ImageRequest]) -> list[Picture]:
        pictures = []
        for request in requests:
            case = self.cases[request.seed]
            rendered = self.worlds[case.world].render([case.scene.spec], picture_size(request.aspect, request.size))
            pictures.append(Picture(pixels=rendered.pixels[0].numpy(), seed=request.seed, passes=0, metadata={}))
        return pictures

    def reconstruct(self, pixels: UInt8[Tensor, "b h w 3"]) -> UInt8[Tensor, "b h w 3"]:
        return pixels


def make_cases(count: int, worlds: dict[str, World]) -> list[Case]:
    """`count` held-out scenes with their plain prompts: one in five a tabletop, the categories in turn."""
    cases: list[Case] = []
    for index in range(count):
        name = "tabletop" if index % TABLETOP_EVERY == TABLETOP_EVERY - 1 else "posters"
        categories = [category for category in SCENES if category != "materials" or name == "tabletop"]
        category = categories[sum(case.world == name for case in cases) % len(categories)]
        scene = worlds[name].sample(FIRST_SEED + index, "heldout", SCENES[category])
        cases.append(Case(category=category, scene=scene, prompt=evaluation_prompt(scene.spec, category)))
    return cases


def draw_cases(
    generator: Generator, cases: Sequence[Case], mode: str, on_drawn: Progress, candidates: int | None = None
) -> list[Picture]:
    """A picture for each case, in their order, at the 128 px size of the scene's own aspect. candidates: drawings to choose each
    from, None for the mode's own number."""
    pictures: list[Picture] = []
    for start in range(0, len(cases), BATCH):
        requests = [
            ImageRequest(
                prompt=case.prompt,
                seed=case.seed,
                aspect=case.scene.spec["aspect"],
                mode=mode,
                candidates=candidates,
            )
            for case in cases[start : start + BATCH]
        ]
        pictures += generator.draw(requests)
        on_drawn(len(pictures), len(cases))
    return pictures


def judge_cases(judge: Judge, cases: Sequence[Case], pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]]) -> list[Outcome]:
    """Every picture against its case."""
    seen = judge.detect_all(pixels)
    scores = read_cases(cases, pixels, seen)
    outcomes = []
    for case, detections, score in zip(cases, seen, scores, strict=True):
        if score is None:
            verdict = RULES[case.category](detections, case.scene.spec)
        else:
            verdict = PASSED if score.exact else failed(f"reads {score.read!r}")
        outcomes.append(Outcome(case=case, verdict=verdict, text=score))
    return outcomes


def judge_plans(cases: Sequence[Case], pictures: Sequence[Picture]) -> list[Outcome]:
    """The plans that pictures were drawn from, by the same rules as what was drawn: who errs, who plans or who draws. Pictures
    that were drawn without are left out."""
    outcomes = []
    for case, picture in zip(cases, pictures, strict=True):
        if "plan" not in picture.metadata:
            continue
        plan = parse_plan(picture.metadata["plan"])
        if case.category == "text":
            found = [" ".join(text.text.split()) for text in plan.texts]
            verdict = PASSED if case.wanted["text"] in found else failed(f"plans {found}")
        else:
            seen = [
                Detection(name=each.name, score=1.0, box=each.box, colour=each.colour, material=each.material)
                for each in plan.objects
            ]
            verdict = RULES[case.category](seen, case.scene.spec)
        outcomes.append(Outcome(case=case, verdict=verdict))
    return outcomes


def read_cases(
    cases: Sequence[Case], pixels: Sequence[UInt8[np.ndarray, "_ _ 3"]], seen: Sequence[Sequence[Detection]]
) -> list[TextScore | None]:
    """The first text of each scene against what Tesseract reads; None for cases of other categories."""
    scores: list[TextScore | None] = [None] * len(cases)
    for script in LANGUAGES:
        chosen = [i for i, case in enumerate(cases) if case.category == "text" and case.wanted["script"] == script]
        boxes = [[thing.box for thing in seen[index] if thing.name == TEXT] for index in chosen]
        readings = read_pictures([pixels[index] for index in chosen], boxes, script)
        for index, found in zip(chosen, readings, strict=True):
            scores[index] = score_text(cases[index].wanted["text"], found)
    return scores


def shares(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float | int]]:
    """For each category that was asked: count, passed, share, and its 95 % interval."""
    table = {}
    for category in SCENES:
        verdicts = [outcome.verdict.passed for outcome in outcomes if outcome.case.category == category]
        if verdicts:
            low, high = interval(sum(verdicts), len(verdicts))
            share = sum(verdicts) / len(verdicts)
            table[category] = {
                "count": len(verdicts),
                "passed": sum(verdicts),
                "share": share,
                "low": low,
                "high": high,
            }
    return table


def score_outcomes(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Composition by category (with the mean over categories, as GenEval reports it) and text, by script and by length; short:
    Latin of up to SHORT letters."""
    texts = [outcome for outcome in outcomes if outcome.text is not None]
    table = shares([outcome for outcome in outcomes if outcome.text is None])
    scores = {
        script: [outcome.text for outcome in texts if outcome.case.wanted["script"] == script] for script in LANGUAGES
    }
    short = [score for score in scores["latin"] if len(score.expected) <= SHORT]
    return {
        "composition": table,
        "mean": sum(row["share"] for row in table.values()) / max(1, len(table)),
        "text": {script: summarise(part) for script, part in scores.items()},
        "text_short": summarise(short),
        "text_by_length": by_length(scores["latin"]),
    }


def evaluate(
    generator: Generator,
    count: int,
    folder: Path,
    on_progress: Progress | None = None,
    mode: str = "quality",
    judge: Judge | None = None,
    candidates: int | None = None,
) -> dict[str, Any]:
    """Score a generator on `count` held-out scenes; write card.json, card.png and contact_sheet.png into `folder`.

    Args:
        on_progress: called with (done, of all): every picture drawn, and every true render of the same scenes.
        mode: the generator's mode.
        judge: the shipped one unless another is given.
        candidates: see `draw_cases`.

    Returns the card. "model" holds the scores, "plans" those of the plans alone (None where the generator makes none), "ceiling"
    those of true renders, "ceiling_by_world" the judge's calibration on each world, "fidelity" the tokenizer's losses.
    """
    page_module(), find_tesseract()  # what is missing is said now and not after an hour
    judge, started = judge or Judge.load(), time.monotonic()
    worlds: dict[str, World] = {"posters": Posters(), "tabletop": Tabletop()}
    cases, report = make_cases(count, worlds), on_progress or (lambda done, total: None)
    pictures = draw_cases(generator, cases, mode, lambda done, total: report(done, 2 * total), candidates)
    drawing = time.monotonic() - started
    real = draw_cases(RealRenders(cases, worlds), cases, mode, lambda done, total: report(total + done, 2 * total))
    outcomes = judge_cases(judge, cases, [picture.pixels for picture in pictures])
    truths = judge_cases(judge, cases, [picture.pixels for picture in real])
    card = {
        "count": count,
        "mode": mode,
        "seeds": [cases[0].seed, cases[-1].seed],
        "seconds_per_picture": drawing / count,
        "candidates": max(picture.metadata.get("candidates", 1) for picture in pictures),
        "passes_per_picture": sum(picture.passes for picture in pictures) / count,
        "model": score_outcomes(outcomes),
        "plans": shares(judge_plans(cases, pictures)) or None,
        "ceiling": score_outcomes(truths),
        "ceiling_by_world": {name: shares([o for o in truths if o.case.world == name]) for name in worlds},
        "fidelity": fidelity(generator.reconstruct, worlds["posters"], min(count, FIDELITY_SCENES)),
    }
    card["seconds"] = time.monotonic() - started
    write_card(card, outcomes, pictures, folder)
    return card


def record_scores(card: dict[str, Any], weights: Path) -> None:
    """Put the scores of `evaluate` on the card of the image model in folder `weights`, by mode."""
    path = weights / "image.safetensors"
    scores = read_card(path).get("scores", {})
    kept = (
        "count",
        "seeds",
        "candidates",
        "seconds_per_picture",
        "passes_per_picture",
        "model",
        "plans",
        "ceiling",
        "fidelity",
    )
    command = f"polarlight eval image --count {card['count']} --mode {card['mode']}"
    record(path, scores={**scores, card["mode"]: {"command": command, **{name: card[name] for name in kept}}})


def page_module() -> Any:
    """`card_page`, which needs matplotlib.

    Raises:
        UserError: it is not installed.
    """
    try:
        from . import card_page
    except ImportError as error:
        raise UserError(
            "The card is drawn with matplotlib, which is missing.", fix="Install polarlight[eval]."
        ) from error
    return card_page


def write_card(card: dict[str, Any], outcomes: Sequence[Outcome], pictures: Sequence[Picture], folder: Path) -> None:
    """card.json, card.png and contact_sheet.png, each whole or not at all."""
    atomic_write(folder / "card.json", json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    with atomic_path(folder / "card.png") as path:
        page_module().draw(card).savefig(path, dpi=110)
    tiles = [
        framed(picture.pixels, outcome.verdict.passed) for picture, outcome in zip(pictures, outcomes, strict=True)
    ]
    labels = [
        f"{outcome.case.prompt} {outcome.verdict.reason and f'[{outcome.verdict.reason}]'}" for outcome in outcomes
    ]
    with atomic_path(folder / "contact_sheet.png") as path:
        Image.fromarray(contact_sheet(tiles, labels)).save(path)


def framed(pixels: UInt8[np.ndarray, "h w 3"], passed: bool) -> UInt8[np.ndarray, "y x 3"]:
    """A picture in a green frame, or in a red one where it failed."""
    frame = np.empty((pixels.shape[0] + 6, pixels.shape[1] + 6, 3), dtype=np.uint8)
    frame[:] = FRAME[passed]
    frame[3:-3, 3:-3] = pixels
    return frame
