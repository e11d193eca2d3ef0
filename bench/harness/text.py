"""Greedy text decoding with the image model's own static-cache step, for measurement."""

from __future__ import annotations

import torch
from torch import Tensor

from polarlight.infer.packed import PackedImageAR
from polarlight.models.image_ar import ImageAR, causal_mask
from polarlight.models.image_grammar import Tokens, blank

Backbone = ImageAR | PackedImageAR


def written(model: Backbone, ids: Tensor, start: int = 0) -> Tokens:
    """Text tokens [b, s] that lie on the diagonal from position `start` on."""
    tokens = blank(*ids.shape, model.config.digits)
    tokens.ids[:] = ids
    tokens.lies[:] = (torch.arange(ids.shape[1]) + float(start))[None, :, None]
    tokens.asks[:] = tokens.lies
    return tokens


@torch.inference_mode()
def logits(model: Backbone, ids: Tensor, dtype: torch.dtype) -> Tensor:
    """Next-token logits [b, s, v] of whole sequences, fp32."""
    tokens = written(model, ids)
    return model.text_logits(model.hidden(tokens, causal_mask(tokens), dtype)[0])


@torch.inference_mode()
def greedy(model: Backbone, dtype: torch.dtype, ids: Tensor, count: int) -> Tensor:
    """The `count` most likely tokens [b, count] after `ids`, one a step."""
    rows, start = ids.shape
    tokens = written(model, ids)
    cache = model.new_cache(rows, start + count, dtype)
    hidden, _ = model.hidden(tokens, causal_mask(tokens), dtype, cache)
    drawn = [model.text_logits(hidden[:, -1]).argmax(-1, keepdim=True)]
    token = written(model, drawn[0], start)
    while len(drawn) < count:
        token.ids, token.lies, token.asks = drawn[-1], token.lies.fill_(start), token.asks.fill_(start)
        seen = torch.ones(rows, 1, 1, start + 1, dtype=torch.bool)
        hidden, _ = model.hidden(token, seen, dtype, cache, start)
        drawn.append(model.text_logits(hidden[:, -1]).argmax(-1, keepdim=True))
        start += 1
    return torch.cat(drawn, 1)
