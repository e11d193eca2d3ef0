"""Shards of rendered scenes and of their codes."""

from pathlib import Path

import pytest
import torch
from tiny import visual_tokenizer

from polarlight.base.seeds import stream_seed
from polarlight.recipes.runs import Run
from polarlight.recipes.scenes import (
    DRAWN,
    EDITED,
    Group,
    allows_edits,
    load_codes,
    load_shard,
    make_shard,
    pick,
    render_all,
    world_of,
)
from polarlight.text.vocabulary import quoted_texts
from polarlight.worlds.scene import picture_size


def same(one: Group, other: Group) -> bool:
    pictures = [(one.pixels, other.pixels), (one.text_mask, other.text_mask)]
    if one.source is not None and other.source is not None:
        pictures.append((one.source, other.source))
    return all(torch.equal(*pair) for pair in pictures) and (one.scenes, one.notes) == (other.scenes, other.notes)


@pytest.mark.parametrize("kind", ["posters", "house", "edits", "retexts", "reference", "control"])
def test_a_shard_read_back_is_the_shard_that_was_made(tmp_path: Path, kind: str) -> None:
    made, read = load_shard(tmp_path, kind, 0, 3), load_shard(tmp_path, kind, 0, 3)
    assert made.keys() == read.keys()
    assert all(same(group, read[aspect]) for aspect, group in made.items())
    for aspect, group in made.items():
        assert group.pixels.shape[1:] == (*picture_size(aspect), 3)
        assert len(group.scenes) == len(group.pixels) == len(group.text_mask)
        assert (group.source is None) == (kind in ("posters", "house"))
    assert sum(len(group.scenes) for group in made.values()) == 3


def test_a_shard_is_a_function_of_its_number() -> None:
    first, again, other = (make_shard("posters", index, 2) for index in (5, 5, 6))
    assert first.keys() == again.keys()
    assert all(same(group, again[aspect]) for aspect, group in first.items())
    assert {s.seed for g in first.values() for s in g.scenes} == {10, 11}
    assert {s.seed for g in other.values() for s in g.scenes} == {12, 13}


def test_codes_are_those_of_the_pictures_and_are_kept_per_tokenizer(tmp_path: Path) -> None:
    tokenizer, dtype = visual_tokenizer(), torch.float32
    pictures = load_shard(tmp_path, "edits", 0, 2)
    made = load_codes(tmp_path, "edits", 0, tokenizer, "one", dtype, 2)
    read = load_codes(tmp_path, "edits", 0, visual_tokenizer(), "one", dtype, 2)
    other = load_codes(tmp_path, "edits", 0, visual_tokenizer(), "two", dtype, 2)
    for aspect, group in made.items():
        assert torch.equal(group.digits, tokenizer.encode(pictures[aspect].pixels))
        assert torch.equal(group.source, tokenizer.encode(pictures[aspect].source))
        assert torch.equal(group.digits, read[aspect].digits)
        assert not torch.equal(group.digits, other[aspect].digits)
        assert (group.scenes, group.notes) == (pictures[aspect].scenes, pictures[aspect].notes)


@pytest.mark.parametrize("world", ["posters", "tabletop"])
def test_scenes_that_an_edit_left_empty_are_rendered(world: str) -> None:
    scene = world_of(world).sample(0)
    empty = {**scene.spec, "objects": [], "texts": [], "relations": []}
    assert render_all(world_of(world), [empty], scene.spec["aspect"]).pixels.shape[0] == 1


def test_rows_repeat_only_where_there_are_too_few() -> None:
    aspect, rows = pick({"1:1": 5}, torch.Generator().manual_seed(1), 4)
    assert (aspect, len(set(rows.tolist()))) == ("1:1", 4)
    _, rows = pick({"1:1": 3}, torch.Generator().manual_seed(1), 8)
    assert sorted(set(rows.tolist())) == [0, 1, 2]
    assert len(rows) == 8


def test_a_larger_aspect_is_picked_more_often() -> None:
    random = torch.Generator().manual_seed(0)
    picked = [pick({"1:1": 90, "3:2": 10}, random, 1)[0] for _ in range(200)]
    assert 160 < picked.count("1:1") < 195


def test_runs_share_scenes_with_their_siblings(tmp_path: Path) -> None:
    run, smoke = Run(folder=tmp_path / "image-mini"), Run(folder=tmp_path / "image-smoke", smoke=True)
    assert run.scenes == run.sibling("tokenizer-mini").parent / "scenes" == tmp_path / "scenes"
    assert smoke.scenes != run.scenes
    assert smoke.shard_size < run.shard_size


def test_edits_of_texts_change_texts_alone() -> None:
    for group in make_shard("retexts", 0, 3).values():
        for scene, note in zip(group.scenes, group.notes or [], strict=True):
            said = quoted_texts(note["instruction"])
            assert any(text["text"] in said for text in scene.spec["texts"])


def test_a_scene_that_nothing_can_change_makes_way_for_another() -> None:
    seed = 2
    first = DRAWN[EDITED[seed]](stream_seed(seed, "retexts") % 2**40 + 2**40)
    assert not allows_edits(first, seed, "retext")
    (group,) = make_shard("retexts", seed, 1).values()
    assert group.scenes[0].seed == seed
    assert group.scenes[0].spec["texts"]
    assert group.notes is not None
    assert group.notes[0]["instruction"]


def test_edits_change_scenes_of_every_kind() -> None:
    scenes = [scene for group in make_shard("edits", 0, 4).values() for scene in group.scenes]
    worlds = {scene.seed: scene.spec["world"] for scene in scenes}
    assert worlds == {0: "tabletop", 1: "posters", 2: "posters", 3: "posters"}
