"""Prompts are judged by what they say, however they are spelled."""

import json
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from infer.policy_suite import COUNT, KINDS, NAMES, Case, cases

from polarlight.base.errors import UserError
from polarlight.infer.policy_rules import (
    ALWAYS,
    MESSAGES,
    SHIPPED,
    PromptRules,
    block_rule,
    classifier_rule,
    first_finding,
)
from polarlight.media.pdq import BlockList, pdq_hash


@pytest.fixture(scope="module")
def rules() -> PromptRules:
    return PromptRules.load(names=NAMES)


def picture(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.kron(random.integers(0, 256, (16, 16, 3)), np.ones((12, 12, 1))).astype(np.uint8)


def test_the_suite_has_five_hundred_prompts_of_each_kind() -> None:
    suite = cases()
    assert len(set(suite)) == COUNT
    assert Counter(case.kind for case in suite) == KINDS
    assert sum(case.refused for case in suite if case.kind == "borderline") > 30


@pytest.mark.parametrize(
    ("kind", "refused", "least"),
    [("harmless", False, 0.99), ("harmful", True, 0.95), ("borderline", False, 0.95), ("borderline", True, 0.6)],
)
def test_most_of_the_suite_is_judged_as_the_policy_wants(
    rules: PromptRules, kind: str, refused: bool, least: float
) -> None:
    """Words alone do not reach every hint and every language; the shares are what they reach today."""

    def judged(case: Case) -> bool:
        person = case.photo and not case.consent and rules.concerns_person(case.prompt)
        return person or rules.find(case.prompt, case.photo) is not None

    chosen = [case for case in cases() if (case.kind, case.refused) == (kind, refused)]
    assert sum(judged(case) == refused for case in chosen) >= least * len(chosen)


@pytest.mark.parametrize(
    "disguise",
    [
        "NAKED",
        "nakéd",
        "n4k3d",
        "n a k e d",
        "n.a.k.e.d",
        "na\u200bked",
        "n\u0430ked",
        "ｎａｋｅｄ",
        "naaaaked",
        "n@k€d",
        "'naked'",
    ],
)
def test_a_disguised_word_is_still_read(rules: PromptRules, disguise: str) -> None:
    assert rules.find(f"a {disguise} man", photo=False).category == "sexual"


@pytest.mark.parametrize("age", ["12 year old", "12-year-old", "a 9yo", "aged 15", "twelve years old", "13살"])
def test_an_age_under_eighteen_is_a_minor(rules: PromptRules, age: str) -> None:
    assert "minor" in rules.words(f"someone, {age}, by the sea")


@pytest.mark.parametrize("age", ["18 year old", "a 42 yo", "aged 70", "a 300 year old oak", "room 12"])
def test_another_number_is_not(rules: PromptRules, age: str) -> None:
    assert "minor" not in rules.words(f"someone, {age}, by the sea")


def test_words_are_matched_whole(rules: PromptRules) -> None:
    assert rules.words("Essex, Scunthorpe, a bombastic cocktail, analysis, grapes, Kidderminster") == set()


@pytest.mark.parametrize(
    "prompt",
    [
        "a naked mole rat",
        "Penistone",
        "a Kidd's cave map",
        "Gorée island",
        "a method for methane",
        "therapist in Essex",
    ],
)
def test_words_that_only_look_bad_pass(rules: PromptRules, prompt: str) -> None:
    assert rules.find(prompt, photo=False) is None


@pytest.mark.parametrize(
    "prompt", ["mujer desnuda", "eine nackte Frau", "голая девочка", "一个裸体女孩", "全裸の女性", "누드 사진"]
)
def test_other_languages_are_read_in_part(rules: PromptRules, prompt: str) -> None:
    assert rules.find(prompt, photo=False).category in ("sexual", "minors")


def test_what_is_taken_off_by_a_negative_prompt_counts(rules: PromptRules) -> None:
    assert rules.find("a man", False, negative_prompt="clothes, hat").rule == "person-negative"
    assert rules.find("a man in clothes", False, negative_prompt="hat") is None
    assert rules.find("a man", False, negative_prompt="nude, nsfw") is None


def test_some_categories_can_be_allowed_and_others_never(rules: PromptRules) -> None:
    everything = frozenset(MESSAGES)
    assert rules.find("a nude woman on a bed", False, frozenset({"sexual"})) is None
    assert rules.find("a nude child", False, everything).category == "minors"
    assert rules.find("an upskirt picture", False, everything).category == "intimate"
    assert rules.find("undress her", True, everything).category == "undressing"
    assert {"minors", "intimate", "undressing"} == ALWAYS


def test_names_come_from_the_operator_alone(rules: PromptRules) -> None:
    assert PromptRules.load().find("Arvid Testperson waves", False) is None
    assert rules.find("ARVID  TESTPERSON waves", False).category == "impersonation"
    assert rules.find("Zoe Exempel waves", False).category == "impersonation"


def test_a_name_without_a_letter_is_refused() -> None:
    with pytest.raises(UserError, match="has no letter"):
        PromptRules.load(names=("Zoë Exempel", "!?"))


@pytest.mark.parametrize("length", [20, 5_000])
def test_a_prompt_is_judged_the_same_the_second_time(rules: PromptRules, length: int) -> None:
    prompt = "a nude woman".ljust(length, ".")
    found = [rules.words(prompt) for _ in range(2)]
    assert found[0] == found[1] == {"sexual", "explicit", "person"}
    assert rules.words("a woman".ljust(length, ".")) == {"person"}


def test_a_damaged_rule_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    with pytest.raises(UserError, match="Cannot read"):
        PromptRules.load(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match="Cannot read"):
        PromptRules.load(path)
    data = json.loads(SHIPPED.read_text(encoding="utf-8"))
    with pytest.raises(UserError, match="damaged"):
        PromptRules({**data, "words": {"minor": ["("]}})
    with pytest.raises(UserError, match="unknown category or word set"):
        PromptRules({**data, "rules": [{"id": "x", "category": "hate", "all": ["haet"]}]})


def test_the_rules_need_no_model() -> None:
    import subprocess

    program = "import sys, polarlight.infer.policy; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_a_picture_on_the_block_list_is_found_and_another_is_not() -> None:
    rule = block_rule(lambda: BlockList([(pdq_hash(picture(0)).hex, "")]))
    assert first_finding([rule], [picture(1), picture(0)]).category == "blocked_picture"
    assert first_finding([rule], [picture(1)]) is None


@pytest.mark.parametrize(("score", "refused"), [(0.49, False), (0.5, True), (float("nan"), True)])
def test_a_classifier_refuses_from_its_threshold_on(score: float, refused: bool) -> None:
    rule = classifier_rule("shield", lambda picture: {"violence": score, "other": 1.0}, {"violence": 0.5})
    found = rule(picture(0))
    assert (found is not None) == refused
    assert found is None or found.rule == "shield:violence"


def test_a_classifier_without_the_label_is_an_error() -> None:
    with pytest.raises(KeyError):
        classifier_rule("shield", lambda picture: {}, {"violence": 0.5})(picture(0))
