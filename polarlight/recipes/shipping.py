"""Weights that a training made, into the package."""

from __future__ import annotations

import shutil
from pathlib import Path

from ..base.errors import UserError
from ..base.files import atomic_path
from ..models.weights import read_card


def ship(made: Path, folder: Path) -> dict:
    """Copy weights (.safetensors) and their card to a folder; returns the card.

    Raises:
        UserError: there are none.
    """
    if not made.exists():
        raise UserError(f"There is no {made.stem} at {made}.", fix=f"Train first: polarlight train {made.parent.name}.")
    for suffix in (".safetensors", ".json"):
        with atomic_path(folder / f"{made.stem}{suffix}") as temporary:
            shutil.copyfile(made.with_suffix(suffix), temporary)
    return read_card(made)
