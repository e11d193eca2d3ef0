"""Train the planner, which writes what stands where before a picture is drawn: polarlight/weights/planner.safetensors.

    polarlight train planner-mini && polarlight train planner-export

A small image model that knows text alone, trained on captions and plans of ever new scenes; nothing is rendered. About 17 minutes
on two cores of an EPYC in fp32; docs/log.md says what its plans are worth. A new run starts from nothing.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import asdict
from functools import lru_cache

import torch
from torch import nn

from ..base.seeds import stream_random, stream_seed
from ..models.image_ar import ImageAR, ImageARConfig, image_loss
from ..models.image_grammar import Tokens, collate
from ..models.weights import export
from ..text.vocabulary import Vocabulary
from ..train.fuse import fused
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from ..worlds.scene import picture_size
from .image_examples import choose, plan_sequence
from .runs import Run, activation_dtype
from .scenes import world_of

STEPS = 550
BATCH = 128
POOL = 4  # batches' worth of scenes that are sorted by length, so that little is padding
FIRST_SEED = 20_000_000  # beside those that pictures are trained on, below the judge's and the evaluation's
TABLETOP = 0.2  # share of the scenes
STYLES = (("short", 0.86), ("structured", 0.07), ("long", 0.07))
DIGITS = {"levels": (2,), "pack": 1, "head_hidden": 8}  # of pictures, which it never sees
SMALL = {"width": 192, "layers": 4, "heads": 3, "dense_layers": 4, "dense_hidden": 512}
TINY = {"width": 32, "layers": 1, "heads": 1, "head_dim": 32, "dense_layers": 1, "dense_hidden": 32}


@lru_cache(maxsize=2)
def pool(number: int, size: int) -> list[Tokens]:
    """POOL batches' worth of scenes, all told in one style, the shortest first."""
    random, vocabulary = stream_random(number, "planner pool"), Vocabulary.shipped()
    style, rows = choose(random, STYLES), list[Tokens]()
    for seed in range(FIRST_SEED + number * size * POOL, FIRST_SEED + (number + 1) * size * POOL):
        spec = world_of("tabletop" if random.random() < TABLETOP else "posters").sample(seed).spec
        high, wide = (side // 16 for side in picture_size(spec["aspect"]))
        rows.append(plan_sequence(vocabulary, spec, high, wide, style, random, digits=1))
    return sorted(rows, key=lambda row: row.ids.shape[1])


def batch(number: int, size: int) -> Batch:
    """Batch by number, of sequences of like lengths."""
    which, part = divmod(number, POOL)
    data = collate(pool(which, size)[part * size : (part + 1) * size], multiple=8)
    return Batch(data=data, units=int(data.valid.sum()))


def planner_config(vocabulary: Vocabulary, smoke: bool) -> ImageARConfig:
    """The image model's config, with hardly any picture in it."""
    return ImageARConfig(vocabulary=len(vocabulary), **DIGITS, **(TINY if smoke else SMALL))  # type: ignore[arg-type]


def run(run: Run) -> dict:
    """Train; write the averaged weights and their card into the run's folder. Returns the card."""
    torch.manual_seed(stream_seed(0, "planner weights"))
    dtype, vocabulary = activation_dtype(), Vocabulary.shipped()
    model = ImageAR(planner_config(vocabulary, run.smoke))
    steps, size = run.steps or (30 if run.smoke else STEPS), 8 if run.smoke else BATCH

    def objective(model: nn.Module, data: Tokens, random: torch.Generator) -> tuple[torch.Tensor, dict]:
        assert isinstance(model, ImageAR)
        return image_loss(model, data, dtype, text_weight=1.0)

    for unused in (model.head, model.codes, model.place):
        unused.requires_grad_(False)
    with nullcontext() if run.smoke else fused(model):
        done, ema = fit(
            model,
            objective,
            lambda number: batch(number, size),
            optimizers(model, lr=6e-3, adam_lr=3e-3, weight_decay=0.05, exclude=("tokens", "roles"), dtype=dtype),
            Schedule(steps=steps, warmup=min(100, steps // 4 + 1), decay=0.5),
            FitConfig(steps=steps, minutes=run.minutes, ema=0.997, save_every=200, unit="tokens"),
            run.folder,
            resume=run.resume,
            report=run.report,
        )
    ema.swap(model)
    card = {
        "model": "planner",
        "recipe": run.folder.name,
        "command": "polarlight train planner-mini",
        "steps": done,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tasks": ["plan"],
        "config": asdict(model.config),
    }
    return export(model, run.folder / "planner.safetensors", card)
