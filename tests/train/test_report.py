"""A run's metrics as curves."""

import json
from pathlib import Path

import pytest

from polarlight.base.errors import UserError
from polarlight.media.pictures import load_picture
from polarlight.train.report import plot, running_mean


def test_a_report_has_a_panel_for_every_known_metric(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines = [{"step": i, "loss": 1 / i, "grad_norm": 1.0, "samples_per_second": 9.0, "other": 1} for i in range(1, 30)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    pixels = load_picture(plot(tmp_path))
    assert pixels.shape == (330, 1650, 3)  # three panels of 5 x 3 inches at 110 dots
    assert pixels.std() > 5


def test_a_run_without_a_log_is_named(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    with pytest.raises(UserError, match="logged nothing") as raised:
        plot(tmp_path)
    assert raised.value.fix


def test_a_running_mean_starts_at_the_first_value_and_follows_slowly() -> None:
    assert running_mean((3.0,) * 50) == pytest.approx([3.0] * 50)
    means = running_mean((0.0,) * 50 + (1.0,) * 50)
    assert means[49] == 0
    assert 0.1 < means[50] < 0.3
    assert 0.99 < means[-1] < 1
