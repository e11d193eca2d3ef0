import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from polarlight.evals.composition import PASSED, RULES, failed
from polarlight.evals.image_card import (
    FIRST_SEED,
    Case,
    Outcome,
    RealRenders,
    evaluate,
    framed,
    judge_plans,
    make_cases,
    score_outcomes,
    shares,
)
from polarlight.evals.judge import Detection, Judge
from polarlight.evals.ocr import Reading, score_text
from polarlight.infer.images import ImageRequest, Picture
from polarlight.models.detector import Detector, DetectorConfig
from polarlight.text.plan import format_plan
from polarlight.worlds.captions import CATEGORIES, plan_of
from polarlight.worlds.posters import Posters
from polarlight.worlds.scene import Scene, picture_size
from polarlight.worlds.tabletop import Tabletop

WORLDS = {"posters": Posters(), "tabletop": Tabletop()}


class GreyPictures:
    """A generator that draws nothing and forgets everything."""

    def draw(self, requests):
        return [
            Picture(
                pixels=np.full((*picture_size(request.aspect), 3), 128, dtype=np.uint8),
                seed=request.seed,
                passes=3,
                metadata={},
            )
            for request in requests
        ]

    def reconstruct(self, pixels):
        return torch.full_like(pixels, 128)


def tiny_judge() -> Judge:
    config = DetectorConfig(
        classes=("cat", "text"), colours=("red",), materials=("glass",), fine_channels=8, coarse_channels=8
    )
    return Judge(Detector(config), threshold=0.5)


def case(category: str, world: str = "posters", script: str = "latin") -> Case:
    spec = {"world": world, "texts": [{"text": "OPEN", "script": script}]}
    return Case(category=category, scene=Scene(seed=FIRST_SEED, spec=spec), prompt="")


def test_cases_are_held_out_scenes_of_both_worlds_in_every_category():
    cases = make_cases(40, WORLDS)
    assert [one.seed for one in cases] == list(range(FIRST_SEED, FIRST_SEED + 40))
    assert Counter(one.world for one in cases) == {"posters": 32, "tabletop": 8}
    assert {one.category for one in cases} == {*RULES, "text"} == set(CATEGORIES)
    assert all(one.prompt for one in cases)


def test_cases_do_not_depend_on_their_number():
    assert make_cases(12, WORLDS)[:7] == make_cases(7, WORLDS)


def test_the_rules_accept_the_true_scenes_of_both_worlds():
    for one in make_cases(80, WORLDS):
        spec = one.scene.spec
        seen = [
            Detection(name=t["name"], score=1.0, box=tuple(t["box"]), colour=t["colour"], material=t["material"])
            for t in spec["objects"]
        ]
        if one.category in RULES:
            assert RULES[one.category](seen, spec).passed, (one.prompt, spec["objects"])


def test_real_renders_draw_what_was_asked_for():
    cases = make_cases(2, WORLDS)
    aspects = [one.scene.spec["aspect"] for one in cases]
    requests = [ImageRequest(prompt=one.prompt, seed=one.seed, aspect=a) for one, a in zip(cases, aspects, strict=True)]
    pictures = RealRenders(cases, WORLDS).draw(requests[::-1])[::-1]
    for one, picture, aspect in zip(cases, pictures, aspects, strict=True):
        rendered = WORLDS[one.world].render([one.scene.spec], picture_size(aspect))
        np.testing.assert_array_equal(picture.pixels, rendered.pixels[0].numpy())


def test_plans_are_judged_by_the_rules_of_pictures():
    cases = make_cases(70, WORLDS)
    true = [format_plan(plan_of(case.scene.spec)) for case in cases]
    blank = np.zeros((8, 8, 3), np.uint8)
    pictures = [Picture(pixels=blank, seed=0, passes=0, metadata={"plan": plan}) for plan in true]
    outcomes = judge_plans(cases, pictures)
    failures = [(outcome.case.prompt, outcome.verdict) for outcome in outcomes if not outcome.verdict.passed]
    assert failures == []
    empty = [Picture(pixels=blank, seed=0, passes=0, metadata={"plan": ""}) for _ in cases]
    assert not any(outcome.verdict.passed for outcome in judge_plans(cases, empty))
    unplanned = [replace(picture, metadata={}) for picture in empty[:-1]]
    assert len(judge_plans(cases, [*unplanned, empty[-1]])) == 1


def test_shares_count_each_category_with_its_interval():
    outcomes = [Outcome(case=case("single_object"), verdict=verdict) for verdict in (PASSED, PASSED, failed("no cat"))]
    row = shares(outcomes)["single_object"]
    assert (row["count"], row["passed"], row["share"]) == (3, 2, pytest.approx(2 / 3))
    assert row["low"] < row["share"] < row["high"]


def test_the_mean_weighs_categories_alike():
    outcomes = [Outcome(case=case("single_object"), verdict=PASSED)] * 9
    outcomes += [Outcome(case=case("counting"), verdict=failed("2 cat, not 3"))]
    assert score_outcomes(outcomes)["mean"] == 0.5


def test_texts_are_scored_by_script():
    def outcome(script: str, read: str, wanted: str = "OPEN") -> Outcome:
        text = score_text(wanted, [Reading(text=read, confidence=1)])
        return Outcome(case=case("text", script=script), verdict=PASSED, text=text)

    scores = score_outcomes([outcome("latin", "OPEN"), outcome("hangul", "OPFN")])
    assert scores["text"]["latin"]["cer"] == 0
    assert scores["text"]["hangul"]["cer"] == 0.25
    assert scores["text_by_length"]["4-5"]["count"] == 1
    short = score_outcomes([outcome("latin", "SUNSET", "SUNSET"), outcome("latin", "", "FITNESS")])["text_short"]
    assert (short["count"], short["cer"]) == (1, 0)


def test_frames_show_what_passed():
    picture = np.zeros((8, 8, 3), dtype=np.uint8)
    good, bad = framed(picture, True), framed(picture, False)
    assert good.shape == (14, 14, 3)
    assert good[0, 0, 1] > good[0, 0, 0]
    assert bad[0, 0, 0] > bad[0, 0, 1]


def test_a_card_holds_the_model_and_its_ceiling(tmp_path):
    progress: list[tuple[int, int]] = []
    card = evaluate(GreyPictures(), 8, tmp_path, lambda *done: progress.append(done), judge=tiny_judge())
    assert progress[-1] == (16, 16)
    assert json.loads((tmp_path / "card.json").read_text()) == card
    assert card["passes_per_picture"] == 3
    assert card["model"]["text"]["latin"]["cer"] > 0.8
    assert card["ceiling"]["text"]["latin"]["cer"] < 1
    assert set(card["ceiling_by_world"]) == {"posters", "tabletop"}
    assert card["fidelity"]["psnr"] < 20
    for name in ("card.png", "contact_sheet.png"):
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 300
