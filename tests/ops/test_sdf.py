"""Signed distances against closed forms and slow references."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from polarlight.ops import sdf

OUTLINE = torch.tensor([[0.0, 0.1], [0.4, 0.1], [0.4, 0.5], [0.15, 0.8], [0.15, 0.9], [0.0, 0.9]])
SIZE = (0.6, 1.0)
GRID = sdf.profile_grid(OUTLINE, *SIZE, cells=96)

FIELDS = {
    "sphere": lambda p: sdf.sphere(p, 0.6),
    "box": lambda p: sdf.box(p, (0.5, 0.3, 0.4)),
    "rounded box": lambda p: sdf.box(p, (0.5, 0.3, 0.4), 0.1),
    "torus": lambda p: sdf.torus(p, 0.5, 0.2),
    "revolved": lambda p: sdf.revolve(p + torch.tensor([[0.0], [0.5], [0.0]]), GRID, *SIZE),
    "union": lambda p: sdf.smooth_union(sdf.sphere(p, 0.4), sdf.box(p, (0.6, 0.1, 0.1)), 0.1),
}


def cloud(count: int, seed: int = 0) -> Tensor:
    return torch.rand(3, count, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("name", FIELDS)
def test_no_field_changes_faster_than_space(name: str) -> None:
    a = cloud(4000)
    b = a + 0.05 * cloud(4000, seed=1)
    change = (FIELDS[name](a) - FIELDS[name](b)).abs()
    assert (change <= (a - b).norm(dim=0) * 1.02 + 1e-4).all()


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_negative_in_the_middle_and_positive_far_out(name: str) -> None:
    middle = torch.tensor([[0.5 if name == "torus" else 0.0], [0.0], [0.0]])
    assert FIELDS[name](middle).item() < -0.05
    assert FIELDS[name](torch.full((3, 1), 2.0)).item() > 1


def test_a_sharp_box_measures_the_way_to_its_nearest_point() -> None:
    p, half = cloud(500), torch.tensor([[0.5], [0.3], [0.4]])
    nearest = p.clamp(-half, half)
    expected = torch.where((p == nearest).all(0), (p.abs() - half).amax(0), (p - nearest).norm(dim=0))
    torch.testing.assert_close(sdf.box(p, (0.5, 0.3, 0.4)), expected)


def test_a_torus_measures_the_way_to_its_circle() -> None:
    p, angle = cloud(300), torch.linspace(0, 2 * math.pi, 2001)
    circle = torch.stack([0.5 * angle.cos(), 0.5 * angle.sin(), 0 * angle])
    expected = torch.cdist(p.T, circle.T).amin(1) - 0.2
    torch.testing.assert_close(sdf.torus(p, 0.5, 0.2), expected, atol=1e-3, rtol=0)


def test_a_polygon_agrees_with_densely_sampled_edges_and_with_the_winding_number() -> None:
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.4], [0.0, 1.0]])
    p = torch.rand(2, 400, generator=torch.Generator().manual_seed(3)) * 1.6 - 0.3
    along = torch.linspace(0, 1, 501)[:, None, None]
    edges = (corners * (1 - along) + corners.roll(-1, 0) * along).reshape(-1, 2)
    away = torch.cdist(p.T, edges).amin(1)
    spokes = torch.view_as_complex((corners[None] - p.T[:, None]).contiguous())
    inside = (spokes.roll(-1, 1) / spokes).angle().sum(1).abs() > math.pi
    for order in (corners, corners.flip(0)):
        torch.testing.assert_close(sdf.polygon(p, order), torch.where(inside, -away, away), atol=2e-3, rtol=0)


def test_a_revolved_solid_agrees_with_its_profile() -> None:
    p = cloud(400) * 0.35 + torch.tensor([[0.0], [0.5], [0.0]])
    flat = torch.stack([torch.hypot(p[0], p[2]), p[1]])
    whole = torch.cat([OUTLINE, OUTLINE.flip(0) * torch.tensor([-1.0, 1.0])])
    torch.testing.assert_close(sdf.revolve(p, GRID, *SIZE), sdf.polygon(flat, whole), atol=6e-3, rtol=0)


def test_outside_its_table_a_revolved_solid_is_never_thought_farther_than_it_is() -> None:
    p = cloud(2000) * 3
    p = p[:, (p.abs().amax(0) > 1.1)]
    flat = torch.stack([torch.hypot(p[0], p[2]), p[1]])
    whole = torch.cat([OUTLINE, OUTLINE.flip(0) * torch.tensor([-1.0, 1.0])])
    found, true = sdf.revolve(p, GRID, *SIZE), sdf.polygon(flat, whole)
    assert (found <= true + 1e-3).all()
    assert (found > 0.3 * true).all()


def test_normals_of_a_sphere_point_away_from_its_middle() -> None:
    p = sdf.normalize(cloud(200)) * 0.6
    torch.testing.assert_close(sdf.normals(FIELDS["sphere"], p, 1e-3), p / 0.6, atol=2e-3, rtol=0)


def test_a_smooth_union_is_at_most_a_quarter_of_its_blend_below_the_sharp_one() -> None:
    a, b = FIELDS["sphere"](cloud(500)), FIELDS["torus"](cloud(500))
    below = torch.minimum(a, b) - sdf.smooth_union(a, b, 0.2)
    assert below.min() >= 0
    assert below.max() <= 0.05 + 1e-6


def test_sphere_tracing_meets_a_sphere_where_the_quadratic_says() -> None:
    sideways = torch.linspace(-0.9, 0.9, 181)
    origin = torch.stack([sideways, 0 * sideways, 0 * sideways - 3])
    direction = torch.tensor([[0.0], [0.0], [1.0]]).expand_as(origin).contiguous()
    near, far = sdf.box_span(origin, direction, (-0.6, -0.6, -0.6), (0.6, 0.6, 0.6))
    t, hit = sdf.sphere_trace(FIELDS["sphere"], origin, direction, near, far, steps=40)
    assert hit[sideways.abs() < 0.595].all()
    assert not hit[sideways.abs() > 0.61].any()
    inner = sideways.abs() < 0.55
    expected = 3 - (0.36 - sideways[inner].square()).sqrt()
    torch.testing.assert_close(t[inner], expected, atol=6e-3, rtol=0)


def test_a_ray_enters_and_leaves_a_box_where_its_faces_are() -> None:
    origin = torch.tensor([[0.0, 0.0, 5.0], [0.5, 0.5, 0.5], [-3.0, 0.0, -3.0]])
    direction = torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
    near, far = sdf.box_span(origin, direction, (-1.0, 0.0, -1.0), (1.0, 1.0, 2.0))
    torch.testing.assert_close(near[:2], torch.tensor([2.0, 0.0]))
    torch.testing.assert_close(far[:2], torch.tensor([5.0, 2.0]))
    assert near[2] > far[2]


def test_a_shadow_is_dark_behind_the_solid_light_beside_it_and_soft_between() -> None:
    sideways = torch.linspace(-2, 2, 81)
    origin = torch.stack([sideways, 0 * sideways, 0 * sideways - 2])
    direction = torch.tensor([[0.0], [0.0], [1.0]]).expand_as(origin).contiguous()
    near, far = torch.zeros(81), torch.full((81,), 4.0)
    light = sdf.soft_shadow(FIELDS["sphere"], origin, direction, near, far, sharpness=8.0)
    assert light[40] < 0.01
    assert light[0] == 1
    assert ((light > 0.1) & (light < 0.9)).sum() >= 2
    assert (light[41:].diff() >= -0.02).all()
