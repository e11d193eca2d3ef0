"""Floor 7: runs. One file = one recipe: what it needs, its command, its time, its expected score."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from ..base.errors import UserError
from ..base.files import PACKAGE

RECIPES = {
    "glyph-mini": "the glyph reader of the tokenizer's loss (2 minutes)",
    "tokenizer-mini": "the visual tokenizer (30 minutes)",
    "tokenizer-smoke": "a tiny tokenizer on a handful of scenes (under a minute)",
    "image-mini": "the image model (hours; chunks by --minutes, resumed exactly)",
    "image-smoke": "a tiny image model on every task (under two minutes)",
    "image-gpu": "the image model on one GPU, from scenes rendered while it trains (minutes)",
    "image-export": "ship the averaged weights of image-mini and its tokenizer in the package",
    "preference-mini": "the image model on what the reader prefers of its own pictures (16 minutes; resumed exactly)",
    "preference-smoke": "the same with tiny models on six prompts (under a minute)",
    "preference-export": "ship the weights of preference-mini in the package",
    "upscaler-mini": "the upscaler (15 minutes)",
    "upscaler-smoke": "a tiny upscaler on six scenes (seconds)",
    "upscaler-export": "ship the weights of upscaler-mini in the package",
    "planner-mini": "the planner that writes what stands where (17 minutes; resumed exactly)",
    "planner-smoke": "a tiny planner on a handful of scenes (seconds)",
    "planner-export": "ship the weights of planner-mini in the package",
    "reader-mini": "the reader that says what candidates show (45 minutes; resumed exactly)",
    "reader-smoke": "a tiny reader on a handful of scenes (under a minute)",
    "reader-export": "ship the weights of reader-mini in the package",
    "letterer-mini": "the letterer that writes asked-for texts (about an hour; resumed exactly)",
    "letterer-smoke": "a tiny letterer on a handful of scenes (under a minute)",
    "letterer-export": "ship the weights of letterer-mini in the package",
    "proofreader-mini": "the proofreader that reads what candidates say (half an hour; resumed exactly)",
    "proofreader-smoke": "a tiny proofreader on a handful of scenes (under a minute)",
    "proofreader-export": "ship the weights of proofreader-mini in the package",
    "judge-mini": "the detector that judges pictures (15 minutes)",
}


def run(
    name: str,
    *,
    steps: int | None = None,
    minutes: float | None = None,
    resume: bool = True,
    folder: Path,
    report: Callable[[dict[str, float]], None] = lambda metrics: None,
) -> dict[str, Any]:
    """Run a recipe in `folder`; returns what it made. Under torchrun every process trains on batches of its own.

    Raises:
        UserError: there is no such recipe.
    """
    if name not in RECIPES:
        raise UserError(f"There is no recipe {name!r}.", fix=f"Choose one of: {', '.join(RECIPES)}.")
    from ..ops.peaks import gemm_peak
    from ..train.distributed import joined
    from .runs import Run, activation_dtype
    from .shipping import ship

    stem, _, size = name.rpartition("-")
    if size == "export" and stem != "image":
        made = "image" if stem == "preference" else stem
        return ship(folder.parent / f"{stem}-mini" / f"{made}.safetensors", PACKAGE / "weights")
    module = import_module(f".{stem}_{size if size in ('export', 'gpu') else 'mini'}", __name__)
    peak = gemm_peak(activation_dtype()) if name == "image-mini" else None
    settings = Run(
        folder=folder,
        steps=steps,
        minutes=minutes,
        resume=resume,
        smoke=size == "smoke",
        peak_flops=peak,
        report=report,
    )
    with joined() as rank:
        made = module.run(settings)
    if rank == 0 and (folder / "metrics.jsonl").exists():
        from ..train.report import plot

        try:
            made["curves"] = str(plot(folder))
        except UserError as missing:  # the run stands without its picture; say how to get it
            made["curves"] = str(missing)
    return made
