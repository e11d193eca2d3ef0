"""The running average, and states that are whole or not there."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from polarlight.base.errors import UserError
from polarlight.train.checkpoint import EMA, load_state, save_state
from polarlight.train.optim import optimizers


def pieces() -> tuple[nn.Module, list[torch.optim.Optimizer], EMA]:
    model = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
    return model, optimizers(model, lr=0.1, adam_lr=0.1), EMA(model, 0.9)


def test_an_average_of_what_stays_is_what_stays() -> None:
    model, _, ema = pieces()
    for step in range(5):
        ema.update(model, step)
    torch.testing.assert_close(ema.average, dict(model.named_parameters()), check_device=False)


def test_the_average_follows_quickly_at_first_and_slowly_later() -> None:
    model, _, ema = pieces()
    before = ema.average["0.weight"].clone()
    with torch.no_grad():
        model[0].weight.add_(1)
    ema.update(model, 0)
    torch.testing.assert_close(ema.average["0.weight"], before + 0.9)  # 1 - 1/10
    with torch.no_grad():
        model[0].weight.copy_(ema.average["0.weight"] + 1)
    before = ema.average["0.weight"].clone()
    ema.update(model, 10_000)
    torch.testing.assert_close(ema.average["0.weight"], before + 0.1)


def test_swapping_twice_changes_nothing() -> None:
    model, _, ema = pieces()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for value in ema.average.values():
        value.zero_()
    ema.swap(model)
    assert not any(p.any() for p in model.parameters())
    ema.swap(model)
    assert all(torch.equal(p, before[name]) for name, p in model.named_parameters())


def test_a_state_comes_back_whole(tmp_path: Path) -> None:
    model, made, ema = pieces()
    model(torch.randn(3, 4)).sum().backward()
    for optimizer in made:
        optimizer.step()
    save_state(tmp_path / "state.pt", model, made, ema, 7, {"note": "hello"})
    other, others, average = pieces()
    assert load_state(tmp_path / "state.pt", other, others, average) == (7, {"note": "hello"})
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert all(torch.equal(value, average.average[name]) for name, value in ema.average.items())
    torch.testing.assert_close([o.state_dict()["state"] for o in made], [o.state_dict()["state"] for o in others])


@pytest.mark.parametrize("how", ["truncated", "garbage", "empty", "of another shape", "of another kind"])
def test_a_state_that_does_not_fit_names_itself(tmp_path: Path, how: str) -> None:
    path = tmp_path / "state.pt"
    model, made, ema = pieces()
    save_state(path, model, made, ema, 1, {})
    if how == "of another shape":
        other = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 2))
        save_state(path, other, optimizers(other, lr=0.1, adam_lr=0.1), EMA(other, 0.9), 1, {})
    elif how == "of another kind":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        content = path.read_bytes()
        path.write_bytes({"truncated": content[: len(content) // 2], "garbage": b"not a state", "empty": b""}[how])
    with pytest.raises(UserError, match=re.escape(str(path))) as raised:
        load_state(path, model, made, ema)
    assert "--no-resume" in raised.value.fix


KILLED = """
import os, signal, sys
from pathlib import Path
from torch import nn
from polarlight.train.checkpoint import EMA, save_state
from polarlight.train.optim import optimizers

class Killer:
    def __reduce__(self):
        os.kill(os.getpid(), signal.SIGKILL)

path, model = Path(sys.argv[1]), nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2))
state = path, model, optimizers(model, lr=0.1, adam_lr=0.1), EMA(model, 0.9)
save_state(*state, 1, {})
save_state(*state, 2, {"killed while this is written": Killer()})
"""


def test_kill_9_in_the_middle_of_a_save_leaves_the_state_before(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert load_state(path, *pieces()) == (1, {})
