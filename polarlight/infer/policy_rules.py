"""The rules of the policy gate: what a prompt may ask for, and what a picture may show.

Prompt rules are data (`policy_rules.json`): sets of words and patterns, and rules that name sets which must all occur.
They are matched on several readings of the prompt, so that accents, look-alike letters, digits for letters, spaced-out
letters and invisible characters change nothing. Words alone are a first line: an operator adds classifiers for pictures.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import UserError
from ..base.files import PACKAGE
from ..media.pdq import BlockList, matches

SHIPPED = PACKAGE / "infer" / "policy_rules.json"
ALWAYS = frozenset({"minors", "intimate", "undressing"})  # no operator can allow these
MESSAGES = {
    "minors": "Sexual content with a minor is never made.",
    "intimate": "Intimate pictures of someone without their consent are never made.",
    "undressing": "A picture of a real person is never undressed or sexualised.",
    "sexual": "Sexual content is not made here.",
    "impersonation": "Pictures of this real person are not made here.",
    "violence": "Graphic violence is not made here.",
    "dangerous": "Instructions for weapons or drugs are not made here.",
    "hate": "Symbols of hate are not made here.",
    "blocked_picture": "The picture is on the block list.",
    "likeness": "An edit of a photograph of a person needs that person's consent.",
    "classifier": "The picture shows what is not made here.",
}

# letters of other scripts, and signs, that are drawn like a Latin letter
LOOK_ALIKE = str.maketrans("аеорсухіјѕԁһӏкмтвнոսαβεικνορτυχωςıøłđƒ", "aeopcyxijsdhlkmtbhnuabeikvoptuxwsioldf")
DIGITS = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s", "€": "e", "+": "t"}
ONES = "1!|"  # read as i in one reading and as l in another


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Why something is refused: a category of MESSAGES, the rule that said so, and the sentence for the user."""

    category: str
    rule: str

    @property
    def message(self) -> str:
        """One sentence for whoever asked."""
        return MESSAGES[self.category]


Picture = np.ndarray  # uint8 [h, w, 3]
PictureRule = Callable[[Picture], Finding | None]
Classifier = Callable[[Picture], Mapping[str, float]]


class PromptRules:
    """The word rules, ready to match. `names`: real persons whose pictures the operator does not make."""

    def __init__(self, data: Mapping[str, Any], names: Iterable[str] = ()) -> None:
        try:
            self.version = str(data["version"])
            sets = {name: [_term(term) for term in terms] for name, terms in data["words"].items()}
            for name, patterns in data["patterns"].items():
                sets.setdefault(name, []).extend(patterns)
            sets["name"] = [_plain_term(name) for name in names]
            self._sets = {name: _any_of(terms) for name, terms in sets.items()}
            self._exceptions = _any_of([_term(term) for term in data["exceptions"]])
            self._rules = [
                (str(r["id"]), str(r["category"]), tuple(r["all"]), r.get("photo", False)) for r in data["rules"]
            ]
        except (KeyError, TypeError, AttributeError, re.error) as error:
            raise UserError(
                f"The policy rules are damaged: {error!r}.", fix="Compare them with the rules that Polarlight ships."
            ) from error
        for rule, category, wanted, _ in self._rules:
            if category not in MESSAGES or not set(wanted) <= set(self._sets):
                raise UserError(
                    f"The policy rule {rule} names an unknown category or word set.", fix="Correct its name."
                )

    @classmethod
    def load(cls, path: Path = SHIPPED, names: Iterable[str] = ()) -> PromptRules:
        """Read a rule file.

        Raises:
            UserError: no such file, or one that is damaged.
        """
        try:
            return cls(json.loads(path.read_text(encoding="utf-8")), names)
        except (OSError, ValueError) as error:
            raise UserError(f"Cannot read the policy rules {path}: {error}.", fix="Check the path.") from error

    def find(self, prompt: str, photo: bool, allowed: frozenset[str] = frozenset()) -> Finding | None:
        """The first rule that a prompt breaks, in the file's order; the rules for edits of photographs count where `photo`."""
        hits = self.words(prompt)
        for rule, category, wanted, needs_photo in self._rules:
            if category in allowed - ALWAYS or (needs_photo and not photo):
                continue
            if hits.issuperset(wanted):
                return Finding(category=category, rule=rule)
        return None

    def concerns_person(self, prompt: str) -> bool:
        """Whether an instruction speaks of a person."""
        return bool(self.words(prompt) & {"person", "name", "minor"})

    def words(self, prompt: str) -> set[str]:
        """The names of the word sets that occur in any reading of a prompt."""
        found: set[str] = set()
        for reading in readings(prompt):
            text = self._exceptions.sub(" ", reading)
            found |= {name for name, pattern in self._sets.items() if pattern.search(text)}
        return found


def readings(prompt: str) -> list[str]:
    """The ways a prompt can be read, each as lower-case words with single spaces between them.

    As it stands; with digits and signs as letters (1 as i, and as l); each of these also with runs of a letter cut to one,
    and with letters that stand alone joined to words, with and without an "a" or "i" in front.
    """
    folded = _folded(prompt)
    words = [_words(text) for text in (folded, _as_letters(folded, "i"), _as_letters(folded, "l"))]
    texts = [*words, *map(_unrepeated, words)]
    return list(dict.fromkeys([*texts, *map(_joined, texts), *(_joined(text, "(?:[ai] )?") for text in texts)]))


def _folded(text: str) -> str:
    """Compatibility forms, case, accents, invisible characters and look-alike letters taken away; Hangul is kept whole."""
    text = unicodedata.normalize("NFKD", text).casefold()
    kept = (
        letter for letter in text if unicodedata.category(letter) not in ("Mn", "Me", "Cf", "Cc") or letter in "\t\n\r"
    )
    return unicodedata.normalize("NFC", "".join(kept)).translate(LOOK_ALIKE)


def _as_letters(text: str, one: str) -> str:
    """Digits and signs as the letters they look like, in words that have a letter at all."""
    letters = str.maketrans(DIGITS | dict.fromkeys(ONES, one))
    return re.sub(r"\S*[^\W\d_]\S*", lambda word: word[0].translate(letters), text)


def _words(text: str) -> str:
    return " ".join(re.findall(r"[^\W_]+", text.replace("'", "").replace("’", "")))


def _joined(text: str, before: str = "") -> str:
    """Three or more letters that stand alone become one word; a word that fits `before` is left out of it."""
    return re.sub(rf"(?<!\S){before}(\w(?: \w){{2,}})(?!\S)", lambda run: run[1].replace(" ", ""), text)


def _unrepeated(text: str) -> str:
    return re.sub(r"([^\W\d])\1{2,}", r"\1", text)


def _term(term: str) -> str:
    """A term of the rule file as a pattern: a star within a word is any ending, one alone is up to three words."""
    term = unicodedata.normalize("NFC", term)
    return term.replace(" * ", r" (?:\w+ ){0,3}").replace(" *", r" \w+").replace("*", r"\w*")


def _plain_term(name: str) -> str:
    return re.escape(_words(_folded(name)))


def _any_of(terms: Sequence[str]) -> re.Pattern[str]:
    """Any of the terms as whole words; nothing where there are none."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(terms)})(?!\w)" if terms else r"(?!)")


def block_rule(blocked: Callable[[], BlockList]) -> PictureRule:
    """Refuses pictures on a block list; `blocked` gives the list as it is now."""

    def rule(picture: Picture) -> Finding | None:
        found = matches(picture, blocked())
        return Finding(category="blocked_picture", rule=f"pdq:{found.hex}") if found else None

    return rule


def classifier_rule(name: str, classifier: Classifier, thresholds: Mapping[str, float]) -> PictureRule:
    """Refuses pictures that a classifier scores at or above a label's threshold; a missing label is an error."""

    def rule(picture: Picture) -> Finding | None:
        scores = classifier(picture)
        for label, limit in thresholds.items():
            if not scores[label] < limit:  # also where the score is not a number
                return Finding(category="classifier", rule=f"{name}:{label}")
        return None

    return rule


def first_finding(rules: Iterable[PictureRule], pictures: Sequence[Picture]) -> Finding | None:
    """The first refusal of any rule for any picture."""
    found: Iterator[Finding | None] = (rule(picture) for picture in pictures for rule in rules)
    return next((one for one in found if one is not None), None)
