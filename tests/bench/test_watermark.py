"""The watermark's benchmark: repeatable pictures, finished work is not done twice, shares are right."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

BENCH = str(Path(__file__).parents[2] / "bench")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, imported from its own folder."""
    monkeypatch.syspath_prepend(BENCH)
    import watermark

    yield watermark
    for name in [name for name in sys.modules if name.split(".")[0] in ("harness", "watermark")]:
        del sys.modules[name]


@pytest.mark.parametrize("number", [0, 6, 7])
def test_a_number_names_one_picture(bench: ModuleType, number: int) -> None:
    first, again = bench.picture(number, 64), bench.picture(number, 64)
    assert first.shape == (64, 64, 3)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, bench.picture(number + 8, 64))


def test_every_change_gives_a_picture(bench: ModuleType) -> None:
    for name, change in bench.CHANGES.items():
        changed = change(bench.picture(6, 128), 3)
        assert changed.dtype == np.uint8, name
        assert changed.shape[2] == 3


def test_what_is_done_is_not_done_again(bench: ModuleType) -> None:
    done = {("marked", 128, number) for number in range(10)} | {("null", 128, 0)}
    left = list(bench.tasks({"marked": 20, "null": 2}, [128], done))
    assert left == [("marked", 128, list(range(10, 18))), ("marked", 128, [18, 19]), ("null", 128, [1])]


def test_a_row_counts_what_was_found(bench: ModuleType) -> None:
    lines = bench.rows(("marked", 128, [0, 6])) + bench.rows(("null", 128, [6]))
    table = bench.summary(lines, 128)
    assert (table["marked"], table["unmarked"], table["false_positives"]) == (2, 1, 0)
    assert table["changes"]["none"]["found"] == 1.0
    assert table["changes"]["none"]["found_noise"] is None
    assert table["psnr_least"] > 40
