"""Ship the weights of reader-mini in the package.

polarlight train reader-export        (seconds; overwrites polarlight/weights/reader.*)
"""

from __future__ import annotations

from ..base.files import PACKAGE
from .runs import Run
from .shipping import ship


def run(run: Run) -> dict:
    """Copy what the sibling run reader-mini made to the package; returns the card."""
    return ship(run.sibling("reader-mini") / "reader.safetensors", PACKAGE / "weights")
