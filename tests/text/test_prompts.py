"""What a prompt may be."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polarlight.base.errors import UserError
from polarlight.text.prompts import LONGEST_PROMPT, check_prompt


@pytest.mark.parametrize("prompt", ["a cat", "고양이 두 마리", "a sign “열림!” & 3 cats 🙂", "Ångström, naïve ñ"])
def test_latin_letters_hangul_digits_and_symbols_pass(prompt: str) -> None:
    assert check_prompt(prompt) == prompt


def test_spaces_are_made_plain_and_letters_composed() -> None:
    assert check_prompt("  a\u00a0red\n\tcafe\u0301 ") == "a red caf\u00e9"
    assert check_prompt("\u1112\u1161\u11ab") == "한"


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ("", "empty"),
        (" \n ", "empty"),
        ("x" * (LONGEST_PROMPT + 1), "1,001 characters; the most is 1,000"),
        ("a кот", "unsupported script: 'к'"),
        ("猫", "unsupported script"),
        ("a cat\x00", "not text"),
        ("\ue000", "not text"),
    ],
)
def test_what_no_model_can_draw_is_refused_with_a_way_out(prompt: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        check_prompt(prompt)
    assert raised.value.fix


def test_the_longest_prompt_passes() -> None:
    assert len(check_prompt("x" * LONGEST_PROMPT)) == LONGEST_PROMPT


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(), max_size=30))
def test_a_prompt_is_refused_or_comes_out_in_its_final_form(text: str) -> None:
    try:
        prompt = check_prompt(text)
    except UserError:
        return
    assert check_prompt(prompt) == prompt
    assert unicodedata.is_normalized("NFC", prompt)
    assert prompt == " ".join(prompt.split(" ")).strip() != ""
