"""Finite scalar quantisation."""

from math import prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from polarlight.ops.fsq import digit_values, pack_digits, quantise, squash, unpack_digits

LEVELS = (2, 3, 5, 8)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=5))
def test_every_code_has_its_own_digits_and_comes_back(levels: list[int]) -> None:
    codes = torch.arange(min(prod(levels), 500))
    digits = unpack_digits(codes, levels)
    assert (digits < torch.tensor(levels)).all()
    assert torch.equal(pack_digits(digits, levels), codes)


def test_digits_of_a_picture_keep_their_leading_axes() -> None:
    digits = (torch.rand(2, 3, 4, len(LEVELS)) * torch.tensor(LEVELS)).to(torch.uint8)
    assert pack_digits(digits, LEVELS).shape == (2, 3, 4)
    assert torch.equal(unpack_digits(pack_digits(digits, LEVELS), LEVELS), digits)


def test_the_first_digit_is_the_least_significant() -> None:
    assert pack_digits(torch.tensor([1, 0, 2, 0], dtype=torch.uint8), LEVELS).item() == 1 + 2 * 6


def test_values_are_the_centres_of_equal_bins() -> None:
    values = digit_values(torch.arange(4, dtype=torch.uint8)[:, None], [4])
    torch.testing.assert_close(values[:, 0], torch.tensor([-0.75, -0.25, 0.25, 0.75]))


def test_quantising_gives_the_values_of_its_digits() -> None:
    values, digits = quantise(torch.randn(100, len(LEVELS)) * 3, LEVELS)
    torch.testing.assert_close(values, digit_values(digits, LEVELS))


def test_a_quantised_value_is_the_nearest_of_its_level() -> None:
    latents = torch.randn(200, 1)
    values, _ = quantise(latents, [5])
    centres = digit_values(torch.arange(5, dtype=torch.uint8)[:, None], [5])[:, 0]
    torch.testing.assert_close((values - squash(latents)).abs()[:, 0], (squash(latents) - centres).abs().amin(1))


def test_latents_far_outside_stay_in_range() -> None:
    _, digits = quantise(torch.tensor([[-1e9] * 4, [1e9] * 4]), LEVELS)
    assert digits.tolist() == [[0, 0, 0, 0], [1, 2, 4, 7]]


def test_the_gradient_is_that_of_the_squashing_alone() -> None:
    latents = torch.randn(20, len(LEVELS), requires_grad=True)
    weight = torch.randn(20, len(LEVELS))
    (through,) = torch.autograd.grad((quantise(latents, LEVELS)[0] * weight).sum(), latents)
    (plain,) = torch.autograd.grad((squash(latents) * weight).sum(), latents)
    torch.testing.assert_close(through, plain)


@pytest.mark.parametrize("levels", [2, 4, 5, 8])
def test_normal_latents_use_all_values_about_equally(levels: int) -> None:
    _, digits = quantise(torch.randn(40_000, 1), [levels])
    share = torch.bincount(digits.flatten().long(), minlength=levels) / 40_000 * levels
    assert share.min() > 0.8
    assert share.max() < 1.2


def test_bf16_latents_are_quantised_in_fp32() -> None:
    latents = torch.randn(300, 2).bfloat16()
    values, digits = quantise(latents, [64, 64])
    assert values.dtype == torch.float32
    expected_values, expected_digits = quantise(latents.float(), [64, 64])
    assert torch.equal(digits, expected_digits)
    assert torch.equal(values, expected_values)
