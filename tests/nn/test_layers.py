"""Linear, RMSNorm and SwiGLU: precision is that of the activation, weights stay fp32."""

import pytest
import torch
import torch.nn.functional as F

from polarlight.nn.layers import Linear, RMSNorm, SwiGLU


@pytest.mark.parametrize("make", [lambda: Linear(8, 8), lambda: RMSNorm(8), lambda: SwiGLU(8, 5)])
def test_results_have_the_activations_dtype_and_gradients_the_weights(make: type[torch.nn.Module]) -> None:
    module = make()
    y = module(torch.randn(2, 3, 8, dtype=torch.bfloat16))
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in module.parameters())


def test_a_linear_map_keeps_the_size_of_unit_inputs() -> None:
    assert Linear(256, 300)(torch.randn(500, 256)).std().item() == pytest.approx(1, abs=0.1)


def test_swiglu_is_its_formula() -> None:
    mlp, x = SwiGLU(8, 5), torch.randn(4, 8)
    gate, value = mlp.up.weight[:5], mlp.up.weight[5:]
    torch.testing.assert_close(mlp(x), (F.silu(x @ gate.T) * (x @ value.T)) @ mlp.down.weight.T)
