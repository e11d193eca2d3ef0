"""Convolution blocks for pictures."""

import torch

from polarlight.nn.conv import ChannelNorm, Conv, ResBlock


def test_a_pixels_norm_sees_no_neighbour() -> None:
    norm, x = ChannelNorm(6), torch.randn(1, 6, 5, 7)
    torch.testing.assert_close(norm(x)[:, :, 2:3, 3:4], norm(x[:, :, 2:3, 3:4]))


def test_odd_kernels_keep_the_size_and_strides_divide_it() -> None:
    x = torch.randn(2, 3, 8, 12)
    assert Conv(3, 5, 3)(x).shape == (2, 5, 8, 12)
    assert Conv(3, 5, 2, stride=2)(x).shape == (2, 5, 4, 6)


def test_a_block_computes_in_the_activations_dtype_with_fp32_weights() -> None:
    block = ResBlock(4)
    assert block(torch.randn(1, 4, 6, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert all(p.dtype == torch.float32 for p in block.parameters())


def test_a_new_block_is_near_the_identity() -> None:
    x = torch.randn(1, 16, 8, 8)
    assert (ResBlock(16)(x) - x).std() < 0.2
