"""Describing pictures with the cache, against whole sequences without it."""

import pytest
import torch
from tiny import codes, image_model

from polarlight.infer.captioning import describe
from polarlight.models.image_ar import ImageAR, causal_mask
from polarlight.models.image_grammar import Picture, Role, Text, write
from polarlight.text.vocabulary import Vocabulary

V = Vocabulary.shipped()


@torch.no_grad()
def reference(model: ImageAR, digits: torch.Tensor, longest: int) -> str:
    opening, words = [V["<bos>"], V["<caption>"]], []
    while len(words) < longest:
        parts = [Text(ids=opening), Picture(digits=digits, role=Role.SOURCE), *([Text(ids=words)] if words else [])]
        tokens = write(parts, V)
        hidden, _ = model.hidden(tokens, causal_mask(tokens), torch.float32)
        word = int(model.text_logits(hidden[0, -1]).argmax())
        if word == V["<eos>"]:
            break
        words.append(word)
    return V.decode(words)


@pytest.mark.parametrize("longest", [1, 12])
def test_describing_with_the_cache_equals_describing_without(longest: int) -> None:
    model = image_model()
    digits = codes(3, 4, model)
    assert describe(model, V, digits, torch.float32, longest) == reference(model, digits, longest)


def test_a_description_ends_at_the_end_token() -> None:
    model = image_model()
    model.norm.weight.data.zero_()
    model.tokens.weight.data.zero_()  # all logits are equal, so the first token of the list always wins
    assert describe(model, V, codes(2, 2, model), torch.float32, 5) == ""
    model.norm.weight.data.fill_(1)
    model.tokens.weight.data[V[" cat"]] = 0.1
    model.tokens.weight.data[V["<eos>"]] = -0.1
    words = {describe(model, V, codes(2, 2, model), torch.float32, 3) for _ in range(6)}
    assert words <= {"", "cat cat cat", "cat", "cat cat"}
