"""Edges of pictures."""

import torch

from polarlight.ops.edges import edges


def test_edges_are_differences_to_the_right_and_below() -> None:
    pixels = torch.zeros(1, 1, 3, 3).expand(-1, 3, -1, -1).clone()
    pixels[:, :, 1, 1] = 1
    right, below = edges(pixels)[0].chunk(2)
    assert right[0].tolist() == [[0, 0, 0], [1, -1, 0], [0, 0, 0]]
    assert below[0].tolist() == [[0, 1, 0], [0, -1, 0], [0, 0, 0]]
