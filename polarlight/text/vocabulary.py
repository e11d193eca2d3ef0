"""Text to tokens and back: whole words in prose, single characters inside quotes.

Prose is cut into words; a word of the list is one token that carries the space before it, any other is spelled character by
character. Quoted text is always spelled, because a model can only draw letters that it sees one by one. Hangul syllables are
spelled in jamo (lead, vowel, tail). Other characters fall back to UTF-8 bytes, so every text has tokens.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

SPECIAL = (
    "<pad>", "<bos>", "<eos>", "<draw>", "<caption>", "<edit>", "<reference>", "<control>", "<plan>", "</plan>",
    "<img>", "</img>", "<quote>", "</quote>",
)  # fmt: skip
SIZES = tuple(f"<{axis}:{cells}>" for axis in "hw" for cells in range(1, 33))  # picture size in cells of 16 px
JAMO = tuple(chr(c) for start, count in ((0x1100, 19), (0x1161, 21), (0x11A8, 27)) for c in range(start, start + count))
BYTES = 256
QUOTED = re.compile(r"(?<![\w])(?:'([^'\n]{1,80}?)'(?!\w)|\"([^\"\n]{1,80})\"|“([^”\n]{1,80})”|‘([^’\n]{1,80})’(?!\w))")
PIECE = re.compile(r" ?[^\W\d_]+| ?\d+|.", re.DOTALL)
WORDS_FILE = Path(__file__).with_name("words.txt")


class Vocabulary:
    """Special tokens, picture sizes, bytes, jamo, then words (each with its leading space)."""

    def __init__(self, words: Iterable[str]) -> None:
        self.tokens: list[str] = [*SPECIAL, *SIZES]
        self.first_byte = len(self.tokens)
        self.tokens += [f"<byte:{value}>" for value in range(BYTES)]
        self.tokens += JAMO
        self.tokens += [f" {word}" for word in words]
        self.index = {token: position for position, token in enumerate(self.tokens)}

    @staticmethod
    @cache
    def shipped() -> Vocabulary:
        """The vocabulary of the shipped models."""
        return Vocabulary(WORDS_FILE.read_text(encoding="utf-8").split())

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, token: str) -> int:
        return self.index[token]

    def encode(self, text: str) -> list[int]:
        """Tokens of a text. Decoded they give `normalise(text)` without the space in front, its quotes straight and double."""
        ids: list[int] = []
        for quoted, part in split_quotes(normalise(text)):
            if quoted:
                ids += [self["<quote>"], *self.spell(part), self["</quote>"]]
            else:
                for piece in PIECE.findall(part):
                    word = self.index.get(piece)
                    ids += [word] if word is not None else self.spell(piece)
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Text of tokens; special tokens other than quotes are left out, broken bytes become U+FFFD."""
        return self.read(ids).removeprefix(" ")

    def read(self, ids: Sequence[int]) -> str:
        """As `decode`, with a space in front where the tokens have one."""
        raw = bytearray()
        for token in ids:
            name = self.tokens[token]
            if self.first_byte <= token < self.first_byte + BYTES:
                raw.append(token - self.first_byte)
            elif name in ("<quote>", "</quote>"):
                raw += b'"'
            elif not name.startswith("<"):
                raw += name.encode()
        return unicodedata.normalize("NFC", raw.decode("utf-8", "replace"))

    def spell(self, text: str) -> list[int]:
        """Tokens of single letters."""
        ids: list[int] = []
        for character in text:
            decomposed = unicodedata.normalize("NFD", character)
            if all(jamo in self.index for jamo in decomposed):
                ids += [self.index[jamo] for jamo in decomposed]
            else:
                ids += [self.first_byte + byte for byte in character.encode()]
        return ids


def normalise(text: str) -> str:
    """Composed form, a single kind of space, and a space in front."""
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return f" {text}" if text else ""


def split_quotes(text: str) -> list[tuple[bool, str]]:
    """Cut a text into (is quoted, part) pairs, without the quotes."""
    parts, end = [], 0
    for match in QUOTED.finditer(text):
        parts.append((False, text[end : match.start()]))
        parts.append((True, next(group for group in match.groups() if group is not None)))
        end = match.end()
    parts.append((False, text[end:]))
    return [(quoted, part) for quoted, part in parts if part]


def quoted_texts(text: str) -> list[str]:
    """The texts between quotation marks, as `Vocabulary.encode` spells them."""
    return [part for quoted, part in split_quotes(normalise(text)) if quoted]
