"""Muon, AdamW and the schedule."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import image_model
from torch import nn

from polarlight.train.optim import Muon, Schedule, optimizers


def test_the_rate_warms_up_stays_and_falls_linearly_to_the_end() -> None:
    schedule = Schedule(steps=100, warmup=10, decay=0.4)
    assert [schedule(step) for step in (0, 4, 9, 30, 60)] == pytest.approx([0.1, 0.5, 1, 1, 1])
    assert [schedule(step) for step in (70, 80, 99)] == pytest.approx([0.75, 0.5, 1 / 40])


@given(st.integers(1, 500), st.integers(1, 200), st.floats(0, 1))
def test_the_rate_is_never_zero_before_the_end(steps: int, warmup: int, decay: float) -> None:
    schedule = Schedule(steps=steps, warmup=warmup, decay=decay)
    assert all(0 < schedule(step) <= 1 for step in range(steps))


def test_a_muon_step_has_the_size_of_an_adam_step_whatever_the_gradient() -> None:
    weight = nn.Parameter(torch.zeros(24, 24))
    weight.grad = torch.randn(24, 24) * 1e4
    Muon([weight], lr=0.1, weight_decay=0).step()
    assert weight.detach().square().mean().sqrt().item() == pytest.approx(0.02, rel=0.3)  # 0.2 lr


def test_muon_turns_each_expert_by_itself() -> None:
    stack, grad = nn.Parameter(torch.randn(3, 6, 8)), torch.randn(3, 6, 8)
    single = [nn.Parameter(matrix.clone()) for matrix in stack.detach()]
    stack.grad = grad
    for parameter, part in zip(single, grad, strict=True):
        parameter.grad = part.clone()
    Muon([stack], lr=0.1).step()
    Muon(single, lr=0.1).step()
    torch.testing.assert_close(stack.detach(), torch.stack([p.detach() for p in single]), rtol=0, atol=2e-3)


def test_muon_decays_weights_and_skips_what_has_no_gradient() -> None:
    still, moved = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    moved.grad = torch.zeros(4, 4)
    Muon([still, moved], lr=0.5, weight_decay=0.1).step()
    assert torch.equal(still.detach(), torch.ones(4, 4))
    torch.testing.assert_close(moved.detach(), torch.full((4, 4), 0.95))


@pytest.mark.parametrize("muon", [True, False])
def test_every_parameter_has_one_optimizer(muon: bool) -> None:
    model = image_model()
    made = optimizers(model, lr=1e-2, adam_lr=1e-3, muon=muon, exclude=("tokens", "head.out"))
    owned = [id(p) for optimizer in made for group in optimizer.param_groups for p in group["params"]]
    assert sorted(owned) == sorted(id(p) for p in model.parameters())
    assert isinstance(made[0], Muon) == muon


def test_matrices_go_to_muon_unless_they_are_excluded() -> None:
    model = image_model()
    muon, adam = optimizers(model, lr=1e-2, adam_lr=1e-3, exclude=("tokens", "head.out"))
    assert all(p.ndim in (2, 3) for p in muon.param_groups[0]["params"])
    others = {id(p) for p in adam.param_groups[0]["params"]}
    assert {id(model.tokens.weight), id(model.head.out.weight), id(model.norm.weight)} <= others
    assert id(model.blocks[0].attention.qkv.weight) not in others
