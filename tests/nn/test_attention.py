"""Self-attention: whole, and chunk by chunk against its cache."""

import pytest
import torch

from polarlight.nn.attention import LayerCache, Rotation, SelfAttention
from polarlight.ops.rope import rope_table

LENGTH, WIDTH, HEADS, DIM = 11, 12, 2, 8


def rotation(start: int, end: int) -> Rotation:
    """A token lies at its number and asks from half a place further on."""
    place = torch.arange(float(LENGTH))[None, start:end, None].expand(3, -1, 2)
    return Rotation(query=rope_table(place + 0.5, DIM), key=rope_table(place, DIM))


@torch.no_grad()
@pytest.mark.parametrize("chunks", [[11], [1] * 11, [4, 1, 6], [9, 2]])
def test_chunks_against_the_cache_equal_the_whole(chunks: list[int]) -> None:
    layer, x = SelfAttention(WIDTH, HEADS, DIM), torch.randn(3, LENGTH, WIDTH)
    mask = torch.ones(LENGTH, LENGTH, dtype=torch.bool).tril().expand(3, 1, -1, -1)
    whole = layer(x, rotation(0, LENGTH), mask)
    cache, start, parts = LayerCache(3, HEADS, LENGTH, DIM, torch.float32), 0, []
    for size in chunks:
        end = start + size
        parts.append(layer(x[:, start:end], rotation(start, end), mask[:, :, start:end, :end], cache, start))
        start = end
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-4, atol=1e-5)


def test_training_and_inference_agree() -> None:
    layer, x = SelfAttention(WIDTH, HEADS, DIM), torch.randn(3, LENGTH, WIDTH)
    mask = torch.ones(3, 1, LENGTH, LENGTH, dtype=torch.bool)
    trained = layer(x, rotation(0, LENGTH), mask)
    with torch.no_grad():
        torch.testing.assert_close(layer(x, rotation(0, LENGTH), mask), trained.detach(), rtol=1e-4, atol=1e-5)


def test_where_a_token_asks_from_matters() -> None:
    layer, x = SelfAttention(WIDTH, HEADS, DIM), torch.randn(3, LENGTH, WIDTH)
    mask, one = torch.ones(3, 1, LENGTH, LENGTH, dtype=torch.bool), rotation(0, LENGTH)
    other = Rotation(query=one.key, key=one.key)
    assert not torch.allclose(layer(x, one, mask), layer(x, other, mask), atol=1e-4)


def test_a_write_leaves_what_was_there() -> None:
    cache = LayerCache(1, HEADS, 5, DIM, torch.float32)
    first, second = torch.randn(1, HEADS, 3, DIM), torch.randn(1, HEADS, 2, DIM)
    cache.write(0, first, first)
    key, value = cache.write(3, second, second)
    assert torch.equal(key, torch.cat((first, second), 2))
    assert torch.equal(value, key)
