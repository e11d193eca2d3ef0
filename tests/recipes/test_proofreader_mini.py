"""The proofreader's training: strips beside their lines, and a smoke run learns and resumes."""

from pathlib import Path
from random import Random

import pytest

from polarlight.models.proofreader import Proofreader
from polarlight.models.weights import read_card
from polarlight.recipes import proofreader_mini
from polarlight.recipes.proofreader_mini import SHIFT, SIZE, shaken
from polarlight.recipes.runs import Run


def test_a_shaken_box_stays_near() -> None:
    box, random = (0.2, 0.4, 0.6, 0.5), Random(0)
    boxes = [shaken(box, "ABCD", random) for _ in range(100)]
    assert len(set(boxes)) == 100
    for x0, y0, x1, y1 in boxes:
        assert (x0 + x1) / 2 == pytest.approx(0.4, abs=SHIFT * 0.1 + 1e-9)
        assert (y0 + y1) / 2 == pytest.approx(0.45, abs=SHIFT * 0.1)
        assert x1 - x0 == pytest.approx(0.4, rel=SIZE + 1e-9)
        assert y1 - y0 == pytest.approx(0.1, rel=SIZE + 1e-9)


def test_smoke_trains_a_proofreader_that_is_found_and_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "proofreader-smoke"
    first = proofreader_mini.run(Run(folder=folder, smoke=True, steps=2))
    assert first["steps"] == 2
    assert Proofreader.find(folder, read_card(folder / "proofreader.safetensors")["tokenizer"]) is not None
    again = proofreader_mini.run(Run(folder=folder, smoke=True, steps=3))
    assert again["steps"] == 3
    assert again["hash"] != first["hash"]
