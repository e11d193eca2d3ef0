"""Choosing among candidates: several pictures are drawn for one request, and the one is kept in which the reader sees most of what
the prompt claims. What it quotes is read by somebody else, see `proofreading`.

Scores are taken in fp32 and for one request at a time, so that the choice depends on nothing but the request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from ..models.image_grammar import frame
from ..models.reader import SIDE, Reader, ReaderConfig
from ..models.weights import read_card, revive
from ..text.claims import Claims, Lexicon, Relation, Thing

NAME = "reader.safetensors"
LEAST = 0.01  # probability: a claim that fails counts no more than this
COUNTING = 0.5  # standard deviation of the number of things seen
SHARP = 12.0  # logits for a distance of a whole picture: a twelfth of it makes a relation likely


@dataclass(frozen=True, kw_only=True)
class Sight:
    """What is seen in each picture, as probabilities by position, by name, colour and material in the reader's order; letters:
    how many are expected there; places: row and column shares from the centre."""

    names: Float[Tensor, "b n names"]
    colours: Float[Tensor, "b n colours"]
    materials: Float[Tensor, "b n materials"]
    centres: Float[Tensor, "b n 1"]
    letters: Float[Tensor, "b n"]
    places: Float[Tensor, "n 2"]


class Chooser:
    """The reader, ready to compare."""

    def __init__(self, model: Reader, card: dict[str, Any]) -> None:
        """card: `nouns` gives every form of every name that the model knows."""
        self.model, self.card = model.eval().requires_grad_(False), card
        config = model.config
        self.lexicon = Lexicon(
            nouns=card["nouns"], colours=frozenset(config.colours), materials=frozenset(config.materials)
        )

    @classmethod
    def find(cls, folder: Path, tokenizer: str) -> Chooser | None:
        """The reader in a folder; None where there is none, or one for another tokenizer's codes.

        Raises:
            UserError: there is one, and it is damaged.
        """
        path = folder / NAME
        if not path.exists() or (card := read_card(path)).get("tokenizer") != tokenizer:
            return None
        return cls(revive(path, "a reader", lambda config: Reader(ReaderConfig(**config))), card)

    def best(
        self, prompt: str, candidates: Sequence[UInt8[Tensor, "h w d"]], others: Mapping[str, Float[Tensor, " b"]]
    ) -> tuple[int, dict[str, float]]:
        """The number of the candidate that fits a prompt best, the first of equals; and how likely it meets each claim, 0..1.
        others: log-probabilities of claims that somebody else has looked at."""
        scores = self.scores(prompt, torch.stack(list(candidates)))
        scores |= {claim: score.clamp(min=log(LEAST)) for claim, score in others.items()}
        total = sum(scores.values(), torch.zeros(len(candidates)))
        chosen = int(total.argmax())
        return chosen, {claim: round(float(score[chosen].exp()), 3) for claim, score in scores.items()}

    @torch.inference_mode()
    def scores(self, prompt: str, digits: UInt8[Tensor, "b h w d"]) -> dict[str, Float[Tensor, " b"]]:
        """For each claim of a prompt the log-probability that each picture, given as its cells' digits, meets it."""
        claims = self.lexicon.read(prompt)
        sight = self.look(digits)
        there = [self.there(sight, thing) for thing in claims.things]
        scores = {str(thing): present(each) for thing, each in zip(claims.things, there, strict=True)}
        for thing, each in zip(claims.things, there, strict=True):
            if thing.count > 1:
                scores[f"number of {thing.name}"] = counted(each, sight, thing.count)
        for relation in claims.relations:
            scores[said(claims, relation)] = related(
                there[relation.first], there[relation.second], sight, relation.kind
            )
        return {claim: score.clamp(min=log(LEAST)) for claim, score in scores.items()}

    def look(self, digits: UInt8[Tensor, "b h w d"]) -> Sight:
        """What the reader sees."""
        seen = self.model(digits)
        return Sight(
            names=seen.names.softmax(-1),
            colours=seen.colours.softmax(-1),
            materials=seen.materials.softmax(-1),
            centres=seen.centres.sigmoid(),
            letters=seen.letters.sigmoid().sum(-1),
            places=frame(digits.shape[1] // SIDE, digits.shape[2] // SIDE)[:, 2:],
        )

    def there(self, sight: Sight, thing: Thing) -> Float[Tensor, "b n"]:
        """How likely each position shows such a thing."""
        config = self.model.config
        there = sight.names[..., config.names.index(thing.name)]
        if thing.colour:
            there = there * sight.colours[..., config.colours.index(thing.colour)]
        if thing.material:
            there = there * sight.materials[..., config.materials.index(thing.material)]
        return there


def present(there: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """That there is one: by its two clearest positions, for the smallest things hardly cover more."""
    return there.topk(2, -1).values.mean(-1).log()


def counted(there: Float[Tensor, "b n"], sight: Sight, count: int) -> Float[Tensor, " b"]:
    """That there are so many: by how many centres of such things are expected."""
    number = (there * sight.centres[..., 0]).sum(-1)
    return -0.5 * ((number - count) / COUNTING) ** 2


def related(first: Float[Tensor, "b n"], second: Float[Tensor, "b n"], sight: Sight, kind: str) -> Float[Tensor, " b"]:
    """That the first stands so to the second: by their middles, and what is nearer stands lower."""
    middles = [
        torch.einsum("bn,nk->bk", there, sight.places) / there.sum(-1, keepdim=True) for there in (first, second)
    ]
    down, right = (middles[1] - middles[0]).unbind(-1)
    distances = {"left of": right, "right of": -right, "above": down, "below": -down}
    distance = (distances | {"in front of": -down, "behind": down})[kind]
    return F.logsigmoid(SHARP * distance)


def said(claims: Claims, relation: Relation) -> str:
    """A relation in words."""
    return f"{claims.things[relation.first].name} {relation.kind} {claims.things[relation.second].name}"
