"""Every implementation of attention against a reference of five lines."""

import pytest
import torch
from torch import Tensor

from polarlight.ops.attention import attention


def reference(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ value


def inputs(queries: int, keys: int) -> list[Tensor]:
    return [torch.randn(2, 3, length, 8, requires_grad=True) for length in (queries, keys, keys)]


def some_mask(queries: int, keys: int) -> Tensor:
    """Random, but every query sees its own place."""
    return (torch.rand(2, 1, queries, keys) < 0.5) | torch.eye(queries, keys, dtype=torch.bool)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("queries", "keys"), [(9, 9), (4, 11)])
def test_training_equals_the_reference_forward_and_backward(masked: bool, queries: int, keys: int) -> None:
    parts, mask = inputs(queries, keys), some_mask(queries, keys) if masked else None
    ours, expected = attention(*parts, mask), reference(*parts, mask)
    torch.testing.assert_close(ours, expected)
    grad = torch.randn_like(ours)
    torch.testing.assert_close(torch.autograd.grad(ours, parts, grad), torch.autograd.grad(expected, parts, grad))


@pytest.mark.parametrize("masked", [True, False])
def test_inference_equals_the_reference(masked: bool) -> None:
    parts, mask = inputs(4, 11), some_mask(4, 11) if masked else None
    with torch.no_grad():
        torch.testing.assert_close(attention(*parts, mask), reference(*parts, mask))


def test_what_is_masked_changes_nothing() -> None:
    query, key, value = inputs(5, 5)
    mask = torch.ones(2, 1, 5, 5, dtype=torch.bool).tril()
    before = attention(query, key, value, mask)
    with torch.no_grad():
        key[:, :, 4], value[:, :, 4] = 1e3, 1e3
    after = attention(query, key, value, mask)
    assert torch.equal(before[:, :, :4], after[:, :, :4])
    assert not torch.equal(before[:, :, 4], after[:, :, 4])
