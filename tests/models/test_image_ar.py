"""The image model: what may depend on what, its loss and its cost."""

from dataclasses import replace

import pytest
import torch
from tiny import PLAN, captioning, codes, drawing, image_model
from torch.utils.flop_counter import FlopCounterMode

from polarlight.models.image_ar import ImageAR, causal_mask, image_loss
from polarlight.models.image_grammar import EVERYBODYS, Tokens, collate
from polarlight.nn.moe import MoE

CLOSE = {"rtol": 1e-4, "atol": 1e-4}


@torch.no_grad()
def states(model: ImageAR, tokens: Tokens) -> torch.Tensor:
    return model.hidden(tokens, causal_mask(tokens), torch.float32)[0]


@torch.no_grad()
@pytest.mark.parametrize("changed", [0, 3, 7])
def test_a_digit_changes_the_logits_of_later_digits_only(changed: int) -> None:
    model = image_model()
    state, digits = torch.randn(5, 32), codes(5, 1, model)[:, 0]
    other = digits.clone()
    other[:, changed] = (other[:, changed] + 1) % model.config.position_levels[changed]
    differs = (model.head(state, digits) - model.head(state, other)).nan_to_num().abs().amax((0, 2)) > 1e-6
    assert differs.tolist() == [False] * (changed + 1) + [True] * (7 - changed)


@torch.no_grad()
def test_values_that_a_digit_does_not_have_are_impossible() -> None:
    model = image_model()
    probabilities = model.head(torch.randn(5, 32), codes(5, 1, model)[:, 0]).softmax(-1)
    assert not probabilities[:, 0::2, 3].any()  # levels are 3, 4, 3, 4 ...
    assert (probabilities[:, 1::2] > 0).all()


def test_a_new_head_starts_undecided() -> None:
    fresh = ImageAR(image_model().config)
    probabilities = fresh.head(torch.randn(2, 32), codes(2, 1, fresh)[:, 0]).softmax(-1)
    torch.testing.assert_close(probabilities[:, 0], torch.tensor([[1 / 3, 1 / 3, 1 / 3, 0]] * 2))


def test_what_is_asked_depends_on_the_order_so_far_and_not_on_the_rest() -> None:
    model = image_model()
    digits, order = codes(4, 4, model), torch.randperm(16)
    other = torch.cat((order[:6], order[6:].flip(0)))
    one, two = states(model, drawing(digits, order)), states(model, drawing(digits, other))
    same = one.shape[1] - 16 + 6  # <img> asks for the first position, the fifth drawn cell for the sixth
    torch.testing.assert_close(one[:, :same], two[:, :same], **CLOSE)
    assert (one[:, same] - two[:, same]).abs().max() > 1e-3


def test_a_drawn_code_is_seen_by_later_positions_only() -> None:
    model = image_model()
    digits, order = codes(4, 4, model), torch.randperm(16)
    changed = digits.clone()
    place = divmod(int(order[6]), 4)
    changed[place] = (changed[place] + 1) % 3
    one, two = states(model, drawing(digits, order)), states(model, drawing(changed, order))
    first = one.shape[1] - 15 + 6  # the cell that holds the seventh position
    torch.testing.assert_close(one[:, :first], two[:, :first], **CLOSE)
    assert ((one[:, first:] - two[:, first:]).abs().amax(-1) > 1e-5).all()


def test_the_words_of_a_region_are_for_its_positions_alone() -> None:
    model = image_model()
    digits, order = codes(4, 4, model), torch.randperm(16)
    blue = replace(PLAN, objects=(replace(PLAN.objects[0], colour="blue"), PLAN.objects[1]))
    one, two = (states(model, drawing(digits, order, plan=plan)) for plan in (PLAN, blue))
    differs = (one - two)[0, -16:].abs().amax(-1) > 1e-5
    inside = torch.isin(order, torch.tensor([4, 5, 8, 9, 12, 13]))  # left of the middle, below the first quarter
    first = int(inside.nonzero()[0])
    assert not differs[:first].any()
    assert differs[inside].all()


def test_who_asks_for_a_position_of_a_region_sees_no_words_but_its_own() -> None:
    tokens = drawing(codes(4, 4, image_model()), torch.randperm(16), plan=PLAN)
    mask, whose = causal_mask(tokens)[0, 0], tokens.whose[0]
    for row in range(tokens.ids.shape[1] - 16, tokens.ids.shape[1]):
        assert whose[mask[row]].unique().tolist() == [EVERYBODYS, int(tokens.sees[0, row])]
        assert (mask[row] & (whose == tokens.sees[0, row])).sum() == (whose == tokens.sees[0, row]).sum()


def test_a_word_is_seen_by_later_tokens_only() -> None:
    model = image_model()
    digits = codes(2, 2, model)
    one, two = (captioning(digits, words) for words in ("a red cat on a hill", "a red dog on a hill"))
    changed = int((one.ids != two.ids).nonzero()[0, 1])
    first, second = states(model, one), states(model, two)
    torch.testing.assert_close(first[:, :changed], second[:, :changed], **CLOSE)
    assert ((first[:, changed:] - second[:, changed:]).abs().amax(-1) > 1e-5).all()


def test_padding_and_the_rest_of_the_batch_change_nothing() -> None:
    model = image_model()
    sequences = [drawing(codes(4, 4, model), words=words) for words in ("a cat", "two red cats on a green hill")]
    batch = states(model, collate(sequences, multiple=32))
    for row, sequence in enumerate(sequences):
        alone = states(model, sequence)
        torch.testing.assert_close(batch[row : row + 1, -alone.shape[1] :], alone, **CLOSE)


def test_the_loss_falls_on_a_batch_seen_again_and_again() -> None:
    model = image_model().train()
    batch = collate([drawing(codes(3, 4, model)), captioning(codes(3, 4, model))])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(25):
        loss, metrics = image_loss(model, batch, torch.float32)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]
    assert {"loss", "digit_nats", "text_nats"} <= metrics.keys()


def test_every_parameter_learns() -> None:
    model = image_model().train()
    image_loss(model, collate([drawing(codes(4, 4, model)), captioning(codes(4, 4, model))]), torch.float32)[
        0
    ].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_positions_without_weight_leave_the_loss_alone() -> None:
    model = image_model()
    digits, order = codes(3, 4, model), torch.randperm(12)
    tokens = drawing(digits, order, kept=7)
    other = drawing(digits, order, kept=7)
    other.cell_target[other.cell_weight == 0] = 0
    one, two = (image_loss(model, each, torch.float32)[0] for each in (tokens, other))
    assert one.item() == two.item()


def test_bf16_is_near_fp32_and_its_logits_are_fp32() -> None:
    model = image_model()
    tokens = drawing(codes(4, 4, model))
    with torch.no_grad():
        hidden, _ = model.hidden(tokens, causal_mask(tokens), torch.bfloat16)
    assert hidden.dtype == torch.bfloat16
    assert (hidden.float() - states(model, tokens)).abs().mean() < 0.1
    assert model.text_logits(hidden).dtype == model.head(hidden[0], tokens.digits[0]).dtype == torch.float32


def test_the_cost_formula_counts_what_the_blocks_and_the_head_do() -> None:
    model = image_model(width=64, heads=2, head_dim=32)
    tokens = drawing(codes(6, 6, model))
    length = tokens.ids.shape[1]
    mask, drawn = causal_mask(tokens), tokens.cell_weight > 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        x, rotation = model.embed(tokens, torch.float32), model.rotation(tokens)
        embedding = counter.get_total_flops()
        for block in model.blocks:
            x, _ = block(x, rotation, mask)
        model.head(x[drawn], tokens.cell_target[drawn])
        counted = counter.get_total_flops() - embedding
    assert model.cost(length, int(drawn.sum())).flops == pytest.approx(counted, rel=0.15)


def test_the_cost_is_positive_and_grows_with_tokens_and_context() -> None:
    model = image_model()
    few, more, later = model.cost(1, 1), model.cost(9, 1), model.cost(1, 1, context=50)
    assert 0 < few.flops < later.flops < more.flops
    assert 0 < few.weight_bytes < more.weight_bytes < 4 * sum(p.numel() for p in model.parameters())
    assert few.state_bytes < later.state_bytes == 51 * few.state_bytes
    one_expert = sum(b.mlp.up[0].numel() + b.mlp.down[0].numel() for b in model.blocks if isinstance(b.mlp, MoE))
    assert model.cost(10_000, 1).weight_bytes - few.weight_bytes == pytest.approx(4 * 2 * one_expert)
