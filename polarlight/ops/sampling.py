"""Drawing digits from logits with given uniform numbers, so that a picture's noise is its own."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def guide(conditional: Float[Tensor, "*n v"], free: Float[Tensor, "*n v"], scale: float) -> Float[Tensor, "*n v"]:
    """Classifier-free guidance on logits (Ho & Salimans, arXiv 2207.12598); what has logit -inf keeps it."""
    return torch.where(conditional.isneginf(), conditional, free + scale * (conditional - free))


def nucleus(probabilities: Float[Tensor, "*n v"], top_p: float) -> Float[Tensor, "*n v"]:
    """Zero everything outside the smallest set whose mass reaches top_p (arXiv 1904.09751); renormalised."""
    ranked, index = probabilities.sort(-1, descending=True)
    kept = torch.where(ranked.cumsum(-1) - ranked < top_p, ranked, 0.0)
    out = torch.zeros_like(probabilities).scatter(-1, index, kept)
    return out / out.sum(-1, keepdim=True)


def draw(
    logits: Float[Tensor, "*n v"], uniform: Float[Tensor, "*n"], temperature: float = 1.0, top_p: float = 1.0
) -> Int64[Tensor, "*n"]:
    """Inverse-CDF sampling in fp32: the value whose cumulative probability first exceeds `uniform` in [0, 1).

    temperature 0 takes the most likely value.
    """
    if temperature == 0:
        return logits.argmax(-1)
    probabilities = (logits.float() / temperature).softmax(-1)
    if top_p < 1:
        probabilities = nucleus(probabilities, top_p)
    mass = probabilities.cumsum(-1)  # its last entry may round to less than 1, and what follows it there is impossible
    return (mass <= uniform[..., None] * mass[..., -1:]).sum(-1)
