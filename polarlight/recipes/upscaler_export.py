"""Ship the weights of upscaler-mini in the package.

polarlight train upscaler-export        (seconds; overwrites polarlight/weights/upscaler.*)
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ..base.errors import UserError
from ..base.files import PACKAGE, atomic_path
from ..models.weights import read_card
from .runs import Run


def run(run: Run) -> dict:
    """Copy what the sibling run upscaler-mini made to the package; returns the card."""
    return ship(run.sibling("upscaler-mini") / "upscaler.safetensors", PACKAGE / "weights")


def ship(made: Path, folder: Path) -> dict:
    """Copy weights and card to a folder; returns the card.

    Raises:
        UserError: there are none.
    """
    if not made.exists():
        raise UserError(f"There is no upscaler at {made}.", fix="Train first: polarlight train upscaler-mini.")
    for suffix in (".safetensors", ".json"):
        with atomic_path(folder / f"upscaler{suffix}") as temporary:
            shutil.copyfile(made.with_suffix(suffix), temporary)
    return read_card(made)
