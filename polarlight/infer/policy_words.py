"""Looking for many terms in a text at once: words and phrases in dictionaries, the few terms with gaps by expressions.

A term is one or more words. A star at the end of its last word stands for any ending ("porn*"), a star alone for up to three
words ("remove * clothes") and at the end for one ("gas the *"). Han and kana are written without spaces, so a term of theirs
may stand anywhere, also inside a word.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from .policy_readings import folded, plain_words

SHORTEST_PART = 3  # letters of a word that is looked for inside a run-together or masked one
UNSPACED = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")


class WordSets:
    """Named sets of terms. Nothing is compiled before the first word of a term with a gap occurs.

    terms: by the name of their set; patterns: regular expressions, likewise, which must match whole words.
    """

    def __init__(self, terms: Mapping[str, Iterable[str]], patterns: Mapping[str, Sequence[str]]) -> None:
        self._words: dict[str, set[str]] = {}
        self._stems: dict[str, set[str]] = {}
        self._phrases: dict[str, list[tuple[tuple[str, ...], str]]] = {}
        self._gapped: dict[str, list[tuple[str, str]]] = {}
        self._anywhere: list[tuple[str, str]] = []
        always = {name: list(some) for name, some in patterns.items()}
        for name, some in terms.items():
            for term in some:
                self._add(name, folded(term), always)
        self._lengths = sorted({len(stem) for stem in self._stems})
        self._always = {name: _any_of(some) for name, some in always.items() if some}
        single = {*self._words, *self._stems}
        self.known = frozenset(word for word in single if len(word) >= SHORTEST_PART and word.isalpha())

    def _add(self, name: str, term: str, always: dict[str, list[str]]) -> None:
        stem = term.removesuffix("*")
        first, *rest = term.split(" ")
        if term.endswith(" *") or " * " in term or "*" in stem:
            check_term(" ".join(term.replace("*", " ").split()))
            if "*" in first:
                always.setdefault(name, []).append(_expression(term))
            else:
                self._gapped.setdefault(first, []).append((name, _expression(term)))
            return
        check_term(stem)
        if UNSPACED.search(term):
            self._anywhere.append((stem, name))
        elif rest:
            self._phrases.setdefault(first, []).append((tuple(rest), name))
        else:
            (self._words if stem == term else self._stems).setdefault(stem, set()).add(name)

    def names(self, words: Sequence[str]) -> set[str]:
        """The names of the sets that have a term in a text of these words; an empty word parts what stands beside it."""
        text = " ".join(words)
        found = {name for name, pattern in self._always.items() if pattern.search(text)}
        if UNSPACED.search(text):
            found |= {name for term, name in self._anywhere if term in text}
        for word in set(words):
            found |= self._words.get(word, set())
            for length in self._lengths:
                if length > len(word):
                    break
                found |= self._stems.get(word[:length], set())
            found |= {name for name, expression in self._gapped.get(word, ()) if re.search(expression, text)}
        for at, word in enumerate(words):
            if word in self._phrases:
                found |= {name for rest, name in self._phrases[word] if follows(words, at + 1, rest)}
        return found


def follows(words: Sequence[str], at: int, phrase: Sequence[str]) -> bool:
    """Whether a phrase stands at a place; a star at its end is any ending of its last word."""
    *whole, last = words[at : at + len(phrase)] or [""]
    *before, end = phrase
    return whole == before and (last.startswith(end[:-1]) and last != "" if end.endswith("*") else last == end)


def without(words: Sequence[str], exceptions: Mapping[str, Sequence[Sequence[str]]]) -> list[str]:
    """The words with each exception made an empty one. exceptions: by their first word, what follows it."""
    left, at = [], 0
    while at < len(words):
        rest = next((rest for rest in exceptions.get(words[at], ()) if follows(words, at + 1, rest)), None)
        left.append(words[at] if rest is None else "")
        at += 1 if rest is None else 1 + len(rest)
    return left


def check_term(text: str) -> str:
    """A term without its stars, which consists of words.

    Raises:
        ValueError: it does not, and would never be found.
    """
    if not text or text != plain_words(text):
        raise ValueError(f"{text!r} is not a word or phrase")
    return text


def _expression(term: str) -> str:
    term = term.replace(" * ", r" (?:\w+ ){0,3}").replace(" *", r" \w+").replace("*", r"\w*")
    return rf"(?<!\w){term}(?!\w)"


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    """Any of the patterns as whole words."""
    return re.compile(rf"(?<!\w)(?:{'|'.join(patterns)})(?!\w)")
