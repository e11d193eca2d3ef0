"""Posters full of texts, and sketches of letters."""

from collections import Counter
from functools import lru_cache

import pytest
import torch

from polarlight.models.letterer import Letterer, LettererConfig
from polarlight.text.plan import PlanText, snapped
from polarlight.worlds.captions import plan_of
from polarlight.worlds.holdout import held_out_word
from polarlight.worlds.lettering import lettering_scene, meet
from polarlight.worlds.posters import Posters
from polarlight.worlds.scene import Scene, picture_size
from polarlight.worlds.sketch import plain_glyphs, plain_letters


def word(text: str, box: tuple[float, float, float, float]) -> PlanText:
    return PlanText(text=text, box=box)


def test_a_sheet_holds_several_texts_that_do_not_meet_and_nothing_held_out() -> None:
    scenes = [lettering_scene(seed) for seed in range(40)]
    counts = Counter(len(scene.spec["texts"]) for scene in scenes)
    assert sum(number * count for number, count in counts.items()) > 3 * len(scenes)
    for scene in scenes:
        places = [tuple(text.get("board", text["box"])) for text in scene.spec["texts"]]
        assert all(0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1.02 for x0, y0, x1, y1 in places)
        assert not any(meet(one, other) for n, one in enumerate(places) for other in places[:n])
        assert not any(held_out_word(part) for text in scene.spec["texts"] for part in text["text"].split())
    assert Scene.from_json(scenes[3].to_json()) == scenes[3]
    assert lettering_scene(3) == scenes[3]


def test_a_sketch_lies_where_the_letters_are() -> None:
    square = [scene for scene in map(lettering_scene, range(30)) if scene.spec["aspect"] == "1:1"]
    pictures = Posters().render([scene.spec for scene in square], picture_size("1:1")).pixels.float().mean(-1)
    drawn = torch.stack([writer().sketch(snapped(plan_of(scene.spec)).texts, (128, 128)) for scene in square]).float()
    found = []
    for picture, sketch, scene in zip(pictures, drawn, square, strict=True):
        for text in scene.spec["texts"]:
            if text["font"] != "mono":
                continue
            x0, y0, x1, y1 = (round(side * 128) for side in text["box"])
            pair = torch.stack((picture[y0:y1, x0:x1].flatten(), sketch[y0:y1, x0:x1].flatten()))
            found.append(float(torch.corrcoef(pair)[0, 1].abs()))
    assert len(found) > 20
    assert sum(found) / len(found) > 0.8


def test_a_sketch_keeps_to_its_boxes_whatever_stands_beside_it() -> None:
    left, right = word("OPEN", (0.1, 0.1, 0.45, 0.3)), word("Tea\nroom", (0.5, 0.5, 0.95, 0.9))
    both, one = (writer().sketch(texts, (128, 96)) for texts in ([left, right], [left]))
    assert torch.equal(one[:64], both[:64])
    inked = one.nonzero()
    assert (inked.amin(0) >= torch.tensor([0.1 * 128 - 2, 0.1 * 96 - 2])).all()
    assert (inked.amax(0) <= torch.tensor([0.3 * 128 + 2, 0.45 * 96 + 2])).all()
    assert not writer().sketch([], (32, 32)).any()
    assert not writer().sketch([word("", (0, 0, 1, 1)), word(" \n ", (0, 0, 1, 1))], (32, 32)).any()


@pytest.mark.parametrize(("text", "written"), [("Tea 5$", True), ("문 A", True), ("Tω", False)])
def test_a_text_is_sketched_where_all_its_letters_have_glyphs(text: str, written: bool) -> None:
    assert writer().sketch([word(text, (0.1, 0.1, 0.6, 0.9))], (64, 64)).any() == written


@lru_cache
def writer() -> Letterer:
    """A letterer with every letter."""
    made = Letterer(LettererConfig(width=8, letters=plain_letters(), strokes=1, hidden=1, blocks=1))
    made.glyphs, made.advances = plain_glyphs(plain_letters())
    return made
