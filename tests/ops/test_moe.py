"""Routing, and both dispatches against a dense reference."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from polarlight.ops.moe import experts_gathered, experts_sorted, load_balance_loss, route

TOKENS, WIDTH, HIDDEN, EXPERTS, TOP = 12, 6, 5, 4, 2


def reference(x: Tensor, gates: Tensor, chosen: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """Every expert on every token, then the gates."""
    gate, value = torch.einsum("nd,ehd->neh", x, up).chunk(2, -1)
    outputs = torch.einsum("neh,edh->ned", F.silu(gate) * value, down)
    return torch.einsum("ned,ne->nd", outputs, torch.zeros(outputs.shape[:2]).scatter(1, chosen, gates))


def inputs(tokens: int = TOKENS, unused: int | None = None) -> tuple[Tensor, ...]:
    """x, gates, chosen, up, down; nobody chooses expert `unused`."""
    bias = torch.zeros(EXPERTS)
    if unused is not None:
        bias[unused] = -10
    gates, chosen, _ = route(torch.randn(tokens, EXPERTS), bias, TOP)
    up, down = torch.randn(EXPERTS, 2 * HIDDEN, WIDTH), torch.randn(EXPERTS, WIDTH, HIDDEN)
    return torch.randn(tokens, WIDTH), gates, chosen, up, down


@pytest.mark.parametrize("unused", [None, 0, 3])
@pytest.mark.parametrize("dispatch", [experts_sorted, experts_gathered])
def test_dispatch_equals_the_dense_reference(dispatch: type(experts_sorted), unused: int | None) -> None:
    parts = inputs(unused=unused)
    assert unused not in parts[2].unique().tolist()
    torch.testing.assert_close(dispatch(*parts), reference(*parts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("multiple", [2, 5, 64])
def test_rounding_the_rows_of_an_expert_up_changes_nothing(multiple: int) -> None:
    parts = inputs(unused=2)
    torch.testing.assert_close(experts_sorted(*parts, multiple), reference(*parts), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("multiple", [1, 8])
@pytest.mark.parametrize("unused", [None, 1])
def test_sorted_dispatch_has_the_gradients_of_the_dense_reference(unused: int | None, multiple: int) -> None:
    x, gates, chosen, up, down = inputs(unused=unused)
    learned = [part.requires_grad_() for part in (x, gates, up, down)]
    weight = torch.randn(TOKENS, WIDTH)
    ours = torch.autograd.grad((experts_sorted(x, gates, chosen, up, down, multiple) * weight).sum(), learned)
    expected = torch.autograd.grad((reference(x, gates, chosen, up, down) * weight).sum(), learned)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-4)
    if unused is not None:
        assert not ours[2][unused].any()


def test_dispatch_answers_in_the_tokens_dtype() -> None:
    x, *rest = inputs()
    assert experts_sorted(x.bfloat16(), *rest).dtype == torch.bfloat16


def test_gates_sum_to_one_and_choices_differ() -> None:
    gates, chosen, scores = route(torch.randn(50, EXPERTS).bfloat16(), torch.randn(EXPERTS), 3)
    torch.testing.assert_close(gates.sum(-1), torch.ones(50))
    assert all(len(set(row)) == 3 for row in chosen.tolist())
    assert gates.dtype == scores.dtype == torch.float32


def test_the_bias_changes_who_is_chosen_but_not_the_gates() -> None:
    logits = torch.randn(50, EXPERTS)
    _, plain, scores = route(logits, torch.zeros(EXPERTS), TOP)
    gates, chosen, _ = route(logits, torch.tensor([5.0, 0, 0, 0]), TOP)
    assert (chosen == 0).any(1).all()
    assert not (plain == 0).any(1).all()
    picked = scores.gather(1, chosen)
    torch.testing.assert_close(gates, picked / picked.sum(-1, keepdim=True))


def test_the_balance_loss_is_one_when_balanced_and_grows_when_not() -> None:
    even = torch.arange(8).view(4, 2) % EXPERTS
    assert load_balance_loss(torch.ones(4, EXPERTS), even).item() == pytest.approx(1)
    scores = torch.tensor([[0.9, 0.9, 0.1, 0.1]]).expand(4, -1)
    assert load_balance_loss(scores, torch.tensor([[0, 1]] * 4)).item() == pytest.approx(1.8)
