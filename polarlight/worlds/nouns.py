"""Nouns for the objects of a scene: number, article, plural, synonyms, colour and material."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from random import Random

from .catalogue import by_name
from .scene import Spec

NUMBER_WORDS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
MATERIAL_WORDS = {"wood": ("wooden",), "metal": ("metal", "metal", "metallic")}
COLOUR_WORDS = {"grey": ("grey", "gray")}

# for nouns outside the catalogue, which the rules of `plural` would get wrong
_IRREGULAR = {"man": "men", "woman": "women", "mouse": "mice", "knife": "knives", "leaf": "leaves"}
_UNITS = {"bunches": "bunch", "loaves": "loaf", "boxes": "box", "balls": "ball"}
_AN = re.compile(r"[aeiou]|8|11\b|18\b|hour|honest|suv\b|x-ray", re.IGNORECASE)
_A = re.compile(r"uni|use|ufo|eu|one\b|ukulele", re.IGNORECASE)
_UNCOUNTED = {
    *(
        "cattle",
        "swine",
        "tennis",
        "bowling",
        "honey",
        "corn",
        "maize",
        "pasta",
        "ramen",
        "sakura",
        "lightning",
        "earth",
    ),
    *("chocolate", "salad", "milk", "canned food", "saturn", "headphone", "beer", "shell", "diamond"),
}
_COLOURED = re.compile(r"\b(?:red|white|orange|hot|smiling)\b")


@dataclass(frozen=True, kw_only=True)
class Group:
    """The objects that a caption names together: equal name, colour and material. `indices` into spec["objects"]."""

    name: str
    colour: str | None
    material: str | None
    indices: tuple[int, ...]

    @property
    def count(self) -> int:
        return len(self.indices)


def groups(spec: Spec) -> list[Group]:
    """Group the objects, in the order of their first appearance."""
    found: dict[tuple[str, str | None, str | None], list[int]] = {}
    for index, thing in enumerate(spec["objects"]):
        found.setdefault((thing["name"], thing.get("colour"), thing.get("material")), []).append(index)
    return [
        Group(name=name, colour=colour, material=material, indices=tuple(indices))
        for (name, colour, material), indices in found.items()
    ]


def with_article(phrase: str) -> str:
    """Put "a" or "an" before a phrase, by its sound."""
    return ("an " if _AN.match(phrase) and not _A.match(phrase) else "a ") + phrase


def plural(name: str) -> str:
    """The plural of a noun: the catalogue's, else by rule."""
    entry = by_name().get(name)
    if entry is not None:
        return entry.plural
    head, space, last = name.rpartition(" ")
    if last in _IRREGULAR:
        last = _IRREGULAR[last]
    elif re.search(r"(?:s|x|z|ch|sh)$", last):
        last += "es"
    elif re.search(r"[^aeiou]y$", last):
        last = last[:-1] + "ies"
    else:
        last += "s"
    return head + space + last


@lru_cache(maxsize=4096)
def singular(name: str) -> tuple[str, bool]:
    """How one of them is called, and whether that takes an article: ("loaf of bread", True), ("peanuts", False)."""
    entry = by_name().get(name)
    if entry is None:
        return name, True
    unit, of, _ = entry.plural.partition(" of ")
    one = _UNITS.get(unit, unit.removesuffix("s"))
    if of and not name.startswith(one):  # "bunches of grapes": one is a bunch of grapes
        return entry.plural.replace(unit, one, 1), True
    return name, entry.plural != name or not name.endswith("s")


def takes_are(group: Group) -> bool:
    """Whether the verb after "the GROUP" is "are": several things, or a noun like peanuts, grapes or scissors."""
    return group.count > 1 or (group.name.endswith("s") and singular(group.name) != (group.name, True))


@lru_cache(maxsize=4096)
def synonyms(name: str) -> tuple[str, ...]:
    """Other countable names that are no other thing's own name."""
    entry = by_name().get(name)
    if entry is None:
        return ()
    single = (word for word in entry.synonyms if word.endswith("ss") or not word.endswith("s"))
    return tuple(w for w in single if w not in _UNCOUNTED and w not in by_name() and not _COLOURED.search(w))


def number_word(count: int, random: Random) -> str:
    """Spelled out, or now and then a digit."""
    return str(count) if count >= len(NUMBER_WORDS) or random.random() < 0.15 else NUMBER_WORDS[count]


def noun_phrase(group: Group, random: Random, *, determiner: str = "a", synonym: float = 0.0) -> str:
    """ "a red glass bottle", "two cats"; `determiner` is "a" (or a number), "the", or "" for no article.

    `synonym` is the chance that the noun is another name of the same thing.
    """
    name = group.name
    if synonym and random.random() < synonym and synonyms(name):
        name = random.choice(synonyms(name))
    noun, countable = (plural(name), True) if group.count > 1 else singular(name)
    if group.count == 1 and determiner != "a":
        noun = name
    phrase = _described(noun, group, random)
    number = number_word(group.count, random)
    if determiner == "the":
        return f"the {phrase}" if group.count == 1 else f"the {number} {phrase}"
    if group.count > 1:
        return f"{number} {phrase}"
    return with_article(phrase) if determiner == "a" and countable else phrase


def _described(noun: str, group: Group, random: Random) -> str:
    """The noun with its colour and its material: "red glass bottle", "matte red cube", "bottle made of glass"."""
    colour = random.choice(COLOUR_WORDS.get(group.colour, (group.colour,))) if group.colour else ""
    if colour in noun.split():
        colour = ""
    if not group.material:
        return f"{colour} {noun}".strip()
    if group.material in ("glass", "metal", "wood") and random.random() < 0.1:
        return f"{colour} {noun} made of {group.material}".strip()
    material = random.choice(MATERIAL_WORDS.get(group.material, (group.material,)))
    order = (material, colour, noun) if material == "matte" else (colour, material, noun)
    return " ".join(word for word in order if word)


def listed(parts: list[str], last: str = "and") -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} {last} {parts[-1]}"
