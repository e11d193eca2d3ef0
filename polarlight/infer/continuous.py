"""Continuous batching: pictures of any grid, mode and progress in one running batch.

A pass is mostly reading weights and starting operations, so everything under way shares one: a picture takes part in it with the
positions it drew last (fed) and those it asks for next (queries), padded to the longest. Newcomers join with a pass of their own,
over their prompts, and share the digit head with the others at once; who is done leaves, and the last picture takes its rows, so
that the rows in use always come first and no pass copies the cache.

A picture does not depend on its company, bit for bit, in bf16 too. What that takes was measured on AMX: wide matrix products of
few rows at a time (`packed.pack`), all experts for every token, every row from column 0 of the cache on (its place in the picture
is in its rotary positions) and seen at a width of 16 n, attention over at least FEWEST queries, and digits drawn for 8 n rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

from ..models.image_ar import for_whom
from ..models.image_grammar import EVERYBODYS, PROMPTS, Role, Tokens, blank, frame
from ..nn.attention import LayerCache
from .packed import DENSE_UP_TO, PackedImageAR
from .sampling import Job, Sampling, sample_digits

BLOCK = 64  # columns by which the cache grows
USUAL = 4 * BLOCK  # a cache beyond this was grown for a long prompt, and is given back when nobody draws
FEWEST = {torch.bfloat16: 2, torch.float32: 3}  # queries a row: attention sums fewer in another order
States = list[Tensor]  # of a picture's next group, [n, d] for each side
WIDTH = 16  # attention is the same for any number of such columns


class Drawing:
    """One picture in a running batch: `done` of its positions are given or drawn, the latter in `passes` groups so far."""

    def __init__(self, job: Job, groups: Sequence[int], sampling: Sampling) -> None:
        assert job.kept + sum(groups) == len(job.order)
        self.job, self.groups, self.sampling = job, list(groups), sampling
        self.passes, self.done = 0, job.kept
        self.noise = job.noise[job.order]
        self.ordered = torch.zeros(len(job.order), job.noise.shape[1], dtype=torch.uint8)
        self.strokes: Float[Tensor, "n e"] | None = None  # in drawing order, where a letterer has a part in it
        given = job.conditional.digits[0, job.conditional.ids.shape[1] - (len(job.order) - 1) :]
        self.ordered[: job.kept] = given[: job.kept]

    @property
    def finished(self) -> bool:
        """Whether every position is drawn."""
        return self.passes == len(self.groups)

    @property
    def digits(self) -> UInt8[Tensor, "n g"]:
        """What is drawn so far, by position; zero where nothing is."""
        return torch.zeros_like(self.ordered).index_copy_(0, self.job.order, self.ordered)

    @property
    def scale(self) -> float:
        """Guidance of the next group."""
        return self.sampling.scale(self.done, len(self.job.order))

    def opening(self) -> list[Tokens]:
        """The sequences with and without the prompt, up to the token that asks for the first position to draw."""
        behind = len(self.job.order) - 1 - self.job.kept
        return [side.columns(slice(0, side.ids.shape[1] - behind)) for side in (self.job.conditional, self.job.free)]

    def sees(self) -> Int64[Tensor, "sides n"]:
        """Whose words are seen by who asks for each position, in drawing order, with and without the prompt."""
        return torch.cat([side.sees[:, -len(self.job.order) :] for side in (self.job.conditional, self.job.free)])

    def next_noise(self) -> Float[Tensor, "size g"]:
        """Noise of the next group."""
        return self.noise[self.done : self.done + self.groups[self.passes]]

    def next_strokes(self) -> Float[Tensor, "size e"] | None:
        """Strokes of the next group."""
        return None if self.strokes is None else self.strokes[self.done : self.done + self.groups[self.passes]]

    def put(self, digits: UInt8[Tensor, "size g"]) -> None:
        """The digits of the next group, in drawing order."""
        self.ordered[self.done : self.done + len(digits)] = digits
        self.done, self.passes = self.done + len(digits), self.passes + 1


class RowsCache(LayerCache):
    """Keys and values of one layer, [rows, capacity, heads, head dim]: a token's numbers lie together, so that rows which write
    from columns of their own cost one copy. `aim` says who takes part in the next pass."""

    def __init__(self, rows: int, heads: int, capacity: int, head_dim: int, dtype: torch.dtype) -> None:
        self.key = torch.zeros(rows, capacity, heads, head_dim, dtype=dtype)
        self.value = torch.zeros_like(self.key)

    def aim(self, rows: slice, places: Int64[Tensor, " n"], width: int) -> None:
        """Rows that take part, where each of their tokens goes (row * capacity + column), and the columns to look at."""
        self.rows, self.places, self.width = rows, places, width

    def write(
        self, start: int, key: Float[Tensor, "b heads s k"], value: Float[Tensor, "b heads s k"]
    ) -> tuple[Float[Tensor, "b heads n k"], Float[Tensor, "b heads n k"]]:
        """As `LayerCache.write`, but where `aim` said."""
        seen = []
        for cache, new in ((self.key, key), (self.value, value)):
            cache.flatten(0, 1).index_copy_(0, self.places, new.transpose(1, 2).flatten(0, 1))
            seen.append(cache[self.rows, : self.width].transpose(1, 2))
        return seen[0], seen[1]

    def resize(self, capacity: int) -> None:
        """Room for more columns, or fewer; what fits stays."""
        for name in ("key", "value"):
            old: Tensor = getattr(self, name)
            new = old.new_zeros(old.shape[0], capacity, *old.shape[2:])
            kept = min(capacity, old.shape[1])
            new[:, :kept] = old[:, :kept]
            setattr(self, name, new)


class RunningBatch:
    """At most `slots` pictures under way, of at most `positions` positions each. sides: 2, or 1 where nothing is guided."""

    def __init__(self, model: PackedImageAR, slots: int, positions: int, sides: int = 2) -> None:
        self.model, self.slots, self.sides, self.capacity = model, slots, sides, BLOCK
        config = model.config
        self.drawings: list[Drawing] = []
        self.cache = [
            RowsCache(sides * slots, config.heads, BLOCK, config.head_dim, model.dtype) for _ in range(config.layers)
        ]
        # by slot; place, sees and digits speak of order numbers, not positions
        self.place = torch.zeros(slots, positions, 4)
        self.sees = torch.full((slots, sides, positions), PROMPTS)
        self.whose = torch.full((slots, sides, BLOCK), EVERYBODYS)  # by column of the cache
        self.digits = torch.zeros(slots, positions, config.digits, dtype=torch.uint8)
        self.offset = torch.zeros(slots, sides, 2)  # where the picture's frame lies in rotary positions
        self.end = torch.zeros(slots, sides, dtype=torch.long)  # columns of the cache in use

    @property
    def free(self) -> int:
        """Slots without a picture."""
        return self.slots - len(self.drawings)

    @torch.inference_mode()
    def step(self, newcomers: Sequence[Drawing] = ()) -> None:
        """Draw the next group of every picture under way, and the first one of newcomers, who are let in."""
        assert len(newcomers) <= self.free
        states = self._go_on() if self.drawings else []
        for together in self._passes(newcomers):
            states += self._join(together)
        self._draw(states)

    def _passes(self, drawings: Sequence[Drawing]) -> Iterator[list[Drawing]]:
        """Newcomers in passes of at most DENSE_UP_TO tokens; one with a longer prompt has a pass for itself."""
        together, longest = list[Drawing](), 0
        for drawing in drawings:
            length = max(side.ids.shape[1] for side in drawing.opening()) + drawing.groups[0] - 1
            if together and self.sides * (len(together) + 1) * max(longest, length) > DENSE_UP_TO:
                yield together
                together, longest = [], 0
            together, longest = [*together, drawing], max(longest, length)
        if together:
            yield together

    def _join(self, drawings: Sequence[Drawing]) -> list[States]:
        """The first pass of new pictures: their sequences, each followed by queries for its first group."""
        here = slice(len(self.drawings), len(self.drawings) + len(drawings))
        self.drawings += drawings
        for slot, drawing in enumerate(drawings, here.start):
            job = drawing.job
            self.place[slot, : len(job.order)] = frame(job.rows, job.columns)[job.order]
            self.sees[slot, :, : len(job.order)] = drawing.sees()[: self.sides]
            self.digits[slot, : len(job.order)] = drawing.ordered
            if self.model.letterer and job.seen is not None:
                drawing.strokes = self.model.letterer.strokes(job.seen[job.order])
        sequences = [side for drawing in drawings for side in drawing.opening()[: self.sides]]
        fed = torch.tensor([sequence.ids.shape[1] for sequence in sequences]).view(-1, self.sides)
        tokens = begin_together(sequences, int(fed.max()) + max(drawing.groups[0] for drawing in drawings) - 1)
        self.offset[here] = (tokens.asks - tokens.asked[..., :2])[:, -1].view(-1, self.sides, 2)
        self.end[here] = 0
        number = torch.arange(tokens.ids.shape[1]) - fed.flatten()[:, None]  # from 0: queries
        done = torch.tensor([drawing.done for drawing in drawings]).repeat_interleave(self.sides)[:, None]
        query, asked = (number >= 0)[..., None], self._places(here, (done + 1 + number).clamp(min=0))
        tokens.asked = torch.where(query, asked, tokens.asked)
        tokens.asks = torch.where(query, asked[..., :2] + self._offsets(here), tokens.asks)
        tokens.sees = torch.where(query[..., 0], self._seen(here, (done + 1 + number).clamp(min=0)), tokens.sees)
        tokens.whose = torch.where(query[..., 0], EVERYBODYS, tokens.whose)
        self.whose[here] = EVERYBODYS
        return self._pass(here, tokens, fed)

    def _go_on(self) -> list[States]:
        """A pass of the pictures under way: what each drew last, and queries for its next group."""
        here = slice(0, len(self.drawings))
        fed = torch.tensor([drawing.groups[drawing.passes - 1] for drawing in self.drawings])
        asked = torch.tensor([drawing.groups[drawing.passes] for drawing in self.drawings])
        done = torch.tensor([drawing.done for drawing in self.drawings])
        alone = (
            self.sides * len(self.drawings) == 1
        )  # a single token would take the experts' other way, see `PackedMoE`
        tokens = self._tokens(here, fed, done, max(1 + alone, int((fed + asked).max()) - 1))
        return self._pass(here, tokens, fed[:, None].expand(-1, self.sides))

    @torch.inference_mode()
    def remove(self, drawing: Drawing) -> None:
        """Take a picture out, finished or not; the last one takes its slot."""
        slot, last = self.drawings.index(drawing), len(self.drawings) - 1
        self.drawings[slot] = self.drawings[last]
        self.drawings.pop()
        if slot != last:
            caches = [tensor.unflatten(0, (-1, self.sides)) for each in self.cache for tensor in (each.key, each.value)]
            for tensor in (*caches, self.place, self.sees, self.whose, self.digits, self.offset, self.end):
                tensor[slot] = tensor[last]
        if not self.drawings and self.capacity > USUAL:
            self._resize(BLOCK)

    def _tokens(self, here: slice, fed: Int64[Tensor, " n"], done: Int64[Tensor, " n"], length: int) -> Tokens:
        """The positions drawn last, each asking for the one after it; then copies of the last, asking for the others of the next
        group; then copies that nobody reads."""
        number = torch.arange(length) - fed[:, None]  # from 0: queries
        own = torch.where(number < 0, done[:, None] + number, done[:, None] - 1).repeat_interleave(self.sides, 0)
        asked = (done[:, None] + number + 1).repeat_interleave(self.sides, 0)
        tokens = blank(len(own), length, self.digits.shape[-1])
        tokens.is_cell[:], tokens.role[:] = True, int(Role.TARGET)
        tokens.digits = self.digits[self._slots(here), own]
        tokens.own, tokens.asked = self._places(here, own), self._places(here, asked)
        tokens.sees = self._seen(here, asked)
        offset = self._offsets(here)
        tokens.lies, tokens.asks = tokens.own[..., :2] + offset, tokens.asked[..., :2] + offset
        return tokens

    def _slots(self, here: slice) -> Int64[Tensor, "b 1"]:
        """The slot of every row."""
        return torch.arange(here.start, here.stop).repeat_interleave(self.sides)[:, None]

    def _offsets(self, here: slice) -> Float[Tensor, "b 1 2"]:
        return self.offset[here].flatten(0, 1)[:, None]

    def _places(self, here: slice, number: Int64[Tensor, "b s"]) -> Float[Tensor, "b s 4"]:
        """Places of order numbers; a number past the end (padding) takes the last there is."""
        return self.place[self._slots(here), number.clamp(max=self.place.shape[1] - 1)]

    def _seen(self, here: slice, number: Int64[Tensor, "b s"]) -> Int64[Tensor, "b s"]:
        """`Tokens.sees` of who asks for order numbers."""
        rows = self.sees[here].flatten(0, 1)
        return rows.gather(1, number.clamp(max=rows.shape[1] - 1))

    def _pass(self, here: slice, tokens: Tokens, fed: Int64[Tensor, "n sides"]) -> list[States]:
        """One forward pass of the pictures `here`: the states of each one's next group."""
        start, length = self.end[here].flatten()[:, None], tokens.ids.shape[1]
        width = -(-(int(start.max()) + length) // WIDTH) * WIDTH
        if width > self.capacity:
            self._resize(width)
        rows = slice(self.sides * here.start, self.sides * here.stop)
        columns = start + torch.arange(length)
        places = (torch.arange(rows.start, rows.stop)[:, None] * self.capacity + columns).flatten()
        for layer in self.cache:
            layer.aim(rows, places, width)
        self.whose[here].flatten(0, 1).scatter_(1, columns, tokens.whose)
        words = for_whom(tokens.sees, self.whose[here].flatten(0, 1)[:, :width])[:, None]
        mask = enough(visible(start, fed.flatten()[:, None], length, width) & words, FEWEST[self.model.dtype])
        hidden, _ = self.model.hidden(tokens, mask, self.model.dtype, self.cache)
        self.end[here] += fed
        sizes = [drawing.groups[drawing.passes] for drawing in self.drawings[here]]
        by_side = zip(hidden.unflatten(0, (-1, self.sides)), (fed - 1).tolist(), sizes, strict=True)
        return [
            [states[last : last + size] for states, last in zip(sides, lasts, strict=True)]
            for sides, lasts, size in by_side
        ]

    def _draw(self, states: Sequence[States]) -> None:
        """Sample the next group of every picture; those that are sampled alike go through the digit head together."""
        alike: dict[tuple[Sampling, float], list[int]] = {}
        for slot, drawing in enumerate(self.drawings):
            alike.setdefault((drawing.sampling, drawing.scale), []).append(slot)
        for (sampling, scale), slots in alike.items():
            drawings = [self.drawings[slot] for slot in slots]
            noises = [drawing.next_noise() for drawing in drawings]
            sides = range(self.sides if sampling.guided else 1)
            state = torch.stack([torch.cat([states[slot][side] for slot in slots]) for side in sides])
            if any(drawing.strokes is not None for drawing in drawings):
                state[0] = self._lettered(state[0], drawings)
            drawn = sample_digits(self.model.head, state, torch.cat(noises), scale, sampling)
            parts = drawn.split([len(noise) for noise in noises])
            for slot, drawing, digits in zip(slots, drawings, parts, strict=True):
                self.digits[slot, drawing.done : drawing.done + len(digits)] = digits
                drawing.put(digits)

    def _lettered(self, states: Float[Tensor, "n d"], drawings: Sequence[Drawing]) -> Float[Tensor, "n d"]:
        """The states of the next groups, changed where strokes are near."""
        assert self.model.letterer is not None
        parts = states.split([len(drawing.next_noise()) for drawing in drawings])
        return torch.cat(
            [
                part if (strokes := drawing.next_strokes()) is None else self.model.letterer(part, strokes)
                for part, drawing in zip(parts, drawings, strict=True)
            ]
        )

    def _resize(self, columns: int) -> None:
        """Make the cache hold so many columns, in whole blocks."""
        self.capacity = -(-columns // BLOCK) * BLOCK
        for layer in self.cache:
            layer.resize(self.capacity)
        old, self.whose = self.whose, torch.full((*self.whose.shape[:2], self.capacity), EVERYBODYS)
        kept = min(self.capacity, old.shape[2])
        self.whose[..., :kept] = old[..., :kept]


def begin_together(sequences: Sequence[Tokens], length: int) -> Tokens:
    """Sequences one under the other from the same column on, their last tokens repeated up to `length`."""
    batch = blank(len(sequences), length, sequences[0].digits.shape[-1])
    for field in fields(Tokens):
        whole = getattr(batch, field.name)
        for row, sequence in enumerate(sequences):
            part = getattr(sequence, field.name)[0]
            whole[row, : len(part)] = part
            whole[row, len(part) :] = part[-1]
    return batch


def visible(end: Int64[Tensor, "b 1"], fed: Int64[Tensor, "b 1"], length: int, width: int) -> Bool[Tensor, "b 1 s w"]:
    """What each of a pass's tokens sees of the cache's columns: all its row has before this pass, what is fed up to itself, itself.

    A query stands in for the last fed token and so does not see it: in training no token lies beside its own copy. end: a row's
    columns in use before the pass; fed: how many of its tokens stay.
    """
    number = torch.arange(length)[:, None]
    since = (torch.arange(width) - end)[:, None]  # 0 at the first token of this pass
    limit = torch.where(number < fed[:, None], number, fed[:, None] - 1)
    return ((since < limit) | (since == number))[:, None]


def enough(mask: Bool[Tensor, "b 1 s w"], fewest: int) -> Bool[Tensor, "b 1 q w"]:
    """At least `fewest` rows of queries; those added see one column, and nobody reads them."""
    missing = max(0, fewest - mask.shape[2])
    mask = F.pad(mask, (0, 0, 0, missing))
    mask[:, :, mask.shape[2] - missing :, 0] = True
    return mask
