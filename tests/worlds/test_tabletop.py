"""What the tabletop world promises of its scenes and pictures."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polarlight.base.errors import UserError
from polarlight.worlds.scene import COLOURS, RELATIONS, Scene, picture_size
from polarlight.worlds.tabletop import CATEGORIES, MATERIALS, Tabletop, holds_out, holds_out_word
from polarlight.worlds.tabletop_labels import block_size, label_extent
from polarlight.worlds.tabletop_stage import camera_rays, place, project

WORLD = Tabletop()
SMALL = (48, 48)


def test_a_scene_survives_json() -> None:
    for seed in range(30):
        scene = WORLD.sample(seed)
        assert Scene.from_json(scene.to_json()) == scene


def test_a_seed_gives_one_scene_and_one_picture() -> None:
    first, second = WORLD.sample(5), WORLD.sample(5)
    assert first == second
    assert WORLD.sample(6) != first
    pictures = [WORLD.render([scene.spec], SMALL).pixels for scene in (first, second)]
    assert torch.equal(*pictures)


def test_rendering_leaves_the_spec_alone() -> None:
    spec = WORLD.sample(3).spec
    before = json.dumps(spec)
    WORLD.render([spec], SMALL, truth=True)
    assert json.dumps(spec) == before


def test_a_picture_does_not_depend_on_its_batch() -> None:
    specs = [WORLD.sample(seed).spec for seed in (1, 8, 12)]
    together = WORLD.render(specs, SMALL, truth=True)
    for index, spec in enumerate(specs):
        alone = WORLD.render([spec], SMALL, truth=True)
        assert torch.equal(together.pixels[index], alone.pixels[0])
        assert alone.depth is not None
        assert together.depth is not None
        assert torch.equal(together.depth[index], alone.depth[0])


def test_boxes_written_in_the_spec_are_those_of_the_masks() -> None:
    checked = 0
    for seed in range(12):
        spec = WORLD.sample(seed, category=("single", "two", "counting", "text")[seed % 4]).spec
        height, width = picture_size(spec["aspect"])
        truth = WORLD.render([spec], (height, width), truth=True)
        assert truth.boxes is not None
        scale = torch.tensor([width, height, width, height])
        for index, item in enumerate(spec["objects"]):
            others = [other["box"] for other in spec["objects"] if other is not item]
            if any(min(item["box"][2], b[2]) > max(item["box"][0], b[0]) for b in others):
                continue  # partly hidden, perhaps
            apart = (truth.boxes[0, index] - torch.tensor(item["box"])) * scale
            assert apart.abs().max() <= 2, (seed, item["name"], apart)
            checked += 1
    assert checked >= 12


def test_projecting_is_the_inverse_of_casting_a_ray() -> None:
    setting = WORLD.sample(2).spec["setting"]
    u, v = torch.tensor([-0.8, 0.0, 0.7]), torch.tensor([0.5, -0.6, 0.1])
    origin, direction = camera_rays(setting, u, v)
    back = project(setting, origin + direction * 4.5)
    torch.testing.assert_close(back[:2], torch.stack([u, v]), atol=1e-5, rtol=0)


@pytest.mark.parametrize("category", [None, *CATEGORIES])
def test_training_never_shows_what_is_held_out_and_heldout_always_does(category: str | None) -> None:
    for seed in range(16):
        train = WORLD.sample(seed, "train", category).spec
        assert not holds_out(train["objects"])
        assert not holds_out_word(train)
        heldout = WORLD.sample(seed, "heldout", category).spec
        assert holds_out(heldout["objects"]) or holds_out_word(heldout)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_a_spec_says_only_what_the_contract_knows(seed: int) -> None:
    spec = WORLD.sample(seed).spec
    assert spec["world"] == "tabletop"
    assert spec["setting"]["table"] in ("wooden", "marble", "metal", "painted")
    assert 1 <= len(spec["objects"]) <= 4
    for item in spec["objects"]:
        x0, y0, x1, y1 = item["box"]
        assert 0 <= x0 < x1 <= 1
        assert 0 <= y0 < y1 <= 1
        assert item["name"] in MATERIALS
        assert item["material"] in MATERIALS[item["name"]]
        assert item["colour"] is None or item["colour"] in COLOURS
    for first, relation, second in spec["relations"]:
        assert relation in RELATIONS
        assert {first, second} <= set(range(len(spec["objects"])))
    for text in spec["texts"]:
        assert text["colour"] in COLOURS
        assert text["colour"] != text["background"]
        assert " ".join(text["lines"]) == text["text"]


@pytest.mark.parametrize("seed", range(12))
def test_relations_hold_in_the_picture(seed: int) -> None:
    spec = WORLD.sample(seed, category="position").spec
    [[first, relation, second]] = spec["relations"]
    a, b = spec["objects"][first], spec["objects"][second]
    if relation in ("left of", "right of"):
        gap = (b["box"][0] + b["box"][2]) - (a["box"][0] + a["box"][2])
        assert (gap > 0.2) if relation == "left of" else (gap < -0.2)
    else:
        assert (b["z"] - a["z"] > 0.3) if relation == "in front of" else (a["z"] - b["z"] > 0.3)


def test_counting_shows_one_kind_of_thing_and_attributes_tell_two_things_apart() -> None:
    counts = set()
    for seed in range(20):
        same = WORLD.sample(seed, category="counting").spec["objects"]
        assert len({(item["name"], item["colour"], item["material"]) for item in same}) == 1
        counts.add(len(same))
        first, second = WORLD.sample(seed, category="attributes").spec["objects"]
        assert (first["colour"], first["material"]) != (second["colour"], second["material"])
        colours = [item["colour"] for item in WORLD.sample(seed, category="colours").spec["objects"]]
        assert len(set(colours)) == len(colours) >= 2
    assert counts == {1, 2, 3, 4}


def test_nearly_half_of_the_scenes_have_a_text() -> None:
    share = sum(bool(WORLD.sample(seed).spec["texts"]) for seed in range(150)) / 150
    assert 0.35 < share < 0.55


def test_capitals_are_at_least_ten_pixels_high_and_the_text_lies_on_its_carrier() -> None:
    for seed in range(30):
        spec = WORLD.sample(seed, category="text").spec
        height, width = picture_size(spec["aspect"])
        [text] = spec["texts"]
        item = place(spec["objects"][text["on"]])
        middle = label_extent(text, item.shape)[:, [8, 25]]  # over and under the middle of the block
        v = project(spec["setting"], item.world(middle))[1]
        cap = float(v[0] - v[1]) / block_size(text["lines"], text["font"])[1] * min(height, width) / 2
        assert cap >= 10, (seed, cap)
        (x0, y0, x1, y1), (a0, b0, a1, b1) = text["box"], spec["objects"][text["on"]]["box"]
        assert a0 <= x0 < x1 <= a1
        assert b0 <= y0 < y1 <= b1


def test_letters_are_seen_where_the_text_box_is() -> None:
    spec = WORLD.sample(0, category="text").spec
    bare = copy.deepcopy(spec)
    bare["texts"][0]["colour"] = spec["texts"][0]["background"] or spec["objects"][0]["colour"]
    size = picture_size(spec["aspect"])
    with_letters = WORLD.render([spec], size, truth=True)
    without = WORLD.render([bare], size)
    changed = (with_letters.pixels[0].int() - without.pixels[0].int()).abs().amax(-1) > 60
    assert with_letters.text_mask is not None
    assert changed.sum() > 60
    assert (changed & with_letters.text_mask[0]).sum() > 0.95 * changed.sum()


def metal_sphere(wall: str) -> dict:
    spec = WORLD.sample(0, category="single").spec
    ball = {
        "name": "sphere",
        "colour": None,
        "material": "metal",
        "variant": 0,
        "girth": 1.2,
        "box": [0.0, 0.0, 1.0, 1.0],
    }
    ball.update(x=0.0, z=0.0, size=1.0, yaw=0.0)
    setting = {
        **spec["setting"],
        "wall": wall,
        "wall_variant": 0,
        "light": "soft",
        "table": "marble",
        "table_colour": None,
    }
    setting["camera"] = {"height": 1.5, "yaw": 0.0, "ground": -0.6}
    return {**spec, "aspect": "1:1", "objects": [ball], "texts": [], "relations": [], "setting": setting}


def test_a_metal_sphere_mirrors_the_colour_of_the_wall() -> None:
    seen = {}
    for wall in ("red", "blue"):
        result = WORLD.render([metal_sphere(wall)], (64, 64), truth=True)
        assert result.masks is not None
        seen[wall] = result.pixels[0][result.masks[0, 0]].float().mean(0)
    assert seen["red"][0] - seen["red"][2] > seen["blue"][0] - seen["blue"][2] + 8


def test_truth_is_normalised_and_agrees_with_itself() -> None:
    spec = WORLD.sample(4, category="two").spec
    truth = WORLD.render([spec], (64, 64), truth=True)
    assert truth.depth is not None
    assert truth.normals is not None
    assert truth.edges is not None
    assert truth.masks is not None
    assert truth.pixels.shape == (1, 64, 64, 3)
    assert 0 <= truth.depth.min() <= truth.depth.max() <= 1
    assert 0 <= truth.edges.min() <= truth.edges.max() <= 1
    torch.testing.assert_close(truth.normals.norm(dim=-1), torch.ones(1, 64, 64), atol=2e-3, rtol=0)
    assert not (truth.masks[0].sum(0) > 1).any()
    on_things = truth.masks[0].any(0)
    assert truth.depth[0][on_things].mean() < truth.depth[0][~on_things].mean()


def test_batches_pad_masks_to_the_most_objects() -> None:
    one, two = (WORLD.sample(1, category=category).spec for category in ("single", "position"))
    truth = WORLD.render([one, two], SMALL, truth=True)
    assert truth.masks is not None
    assert truth.boxes is not None
    assert truth.masks.shape == (2, 2, *SMALL)
    assert not truth.masks[0, 1].any()
    assert truth.boxes[0, 1].eq(0).all()
    assert truth.masks[1].flatten(1).any(1).all()


def test_an_unknown_category_or_split_is_told_in_one_sentence() -> None:
    with pytest.raises(UserError, match="category"):
        WORLD.sample(0, category="portrait")
    with pytest.raises(UserError, match="split"):
        WORLD.sample(0, split="valid")
