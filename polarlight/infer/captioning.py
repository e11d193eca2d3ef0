"""Text from pictures: greedy decoding with the static cache."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor

from ..models.image_ar import ImageAR, causal_mask
from ..models.image_grammar import Picture, Role, Text, blank, write
from ..text.vocabulary import Vocabulary
from .packed import PackedImageAR


@torch.inference_mode()
def describe(
    model: ImageAR | PackedImageAR,
    vocabulary: Vocabulary,
    codes: UInt8[Tensor, "p q g"],
    dtype: torch.dtype,
    longest: int,
) -> str:
    """The most likely caption of a picture, at most `longest` tokens."""
    opening = Text(ids=[vocabulary["<bos>"], vocabulary["<caption>"]])
    tokens = write([opening, Picture(digits=codes, role=Role.SOURCE)], vocabulary)
    length = tokens.ids.shape[1]
    cache = model.new_cache(1, length + longest, dtype)
    hidden, _ = model.hidden(tokens, causal_mask(tokens), dtype, cache)
    place, words = float(tokens.lies[0, -1, 0]), []
    for number in range(longest):
        word = int(model.text_logits(hidden[:, -1]).argmax())
        if word == vocabulary["<eos>"]:
            break
        words.append(word)
        token = blank(1, 1, model.config.digits)
        token.ids[:] = word
        token.lies[:], token.asks[:] = place + 1 + number, place + 1 + number
        seen = torch.ones(1, 1, 1, length + number + 1, dtype=torch.bool)
        hidden, _ = model.hidden(token, seen, dtype, cache, length + number)
    return vocabulary.decode(words)
