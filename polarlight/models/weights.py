"""Weights as files: int8 per output channel for matrices, bf16 for the rest, in one safetensors file beside a JSON card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ..base.errors import UserError
from ..base.files import atomic_write

Model = TypeVar("Model", bound=nn.Module)

SCALE = ".scale"  # suffix of the fp32 scales of an int8 tensor


def quantise(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Symmetric int8 over every axis but the output one (the second to last for stacks of matrices); returns (int8, scale)."""
    axes = tuple(range(1, weight.ndim)) if weight.ndim != 3 else (2,)
    scale = weight.abs().amax(axes, keepdim=True).clamp_min(1e-12) / 127
    return (weight / scale).round().to(torch.int8), scale.float()


def export(
    model: nn.Module, path: Path, card: dict[str, Any], int8: tuple[str, ...] = ("weight", "up", "down", "out")
) -> dict[str, Any]:
    """Write `path` (.safetensors) and its card (.json). Parameters of 2 or more axes whose name ends in one of `int8` are
    quantised. Returns the card with the file's hash and size."""
    tensors: dict[str, Tensor] = {}
    for name, value in model.state_dict().items():
        value = value.detach().cpu().float()
        if value.ndim >= 2 and name.rsplit(".", 1)[-1] in int8:
            tensors[name], tensors[name + SCALE] = quantise(value)
        else:
            tensors[name] = value.bfloat16() if value.ndim >= 2 else value
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    card = {**card, "hash": hashlib.sha256(content).hexdigest()[:16], "bytes": len(content)}
    atomic_write(path, content)
    atomic_write(path.with_suffix(".json"), json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return card


def read_card(path: Path) -> dict[str, Any]:
    """The card beside a weights file.

    Raises:
        UserError: there is none, or it is not a JSON object.
    """
    card = path.with_suffix(".json")
    try:
        content = json.loads(card.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("a card is an object")
        return content
    except FileNotFoundError as error:
        raise UserError(
            f"There is no model card at {card}.", fix="Name a folder that holds image.safetensors and image.json."
        ) from error
    except ValueError as error:
        raise UserError(
            f"The model card {card} is damaged.", fix="Restore it from where the model came from."
        ) from error


def record(path: Path, **fields: Any) -> dict[str, Any]:
    """Add fields to the card beside a weights file; returns the card."""
    card = {**read_card(path), **fields}
    atomic_write(path.with_suffix(".json"), json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return card


def load_into(model: nn.Module, path: Path) -> None:
    """Fill a model from a file of `export`, dequantised to the parameters' dtype.

    Raises:
        UserError: the file is missing, truncated, or of another shape.
    """
    if not path.exists():
        raise UserError(
            f"The weights file {path} is missing.", fix="Reinstall the package or name another folder with --model."
        )
    try:
        stored = load_file(path)
        state = {
            name: value.float() * stored[name + SCALE] if value.dtype == torch.int8 else value.float()
            for name, value in stored.items()
            if not name.endswith(SCALE)
        }
        model.load_state_dict(state)
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise UserError(
            f"The weights file {path} is damaged or belongs to another model: {str(error).splitlines()[0]}",
            fix="Restore it from where it came from, or train it again.",
        ) from error


def tuples(config: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists back to tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def revive(path: Path, what: str, make: Callable[[dict[str, Any]], Model]) -> Model:
    """The model of a weights file, for drawing. make: builds it from the config that its card names; what: "a reader".

    Raises:
        UserError: the card does not describe such a model, or the file is missing, truncated, or of another shape.
    """
    try:
        with torch.random.fork_rng(devices=[]):  # not on "meta": its initialisers import a second of compiler
            model = make(tuples(read_card(path)["config"]))
    except (KeyError, TypeError) as error:
        raise UserError(
            f"The card beside {path} does not describe {what} of this version: {error}",
            fix="Use the release that it came with, or train it again.",
        ) from error
    load_into(model, path)
    return model.eval().requires_grad_(False)


def made_for(path: Path, config: Any) -> bool:
    """Whether there are weights at `path` whose card names this config (a dataclass)."""
    return path.exists() and read_card(path)["config"] == json.loads(json.dumps(asdict(config)))
