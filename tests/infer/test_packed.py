"""The packed image model against the plain one."""

import pytest
import torch
from tiny import captioning, codes, drawing, image_model
from torch import Tensor

from polarlight.infer.packed import NARROW, PackedHead, PackedImageAR, PackedMoE, pack
from polarlight.models.image_ar import ImageAR, causal_mask
from polarlight.models.image_grammar import Tokens, collate

BF16_NOISE = 0.05  # relative; both sides round every activation to 8 bits, in another order


def uneven_model() -> ImageAR:
    """A model whose norms and selection biases are not at their first values."""
    model = image_model()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)
        for block in model.blocks[1:]:
            block.mlp.bias.normal_(std=0.1)
            block.mlp.scale = 1.5
    return model


def batch(model: ImageAR) -> Tokens:
    """Two sequences of different length, so that one is padded."""
    return collate(
        [drawing(codes(3, 3, model)), drawing(codes(3, 3, model), words="two blue dogs on a hill")], multiple=1
    )


def hidden(model: ImageAR | PackedImageAR, tokens: Tokens, dtype: torch.dtype) -> Tensor:
    """States of the whole batch at once, where the tokens are valid."""
    with torch.no_grad():
        return model.hidden(tokens, causal_mask(tokens), dtype)[0][tokens.valid]


def test_states_are_those_of_the_plain_model() -> None:
    model = uneven_model()
    tokens = batch(model)
    torch.testing.assert_close(
        hidden(PackedImageAR(model, torch.float32), tokens, torch.float32), hidden(model, tokens, torch.float32)
    )


def test_states_in_bf16_are_close_to_the_exact_ones() -> None:
    model = uneven_model()
    tokens = batch(model)
    exact = hidden(model, tokens, torch.float32)
    packed = hidden(PackedImageAR(model, torch.bfloat16), tokens, torch.bfloat16).float()
    assert (packed - exact).norm() / exact.norm() < BF16_NOISE


def test_token_by_token_with_the_cache_is_the_whole_at_once() -> None:
    model = uneven_model()
    packed, tokens = PackedImageAR(model, torch.float32), captioning(codes(2, 2, model))
    whole = hidden(model, tokens, torch.float32)
    length = tokens.ids.shape[1]
    cache = packed.new_cache(1, length, torch.float32)
    steps = []
    for i in range(length):
        seen = torch.ones(1, 1, 1, i + 1, dtype=torch.bool)
        steps.append(packed.hidden(tokens.columns(slice(i, i + 1)), seen, torch.float32, cache, i)[0][0])
    torch.testing.assert_close(torch.cat(steps), whole)


def test_text_logits_are_those_of_the_plain_model() -> None:
    model = uneven_model()
    states = torch.randn(2, 3, model.config.width)
    with torch.no_grad():
        torch.testing.assert_close(PackedImageAR(model, torch.float32).text_logits(states), model.text_logits(states))


@pytest.mark.parametrize("tokens", [1, 3, 1200])
def test_experts_give_the_same_one_by_one_all_at_once_and_sorted(tokens: int) -> None:
    model = image_model(experts=8, top_k=2)
    moe, norm = model.blocks[1].mlp, torch.ones(model.config.width)
    packed, x = PackedMoE(moe, norm, torch.float32), torch.randn(tokens, model.config.width)
    with torch.no_grad():
        normed = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)
        torch.testing.assert_close(packed(x), moe(normed[None])[0][0])


def test_digits_drawn_one_after_another_have_the_logits_of_all_at_once() -> None:
    model = uneven_model()
    head, state = PackedHead(model.head, torch.float32), torch.randn(2, 3, model.config.width)
    digits = codes(1, 3, model)[0]
    known = torch.zeros(3, head.digits * head.values)
    with torch.no_grad():
        inputs = head.inputs(state)
        for i in range(head.digits):
            for side in range(2):
                expected = model.head(state[side], digits)[:, i]
                torch.testing.assert_close(head.logits(inputs[i], known, i)[side], expected)
            known.scatter_(1, (digits[:, i : i + 1] + i * head.values).long(), 1.0)


def test_a_packed_matrix_multiplies_as_before() -> None:
    weight, x = torch.randn(48, 32), torch.randn(5, 32)
    torch.testing.assert_close(pack(weight, torch.float32)(x), x @ weight.T)
    product = pack(weight, torch.bfloat16)(x.bfloat16()).float()
    assert (product - x @ weight.T).norm() / (x @ weight.T).norm() < 0.01


def test_a_row_by_itself_times_a_small_matrix_is_the_same_up_to_rounding() -> None:
    weight, x = torch.randn(48, 32), torch.randn(2, 32).bfloat16()
    product = pack(weight, torch.bfloat16)
    assert product(x[:1]).dtype == torch.bfloat16
    torch.testing.assert_close(product(x[:1]), product(x)[:1])


@pytest.mark.parametrize("columns", [NARROW, 2 * NARROW + 60])
def test_a_row_of_a_product_does_not_depend_on_how_many_there_are_beside_it(columns: int) -> None:
    weight, x = torch.randn(NARROW, columns), torch.randn(200, columns).bfloat16()
    product = pack(weight, torch.bfloat16)
    exact = x.float() @ weight.bfloat16().float().T
    assert (product(x).float() - exact).norm() / exact.norm() < 0.01
    if torch.ops.mkldnn._is_mkldnn_bf16_supported():
        for rows in (2, 17, 60, 176):
            assert torch.equal(product(x[:rows]), product(x)[:rows])


def test_what_is_packed_is_not_packed_again() -> None:
    packed = PackedImageAR(image_model(), torch.float32)
    assert PackedImageAR.of(packed, torch.float32) is packed
