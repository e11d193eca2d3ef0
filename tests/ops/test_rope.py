"""Rotary positions in two dimensions."""

import torch
from torch import Tensor

from polarlight.ops.rope import rope_table, rotate

DIM = 16


def scores(query: Tensor, key: Tensor, query_at: Tensor, key_at: Tensor) -> Tensor:
    """Dot products of one query and one key at given (row, column) positions [n 2]."""
    turned = [
        rotate(x.expand(1, len(at), 1, DIM), *(table[None] for table in rope_table(at, DIM)))
        for x, at in ((query, query_at), (key, key_at))
    ]
    return (turned[0] * turned[1]).sum(-1).flatten()


def test_text_on_the_diagonal_turns_as_under_plain_one_dimensional_rope() -> None:
    x, place = torch.randn(1, 10, 2, DIM), torch.arange(10.0)
    cosine, sine = rope_table(torch.stack((place, place), -1), DIM)
    angles = place[:, None] * 1000.0 ** (-torch.arange(0, DIM, 2) / DIM)
    turned = torch.view_as_complex(torch.stack(x.chunk(2, -1), -1)) * torch.polar(torch.ones(()), angles)[:, None]
    expected = torch.cat((turned.real, turned.imag), -1)
    torch.testing.assert_close(rotate(x, cosine[None], sine[None]), expected)


def test_scores_depend_on_differences_of_positions_only() -> None:
    query, key = torch.randn(2, DIM)
    one, other = torch.randint(-9, 9, (2, 20, 2)).float()
    shift = torch.tensor([3.0, -5.5])
    here, there = scores(query, key, one, other), scores(query, key, one + shift, other + shift)
    torch.testing.assert_close(here, there, atol=1e-4, rtol=1e-4)


def test_rows_and_columns_are_told_apart() -> None:
    query, key = torch.randn(2, DIM)
    origin = torch.zeros(1, 2)
    down, right = (scores(query, key, origin, torch.tensor([place])) for place in ([1.0, 0.0], [0.0, 1.0]))
    assert (down - right).abs() > 1e-3


def test_turning_keeps_lengths_and_dtype() -> None:
    x = torch.randn(2, 5, 3, DIM)
    tables = [table.expand(2, -1, -1) for table in rope_table(torch.randn(5, 2) * 9, DIM)]
    torch.testing.assert_close(rotate(x, *tables).norm(dim=-1), x.norm(dim=-1))
    assert rotate(x.bfloat16(), *tables).dtype == torch.bfloat16
