"""A disguised word has a reading in which it is plain, and plain text keeps its own."""

import time

import pytest
from infer.policy_suite import DISGUISES

from polarlight.infer.policy_readings import readings
from polarlight.infer.policy_rules import PromptRules

KNOWN = frozenset({"naked", "girl", "porn"})


@pytest.mark.parametrize("disguise", DISGUISES)
def test_every_disguise_of_the_suite_is_seen_through(disguise: str) -> None:
    assert any("naked person" in reading for reading in readings(DISGUISES[disguise]("naked person")))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("nakedgirl", "naked girl"), ("NakedGirl.jpg", "naked girl jpg"), ("na*ed", "naked"), ("p*rn", "porn"),
        ("nnaakkeedd", "naked"), ("n_a_k_e_d", "naked"), ("na.ked", "naked"), ("n4k3d", "naked"), ("ＮＡＫＥＤ", "naked"),
        ("🅝🅐🅚🅔🅓", "naked"), ("🇳🇦🇰🇪🇩", "naked"), ("naㅤked", "naked"),
    ],
)  # fmt: skip
def test_a_trick_of_its_own_is_seen_through(written: str, meant: str) -> None:
    assert meant in readings(written, KNOWN)


@pytest.mark.parametrize(
    "text", ["plan a b", "고양이 한 마리", "essex and scunthorpe", "committee meeting", "all good books"]
)
def test_plain_text_has_itself_as_its_first_reading(text: str) -> None:
    assert readings(text, KNOWN)[0] == text


def test_a_run_of_short_words_is_not_taken_for_one() -> None:
    assert readings("plan a b") == ["plan a b"]
    assert readings("x y z") == ["x y z", "xyz"]


def test_words_are_parted_only_where_both_halves_are_known() -> None:
    assert readings("nakedness girlish", KNOWN) == ["nakedness girlish"]


@pytest.mark.parametrize(
    "prompt",
    ["a wooooord n*ked 1ike th1s ", "ab", "aab", "a*", "1", "*ab", ".", "a.", "a b ", "a  ", "nakedgirl", "裸"],
)
def test_the_longest_prompt_is_judged_soon_whatever_it_repeats(prompt: str) -> None:
    rules, text = PromptRules.load(), (prompt * 20_000)[:20_000]
    start = time.process_time()
    rules.find(text, photo=True)
    assert time.process_time() - start < 5
