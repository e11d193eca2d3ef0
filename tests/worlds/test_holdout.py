"""The held-out rule and the texts drawn under it."""

from __future__ import annotations

import itertools
from random import Random
from zlib import crc32

import pytest

from polarlight.worlds.holdout import bare_word, held_out_colour, held_out_pair, held_out_word
from polarlight.worlds.scene import COLOURS
from polarlight.worlds.words import CASES, HANGUL_SYLLABLES, LATIN_CHARACTERS, SCRIPTS, SPLITS, draw_text

NAMES = [f"{first} {second}" for first, second in itertools.product("abcdefghij", "klmnopqrstuvwxyz")]


def draw(count: int, seed: int = 0, **wanted: object) -> list[str]:
    random = Random(seed)
    return [draw_text(random, **{"split": "train", "script": "latin", "longest": 14, **wanted}) for _ in range(count)]


def test_the_rule_is_the_published_one():
    for a, b in itertools.product(("cat", "dog", "ice cream", "tree"), repeat=2):
        first, second = sorted((a, b))
        assert held_out_pair(a, b) == (a != b and crc32(f"pair:{first}|{second}".encode()) % 12 == 0)
    for name, colour in itertools.product(("cat", "ice cream"), COLOURS):
        assert held_out_colour(name, colour) == (crc32(f"colour:{name}|{colour}".encode()) % 10 == 0)
    for word in ("open", "quilt", "커피", "금지", "4.50"):
        assert held_out_word(word) == (crc32(f"word:{word}".encode()) % 10 == 0)


def test_known_answers_never_change():
    assert held_out_word("QUILT!")
    assert held_out_word("금지")
    assert not held_out_word("SEOUL")
    assert not held_out_word("비상구")


def test_a_pair_has_no_order_and_two_of_the_same_are_never_held_out():
    assert all(held_out_pair(a, b) == held_out_pair(b, a) for a, b in itertools.combinations(NAMES, 2))
    assert not any(held_out_pair(name, name) for name in NAMES)


def test_case_and_punctuation_do_not_make_another_word():
    assert bare_word("“Go!”") == bare_word("GO") == "go"
    assert bare_word("$4.50") == "4.50"
    assert bare_word("mr.") == "mr"
    assert bare_word("&") == ""
    assert not held_out_word("&")


def test_the_rates_are_those_stated():
    pairs = [held_out_pair(a, b) for a, b in itertools.combinations(NAMES, 2)]
    colours = [held_out_colour(name, colour) for name in NAMES for colour in COLOURS]
    words = [held_out_word(f"{a}{b}{c}") for a, b, c in itertools.product("abcdefghijklmnop", repeat=3)]
    assert sum(pairs) / len(pairs) == pytest.approx(1 / 12, abs=0.01)
    assert sum(colours) / len(colours) == pytest.approx(1 / 10, abs=0.015)
    assert sum(words) / len(words) == pytest.approx(1 / 10, abs=0.015)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_word_of_a_training_text_is_held_out(script: str):
    for text in draw(5000, script=script):
        assert not any(held_out_word(word) for word in text.split()), text


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_word_of_a_held_out_text_is_held_out(script: str):
    for text in draw(1000, script=script, split="heldout"):
        assert all(held_out_word(word) for word in text.split() if bare_word(word)), text


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("longest", [2, 3, 6, 20])
def test_a_text_is_never_longer_than_asked_and_made_of_the_published_characters(split: str, script: str, longest: int):
    allowed = set(LATIN_CHARACTERS if script == "latin" else HANGUL_SYLLABLES + " ")
    for text in draw(200, split=split, script=script, longest=longest):
        assert 1 <= len(text) <= longest
        assert set(text) <= allowed
        assert text == " ".join(text.split())


def test_most_latin_texts_are_short_varied_and_upper_case():
    texts = draw(3000)
    assert len(set(texts)) > 2000
    assert sum(2 <= len(text) <= 8 for text in texts) > 0.6 * len(texts)
    assert sum(text == text.upper() for text in texts) > 0.5 * len(texts)


def test_an_asked_case_is_kept():
    assert all(text == text.upper() for text in draw(300, case=CASES[0]))
    assert all(not word[0].islower() for text in draw(300, case=CASES[1]) for word in text.split())
    assert all(text == text.lower() for text in draw(300, case=CASES[2]))


def test_one_seed_gives_one_sequence():
    assert draw(50, seed=3) == draw(50, seed=3) != draw(50, seed=4)
