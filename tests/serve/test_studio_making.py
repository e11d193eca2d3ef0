"""How a request of the page runs, beside what the doors' tests see of it."""

import pytest

from polarlight.serve.studio_making import seed_at
from polarlight.serve.studio_orders import SEEDS


@pytest.mark.parametrize(
    ("slot", "skipped", "seed"),
    [(0, set(), 5), (3, set(), 8), (0, {5}, 6), (2, {5, 7}, 9), (0, {4}, 5)],
)
def test_seeds_count_up_and_leave_out_those_not_liked(slot: int, skipped: set[int], seed: int) -> None:
    assert seed_at(5, slot, skipped) == seed


def test_after_the_last_seed_comes_the_first() -> None:
    assert [seed_at(SEEDS - 1, slot, set()) for slot in range(2)] == [SEEDS - 1, 0]
