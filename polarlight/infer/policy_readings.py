"""The ways a prompt can be read: what people write so that a machine overlooks a word and a person does not.

Sources: Unicode technical standard 39 (confusable characters), and the spellings that filters are commonly dodged with.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Set

# letters of other scripts, and signs, that are drawn like a Latin letter
LOOK_ALIKE = str.maketrans(
    "аеорсухіјѕԁһӏкмтвнոսցաαβεικνορτυχωςγηıøłđƒɑɡʏɪʟʀɴʙʜɢᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜱꜰǝɐ",
    "aeopcyxijsdhlkmtbhnugwabeikvoptuxwsynioldfagyilrnbhgacdejkmoptuvwzsfea",
)
# letters in black circles, in black squares, and of flags
LETTERS = {start + i: chr(ord("a") + i) for start in (0x1F150, 0x1F170, 0x1F1E6) for i in range(26)}
UNSEEN = dict.fromkeys((0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0))  # letters by category that show nothing
DIGITS = {"0": "o", "3": "e", "4": "a", "5": "s", "7": "t", "8": "b", "9": "g", "@": "a", "$": "s", "€": "e", "+": "t"}
ONES = "1!|"  # read as i in one reading and as l in another
LONGEST_WORD = 40  # letters; longer ones are not searched for others inside them
RUN = re.compile(r"([^\W\d_])\1+")
SHORTER = ((r"(.)\1{2,}", r"\1"), (r"(.)\1{2,}", r"\1\1"), (r"(.)\1+", r"\1"))  # once, twice, and every letter once


def readings(prompt: str, known: Set[str] = frozenset()) -> list[str]:
    """The ways a prompt can be read, each as lower-case words with single spaces between them.

    As it stands; with digits and signs as letters (1 as i, and as l); with the signs inside words left out; each of these
    also with stretched words shortened, and with letters that stand alone joined to words, with and without an "a" or "i"
    in front. Words that are two of `known` run together are parted, and stars that hide letters of one give way to it.
    """
    plain = folded(prompt)
    texts = [plain, _as_letters(plain, "i"), _as_letters(plain, "l"), _unmasked(plain, known), _spelled(plain)]
    texts += [_closed(text) for text in texts]
    words = [plain_words(text) for text in texts]
    words += [_shortened(text, run, instead) for text in words for run, instead in SHORTER if RUN.search(text)]
    words += [_joined(text, before) for text in words for before in ("", "(?:[ai] )?")]
    return list(dict.fromkeys(_parted(text, known) for text in dict.fromkeys(words)))


def folded(text: str) -> str:
    """Compatibility forms, case, accents, invisible characters and look-alike letters taken away; Hangul is kept whole."""
    if text.isascii() and text.isprintable():  # the rest changes nothing here, and takes 5 us a word
        return text.lower()
    text = unicodedata.normalize("NFKD", text.translate(LETTERS | UNSEEN)).casefold().translate(UNSEEN)
    kept = (
        letter for letter in text if unicodedata.category(letter) not in ("Mn", "Me", "Cf", "Cc") or letter in "\t\n\r"
    )
    return unicodedata.normalize("NFC", "".join(kept)).translate(LOOK_ALIKE)


def plain_words(text: str) -> str:
    """Letters and digits, in words with single spaces between them."""
    return " ".join(re.findall(r"[^\W_]+", text.replace("'", "").replace("’", "")))


def _as_letters(text: str, one: str) -> str:
    """Digits and signs as the letters they look like, in words that have a letter at all."""
    letters = str.maketrans(DIGITS | dict.fromkeys(ONES, one))
    return " ".join(word.translate(letters) if re.search(r"[^\W\d_]", word) else word for word in text.split(" "))


def _closed(text: str) -> str:
    """Signs between two letters of a word left out."""
    return re.sub(r"(?<=[^\W\d_])[^\w\s]+(?=[^\W\d_])", "", text.replace("_", "-"))


def _unmasked(text: str, known: Set[str]) -> str:
    """Stars inside a word as the letters of a known word that fits."""
    if "*" not in text:
        return text
    return re.sub(r"[\w*]+", lambda word: _fitting(word[0], known) if "*" in word[0].strip("*") else word[0], text)


def _fitting(mask: str, known: Set[str]) -> str:
    if len(mask) > LONGEST_WORD:
        return mask
    pattern = re.compile(mask.replace("*", r"\w"))
    return min((word for word in known if pattern.fullmatch(word)), default=mask)


def _parted(text: str, known: Set[str]) -> str:
    """Words that are two known ones run together, as two words."""
    return " ".join(
        next((f"{word[:i]} {word[i:]}" for i in range(1, len(word)) if word[:i] in known and word[i:] in known), word)
        if len(word) <= LONGEST_WORD
        else word
        for word in text.split()
    )


def _spelled(text: str) -> str:
    """Letters with one space between them and more between words, as words."""
    chunks = re.split(r"\s{2,}", text)
    return " ".join(re.sub(r"\s", "", chunk) if re.fullmatch(r"\S(\s\S)*", chunk) else chunk for chunk in chunks)


def _joined(text: str, before: str = "") -> str:
    """Three or more letters that stand alone become one word; a word that fits `before` is left out of it."""
    return re.sub(rf"(?<!\S){before}(\w(?: \w){{2,}})(?!\S)", lambda run: run[1].replace(" ", ""), text)


def _shortened(text: str, run: str, instead: str) -> str:
    """Words that were stretched, with each match of `run` in them replaced."""
    return " ".join(re.sub(run, instead, word) if _is_stretched(word) else word for word in text.split(" "))


def _is_stretched(word: str) -> bool:
    """Whether a letter stands three times in a row, or two letters twice."""
    runs = [len(found[0]) for found in RUN.finditer(word)]
    return len(runs) > 1 or max(runs, default=0) > 2
