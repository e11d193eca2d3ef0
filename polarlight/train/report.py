"""A run at a glance: its metrics as curves."""

from __future__ import annotations

import json
from pathlib import Path

from ..base.errors import UserError
from ..base.files import atomic_path

CURVES = (
    "loss",
    "digit_nats",
    "text_nats",
    "psnr",
    "accuracy",
    "grad_norm",
    "mfu",
    "worst_load",
)  # and every *_per_second


def plot(folder: Path) -> Path:
    """Draw metrics.jsonl of a run to report.png, one panel a metric: every logged value, and their running mean.

    Raises:
        UserError: matplotlib is not installed, or the run has logged nothing yet.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("The report needs matplotlib.", fix="pip install 'polarlight[eval]'") from error
    log = folder / "metrics.jsonl"
    if not log.exists():
        raise UserError(f"The run {folder} has logged nothing yet.", fix="Train it first.")
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    present = {key for line in lines for key in line}
    names = [name for name in CURVES if name in present] + sorted(key for key in present if key.endswith("_per_second"))
    figure = Figure(figsize=(5 * min(3, len(names)), 3 * -(-len(names) // 3)), layout="constrained")
    for number, name in enumerate(names):
        axes = figure.add_subplot(-(-len(names) // 3), min(3, len(names)), number + 1)
        points = [(line["step"], line[name]) for line in lines if name in line]
        steps, values = zip(*points, strict=True)
        axes.plot(steps, values, color="#b8c4d6", linewidth=0.8)
        axes.plot(steps, running_mean(values), color="#1f4e99", linewidth=1.6)
        axes.set_title(name)
        axes.set_xlabel("step")
    with atomic_path(folder / "report.png") as temporary:
        figure.savefig(temporary, dpi=110)
    return folder / "report.png"


def running_mean(values: tuple[float, ...], share: float = 0.05) -> list[float]:
    """Exponential mean over about `share` of the values, without the bias of its start."""
    keep = 1 - 1 / max(1.0, share * len(values))
    total = weight = 0.0
    means = []
    for value in values:
        total, weight = keep * total + (1 - keep) * value, keep * weight + (1 - keep)
        means.append(total / weight)
    return means
