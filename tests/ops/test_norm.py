"""The root-mean-square norm against its plain formula."""

import torch
from torch import Tensor

from polarlight.ops.norm import rms_norm


def plain(x: Tensor, weight: Tensor, eps: float = 1e-6) -> Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight


def test_value_and_gradients_equal_those_of_the_plain_formula() -> None:
    x, weight, grad = (
        torch.randn(3, 5, 12, requires_grad=True),
        torch.randn(12, requires_grad=True),
        torch.randn(3, 5, 12),
    )
    torch.testing.assert_close(rms_norm(x, weight), plain(x, weight))
    ours = torch.autograd.grad(rms_norm(x, weight), (x, weight), grad)
    torch.testing.assert_close(ours, torch.autograd.grad(plain(x, weight), (x, weight), grad))


def test_the_weight_alone_can_learn() -> None:
    x, weight = torch.randn(4, 12), torch.randn(12, requires_grad=True)
    (ours,) = torch.autograd.grad(rms_norm(x, weight).sum(), weight)
    (reference,) = torch.autograd.grad(plain(x, weight).sum(), weight)
    torch.testing.assert_close(ours, reference)


def test_values_without_gradients_are_the_same() -> None:
    x, weight = torch.randn(7, 12), torch.randn(12)
    torch.testing.assert_close(rms_norm(x, weight), plain(x, weight))


def test_a_zero_row_stays_zero_and_has_a_finite_gradient() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    y = rms_norm(x, torch.ones(8))
    y.sum().backward()
    assert not y.any()
    assert torch.isfinite(x.grad).all()


def test_bf16_activations_stay_bf16_near_the_fp32_result() -> None:
    x, weight = (torch.randn(50, 64) * 30).bfloat16().requires_grad_(), torch.randn(64, requires_grad=True)
    y = rms_norm(x, weight)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), plain(x.float(), weight), rtol=0.02, atol=0.02)  # bf16 has 8 bits
    y.float().square().sum().backward()
    assert (x.grad.dtype, weight.grad.dtype) == (torch.bfloat16, torch.float32)
