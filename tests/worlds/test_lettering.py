"""Posters full of texts, and sketches of letters."""

from collections import Counter
from functools import lru_cache

import pytest
import torch

from polarlight.models.letterer import BOARD, INK, Letterer, LettererConfig, paint
from polarlight.text.plan import PlanText, snapped
from polarlight.text.typesetting import MONO, Setting, typeset
from polarlight.worlds.captions import plan_of
from polarlight.worlds.holdout import held_out_word
from polarlight.worlds.lettering import lettering_scene, meet
from polarlight.worlds.posters import Posters
from polarlight.worlds.scene import Scene
from polarlight.worlds.sketch import face_glyphs, glyph, plain_faces, setting_of
from polarlight.worlds.tabletop import Tabletop


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


@pytest.mark.parametrize("kind", ["lettering", "tabletop"])
def test_a_sketch_of_a_scene_lies_where_its_letters_are_in_whatever_face(kind: str) -> None:
    world, draw = (Posters(), lettering_scene) if kind == "lettering" else (Tabletop(), Tabletop().sample)
    scenes = [scene for scene in map(draw, range(60)) if scene.spec["aspect"] == "1:1" and scene.spec["texts"]][:12]
    pictures = world.render([scene.spec for scene in scenes], (128, 128)).pixels.float().mean(-1)
    found = []
    for picture, scene in zip(pictures, scenes, strict=True):
        sketch = paint(setting_of(scene.spec, (128, 128)), (128, 128), glyph).float()
        for text in scene.spec["texts"]:
            x0, y0, x1, y1 = (round(side * 128) for side in text["box"])
            pair = torch.stack((picture[y0:y1, x0:x1].flatten(), sketch[y0:y1, x0:x1].flatten()))
            found.append(float(torch.corrcoef(pair)[0, 1].abs()))
    assert len(found) >= (30 if kind == "lettering" else 4)
    assert sum(found) / len(found) > (0.9 if kind == "lettering" else 0.75)


def test_boards_lie_where_they_are_drawn_and_only_asked_for_texts_are_sketched() -> None:
    scene = next(
        s for s in map(lettering_scene, range(30)) if s.spec["aspect"] == "1:1" and "board" in s.spec["texts"][0]
    )
    text = scene.spec["texts"][0]
    one = setting_of(scene.spec, (128, 128), [" ".join(text["text"].split())])
    assert one.boards == (tuple(side * 128 for side in text["board"]),)
    assert "".join(each.letter for each in one.letters) == text["text"].replace(" ", "")
    assert len(setting_of(scene.spec, (128, 128)).letters) > len(one.letters)
    assert setting_of(scene.spec, (128, 128), []) == Setting()


def test_posters_are_set_as_the_letterer_sets_plans() -> None:
    square = [scene for scene in map(lettering_scene, range(40)) if scene.spec["aspect"] == "1:1"]
    same = []
    for scene in square:
        for text in scene.spec["texts"]:
            if text["font"] == MONO:
                spec = scene.spec | {"texts": [text]}
                drawn = setting_of(spec, (128, 128))
                planned = typeset(snapped(plan_of(spec)).texts, (128, 128), writer().faces)
                same.append(
                    abs(drawn.letters[0].x - planned.letters[0].x) <= 4
                    and drawn.letters[0].baseline == pytest.approx(planned.letters[0].baseline, abs=0.02)
                    and drawn.letters[0].cap == pytest.approx(planned.letters[0].cap, abs=0.05)
                )
    assert len(same) > 30
    assert sum(same) / len(same) > 0.85


@lru_cache
def writer() -> Letterer:
    """A letterer with every face."""
    faces = plain_faces()
    made = Letterer(LettererConfig(width=8, seen=8, faces=faces, strokes=1, hidden=1, blocks=1))
    made.glyphs, made.advances, made.spaces = face_glyphs(faces)
    return made


def test_a_letterer_sketches_every_script_it_has_faces_of() -> None:
    for text, written in (("Tea 5$", True), ("문 A", True), ("Tω", False)):
        sketch = writer().sketch([PlanText(text=text, box=(0.1, 0.1, 0.6, 0.9))], (64, 64))
        assert (sketch == INK).any() == written
        assert (sketch == BOARD).any() == written
