"""Ship the weights of upscaler-mini in the package.

polarlight train upscaler-export        (seconds; overwrites polarlight/weights/upscaler.*)
"""

from __future__ import annotations

from ..base.files import PACKAGE
from .runs import Run
from .shipping import ship


def run(run: Run) -> dict:
    """Copy what the sibling run upscaler-mini made to the package; returns the card."""
    return ship(run.sibling("upscaler-mini") / "upscaler.safetensors", PACKAGE / "weights")
