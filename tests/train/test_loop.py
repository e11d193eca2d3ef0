"""The training loop: exact resume, ranks that agree, and what it refuses."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import captioning, drawing, image_model
from torch import Tensor, nn

from polarlight.models.image_ar import ImageAR, image_loss
from polarlight.models.image_grammar import collate
from polarlight.ops.streams import stream, uniform
from polarlight.train.loop import Batch, FitConfig, fit
from polarlight.train.optim import Schedule, optimizers

STEPS = 6


def batch(number: int) -> Batch:
    """Batch `number`: a picture to draw and one to describe."""
    digits = (uniform((2, 3, 4, 8), number, "codes") * 3).to(torch.uint8)
    order = torch.randperm(12, generator=stream(number, "order"))
    return Batch(data=collate([drawing(digits[0], order), captioning(digits[1])]), units=2)


def train(folder: Path, *stops: int, **settings: Any) -> tuple[ImageAR, list[Any], dict[str, Tensor]]:
    """Train to each of `stops` in turn, with a new model and new optimizers each time."""
    for stop in stops:
        torch.manual_seed(5)
        model = image_model()
        made = optimizers(model, lr=1e-2, adam_lr=1e-2, exclude=("tokens", "head.out"))
        done, ema = fit(
            model,
            lambda model, data, random: image_loss(model, data, torch.float32),
            batch,
            made,
            Schedule(steps=STEPS, warmup=2),
            FitConfig(steps=stop, log_every=1, save_every=100, **settings),
            folder,
        )
        assert done == stop
    return model, [optimizer.state_dict() for optimizer in made], ema.average


def metrics(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if "second" not in k} for line in lines]


def test_six_steps_equal_three_and_three_bit_for_bit(tmp_path: Path) -> None:
    whole, parts = train(tmp_path / "whole", STEPS), train(tmp_path / "parts", 3, STEPS)
    exact = {"rtol": 0, "atol": 0}
    torch.testing.assert_close(whole[0].state_dict(), parts[0].state_dict(), **exact)
    torch.testing.assert_close(whole[1], parts[1], **exact)
    torch.testing.assert_close(whole[2], parts[2], **exact)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")
    assert len(metrics(tmp_path / "whole")) == STEPS


def test_batches_of_a_process_of_their_own_teach_the_same(tmp_path: Path) -> None:
    here, there = train(tmp_path / "here", STEPS), train(tmp_path / "there", 2, STEPS, forked=True)
    torch.testing.assert_close(here[0].state_dict(), there[0].state_dict(), rtol=0, atol=0)
    assert metrics(tmp_path / "here") == metrics(tmp_path / "there")


def test_what_goes_wrong_in_a_batch_is_heard_wherever_it_is_made(tmp_path: Path) -> None:
    for forked in (False, True):
        with pytest.raises(IndexError):
            fit_line(tmp_path / str(forked), [1.0], steps=2, forked=forked)


class Line(nn.Module):
    """y = w x, for tests of the loop itself."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1))


def fit_line(folder: Path, values: list[float], **settings: Any) -> tuple[Line, list[dict[str, float]], list[int]]:
    """Fit w x = 0 on values[step] and return what was reported and saved."""
    model, reported, saved = Line(), [], []

    def objective(model: nn.Module, x: float, random: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = (model.w * x).square().sum()
        return loss, {"loss": loss.detach()}

    fit(
        model,
        objective,
        lambda number: Batch(data=values[number], units=1, flops=1e6),
        optimizers(model, lr=0.1, adam_lr=0.1, muon=False),
        Schedule(steps=len(values), warmup=1),
        FitConfig(**{"steps": len(values), "log_every": 1, "peak_flops": 1e12, **settings}),
        folder,
        report=reported.append,
        every_save=saved.append,
    )
    return model, reported, saved


def test_a_gradient_that_is_not_finite_stops_the_run_and_keeps_the_last_state(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"step 2.*state\.pt"):
        fit_line(tmp_path, [1.0, 1.0, float("nan")], save_every=2)
    assert torch.load(tmp_path / "state.pt", weights_only=True)["step"] == 2


def test_a_run_reports_saves_and_logs_as_often_as_told(tmp_path: Path) -> None:
    _, reported, saved = fit_line(tmp_path, [1.0] * 5, log_every=2, save_every=2)
    assert [line["step"] for line in reported] == [2, 4, 5]
    assert saved == [2, 4, 5]
    assert [line["step"] for line in metrics(tmp_path)] == [2, 4, 5]
    assert {"loss", "grad_norm", "samples_per_second", "seconds", "mfu"} <= reported[0].keys()


def test_a_run_stops_with_a_state_when_its_minutes_are_over(tmp_path: Path) -> None:
    _, reported, saved = fit_line(tmp_path, [1.0] * 50, minutes=0.0)
    assert saved == [1]
    assert reported[-1]["step"] == 1


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    _, reported, _ = fit_line(tmp_path, [1e4] * 3)
    assert reported[0]["grad_norm"] > 1e6
    assert reported[-1]["loss"] < reported[0]["loss"]


def test_ranks_end_with_the_same_weights_as_one_process_with_all_their_batches(tmp_path: Path) -> None:
    script = Path(__file__).with_name("two_ranks.py")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    together = subprocess.Popen(
        [*torchrun, str(script), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"},
        stderr=subprocess.PIPE,
    )
    alone = runpy.run_path(str(script))["train"](tmp_path / "alone", pieces=2).state_dict()
    _, errors = together.communicate(timeout=120)
    assert together.returncode == 0, errors.decode()
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, alone, rtol=1e-3, atol=1e-5)
    assert first["moe.bias"].any()
    assert len(metrics(tmp_path / "run")) == 4  # the first rank alone writes
