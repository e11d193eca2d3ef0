"""What a prompt may be."""

from __future__ import annotations

import unicodedata

from ..base.errors import UserError

LONGEST_PROMPT = 1000  # characters
SCRIPTS = ("LATIN", "HANGUL")


def check_prompt(text: str) -> str:
    """Return the prompt in composed form with plain spaces.

    Raises:
        UserError: it is empty, longer than LONGEST_PROMPT characters, or has letters of a script the models never saw.
    """
    prompt = " ".join(unicodedata.normalize("NFC", text).split())
    if not prompt:
        raise UserError("The prompt is empty.", fix="Say what to draw, for example: a cat under a tree.")
    if len(prompt) > LONGEST_PROMPT:
        raise UserError(
            f"The prompt has {len(prompt):,} characters; the most is {LONGEST_PROMPT:,}.",
            fix="Shorten it and try again.",
        )
    for character in prompt:
        if character.isalpha() and not unicodedata.name(character, "").startswith(SCRIPTS):
            raise UserError(
                f"The prompt has a letter of an unsupported script: {character!r}.",
                fix="Write it in Latin letters or Hangul.",
            )
        if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn"):
            raise UserError(f"The prompt has a character that is not text: {character!r}.", fix="Remove it.")
    return prompt
