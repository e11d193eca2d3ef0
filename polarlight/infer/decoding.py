"""Decoding pictures from the image model: one step for every mode.

A pass feeds the positions drawn in the pass before (their keys and values stay in the static cache) and asks for the next group.
The last fed token asks for the group's first position by itself; copies in its place, each asking for another position, ask for
the rest and leave nothing in the cache. Groups of one are sequential decoding; larger groups are parallel decoding with the same
weights.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ..models.image_ar import ImageAR
from ..models.image_grammar import Tokens, collate, frame
from ..nn.attention import LayerCache
from ..ops.sampling import draw, guide
from .packed import PackedHead, PackedImageAR

OnPass = Callable[[int, int, UInt8[Tensor, "b n g"]], None]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How digits are drawn. guidance runs linearly from `guidance_start` at the first position to `guidance` at the last."""

    guidance: float = 3.0
    guidance_start: float = 3.0
    temperature: float = 1.0
    top_p: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to draw: its sequences with and without the prompt (both end in the full target, see `image_grammar.write`), the
    order of its positions, how many of them are given, and its own uniform noise, one number a digit."""

    conditional: Tokens
    free: Tokens
    order: Int64[Tensor, " n"]
    kept: int
    noise: Float[Tensor, "n g"]
    rows: int
    columns: int


@torch.inference_mode()
def decode(
    model: ImageAR | PackedImageAR,
    jobs: Sequence[Job],
    groups: Sequence[int],
    sampling: Sampling,
    dtype: torch.dtype,
    on_pass: OnPass | None = None,
) -> UInt8[Tensor, "b n g"]:
    """Draw jobs that share the picture's size, the number of given positions and the group sizes; returns digits by position.

    With guidance the rows of both sequences run as one batch: all conditional ones, then all free ones. A model that is not packed
    is packed first, so who draws often packs it once.
    """
    model = PackedImageAR.of(model, dtype)
    first = jobs[0]
    positions, kept = len(first.order), first.kept
    assert all((len(job.order), job.kept) == (positions, kept) for job in jobs)
    assert kept + sum(groups) == positions
    guided = sampling.guidance != 1 or sampling.guidance_start != 1
    sides = [[job.conditional for job in jobs], [job.free for job in jobs]][: 2 if guided else 1]
    written = collate([tokens for side in sides for tokens in side], multiple=1)
    prefix = written.ids.shape[1] - (positions - 1) + kept
    canvas = Canvas(jobs, written, prefix, copies=len(sides))
    cache = model.new_cache(written.ids.shape[0], prefix + positions + max(groups), dtype)
    fed, start, done = written.columns(slice(0, prefix)), 0, kept
    for number, size in enumerate(groups):
        state = ask(model, fed, canvas.queries(done, size), cache, start, written.valid[:, :prefix], dtype)
        start += fed.ids.shape[1]
        scale = sampling.guidance_start + (sampling.guidance - sampling.guidance_start) * done / max(1, positions - 1)
        cells = torch.stack([job.order[done : done + size] for job in jobs])
        noise = torch.stack([job.noise[cell] for job, cell in zip(jobs, cells, strict=True)])
        digits = sample_digits(model.head, state.unflatten(0, (len(sides), -1)), noise, scale, sampling)
        canvas.place(done, digits)
        done += size
        if done < positions:
            fed = canvas.tokens(done - size, done)
        if on_pass:
            on_pass(number + 1, len(groups), canvas.digits.clone())
    return canvas.digits


class Canvas:
    """The pictures under way: digits by position, and the tokens that speak of them."""

    def __init__(self, jobs: Sequence[Job], written: Tokens, prefix: int, copies: int) -> None:
        self.jobs, self.copies, self.written = jobs, copies, written
        self.first = prefix - jobs[0].kept  # column of the token after <img>
        digits = written.digits.shape[-1]
        self.digits = torch.zeros(len(jobs), len(jobs[0].order), digits, dtype=torch.uint8)
        for row, job in enumerate(jobs):
            given = job.order[: job.kept]
            self.digits[row, given] = written.digits[row, self.first : self.first + job.kept]
        self.order = torch.stack([job.order for job in jobs])

    def place(self, done: int, digits: UInt8[Tensor, "b size g"]) -> None:
        """Put the digits of positions done .. done + size of the order."""
        cells = self.order[:, done : done + digits.shape[1]]
        self.digits.scatter_(1, cells[..., None].expand_as(digits), digits)

    def tokens(self, start: int, end: int) -> Tokens:
        """The drawn positions start .. end of the order as tokens, each asking for the position after it."""
        part = self.written.columns(slice(self.first + start, self.first + end))
        cells = self.order[:, start:end]
        part.digits = self.digits.gather(1, cells[..., None].expand(-1, -1, self.digits.shape[-1])).repeat(
            self.copies, 1, 1
        )
        return part

    def queries(self, done: int, size: int) -> Tokens | None:
        """Copies of the last token before position `done`, asking for positions done + 1 .. done + size of the order."""
        if size == 1:
            return None
        last = self.written.columns(slice(self.first + done - 1, self.first + done))
        if done > self.jobs[0].kept:
            last = self.tokens(done - 1, done)
        copies = last.columns(torch.zeros(size - 1, dtype=torch.long))
        job = self.jobs[0]
        place = frame(job.rows, job.columns)[self.order[:, done + 1 : done + size]].repeat(self.copies, 1, 1)
        offset = (last.asks - last.asked[..., :2])[:, :1]  # where the picture's frame lies in RoPE positions
        copies.asked, copies.asks = place, place[..., :2] + offset
        return copies


def ask(
    model: PackedImageAR,
    fed: Tokens,
    queries: Tokens | None,
    cache: list[LayerCache],
    start: int,
    valid: Bool[Tensor, "b p"],
    dtype: torch.dtype,
) -> Float[Tensor, "b size d"]:
    """One forward pass; returns the states of the last fed token and of the queries. Only the fed tokens count as cached.

    A query stands in for the last fed token and so does not see it: in training no token lies beside its own copy.
    """
    tokens = fed if queries is None else join(fed, queries)
    new, extra = fed.ids.shape[1], tokens.ids.shape[1] - fed.ids.shape[1]
    seen = torch.ones(fed.ids.shape[0], start + new, dtype=torch.bool)
    seen[:, : valid.shape[1]] = valid[:, : start + new]
    causal = torch.ones(new + extra, start + new, dtype=torch.bool).tril(start)
    itself = torch.eye(new + extra, dtype=torch.bool)
    mask = torch.cat((causal & seen[:, None], itself[:, new:].expand(len(seen), -1, -1)), -1)
    mask[:, :new, start : start + new] |= itself[:new, :new]
    mask[:, new:, start + new - 1] = False
    hidden, _ = model.hidden(tokens, mask[:, None], dtype, cache, start)
    return hidden[:, new - 1 :]


def join(first: Tokens, second: Tokens) -> Tokens:
    """Tokens of `second` after those of `first`."""
    return Tokens(**{name: torch.cat((getattr(first, name), getattr(second, name)), 1) for name in vars(first)})


def sample_digits(
    head: PackedHead,
    state: Float[Tensor, "sides b size d"],
    noise: Float[Tensor, "b size g"],
    scale: float,
    sampling: Sampling,
) -> UInt8[Tensor, "b size g"]:
    """Draw the digits of positions one after another. With two sides `scale` guides the first away from the second."""
    inputs = head.inputs(state.flatten(1, 2))
    uniform = noise.flatten(0, 1).T.contiguous()
    known = torch.zeros(uniform.shape[1], head.digits * head.values)
    drawn = []
    for i in range(head.digits):
        logits = head.logits(inputs[i], known, i)
        guided = guide(logits[0], logits[1], scale) if len(logits) == 2 else logits[0]
        value = draw(guided, uniform[i], sampling.temperature, sampling.top_p)
        known.scatter_(1, (value + i * head.values)[:, None], 1.0)
        drawn.append(value)
    return torch.stack(drawn, -1).to(torch.uint8).view(noise.shape)
