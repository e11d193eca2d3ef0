"""Prompts are judged by what they say, however they are spelled."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from infer.policy_suite import NAMES, cases

from polarlight.base.errors import UserError
from polarlight.infer.policy_rules import (
    ALWAYS,
    MESSAGES,
    SHIPPED,
    PromptRules,
    block_rule,
    classifier_rule,
    first_finding,
    readings,
)
from polarlight.media.pdq import BlockList, pdq_hash


@pytest.fixture(scope="module")
def rules() -> PromptRules:
    return PromptRules.load(names=NAMES)


def picture(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    return np.kron(random.integers(0, 256, (16, 16, 3)), np.ones((12, 12, 1))).astype(np.uint8)


def test_the_suite_has_five_hundred_prompts_of_every_category() -> None:
    suite = cases()
    assert len(suite) == 500
    assert sum(case.category is None for case in suite) > 150
    words_only = set(MESSAGES) - {"blocked_picture", "classifier"}
    assert {case.category for case in suite} == {*words_only, None}


def test_every_prompt_of_the_suite_is_judged_as_expected(rules: PromptRules) -> None:
    wrong = []
    for case in cases():
        found = rules.find(case.prompt, case.photo)
        category = found.category if found else None
        if category is None and case.photo and not case.consent and rules.concerns_person(case.prompt):
            category = "likeness"
        if category != case.category:
            wrong.append((case, category))
    assert not wrong


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


def test_a_run_of_short_words_is_not_taken_for_one() -> None:
    assert readings("plan a b") == ["plan a b"]
    assert readings("x y z") == ["x y z", "xyz"]


def test_hangul_stays_whole() -> None:
    assert readings("고양이 한 마리") == ["고양이 한 마리"]


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
