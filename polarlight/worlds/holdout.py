"""Which combinations the training worlds never show, so that scores on them measure composition and not recall.

The published rule, the same on every machine and in every version: build the canonical key (UTF-8, case-folded, single
spaces, no space at the ends), take its crc32 as an unsigned integer, and the thing is held out when the remainder is 0.

    pair of objects   "pair:A|B", A and B in code-point order     crc32 % 12 == 0   (1 in 12; never two of the same)
    colour of object  "colour:NAME|COLOUR"                        crc32 % 10 == 0   (1 in 10)
    written word      "word:WORD", punctuation stripped off ends  crc32 % 10 == 0   (1 in 10; never the empty word)

A text is made of whitespace-separated words and each is judged alone. Punctuation is everything that is neither a
letter nor a digit (`str.isalnum`), so "Go!", "GO" and "go" are one word, and "$4.50" is the word "4.50".
"""

from __future__ import annotations

from functools import lru_cache
from zlib import crc32

PAIR_MODULUS = 12
COLOUR_MODULUS = 10
WORD_MODULUS = 10


def held_out_pair(a: str, b: str) -> bool:
    """Whether the objects named `a` and `b` never stand in one training scene; the order does not matter."""
    first, second = sorted((_canonical(a), _canonical(b)))
    return first != second and _remainder(f"pair:{first}|{second}", PAIR_MODULUS) == 0


def held_out_colour(name: str, colour: str) -> bool:
    """Whether the object named `name` never has this colour in a training scene."""
    return _remainder(f"colour:{_canonical(name)}|{_canonical(colour)}", COLOUR_MODULUS) == 0


def held_out_word(word: str) -> bool:
    """Whether `word` (one word, any case, punctuation around it or not) is never written in a training scene."""
    bare = bare_word(word)
    return bare != "" and _remainder(f"word:{bare}", WORD_MODULUS) == 0


def bare_word(word: str) -> str:
    """Case-folded, with everything that is neither letter nor digit taken off both ends."""
    kept = [index for index, character in enumerate(word) if character.isalnum()]
    return word[kept[0] : kept[-1] + 1].casefold() if kept else ""


def _canonical(name: str) -> str:
    return " ".join(name.casefold().split())


@lru_cache(maxsize=65536)
def _remainder(key: str, modulus: int) -> int:
    return crc32(key.encode()) % modulus
