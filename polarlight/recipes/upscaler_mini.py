"""Train the upscaler: 0.26M parameters, twice the size.

    polarlight train upscaler-mini --minutes 15 && polarlight train upscaler-export

Pairs are the same scene rendered at the 128 px family and at twice that size, one crop in six from a tabletop. Half of the small
crops went through the tokenizer and back first, which is what a generator's pictures look like. Loss: L1 + 0.5 L1 of edges.
A batch costs 85 GFLOP of convolutions, 1 s at 100 GFLOP/s. The log's `gain` is the PSNR above bilinear enlargement of the batch.
"""

from __future__ import annotations

from dataclasses import asdict

import torch
from torch import Tensor, nn

from ..base.seeds import stream_seed
from ..models.upscaler import SCALE, UpscalerConfig, UpscalerModel, upscaler_loss
from ..models.visual_tokenizer import to_signed
from ..models.weights import export
from ..ops.streams import stream
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from . import tokenizer_mini
from .runs import Run, activation_dtype
from .upscaler_scenes import Pairs, Tokenizer, cached_pairs

STEPS = 600
MIXTURE = {"posters": 20, "tabletop": 4}  # crops of a batch
SHARDS = {"posters": 20, "tabletop": 12}
SCENES = {"posters": 96, "tabletop": 24}  # of a shard: 30 and 7 MB, 2 and 9 s of rendering
VISIT = {"posters": 15, "tabletop": 50}  # steps before the next shard: 3 and 8 crops a scene
CROP = 48  # px of the small picture
SHIPPED, TINY = UpscalerConfig(), UpscalerConfig(channels=12, blocks=1)


def make_batch(run: Run, number: int, tokenizer: Tokenizer) -> Batch:
    """Batch `number`: crops of one shard of each kind, a half of them through the tokenizer, mirrored and turned at random."""
    random = stream(number, "upscaler batch")
    small, large = [], []
    for kind, count in MIXTURE.items():
        shard, scenes = number // VISIT[kind] % (1 if run.smoke else SHARDS[kind]), 3 if run.smoke else SCENES[kind]
        pairs = cached_pairs(run.scenes, kind, shard, scenes, tokenizer)
        for row in range(count):
            crop = cut(pairs, random, coded=row % 2 == number % 2)
            small.append(crop[0])
            large.append(crop[1])
    inputs, targets = (to_signed(torch.stack(part)) for part in (small, large))
    return Batch(data=(inputs, targets), units=len(small))


def cut(pairs: list[Pairs], random: torch.Generator, coded: bool) -> tuple[Tensor, Tensor]:
    """A random square of a random scene at both sizes, uint8 [CROP, CROP, 3] and [2 CROP, 2 CROP, 3]."""

    def draw(below: int) -> int:
        return int(torch.randint(below, (), generator=random))

    number = draw(sum(len(part.clean) for part in pairs))
    for part in pairs:
        if number < len(part.clean):
            break
        number -= len(part.clean)
    given, truth = (part.coded if coded else part.clean)[number], part.large[number]
    top, left = (draw(side - CROP + 1) for side in given.shape[:2])
    small = given[top : top + CROP, left : left + CROP]
    large = truth[SCALE * top : SCALE * (top + CROP), SCALE * left : SCALE * (left + CROP)]
    way = draw(8)
    mirrored = [axis for axis in (0, 1) if way >> axis & 1]
    small, large = small.flip(mirrored), large.flip(mirrored)
    return (small.transpose(0, 1), large.transpose(0, 1)) if way & 4 else (small, large)


def run(run: Run, config: UpscalerConfig | None = None) -> dict:
    """Train; write the averaged weights and their card into the run's folder. Returns the card."""
    torch.manual_seed(stream_seed(0, "upscaler weights"))
    dtype = activation_dtype()
    model = UpscalerModel(config or (TINY if run.smoke else SHIPPED))
    tokenizer = Tokenizer(*tokenizer_mini.load(run), dtype)
    steps = run.steps or (20 if run.smoke else STEPS)

    def objective(model: nn.Module, data: tuple[Tensor, Tensor], random: torch.Generator) -> tuple[Tensor, dict]:
        return upscaler_loss(model, *data, dtype)

    done, ema = fit(
        model,
        objective,
        lambda number: make_batch(run, number, tokenizer),
        optimizers(model, lr=2e-3, adam_lr=1e-3, weight_decay=0.0, exclude=("stem", "head"), dtype=dtype),
        Schedule(steps=steps, warmup=20),
        FitConfig(steps=steps, minutes=run.minutes, ema=0.99, save_every=100, unit="crops"),
        run.folder,
        resume=run.resume,
        report=run.report,
    )
    ema.swap(model)
    card = {
        "model": "upscaler",
        "recipe": run.folder.name,
        "command": "polarlight train upscaler-mini",
        "steps": done,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokenizer": tokenizer.name,
        "config": asdict(model.config),
    }
    return export(
        model, run.folder / "upscaler.safetensors", card, int8=()
    )  # 0.5 MB in bf16; int8 would save half of it
