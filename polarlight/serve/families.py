"""Whose customs a request follows, by the model it names."""

from __future__ import annotations

from polarlight.base.errors import UserError
from polarlight.infer.engine import Engines

OPENAI_NAMES = ("gpt-", "dall-e", "sora", "chatgpt-")


def family_of(model: str | None, engines: Engines, modality: str = "image") -> str:
    """The family whose customs a request follows: "grok", "openai" or "polarlight"."""
    if model:
        if model.startswith("grok"):
            return "grok"
        if model.startswith(OPENAI_NAMES):
            return "openai"
    try:
        return (engines.get(model) if model else engines.default(modality)).info.family
    except UserError:
        return "openai"
