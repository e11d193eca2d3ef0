"""Ship the averaged weights of image-mini and its tokenizer in the package.

polarlight train image-export        (seconds; overwrites polarlight/weights/image.* and tokenizer.*)
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import torch

from ..base.errors import UserError
from ..base.files import PACKAGE
from ..models.weights import export
from ..text.vocabulary import Vocabulary
from . import image_mini, tokenizer_mini
from .runs import Run

TASKS = ("draw", "edit")
BY_PLAN = "layout"  # draws by a plan that it is given


def run(run: Run) -> dict:
    """Export from the sibling run image-mini to the package; returns the card."""
    state_path = run.sibling("image-mini") / "state.pt"
    if not state_path.exists():
        raise UserError(f"There is no training state at {state_path}.", fix="Train first: polarlight train image-mini.")
    return write_release(run, state_path, PACKAGE / "weights")


def write_release(run: Run, state_path: Path, folder: Path) -> dict:
    """Write the image model's average of a training state, and the tokenizer it was trained on, to `folder`."""
    tokenizer, name = tokenizer_mini.load(run)
    model = image_mini.new_model(Vocabulary.shipped(), tokenizer, run.smoke)
    state = torch.load(state_path, map_location="cpu", weights_only=True)
    model.load_state_dict({**state["model"], **state["ema"]})
    beside = tokenizer_mini.place(run)
    if beside.exists():
        folder.mkdir(parents=True, exist_ok=True)
        for suffix in (".safetensors", ".json"):
            shutil.copyfile(beside.with_suffix(suffix), folder / f"tokenizer{suffix}")
    tasks = [*TASKS, *([BY_PLAN] if run.smoke or image_mini.MIXTURE.planned else [])]
    tasks += ["plan", "caption", "reference", "control"] if run.smoke else []
    card = {
        "model": "image model",
        "recipe": state_path.parent.name,
        "steps": state["step"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "active_parameters": sum(model.active_parameters()),
        "tokenizer": name,
        "tasks": tasks,
        "sizes": [128],
        "config": asdict(model.config),
    }
    return export(model, folder / "image.safetensors", card)
