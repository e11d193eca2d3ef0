"""Orders of positions and sizes of groups."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarlight.ops.orders import grid, group_sizes, kept_first, raster, spread, wavefront

SIZES = [(8, 8), (6, 9), (9, 6), (1, 5), (1, 1)]


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_every_order_visits_every_position_once(rows: int, columns: int) -> None:
    every = torch.arange(rows * columns)
    for order in (raster(rows, columns), wavefront(rows, columns), spread(rows, columns, torch.rand(rows * columns))):
        assert torch.equal(order.sort().values, every)


def test_a_wavefront_goes_diagonal_by_diagonal() -> None:
    diagonal = grid(6, 9).sum(-1)[wavefront(6, 9)]
    assert (diagonal.diff() >= 0).all()
    assert wavefront(2, 3).tolist() == [0, 1, 3, 2, 4, 5]


def test_spread_positions_lie_far_from_all_before_them() -> None:
    points = grid(8, 8)[spread(8, 8, torch.rand(64))]
    nearest = [torch.cdist(points[i : i + 1], points[:i]).min().item() for i in range(1, 64)]
    assert min(nearest[:7]) >= 2  # raster: 1 from the first step on
    assert min(nearest[:15]) > 1


def test_noise_chooses_among_spread_orders() -> None:
    one, other = spread(8, 8, torch.rand(64)), spread(8, 8, torch.rand(64))
    assert not torch.equal(one, other)


def test_kept_positions_come_first_and_the_rest_keeps_its_order() -> None:
    order = torch.tensor([3, 1, 0, 2, 4])
    kept = torch.tensor([False, True, True, False, False])
    assert kept_first(order, kept).tolist() == [1, 2, 3, 0, 4]


@given(st.integers(1, 300), st.integers(1, 400))
def test_groups_cover_all_positions_in_at_most_so_many_passes(positions: int, passes: int) -> None:
    groups = group_sizes(positions, passes)
    assert sum(groups) == positions
    assert min(groups) >= 1
    assert len(groups) == min(passes, positions)


@pytest.mark.parametrize("passes", [2, 4, 8, 16])
def test_groups_grow(passes: int) -> None:
    groups = group_sizes(64, passes)
    assert groups[0] <= groups[len(groups) // 2] <= groups[-1]
    assert groups[0] < groups[-1]


def test_one_pass_draws_all_and_many_draw_one_each() -> None:
    assert group_sizes(64, 1) == [64]
    assert group_sizes(64, 10_000) == [1] * 64
