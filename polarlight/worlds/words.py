"""What is written on signs, labels, posters and price tags: words, pseudo-words, numbers, prices, in Latin and Hangul.

About a third of the draws are pseudo-words, because a model that has only met real words completes them instead of
spelling what it was asked for.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random

from .holdout import bare_word, held_out_word

SPLITS = ("train", "heldout")
SCRIPTS = ("latin", "hangul")
CASES = ("upper", "title", "lower")

_FOLDER = Path(__file__).with_name("words")
_LATIN = tuple(dict.fromkeys((_FOLDER / "latin.txt").read_text(encoding="utf-8").split()))
_HANGUL = tuple(dict.fromkeys((_FOLDER / "hangul.txt").read_text(encoding="utf-8").split()))

LATIN_CHARACTERS = string.ascii_uppercase + string.ascii_lowercase + string.digits + " !?.,'&%$-:#+"
HANGUL_SYLLABLES = "".join(sorted(set("".join(_HANGUL))))

# sounds of pronounceable pseudo-words; "-" is no coda
_ONSETS, _VOWELS, _CODAS = (
    [part.replace("-", "") for part in parts.split()]
    for parts in (
        "b c d f g h j k l m n p r s t v w y z bl br ch cl cr dr fl gl gr pl pr qu sc sh sk sl sm sn sp st sw th tr",
        "a a e e i o o u ai ea ee oo ou y",
        "- - - b d g k l m n p r s t x ck ft ll lt mp nd ng nk rd rk rn rt sh ss st",
    )
)
_LENGTHS = ((1, 2), (2, 9), (3, 15), (4, 18), (5, 18), (6, 15), (7, 11), (8, 7), (9, 3), (10, 2))  # (letters, weight)
_REDRAWS = 300  # of one form before another is tried; 1 draw in 10 of a pseudo-word is held out, so these suffice


def draw_text(random: Random, *, split: str, script: str, longest: int, case: str | None = None) -> str:
    """Draw one text of 1 to `longest` characters (spaces count), `longest` >= 2.

    No word of a "train" text is one that `held_out_word` holds out; every word of a "heldout" text is one it does.
    `case` is one of CASES, or None: mostly upper, some title, some lower (Hangul has no case). Characters are those of
    LATIN_CHARACTERS, or HANGUL_SYLLABLES and the space; there is never a space at an end, nor two in a row.
    """
    assert split in SPLITS, split
    assert script in SCRIPTS, script
    assert longest >= 2, longest
    if case is None:
        case = random.choices(CASES, (62, 22, 16))[0]
    forms = _FORMS[script]
    for _ in range(20):
        form = random.choices(forms, [weight for weight, _ in forms])[0][1]
        for _ in range(_REDRAWS):
            text = form(random, split, longest)
            if 0 < len(text) <= longest and in_split(text, split):
                return _in_case(text, case)
    raise AssertionError(f"no {split} text of {longest} characters")


def in_split(text: str, split: str) -> bool:
    """Whether every word of `text` belongs to the split (a text of mixed words belongs to neither)."""
    words = [word for word in text.split() if bare_word(word)]
    return bool(words) and all(held_out_word(word) == (split == "heldout") for word in words)


@lru_cache(maxsize=256)
def _vocabulary(script: str, split: str, longest: int) -> tuple[str, ...]:
    """The split's words of at most `longest` letters."""
    words = _LATIN if script == "latin" else _HANGUL
    return tuple(word for word in words if len(word) <= longest and in_split(word, split))


@lru_cache(maxsize=256)
def _weighted(script: str, split: str, longest: int) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """The vocabulary with cumulative weights that bring its lengths to those of _LENGTHS."""
    words = _vocabulary(script, split, longest)
    counts: dict[int, int] = {}
    for word in words:
        counts[len(word)] = counts.get(len(word), 0) + 1
    wanted = dict(_LENGTHS)
    totals, total = [], 0.0
    for word in words:
        total += wanted.get(len(word), 1) / counts[len(word)]
        totals.append(total)
    return words, tuple(totals)


def _latin_word(random: Random, split: str, longest: int) -> str:
    words, weights = _weighted("latin", split, longest)
    return random.choices(words, cum_weights=weights)[0] if words else ""


def _latin_phrase(random: Random, split: str, longest: int) -> str:
    """Two words, now and then joined by "&" or three of them."""
    words = _vocabulary("latin", split, min(8, longest))
    chosen = random.choices(words, k=3 if longest >= 14 and random.random() < 0.12 else 2) if words else [""]
    joint = " & " if len(chosen) == 2 and random.random() < 0.12 else " "
    return joint.join(chosen)


def _pronounceable(random: Random, split: str, longest: int) -> str:
    syllables = random.choices((1, 2, 3), (30, 52, 18))[0]
    return "".join(random.choice(part) for _ in range(syllables) for part in (_ONSETS, _VOWELS, _CODAS))


def _random_letters(random: Random, split: str, longest: int) -> str:
    lengths, weights = zip(*((length, weight) for length, weight in _LENGTHS if length <= longest), strict=True)
    letters = string.ascii_lowercase + string.digits if random.random() < 0.15 else string.ascii_lowercase
    return "".join(random.choices(letters, k=random.choices(lengths, weights)[0]))


def _number(random: Random, split: str, longest: int) -> str:
    digits = random.choices((1, 2, 3, 4, 5), (2, 6, 6, 6, 1))[0]
    return str(random.randint(10 ** (digits - 1), 10**digits - 1))


def _price(random: Random, split: str, longest: int) -> str:
    word = _latin_word(random, split, 6)
    patterns = (
        f"${random.randint(1, 99)}",
        f"${random.randint(1, 30)}.{random.choice(('00', '25', '50', '75', '95', '99'))}",
        f"{random.randrange(5, 100, 5)}%",
        f"{random.randrange(5, 100, 5)}% off",
        f"no. {random.randint(1, 99)}",
        f"#{random.randint(1, 99)}",
        f"{random.randint(1, 12)}:{random.choice(('00', '15', '30', '45'))}",
        f"{random.randint(2, 6)} for {random.randint(1, 9)}",
        f"{word} {random.randint(1, 99)}",
        f"{random.randint(1, 99)} {word}",
    )
    return random.choice(patterns)


def _punctuated(random: Random, split: str, longest: int) -> str:
    word, other = _latin_word(random, split, 8), _latin_word(random, split, 6)
    patterns = (
        f"{word}!",
        f"{word}!",
        f"{word}?",
        f"{word}.",
        f"{word}'s",
        f"{word}-{other}",
        f"mr. {word}",
        f"{word}, {other}",
        f"{word} + {other}",
        f"{word} {other}!",
        f"{word}: {random.randint(1, 9)}",
        f"{word}...",
    )
    return random.choice(patterns)


def _hangul_word(random: Random, split: str, longest: int) -> str:
    return random.choice(_vocabulary("hangul", split, longest))


def _hangul_phrase(random: Random, split: str, longest: int) -> str:
    return f"{_hangul_word(random, split, longest)} {_hangul_word(random, split, longest)}"


def _hangul_syllables(random: Random, split: str, longest: int) -> str:
    return "".join(random.choices(HANGUL_SYLLABLES, k=random.choices((1, 2, 3, 4), (10, 45, 30, 15))[0]))


def _in_case(text: str, case: str) -> str:
    if case == "title":
        return " ".join(word[:1].upper() + word[1:] for word in text.split(" "))
    return text.upper() if case == "upper" else text.lower()


Form = Callable[[Random, str, int], str]
_FORMS: dict[str, list[tuple[int, Form]]] = {
    "latin": [
        (33, _latin_word),
        (14, _latin_phrase),
        (18, _pronounceable),
        (17, _random_letters),
        (5, _number),
        (6, _price),
        (7, _punctuated),
    ],
    "hangul": [(58, _hangul_word), (9, _hangul_phrase), (33, _hangul_syllables)],
}
