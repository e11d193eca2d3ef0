"""The prior of a tokenizer's codes."""

import torch

from polarlight.models.code_prior import CodePrior
from polarlight.ops.fsq import digit_values, squash

LEVELS = (3, 5)


def values(count: int = 2) -> torch.Tensor:
    """Random digits as values."""
    digits = (torch.rand(count, 4, 5, 2) * torch.tensor(LEVELS)).to(torch.uint8)
    return digit_values(digits, LEVELS)


def test_costs_are_nats_of_a_distribution_over_the_values_a_digit_has() -> None:
    costs = CodePrior(LEVELS)(torch.randn(2, 4, 5, 2))[1]
    assert costs.shape == (2, 4, 5)
    assert (costs > 0).all()
    probabilities = (-CodePrior(LEVELS).costs(values())).exp()
    torch.testing.assert_close(probabilities.sum(-1), torch.ones(2, 4, 5, 2))
    assert (probabilities[..., 0, 3:] == 0).all()


def test_a_digit_sees_what_comes_before_it_and_nothing_else() -> None:
    prior, before = CodePrior(LEVELS), values()
    base = prior.costs(before)
    for row, column, digit in ((0, 0, 0), (1, 2, 0), (1, 2, 1), (3, 4, 1)):
        changed = before.clone()
        changed[:, row, column, digit] += 0.3
        moved = (prior.costs(changed) != base).any(0).any(-1)
        place = torch.arange(4 * 5 * 2).view(4, 5, 2)
        assert not moved[place <= place[row, column, digit]].any()
        if (row, column, digit) != (3, 4, 1):
            assert moved[place > place[row, column, digit]].any()


def test_at_the_middle_of_a_bin_the_cost_is_that_of_its_digit() -> None:
    prior = CodePrior(LEVELS)
    centres = values(1)
    raw = torch.logit((centres + 1) / 2) / 1.6
    torch.testing.assert_close(squash(raw), centres)
    soft, exact = prior(raw)
    torch.testing.assert_close(soft, exact)


def test_latents_move_towards_what_is_cheap() -> None:
    prior = CodePrior((5,))
    with torch.no_grad():
        prior.out.weight.zero_()
        prior.same.weight.zero_()
        prior.out.bias.copy_(torch.tensor([4.0, 3.0, 2.0, 1.0, 0.0]))  # small digits are likely
    raw = torch.full((1, 2, 2, 1), 0.1, requires_grad=True)
    prior(raw)[0].sum().backward()
    assert (raw.grad > 0).all()
