"""Ship the weights of planner-mini in the package.

polarlight train planner-export        (seconds; overwrites polarlight/weights/planner.*)
"""

from __future__ import annotations

from ..base.files import PACKAGE
from .runs import Run
from .shipping import ship


def run(run: Run) -> dict:
    """Copy what the sibling run planner-mini made to the package; returns the card."""
    return ship(run.sibling("planner-mini") / "planner.safetensors", PACKAGE / "weights")
