"""Alignments of connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor


def with_blanks(target: Int64[Tensor, " k"], blank: int) -> Int64[Tensor, " states"]:
    """A target's outputs with a blank before, between and after: letter i is state 2 i + 1."""
    states = torch.full((2 * len(target) + 1,), blank)
    states[1::2] = target
    return states


def best_path(says: Float[Tensor, "n l"], target: Int64[Tensor, " k"]) -> Int64[Tensor, " n"]:
    """The state of `with_blanks` at each step of the likeliest path that spells a target, by Viterbi's algorithm.

    says: log-probabilities, the last of them the blank's. With too few steps the path begins late in the target.
    """
    states = with_blanks(target, says.shape[1] - 1)
    leaps = torch.zeros_like(states, dtype=torch.bool)  # from the letter before, past a blank
    leaps[3::2] = target[1:] != target[:-1]
    emitted, never = says[:, states], torch.full((2,), -torch.inf)
    score = torch.full_like(emitted[0], -torch.inf)
    score[:2] = emitted[0, :2]
    came = torch.zeros(len(says), len(states), dtype=torch.long)  # how many states back
    for step in range(1, len(says)):
        before = torch.cat((never, score))
        score, came[step] = torch.stack((score, before[1:-1], before[:-2].where(leaps, -torch.inf))).max(0)
        score = score + emitted[step]
    state = len(states) - 1 - int(len(states) > 1 and score[-2] > score[-1])
    path = torch.empty(len(says), dtype=torch.long)
    for step in range(len(says) - 1, -1, -1):
        path[step] = state
        state -= int(came[step, state])
    return path


def accepted(says: Float[Tensor, "n l"], target: Int64[Tensor, " k"]) -> Float[Tensor, " n"]:
    """How far each step agrees with the likeliest path that spells a target, 0..1: what it says of the path's state and of those
    beside it, for where one letter ends is nobody's mistake; but no more than the best of a letter's steps says of that letter.
    """
    path, blank = best_path(says, target), says.shape[1] - 1
    states = with_blanks(target, blank)
    said = says.exp()[:, states]
    own = said.gather(1, path[:, None])[:, 0]
    agreed = torch.where(path % 2 == 1, own + says[:, blank].exp(), own)
    for beside in (-1, 1):
        there = (path + beside).clamp(0, len(states) - 1)
        letters = (path % 2 == 0) & (there % 2 == 1)
        agreed = agreed + said.gather(1, there[:, None])[:, 0] * letters
    for letter in range(1, len(states), 2):
        here = path == letter
        if here.any():
            agreed[here] = agreed[here].minimum(said[here, letter].amax())
    return agreed.clamp(max=1.0)
