"""The posters world keeps its promises, over many seeds."""

from __future__ import annotations

import json
from collections import Counter
from functools import cache

import pytest
import torch
from PIL import ImageFont

from polarlight.base.errors import UserError
from polarlight.worlds import atlas
from polarlight.worlds.catalogue import by_name
from polarlight.worlds.layout import CATEGORIES, held_out_things
from polarlight.worlds.posters import Posters
from polarlight.worlds.scene import ASPECTS, COLOURS, RELATIONS, Rendered, Scene, Spec, picture_size

WORLD = Posters()


@cache
def scenes(count: int = 300, split: str = "train", category: str | None = None) -> tuple[Scene, ...]:
    return tuple(WORLD.sample(seed, split, category) for seed in range(count))


@cache
def square_specs(count: int) -> list[Spec]:
    return [scene.spec for scene in scenes() if scene.spec["aspect"] == "1:1"][:count]


@cache
def rendered() -> Rendered:
    return WORLD.render(square_specs(32), (128, 128), truth=True)


def overlap_area(a: list[float], b: list[float]) -> float:
    return max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))


def test_a_scene_survives_json() -> None:
    for scene in scenes():
        assert Scene.from_json(scene.to_json()) == scene
        assert json.loads(json.dumps(scene.spec)) == scene.spec


def test_one_seed_gives_one_scene_and_another_seed_another() -> None:
    assert [WORLD.sample(seed) for seed in range(20)] == list(scenes()[:20])
    assert len({scene.to_json().partition('"spec"')[2] for scene in scenes()}) == len(scenes())


def test_specs_hold_the_shared_keys_with_values_from_the_lists() -> None:
    for scene in scenes():
        spec = scene.spec
        assert spec["world"] == "posters"
        assert spec["aspect"] in ASPECTS
        for thing in spec["objects"]:
            assert thing["name"] in by_name()
            assert thing["colour"] is None or thing["colour"] in COLOURS
        for text in spec["texts"]:
            assert text["kind"] in ("sign", "label", "title", "bubble", "price tag")
            assert text["colour"] in COLOURS
            assert " ".join(text["lines"]) == text["text"]
        for first, relation, second in spec["relations"]:
            assert relation in RELATIONS
            assert 0 <= first < len(spec["objects"])
            assert 0 <= second < len(spec["objects"])


def test_a_picture_does_not_depend_on_the_rest_of_the_batch_bit_for_bit() -> None:
    specs = square_specs(32)
    for number in range(0, 32, 8):
        alone = WORLD.render([specs[number]], (128, 128), truth=True)
        assert torch.equal(alone.pixels[0], rendered().pixels[number])
        assert torch.equal(alone.depth[0], rendered().depth[number])
        count = len(specs[number]["objects"])
        assert torch.equal(alone.masks[0], rendered().masks[number, :count])


def test_truth_changes_no_pixel() -> None:
    assert torch.equal(WORLD.render(square_specs(32), (128, 128)).pixels, rendered().pixels)


@pytest.mark.parametrize("scale", [64, 128, 256])
@pytest.mark.parametrize("aspect", list(ASPECTS))
def test_every_aspect_is_drawn_at_every_scale(aspect: str, scale: int) -> None:
    specs = [scene.spec for scene in scenes() if scene.spec["aspect"] == aspect][:1]
    size = picture_size(aspect, scale)
    pixels = WORLD.render(specs, size).pixels
    assert pixels.shape == (1, *size, 3)
    assert pixels.dtype == torch.uint8
    assert pixels.float().std() > 5


def test_the_picture_of_half_the_size_is_the_same_picture() -> None:
    specs = square_specs(6)
    large, small = (WORLD.render(specs, (side, side)).pixels.permute(0, 3, 1, 2).float() for side in (256, 128))
    assert (torch.nn.functional.avg_pool2d(large, 2) - small).abs().mean() < 4


def test_a_size_of_another_shape_is_refused() -> None:
    with pytest.raises(UserError, match="shape"):
        WORLD.render(square_specs(1), (96, 144))


@pytest.mark.parametrize(("split", "category"), [("test", None), ("train", "size")])
def test_unknown_splits_and_categories_are_refused(split: str, category: str | None) -> None:
    with pytest.raises(UserError, match="There is no"):
        WORLD.sample(0, split, category)


def test_rendered_boxes_enclose_their_masks_and_meet_the_spec() -> None:
    found = rendered()
    for number, spec in enumerate(square_specs(32)):
        for i, thing in enumerate(spec["objects"]):
            ys, xs = found.masks[number, i].nonzero(as_tuple=True)
            box = torch.tensor([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]) / 128
            assert torch.allclose(found.boxes[number, i], box)
            alone = len(spec["objects"]) == 1 and all(text["carrier"] != "bubble" for text in spec["texts"])
            if alone:
                assert torch.allclose(box, torch.tensor(thing["box"]), atol=1.6 / 128), thing


def test_padded_objects_have_empty_masks_and_boxes() -> None:
    found = rendered()
    for number, spec in enumerate(square_specs(32)):
        count = len(spec["objects"])
        assert not found.masks[number, count:].any()
        assert not found.boxes[number, count:].any()


def test_depth_and_edges_are_fractions_and_near_things_are_nearer_than_the_sky() -> None:
    found = rendered()
    for channel in (found.depth, found.edges):
        assert channel.shape == (32, 128, 128)
        assert 0 <= channel.min() <= channel.max() <= 1
    covered = found.masks.any(1)
    assert found.depth[covered].mean() < 0.7 < found.depth[:, :8].mean()


def test_the_text_mask_covers_ink_that_stands_out() -> None:
    found = rendered()
    for number, spec in enumerate(square_specs(32)):
        assert bool(found.text_mask[number].any()) == bool(spec["texts"])
        if spec["texts"]:
            shades = found.pixels[number][found.text_mask[number]].float().mean(-1)
            assert shades.quantile(0.97) - shades.quantile(0.03) > 45, spec["texts"]


def test_objects_are_inside_and_large_enough_and_seen() -> None:
    for scene in scenes():
        height, width = picture_size(scene.spec["aspect"])
        for thing in scene.spec["objects"]:
            x0, y0, x1, y1 = thing["box"]
            assert min(x0, y0) >= 0
            assert max(x1, y1) <= 1
            assert max((x1 - x0) * width, (y1 - y0) * height) >= 24
    for number, spec in enumerate(square_specs(32)):
        for i in range(len(spec["objects"])):
            assert rendered().masks[number, i].sum() > 60


def test_objects_overlap_at_most_slightly() -> None:
    for scene in scenes():
        boxes = [thing["box"] for thing in scene.spec["objects"]]
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                least = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
                assert overlap_area(a, b) <= 0.5 * least


def test_capitals_are_ten_pixels_high_or_more_and_texts_are_not_clipped_or_covered() -> None:
    for scene in scenes():
        height, _ = picture_size(scene.spec["aspect"])
        for text in scene.spec["texts"]:
            assert text["cap"] * height >= 10
            assert min(text["box"]) >= 0
            assert max(text["box"]) <= 1
            for thing in scene.spec["objects"]:
                assert overlap_area(text["box"], thing["box"]) == 0, (scene.seed, text["carrier"])


def test_relations_hold_by_a_margin() -> None:
    axes = {"left of": (0, 1), "right of": (0, -1), "above": (1, 1), "below": (1, -1)}
    for scene in scenes():
        for first, relation, second in scene.spec["relations"]:
            a, b = (scene.spec["objects"][i]["box"] for i in (first, second))
            if relation in axes:
                axis, sign = axes[relation]
                assert sign * ((b[axis] + b[axis + 2]) - (a[axis] + a[axis + 2])) / 2 > 0.12
            elif relation == "on":
                assert a[3] < (b[1] + b[3]) / 2
            else:
                assert a[3] > b[3] + 0.03


def test_the_mixture_holds_texts_hangul_simple_scenes_and_every_aspect() -> None:
    specs = [scene.spec for scene in scenes()]
    texts = [text for spec in specs for text in spec["texts"]]
    assert 0.45 < sum(bool(spec["texts"]) for spec in specs) / len(specs) < 0.65
    assert 0.04 < sum(text["script"] == "hangul" for text in texts) / len(texts) < 0.2
    aspects = Counter(spec["aspect"] for spec in specs)
    assert 0.5 < aspects["1:1"] / len(specs) < 0.7
    assert min(aspects[aspect] for aspect in ASPECTS) >= 8
    assert sum(len(spec["objects"]) <= 2 for spec in specs) > len(specs) / 2
    kinds = Counter(spec["setting"]["kind"] for spec in specs)
    assert len(kinds) == 9
    assert 0.3 < kinds["flat"] / len(specs) < 0.7


def test_a_training_scene_holds_nothing_held_out() -> None:
    assert not [scene.seed for scene in scenes() if held_out_things(scene.spec)]
    for category in CATEGORIES:
        assert not [scene.seed for scene in scenes(40, "train", category) if held_out_things(scene.spec)]


@pytest.mark.parametrize("category", [None, "two", "colours", "position", "attributes", "text"])
def test_a_held_out_scene_holds_something_held_out(category: str | None) -> None:
    assert all(held_out_things(scene.spec) for scene in scenes(40, "heldout", category))


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_category_gives_its_situation(split: str) -> None:
    for category in CATEGORIES:
        for scene in scenes(40, split, category):
            spec = scene.spec
            names = [thing["name"] for thing in spec["objects"]]
            colours = [thing["colour"] for thing in spec["objects"]]
            if category in ("single", "colours"):
                assert len(names) == 1
            if category == "counting":
                assert 1 <= len(names) <= 4
                assert len(set(names)) == 1
            if category in ("two", "position", "attributes"):
                assert len(set(names)) == len(names) == 2
            if category == "position":
                assert spec["relations"][0][1] in ("left of", "right of", "above", "below")
            if category in ("colours", "attributes"):
                assert all(by_name()[name].paintable for name in names)
                assert None not in colours
                assert len(set(colours)) == len(colours)
            if category == "text":
                text = spec["texts"][0]
                assert text["script"] in ("latin", "hangul")
                assert len(text["text"]) <= 10
                assert " " not in text["text"]
            else:
                assert not spec["texts"]


def test_drawing_needs_no_font(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no fonts here")

    monkeypatch.setattr(ImageFont, "truetype", refuse)
    atlas.index.cache_clear()
    atlas.glyph_levels.cache_clear()
    specs = [spec for spec in square_specs(32) if spec["texts"]][:2]
    assert WORLD.render(specs, (128, 128)).pixels.shape[0] == 2
