"""The compositor against plain pictures and against itself, one layer at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from polarlight.worlds.atlas import luminance, place_glyphs
from polarlight.worlds.catalogue import tile_index
from polarlight.worlds.composite import BACKDROP, NOBODY, Layer, Truth, composite, glyph_layer, picture_layer


def blank(batch: int = 1, side: int = 64, shade: float = 0.5) -> Tensor:
    return torch.full((3, batch, side, side), shade)


def fresh_truth(canvas: Tensor) -> Truth:
    return Truth(owner=torch.full(canvas.shape[1:], BACKDROP), depth=torch.ones(canvas.shape[1:]))


def some_layers() -> list[Layer]:
    glyphs = [glyph_layer(glyph, 8 + pen * 14, 56, 14) for glyph, pen in place_glyphs("Hi!", "serif")]
    return [
        Layer("box", 32.3, 20.7, 24, 9, 30.0, colour=(0.2, 0.4, 0.8), radius=3),
        Layer("ellipse", 40.0, 30.0, 14, 6, colour=(0.1, 0.1, 0.1), opacity=0.4, soft=6),
        picture_layer("picture", tile_index()["cat"], 24.5, 30.2, 40, rotation=8.0, flip=True, owner=0, depth=0.3),
        picture_layer("painted", tile_index()["car"], 44.0, 40.0, 30, colour=(0.1, 0.2, 0.9), owner=1, depth=0.2),
        Layer("triangle", 50.0, 12.0, 8, 7, 200.0, colour=(0.9, 0.8, 0.1)),
        *glyphs,
    ]


def test_a_box_on_pixel_borders_covers_exactly_its_pixels() -> None:
    canvas = composite(blank(), [[Layer("box", 20.0, 30.0, 10, 5, colour=(1.0, 0.0, 0.25))]])
    expected = blank()
    expected[:, 0, 25:35, 10:30] = torch.tensor([1.0, 0.0, 0.25]).view(3, 1, 1)
    assert torch.equal(canvas, expected)


def test_a_box_turned_by_a_quarter_is_the_box_with_its_sides_swapped() -> None:
    turned = composite(blank(), [[Layer("box", 32.0, 32.0, 20, 6, 90.0, colour=(1.0, 1.0, 1.0))]])
    swapped = composite(blank(), [[Layer("box", 32.0, 32.0, 6, 20, colour=(1.0, 1.0, 1.0))]])
    assert torch.allclose(turned, swapped, atol=1e-5)


@pytest.mark.parametrize(("kind", "share"), [("ellipse", torch.pi / 4), ("triangle", 0.5)])
def test_a_shape_covers_its_area(kind: str, share: float) -> None:
    canvas = composite(blank(shade=0.0), [[Layer(kind, 31.7, 32.4, 20, 14, 25.0, colour=(1.0, 1.0, 1.0))]])
    assert float(canvas[0].sum()) == pytest.approx(40 * 28 * share, rel=0.01)


def test_half_opacity_mixes_halves() -> None:
    canvas = composite(blank(shade=0.0), [[Layer("box", 32, 32, 40, 40, colour=(1.0, 1.0, 1.0), opacity=0.5)]])
    assert torch.equal(canvas, blank(shade=0.5))


def test_layers_pasted_together_equal_layers_pasted_one_by_one() -> None:
    together = composite(blank(), [some_layers()])
    alone = blank()
    for layer in some_layers():
        composite(alone, [[layer]])
    assert torch.equal(together, alone)


def test_a_canvas_does_not_depend_on_the_rest_of_the_batch_bit_for_bit() -> None:
    layers = some_layers()
    scenes = [layers, layers[::-1], layers[2:4], [], layers[:3]]
    batch = composite(blank(len(scenes)), scenes)
    for number, scene in enumerate(scenes):
        assert torch.equal(batch[:, number], composite(blank(), [scene])[:, 0])


def test_layers_off_the_canvas_leave_it_alone() -> None:
    layers = [Layer("box", -50, 10, 20, 20), Layer("ellipse", 30, 200, 20, 20)]
    assert torch.equal(composite(blank(), [layers]), blank())


def test_mirroring_a_picture_mirrors_its_pixels() -> None:
    tile = tile_index()["dog"]
    plain = composite(blank(), [[picture_layer("picture", tile, 32, 32, 48)]])
    mirrored = composite(blank(), [[picture_layer("picture", tile, 32, 32, 48, flip=True)]])
    assert torch.allclose(plain.flip(-1), mirrored, atol=1e-5)


def test_a_picture_at_half_size_is_the_mean_of_the_picture() -> None:
    tile = tile_index()["apple"]
    large = composite(blank(side=96), [[picture_layer("picture", tile, 48, 48, 96)]])
    small = composite(blank(side=48), [[picture_layer("picture", tile, 24, 24, 48)]])
    assert (torch.nn.functional.avg_pool2d(large[:, 0], 2) - small[:, 0]).abs().max() < 0.02


@pytest.mark.parametrize("colour", [(0.85, 0.2, 0.18), (0.18, 0.44, 0.82), (0.17, 0.17, 0.19), (0.96, 0.96, 0.95)])
@pytest.mark.parametrize("name", ["balloon", "t-shirt", "mug", "heart"])
def test_paint_brings_the_wanted_colour(name: str, colour: tuple[float, float, float]) -> None:
    canvas, truth = blank(), fresh_truth(blank())
    composite(canvas, [[picture_layer("painted", tile_index()[name], 32, 32, 60, colour=colour, owner=0)]], truth)
    found = canvas[:, truth.owner == 0].median(dim=1).values
    assert (found - torch.tensor(colour)).abs().max() < 0.2


def test_paint_keeps_the_shading() -> None:
    tile = tile_index()["car"]
    plain = composite(blank(), [[picture_layer("picture", tile, 32, 32, 60)]])
    painted = composite(blank(), [[picture_layer("painted", tile, 32, 32, 60, colour=(0.2, 0.4, 0.85))]])
    pair = torch.stack([luminance(canvas.permute(1, 0, 2, 3)).flatten() for canvas in (plain, painted)])
    assert torch.corrcoef(pair)[0, 1] > 0.9


def test_truth_names_the_topmost_owner_and_its_depth() -> None:
    canvas = blank()
    truth = fresh_truth(canvas)
    low = Layer("box", 24, 32, 16, 16, owner=0, depth=0.6)
    high = Layer("box", 40, 32, 8, 8, owner=1, depth=0.4)
    veil = Layer("box", 16, 32, 4, 4, opacity=0.3, owner=2, depth=0.1)
    board = Layer("box", 24, 20, 2, 2, depth=0.2)
    composite(canvas, [[low, high, veil, board]], truth)
    owner = truth.owner[0]
    assert [int(owner[32, x]) for x in (4, 12, 16, 36, 46, 60)] == [BACKDROP, 0, 0, 1, 1, BACKDROP]
    assert int(owner[20, 24]) == NOBODY
    assert [round(float(truth.depth[0, 32, x]), 3) for x in (4, 12, 36)] == [1.0, 0.6, 0.4]
