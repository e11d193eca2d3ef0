"""The mixture-of-experts layer: its balance, and that every path gives the same numbers."""

import pytest
import torch

from polarlight.nn.moe import GATHER_BELOW, DenseMLP, MoE


def layer(experts: int = 4, top_k: int = 2) -> MoE:
    return MoE(8, experts, top_k, hidden=6, shared=5)


def test_balancing_evens_out_a_skewed_load() -> None:
    moe = layer()
    moe.router.data[0] += 2 * moe.router.data.norm()
    x = torch.randn(1, 400, 8) + moe.router.data[0]
    loads = []
    for _ in range(150):
        moe(x)
        loads.append(moe.balance(0.01))
    assert loads[0] > 1.8
    assert loads[-1] < 1.3


def test_the_bias_rises_where_the_load_is_low_and_falls_where_it_is_high() -> None:
    moe = layer()
    moe.load.copy_(torch.tensor([10.0, 30.0, 20.0, 20.0]))
    assert moe.balance(0.1) == pytest.approx(1.5)
    torch.testing.assert_close(moe.bias, torch.tensor([0.1, -0.1, 0.0, 0.0]))
    assert not moe.load.any()


def test_the_bias_as_a_whole_does_not_drift() -> None:
    moe = layer()
    for _ in range(5):
        moe(torch.randn(2, 30, 8))
        moe.balance(0.1)
    assert moe.bias.sum().abs() < 1e-6
    assert moe.bias.any()


def test_a_token_gets_the_same_result_alone_and_among_others() -> None:
    moe, x = layer().eval(), torch.randn(1, 9, 8)
    assert GATHER_BELOW > 1  # so a token alone goes another way
    with torch.no_grad():
        together, _ = moe(x)
        alone = torch.cat([moe(x[:, i : i + 1])[0] for i in range(9)], 1)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_a_step_of_learning_reaches_every_parameter() -> None:
    moe = layer()
    y, losses = moe(torch.randn(2, 40, 8))
    (y.square().mean() + losses.sum()).backward()
    assert all(p.grad is not None and p.grad.any() for p in moe.parameters())


def test_losses_and_loads_are_those_of_training_only() -> None:
    moe = layer()
    assert (moe(torch.randn(2, 5, 8))[1] > 0).all()
    assert moe.load.sum() == 2 * 5 * 2
    moe.load.zero_()
    assert not moe.eval()(torch.randn(2, 5, 8))[1].any()
    assert not moe.load.any()


def test_a_dense_layer_has_the_same_signature_and_no_losses() -> None:
    y, losses = DenseMLP(8, 6)(torch.randn(2, 5, 8))
    assert y.shape == (2, 5, 8)
    assert losses.tolist() == [0, 0]
