"""Text to tokens and back."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polarlight.text.vocabulary import BYTES, JAMO, SIZES, SPECIAL, WORDS_FILE, Vocabulary, normalise, split_quotes

V = Vocabulary.shipped()
LETTERS = "aBé 가각힣ㄱ漢🙂'\"“”‘’\n\t<>각0123.,-_"
TEXTS = st.one_of(st.text(max_size=60), st.text(LETTERS, max_size=40))


def straightened(text: str) -> str:
    """What decoding gives back: the normalised text without the space in front, quotes straight and double."""
    parts = split_quotes(normalise(text))
    return "".join(f'"{part}"' if quoted else part for quoted, part in parts).removeprefix(" ")


@settings(max_examples=200, deadline=None)
@given(TEXTS)
def test_decoding_gives_the_text_back_with_straight_quotes(text: str) -> None:
    assert V.decode(V.encode(text)) == straightened(text)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, len(V) - 1), max_size=40))
def test_any_tokens_decode_to_some_composed_text(ids: list[int]) -> None:
    text = V.decode(ids)
    assert unicodedata.is_normalized("NFC", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a red cat", "a red cat"),
        ("  a\tred\n cat ", "a red cat"),
        ("a sign that says 'OPEN'", 'a sign that says "OPEN"'),
        ("“열림” on a door", '"열림" on a door'),
        ("the cat's dog's tail", "the cat's dog's tail"),
        ("", ""),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_texts_come_back(text: str, expected: str) -> None:
    assert V.decode(V.encode(text)) == expected


@pytest.mark.parametrize("quotes", ["''", '""', "“”", "‘’"])
def test_quoted_text_is_spelled_character_by_character(quotes: str) -> None:
    ids = V.encode(f"a sign that says {quotes[0]}red cat{quotes[1]} in a field")
    opening, closing = ids.index(V["<quote>"]), ids.index(V["</quote>"])
    assert [bytes([token - V.first_byte]).decode() for token in ids[opening + 1 : closing]] == list("red cat")


def test_a_known_word_is_one_token_with_its_space_and_an_unknown_one_is_spelled() -> None:
    assert V.encode("a red cat") == [V[" a"], V[" red"], V[" cat"]]
    assert len(V.encode("xyzzy")) == len(" xyzzy")


def test_hangul_is_spelled_in_jamo() -> None:
    names = [V.tokens[token] for token in V.encode("'한글'")]
    assert names[-7:] == ["<quote>", *unicodedata.normalize("NFD", "한글"), "</quote>"][-7:]
    assert set(names[names.index("<quote>") + 1 : -1]) <= set(JAMO)


def test_the_word_list_has_no_duplicates_and_no_token_stands_twice() -> None:
    words = WORDS_FILE.read_text(encoding="utf-8").split()
    assert len(set(words)) == len(words)
    assert len(V.index) == len(V) == len(SPECIAL) + len(SIZES) + BYTES + len(JAMO) + len(words)


def test_every_word_of_the_list_is_reached_by_encoding_it() -> None:
    words = WORDS_FILE.read_text(encoding="utf-8").split()
    assert [word for word in words if V.encode(word) != [V[f" {word}"]]] == []


def test_special_tokens_cannot_be_written_by_a_prompt() -> None:
    specials = {V[name] for name in (*SPECIAL, *SIZES)}
    assert not specials & set(V.encode("<bos> <img> </img> <plan> <h:8> <quote>"))
    assert V.decode([V["<bos>"], V["<draw>"], V[" a"], V["<eos>"]]) == "a"


def test_broken_bytes_are_replaced() -> None:
    assert V.decode([V.first_byte + 0xFF]) == "\ufffd"


def test_an_apostrophe_inside_a_word_opens_no_quote() -> None:
    assert split_quotes(" the dog's bone and the cat's ball") == [(False, " the dog's bone and the cat's ball")]
    assert split_quotes(' "A" or ‘B’') == [(False, " "), (True, "A"), (False, " or "), (True, "B")]
