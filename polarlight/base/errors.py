"""Errors that a user can act on."""

from __future__ import annotations


class UserError(Exception):
    """A mistake of the user's: one sentence that says what is wrong, and a way out.

    `assert` is for our own mistakes. Commands print the two sentences and exit with code 2; the server answers 400.
    """

    def __init__(self, sentence: str, *, fix: str = "") -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.fix = fix

    def __str__(self) -> str:
        return f"{self.sentence} {self.fix}".strip()
