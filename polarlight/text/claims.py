"""What a prompt claims that can be looked for in a picture: things with number, colour, material, and how two stand to each other.

By dictionary and order of words, without a model; what is not known is not claimed, nor what stands between quotes.

    "two red cars to the left of a tree under a sign that says 'OPEN'"
    -> two red cars; a tree; car left of tree
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from .plan import Box, Plan, PlanObject
from .vocabulary import normalise, quoted_texts, split_quotes

NUMBERS = {
    **{"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7},
    **{"eight": 8, "nine": 9, "ten": 10, "eleven": 11, "twelve": 12},
}
SPELLINGS = {"gray": "grey", "wooden": "wood", "metallic": "metal"}
RELATIONS = {
    "left of": ("to the left of", "on the left of", "left of"),
    "right of": ("to the right of", "on the right of", "right of"),
    "above": ("above", "over", "on top of"),
    "below": ("below", "under", "beneath", "underneath"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
LINKS = {words: kind for kind, forms in RELATIONS.items() for words in forms}
PIECE = re.compile(r"[^\W_]+(?:['-][^\W_]+)*|[^\w\s]")
LONGEST = 4  # words of a noun
APART = 0.1  # of the summed sizes: middles closer than this stand neither left nor right, above nor below


@dataclass(frozen=True, kw_only=True)
class Thing:
    """count: 2 and more where a number is said, else 1."""

    name: str
    count: int = 1
    colour: str | None = None
    material: str | None = None

    def __str__(self) -> str:
        words = (str(self.count) if self.count > 1 else None, self.colour, self.material, self.name)
        return " ".join(word for word in words if word)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """first, second: numbers of things; kind: one of RELATIONS."""

    first: int
    kind: str
    second: int


@dataclass(frozen=True, kw_only=True)
class Claims:
    things: tuple[Thing, ...] = ()
    relations: tuple[Relation, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Lexicon:
    """nouns: every form, singular or plural and in lower case, of a name; colours, materials: their names."""

    nouns: Mapping[str, str]
    colours: frozenset[str]
    materials: frozenset[str]

    def read(self, prompt: str) -> Claims:
        """What a prompt claims."""
        words = [
            word
            for quoted, part in split_quotes(normalise(prompt))
            for word in (["'"] if quoted else PIECE.findall(part.lower()))
        ]
        things, relations = list[Thing](), list[Relation]()
        at, open_from = 0, 0
        while at < len(words):
            length = self._noun_at(words, at)
            if not length:
                at += 1
                continue
            thing, start = self._thing(words, open_from, at, length)
            after = at + length
            if words[after : after + 2] == ["made", "of"] and self._word(words, after + 2) in self.materials:
                thing = replace(thing, material=self._word(words, after + 2))
                after += 3
            kind = LINKS.get(" ".join(words[open_from:start])) if things else None
            if kind is not None:
                relations.append(Relation(first=len(things) - 1, kind=kind, second=len(things)))
            things.append(thing)
            at = open_from = after
        return Claims(things=tuple(things), relations=tuple(relations))

    def _noun_at(self, words: list[str], at: int) -> int:
        """Words of the longest noun that begins there, 0 where none does; the orange of an orange mug is none."""
        if self._word(words, at) in self.colours and self._describes(words, at + 1):
            return 0
        return next((n for n in range(LONGEST, 0, -1) if " ".join(words[at : at + n]) in self.nouns), 0)

    def _describes(self, words: list[str], at: int) -> bool:
        """Whether a noun begins there, or another word that describes one."""
        return self._word(words, at) in self.colours | self.materials or self._noun_at(words, at) > 0

    def _word(self, words: list[str], at: int) -> str:
        """A word in its usual spelling, empty past the ends."""
        word = words[at] if 0 <= at < len(words) else ""
        return SPELLINGS.get(word, word)

    def _thing(self, words: list[str], first: int, at: int, length: int) -> tuple[Thing, int]:
        """The noun with what is said before it, and where that begins."""
        colour, material, count, start = None, None, 1, at
        while start > first:
            word = self._word(words, start - 1)
            if word in self.colours:
                colour = word
            elif word in self.materials:
                material = word
            else:
                break
            start -= 1
        word = words[start - 1] if start > first else ""
        if word in ("a", "an", "the", "one", "1", "another"):
            start -= 1
        elif word in NUMBERS or (word.isdigit() and 2 <= int(word) <= 12):
            count, start = NUMBERS.get(word) or int(word), start - 1
        name = self.nouns[" ".join(words[at : at + length])]
        return Thing(name=name, count=count, colour=colour, material=material), start


def misses(prompt: str, plan: Plan, lexicon: Lexicon) -> int:
    """How much of what a prompt claims a plan does not have, and how much it has that nobody asked for: things, each relation,
    each text beyond those that the prompt quotes. A prompt that names no things leaves them open."""
    claims = lexicon.read(prompt)
    left, wrong = list(plan.objects), 0
    found: dict[int, list[PlanObject]] = {}
    for number, thing in sorted(
        enumerate(claims.things), key=lambda pair: -bool(pair[1].colour) - bool(pair[1].material)
    ):
        found[number] = [one for one in left if fits(one, thing)][: thing.count]  # who says most of it chooses first
        left = [one for one in left if not any(one is taken for taken in found[number])]
        wrong += thing.count - len(found[number])
    for relation in claims.relations:
        first, second = found[relation.first], found[relation.second]
        wrong += not (first and second and all(stands(a.box, relation.kind, b.box) for a in first for b in second))
    return wrong + len(left) * bool(claims.things) + abs(len(plan.texts) - len(quoted_texts(prompt)))


def fits(planned: PlanObject, thing: Thing) -> bool:
    """Whether it is such a thing."""
    return (
        planned.name == thing.name
        and thing.colour in (None, planned.colour)
        and thing.material in (None, planned.material)
    )


def stands(a: Box, kind: str, b: Box) -> bool:
    """Whether box `a` stands in a relation to `b`: by their middles, mostly that way; what is nearer has its foot lower."""
    if kind in ("in front of", "behind"):
        return a[3] != b[3] and (a[3] > b[3]) == (kind == "in front of")
    offset = [(b[n] + b[n + 2] - a[n] - a[n + 2]) / 2 for n in (0, 1)]
    spare = [APART * (a[n + 2] - a[n] + b[n + 2] - b[n]) for n in (0, 1)]
    right, down = (max(abs(o) - s, 0.0) * (1 if o > 0 else -1) for o, s in zip(offset, spare, strict=True))
    along, across = {
        "left of": (right, down),
        "right of": (-right, down),
        "above": (down, right),
        "below": (-down, right),
    }[kind]
    return along > abs(across)
