"""Plans from prompts: before it draws, the model writes what stands where.

It writes several, and those are taken that miss least of what the prompt claims by the dictionary: a plan costs a hundredth of
a picture, and whether it says what was asked is a matter of reading. Rows are decoded together under the rules of `continuous`,
so a plan does not depend on its company, bit for bit. What may follow is limited to what `text.plan_tokens` can read back; texts
that the prompt quotes are written letter by letter, each at least once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from ..base.errors import UserError
from ..models.image_ar import ImageAR, ImageARConfig
from ..models.image_grammar import Text, Tokens, blank, plan_opening, write
from ..models.weights import read_card, revive
from ..ops.sampling import draw
from ..ops.streams import uniform
from ..text.claims import Lexicon, misses
from ..text.plan import Plan, area, format_plan, is_open
from ..text.plan_tokens import allowed_next, decode_plan
from ..text.vocabulary import Vocabulary, quoted_texts
from .continuous import BLOCK, FEWEST, WIDTH, RowsCache, begin_together, enough, visible
from .image_requests import GRIDS, ImageRequest, Request
from .packed import DENSE_UP_TO, PackedImageAR

NAME = "planner.safetensors"
LONGEST = 192  # tokens of a plan
PLANS = 16  # to choose from
TEMPERATURE, TOP_P = 0.7, 0.95


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What is to be planned: a prompt, the picture's size in positions, and the seed of the choices."""

    prompt: str
    rows: int
    columns: int
    seed: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Planner:
    """A model that writes plans, and by what they are told apart: without a lexicon it writes one and takes it."""

    model: PackedImageAR
    vocabulary: Vocabulary
    lexicon: Lexicon | None = None

    @classmethod
    def find(
        cls, folder: Path, vocabulary: Vocabulary, dtype: torch.dtype, lexicon: Lexicon | None = None
    ) -> Planner | None:
        """The planner in a folder; None where there is none, or one for another vocabulary.

        Raises:
            UserError: there is one, and it is damaged.
        """
        path = folder / NAME
        if not path.exists() or read_card(path).get("config", {}).get("vocabulary") != len(vocabulary):
            return None
        model = revive(path, "a planner", lambda config: ImageAR(ImageARConfig(**config)))
        return cls(model=PackedImageAR(model, dtype), vocabulary=vocabulary, lexicon=lexicon)

    @torch.inference_mode()
    def write(self, asks: Sequence[Ask]) -> list[list[Plan]]:
        """The best plans for each, best first; none where none could be finished within LONGEST tokens."""
        tries = PLANS if self.lexicon else 1
        rows = [_Row(ask, number, self.vocabulary) for ask in asks for number in range(tries)]
        longest = max((row.opening.ids.shape[1] for row in rows), default=1)
        together = max(1, DENSE_UP_TO // longest)
        for start in range(0, len(rows), together):
            _write_together(self.model, rows[start : start + together])
        plans = [row.plan() for row in rows]
        return [best(ask.prompt, plans[n * tries : (n + 1) * tries], self.lexicon) for n, ask in enumerate(asks)]


def open_asks(requests: Sequence[Request], always: Callable[[str], bool]) -> dict[int, Ask]:
    """What is to be planned, by the request's number; a request of an unknown aspect is left to who draws it. always: whether a
    prompt is planned also where the request says nothing of a plan."""
    return {
        number: Ask(prompt=one.prompt, rows=GRIDS[one.aspect][0], columns=GRIDS[one.aspect][1], seed=one.seed)
        for number, one in enumerate(requests)
        if isinstance(one, ImageRequest)
        and one.aspect in GRIDS
        and (always(one.prompt) if one.plan is None else is_open(one.plan))
    }


class _Row:
    """One plan under way."""

    def __init__(self, ask: Ask, number: int, v: Vocabulary) -> None:
        self.v, self.ids = v, list[int]()
        self.opening = write([Text(ids=plan_opening(v, ask.prompt, ask.rows, ask.columns))], v)
        self.texts = [v.spell(text) for text in quoted_texts(ask.prompt)]
        self.noise = uniform((LONGEST,), ask.seed, "plan", number)
        self.done = False

    def allowed(self) -> Bool[Tensor, " v"]:
        """Which tokens may come next."""
        return among(allowed_next(self.ids, self.texts, self.v), len(self.v))

    def put(self, token: int) -> None:
        """Take the next token."""
        self.done = token == self.v["</plan>"]
        if not self.done:
            self.ids.append(token)

    @property
    def over(self) -> bool:
        return self.done or len(self.ids) == LONGEST

    def plan(self) -> Plan | None:
        """The plan, or None where it did not end."""
        if not self.done:
            return None
        try:
            plan = decode_plan(self.ids, self.v)
            format_plan(plan)
        except UserError:
            return None
        return plan


@lru_cache(maxsize=512)
def among(allowed: tuple[int, ...], count: int) -> Bool[Tensor, " v"]:
    """Flags of `count` tokens."""
    flags = torch.zeros(count, dtype=torch.bool)
    flags[list(allowed)] = True
    return flags


def best(prompt: str, plans: Sequence[Plan | None], lexicon: Lexicon | None) -> list[Plan]:
    """Those that miss least, first the one whose smallest thing or letter is largest, for small ones are drawn worst."""
    finished = list(dict.fromkeys(asked_for(prompt, plan) for plan in plans if plan is not None))
    if lexicon is None:
        return finished
    missed = [misses(prompt, plan, lexicon) for plan in finished]
    least = [plan for plan, number in zip(finished, missed, strict=True) if number == min(missed)]
    return sorted(least, key=smallest, reverse=True)


def asked_for(prompt: str, plan: Plan) -> Plan:
    """The plan without the texts that the prompt does not quote: what is written is for the user to say."""
    quoted = quoted_texts(prompt)
    return replace(plan, texts=tuple(text for text in plan.texts if " ".join(text.text.split()) in quoted))


def smallest(plan: Plan) -> float:
    """The smallest share of the picture that a thing or a letter of the plan takes."""
    areas = [area(thing.box) for thing in plan.objects]
    areas += [area(text.box) / max(1, len(text.text)) for text in plan.texts]
    return min(areas, default=0.0)


def _write_together(model: PackedImageAR, rows: list[_Row]) -> None:
    digits = model.config.digits
    sequences = [row.opening for row in rows] * (2 if len(rows) == 1 else 1)  # a single row takes other products
    fed = torch.tensor([[sequence.ids.shape[1]] for sequence in sequences])
    tokens, end = begin_together(sequences, int(fed.max())), torch.zeros_like(fed)
    cache = [
        RowsCache(len(sequences), model.config.heads, BLOCK, model.config.head_dim, model.dtype)
        for _ in range(model.config.layers)
    ]
    while True:
        logits = _pass(model, cache, tokens, end, fed)
        waiting = [number for number, row in enumerate(rows) if not row.over]
        allowed = torch.stack([rows[number].allowed() for number in waiting])
        noise = torch.stack([rows[number].noise[len(rows[number].ids)] for number in waiting])
        chosen = draw(logits[waiting].masked_fill(~allowed, -torch.inf), noise, TEMPERATURE, TOP_P)
        for number, token in zip(waiting, chosen.tolist(), strict=True):
            rows[number].put(token)
        if all(row.over for row in rows):
            return
        end, fed = end + fed, torch.ones_like(fed)
        last = torch.tensor([row.ids[-1] if row.ids else 0 for row in rows])
        tokens = blank(len(sequences), 1, digits)
        tokens.ids[:, 0] = last.expand(len(sequences)) if len(rows) == 1 else last
        tokens.lies[:] = tokens.asks[:] = end[..., None].float()


def _pass(
    model: PackedImageAR, cache: list[RowsCache], tokens: Tokens, end: Int64[Tensor, "b 1"], fed: Int64[Tensor, "b 1"]
) -> Float[Tensor, "b v"]:
    """Logits of what follows every row's last fed token."""
    batch, length = tokens.ids.shape
    width = -(-(int(end.max()) + length) // WIDTH) * WIDTH
    capacity = cache[0].key.shape[1]
    if width > capacity:
        capacity = -(-width // BLOCK) * BLOCK
        for layer in cache:
            layer.resize(capacity)
    places = (torch.arange(batch)[:, None] * capacity + end + torch.arange(length)).flatten()
    for layer in cache:
        layer.aim(slice(0, batch), places, width)
    mask = enough(visible(end, fed, length, width), FEWEST[model.dtype])
    hidden, _ = model.hidden(tokens, mask, model.dtype, cache)
    return model.text_logits(hidden[torch.arange(batch), fed[:, 0] - 1])
