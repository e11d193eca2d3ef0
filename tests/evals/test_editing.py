"""Scores of edits."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from polarlight.evals.editing import Case, check, evaluate, make_cases, new_text, record_scores
from polarlight.evals.judge import Detection, Judge
from polarlight.infer.image_requests import EditRequest
from polarlight.infer.images import Picture
from polarlight.media.pictures import load_picture
from polarlight.models.detector import Detector, DetectorConfig
from polarlight.models.weights import read_card
from polarlight.worlds.edits import KINDS
from polarlight.worlds.scene import Spec

COUNT = 8


class Retoucher:
    """Gives each picture back as `change` of it."""

    def __init__(self, change: Callable[[EditRequest], np.ndarray]) -> None:
        self.change = change

    def edit(self, requests: Sequence[EditRequest]) -> list[Picture]:
        return [Picture(pixels=self.change(request), seed=request.seed, passes=1, metadata={}) for request in requests]


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    return make_cases(COUNT)


@pytest.fixture(scope="module")
def judge() -> Judge:
    torch.manual_seed(0)
    names = {"classes": ("cat", "text"), "colours": ("red",), "materials": ("glass",)}
    return Judge(Detector(DetectorConfig(**names, fine_channels=8, coarse_channels=8)), threshold=0.9)


def seen_as(spec: Spec) -> list[Detection]:
    """What a perfect judge sees."""
    return [
        Detection(name=thing["name"], score=1.0, box=tuple(thing["box"]), colour=thing["colour"])
        for thing in spec["objects"]
    ]


def test_the_kinds_come_in_turn_in_both_worlds_whatever_the_number(cases: list[Case]) -> None:
    assert Counter(case.edit.kind for case in cases) == dict.fromkeys(KINDS, COUNT // len(KINDS))
    assert [case.world for case in cases].count("tabletop") == 1
    assert [case.edit for case in make_cases(3)] == [case.edit for case in cases[:3]]


def test_only_the_place_of_the_change_differs_from_the_truth(cases: list[Case]) -> None:
    for case in cases:
        assert (case.before != case.truth).any()
        spread = np.abs(case.before.astype(int) - case.truth)[~case.mask]
        assert case.world == "tabletop" or spread.mean() < 1  # reflections reach further


def test_the_truth_passes_and_what_was_before_does_not(cases: list[Case]) -> None:
    for case in cases:
        if case.edit.kind == "retext":
            assert new_text(case.edit)["text"] != case.edit.before["texts"][0]["text"]
            continue
        assert check(case.edit, seen_as(case.edit.after), seen_as(case.edit.before)).passed
        before = check(case.edit, seen_as(case.edit.before), seen_as(case.edit.before))
        assert not before.passed
        assert before.reason


def test_a_thing_elsewhere_or_in_another_colour_does_not_count(cases: list[Case]) -> None:
    added = next(case.edit for case in cases if case.edit.kind == "add")
    new = next(thing for thing in added.after["objects"] if thing not in added.before["objects"])
    elsewhere = Detection(name=new["name"], score=1.0, box=(0.0, 0.0, 0.01, 0.01), colour=new["colour"])
    assert check(added, [elsewhere], []).reason == f"no {new['name']}"
    painted = next(case.edit for case in cases if case.edit.kind == "recolour")
    wrong = [Detection(name=t.name, score=1.0, box=t.box, colour="none") for t in seen_as(painted.after)]
    assert "none, not" in check(painted, wrong, []).reason


def test_what_goes_along_with_the_change_fails_it(cases: list[Case]) -> None:
    case = next(case for case in cases if case.edit.kind == "remove" and case.edit.after["objects"])
    before, after = seen_as(case.edit.before), seen_as(case.edit.after)
    lost, *rest = after
    assert check(case.edit, rest, before).reason == f"{lost.name} went too"
    assert check(case.edit, rest, [each for each in before if each != lost]).passed  # nobody could see it before


@pytest.mark.skipif(not shutil.which("tesseract"), reason="needs Tesseract")
def test_the_report_holds_both_ways_the_truth_and_doing_nothing(
    cases: list[Case], judge: Judge, tmp_path: Path
) -> None:
    asked: list[EditRequest] = []

    def keep(request: EditRequest) -> np.ndarray:
        asked.append(request)
        return request.picture

    card = evaluate(Retoucher(keep), COUNT, tmp_path, judge=judge)
    assert [request.mask is None for request in asked] == [True] * COUNT + [False] * COUNT
    assert card["instruction"] == card["mask"] == card["unchanged"]
    assert card["mask"]["kept"] is None
    assert card["ceiling"]["text"]["cer"] < card["mask"]["text"]["cer"]
    assert card["mask"]["kinds"]["recolour"]["passed"] == 0
    assert json.loads((tmp_path / "card.json").read_text()) == card
    assert load_picture(tmp_path / "edits.png").shape[1] > 4 * 128
    darker = evaluate(Retoucher(lambda request: request.picture // 2), COUNT, tmp_path, judge=judge)
    assert darker["mask"]["kept"] < 20


@pytest.mark.skipif(not shutil.which("tesseract"), reason="needs Tesseract")
def test_the_scores_go_onto_the_card_beside_the_others(judge: Judge, tmp_path: Path) -> None:
    (tmp_path / "image.json").write_text('{"hash": "1", "scores": {"speed": {"count": 1}}}')
    card = evaluate(Retoucher(lambda request: request.picture), 4, tmp_path / "report", judge=judge)
    record_scores(card, tmp_path)
    scores = read_card(tmp_path / "image.safetensors")["scores"]
    assert list(scores) == ["speed", "edits"]
    assert scores["edits"]["command"] == "polarlight eval edits --count 4 --mode quality"
