"""The benchmark of the watermark in clips: repeatable clips, shares that are right."""

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
    import watermark_clips

    yield watermark_clips
    for name in [name for name in sys.modules if name.split(".")[0] in ("harness", "watermark", "watermark_clips")]:
        del sys.modules[name]


@pytest.mark.parametrize("number", [0, 1, 6, 7], ids=["pan", "zoom", "still", "grey"])
def test_a_number_names_one_clip(bench: ModuleType, number: int) -> None:
    first, again = np.stack(bench.clip(number, 64)), np.stack(bench.clip(number, 64))
    assert first.shape == (bench.FRAMES, 64, 64, 3)
    assert np.array_equal(first, again)
    moves = not np.array_equal(first[0], first[-1])
    assert moves == (bench.KINDS[number] != "still")


def test_every_change_gives_a_clip(bench: ModuleType) -> None:
    content = bench.encode_clip(np.stack(bench.clip(7, 96)), bench.FPS)
    shapes = {name: np.stack(bench.frames_of(bench.changed(content, name))).shape for name in bench.CHANGES}
    assert shapes["CRF 28"] == (24, 96, 96, 3)
    assert shapes["resize 0.5"] == (24, 48, 48, 3)
    assert shapes["crop 10 %"] == (24, 86, 86, 3)
    assert shapes["trim to a third"] == (8, 96, 96, 3)


def test_a_row_counts_what_was_found(bench: ModuleType) -> None:
    lines = bench.rows(("marked", 96, [7])) + bench.rows(("null", 96, [7]))
    table = bench.summary(lines, 96)
    assert (table["marked"], table["unmarked"], table["false_positives"]) == (1, 1, 0)
    assert (table["changes"]["none"]["found"], table["changes"]["none"]["payload"]) == (1.0, 1.0)
    assert table["psnr_mark_least"] > 40
