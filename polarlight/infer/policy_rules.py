"""The rules of the policy gate: what a prompt may ask for, and what a picture may show.

Prompt rules are data (`policy_rules.json`): sets of words and patterns, and rules that name sets which must all occur.
They are matched on several readings of the prompt (`policy_readings`), so that spelling a word in another way changes little.
Words alone are a first line: an operator adds classifiers for pictures.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..base.errors import UserError
from ..base.files import PACKAGE
from ..media.pdq import BlockList, matches
from .policy_readings import folded, plain_words, readings
from .policy_words import WordSets, check_term, without

REMEMBERED, LONGEST_REMEMBERED = 1024, 2048  # prompts, and characters of one
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
        named = {name: plain_words(folded(name)) for name in names}
        if empty := [name for name, words in named.items() if not words]:
            raise UserError(f"The name {empty[0]!r} has no letter.", fix="Correct the operator's list of names.")
        try:
            self.version = str(data["version"])
            terms = {**data["words"], "name": named.values()}
            self._sets = WordSets(terms, data["patterns"])
            self._exceptions: dict[str, list[list[str]]] = {}
            for first, *rest in (check_term(folded(each)).split(" ") for each in data["exceptions"]):
                self._exceptions.setdefault(first, []).append(rest)
            self._rules = [
                (str(r["id"]), str(r["category"]), tuple(r["all"]), r.get("photo", False)) for r in data["rules"]
            ]
            self._remembered = lru_cache(REMEMBERED)(self._words)
        except (KeyError, TypeError, AttributeError, ValueError, re.error) as error:
            raise UserError(
                f"The policy rules are damaged: {error!r}.", fix="Compare them with the rules that Polarlight ships."
            ) from error
        for rule, category, wanted, _ in self._rules:
            if category not in MESSAGES or not set(wanted) <= {*terms, *data["patterns"]}:
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

    def find(
        self, prompt: str, photo: bool, allowed: frozenset[str] = frozenset(), negative_prompt: str = ""
    ) -> Finding | None:
        """The first rule that a request breaks, in the file's order; the rules for edits of photographs count where `photo`.

        A negative prompt is harmless but for what it takes off a person: it may hit the word set "garment" alone.
        """
        hits = self.words(prompt) - {"garment"} | self.words(negative_prompt) & {"garment"}
        for rule, category, wanted, needs_photo in self._rules:
            if category in allowed - ALWAYS or (needs_photo and not photo):
                continue
            if hits.issuperset(wanted):
                return Finding(category=category, rule=rule)
        return None

    def concerns_person(self, prompt: str) -> bool:
        """Whether an instruction speaks of a person."""
        return bool(self.words(prompt) & {"person", "name", "minor"})

    def words(self, prompt: str) -> frozenset[str]:
        """The names of the word sets that occur in any reading of a prompt.

        The last prompts are remembered: a request is judged at its door, and again for each of its pictures.
        """
        return self._remembered(prompt) if len(prompt) <= LONGEST_REMEMBERED else self._words(prompt)

    def _words(self, prompt: str) -> frozenset[str]:
        found: set[str] = set()
        for reading in readings(prompt, self._sets.known) if prompt else ():
            found |= self._sets.names(without(reading.split(" "), self._exceptions))
        return frozenset(found)


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
