"""Edits of hand-written scenes and of sampled ones."""

from __future__ import annotations

import functools
import re
from copy import deepcopy

import pytest

from polarlight.base.errors import UserError
from polarlight.worlds.edits import KINDS, Edit, draw_edit, without
from polarlight.worlds.holdout import bare_word, held_out_colour, held_out_word
from polarlight.worlds.posters import Posters
from polarlight.worlds.scene import Scene
from polarlight.worlds.tabletop import Tabletop

SPEC = {
    "world": "posters",
    "aspect": "1:1",
    "setting": {"kind": "flat", "colour": "yellow", "pattern": "solid", "palette": "lemon", "margin": 0, "variant": 1},
    "objects": [
        {"name": "balloon", "box": [0.05, 0.3, 0.25, 0.6], "colour": "red", "material": None},
        {"name": "balloon", "box": [0.4, 0.3, 0.6, 0.6], "colour": "red", "material": None},
        {"name": "cat", "box": [0.7, 0.6, 0.95, 0.9], "colour": None, "material": None},
    ],
    "texts": [
        {
            "text": "BIG SALE!",
            "lines": ["BIG", "SALE!"],
            "box": [0.3, 0.05, 0.7, 0.25],
            "kind": "sign",
            "carrier": "title",
            "script": "latin",
            "font": "DejaVuSans-Bold",
            "cap": 0.09,
            "colour": "black",
            "ink": "#000000",
            "on": 2,
        }
    ],
    "relations": [[0, "left of", 1], [1, "left of", 2]],
}


@functools.cache
def sampled() -> list[Scene]:
    return [world.sample(seed) for seed in range(40) for world in (Posters(), Tabletop())]


def all_edits(kind: str) -> list[Edit]:
    edits = []
    for scene in sampled():
        try:
            edits.append(draw_edit(scene, scene.seed, kind=kind))
        except UserError:
            continue
    assert len(edits) > 15
    return edits


def test_without_an_object_everything_else_stays_and_is_counted_anew():
    spec = deepcopy(SPEC)
    left = without(spec, 0)
    assert spec == SPEC
    assert left["objects"] == SPEC["objects"][1:]
    assert left["relations"] == [[0, "left of", 1]]
    assert left["texts"] == [{**SPEC["texts"][0], "on": 1}]
    assert without(spec, 2)["texts"] == []


def test_a_recolouring_changes_one_colour_and_names_it():
    for edit in all_edits("recolour"):
        changed = [
            (old, new) for old, new in zip(edit.before["objects"], edit.after["objects"], strict=True) if old != new
        ]
        assert changed
        assert len({new["colour"] for _, new in changed}) == 1
        for old, new in changed:
            assert {**old, "colour": None} == {**new, "colour": None}
            assert re.search(rf"\b{new['colour']}\b", edit.instruction)
            assert not held_out_colour(new["name"], new["colour"])
        assert {**edit.before, "objects": []} == {**edit.after, "objects": []}


def test_a_removal_takes_one_object_and_nothing_else():
    for edit in all_edits("remove"):
        before = [repr(thing) for thing in edit.before["objects"]]
        after = [repr(thing) for thing in edit.after["objects"]]
        assert len(after) == len(before) - 1
        assert set(after) <= set(before)
        assert edit.before["setting"] == edit.after["setting"]


def test_an_addition_brings_one_object_and_ends_in_the_sampled_scene():
    specs = [scene.spec for scene in sampled()]
    for edit in all_edits("add"):
        assert edit.after in specs
        assert len(edit.after["objects"]) == len(edit.before["objects"]) + 1
        assert edit.before["texts"] == [] or len(edit.before["texts"]) == len(edit.after["texts"])


def test_a_new_text_has_the_same_shape_fits_the_old_room_and_stands_in_the_instruction():
    for edit in all_edits("retext"):
        changed = [(old, new) for old, new in zip(edit.before["texts"], edit.after["texts"], strict=True) if old != new]
        ((old, new),) = changed
        assert [len(word) for word in old["text"].split()] == [len(word) for word in new["text"].split()]
        assert len(old["lines"]) == len(new["lines"])
        assert new["text"] in edit.instruction
        assert new["text"] != old["text"]
        assert new["box"][2] - new["box"][0] <= (old["box"][2] - old["box"][0]) * 1.02
        kept = ("kind", "script", "font", "colour", "on")
        assert {key: old[key] for key in kept} == {key: new[key] for key in kept}
        assert not any(held_out_word(word) for word in new["text"].split())
        assert {**edit.before, "texts": []} == {**edit.after, "texts": []}


def test_held_out_edits_write_held_out_words():
    scenes = [scene for scene in sampled() if scene.spec["texts"]]
    assert scenes
    for scene in scenes[:15]:
        after = draw_edit(scene, 1, split="heldout", kind="retext").after
        changed = [t for old, t in zip(scene.spec["texts"], after["texts"], strict=True) if old["text"] != t["text"]]
        assert all(held_out_word(word) for word in changed[0]["text"].split() if bare_word(word))


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_lies_in_the_picture_and_holds_what_changes(kind: str):
    for edit in all_edits(kind):
        x0, y0, x1, y1 = edit.box
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        key = "texts" if kind == "retext" else "objects"
        there = [thing for thing in edit.before[key] + edit.after[key]]
        changed = [t for t in there if not (t in edit.before[key] and t in edit.after[key])]
        for box in (thing["box"] for thing in changed):
            assert x0 <= max(0, box[0])
            assert y0 <= max(0, box[1])
            assert x1 >= min(1, box[2])
            assert y1 >= min(1, box[3])


def test_one_of_several_is_told_by_its_side_or_called_one_of_them():
    said = {
        edit.instruction.lower()
        for edit in (draw_edit(Scene(seed=0, spec=SPEC), seed, kind="remove") for seed in range(60))
        if edit.after["objects"][-1]["name"] == "cat"
    }
    assert said
    assert all(re.search(r"left|right|one of", words) for words in said), said


def test_one_seed_gives_one_edit_and_the_scene_is_left_alone():
    scene = Scene(seed=3, spec=deepcopy(SPEC))
    assert draw_edit(scene, 5, kind="remove") == draw_edit(scene, 5, kind="remove")
    assert scene.spec == SPEC
    assert len({draw_edit(scene, seed, kind="remove").instruction for seed in range(40)}) > 10


def test_an_empty_scene_allows_no_edit_and_says_so():
    with pytest.raises(UserError, match="allows no edit"):
        draw_edit(Scene(seed=0, spec={**SPEC, "objects": [], "texts": [], "relations": []}), 0)
