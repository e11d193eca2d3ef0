"""Train the reader, which says what candidates show: `polarlight/weights/reader.safetensors`.

    polarlight train reader-mini && polarlight train reader-export

A new run starts from the shipped weights where they are of this config. It learns from collages of the training split's scenes, and
its letters from posters full of texts, as the tokenizer codes them; what it prefers can train the image model (`preference-mini`),
so it judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor, nn

from ..base.files import PACKAGE
from ..base.seeds import stream_random, stream_seed
from ..models.reader import Reader, ReaderConfig, Shown, reader_loss
from ..models.weights import export, load_into, made_for
from ..train.fuse import fused
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from ..worlds.catalogue import catalogue
from ..worlds.scene import COLOURS
from ..worlds.tabletop import MATERIALS
from . import tokenizer_mini
from .reader_scenes import Coded, collage, nouns, together
from .runs import Run, activation_dtype
from .scenes import CodedGroup, load_codes

STEPS = 2400
BATCH = 64
FIRST_SHARD = {"posters": 64, "tabletop": 64, "lettering": 0}
SHARDS = {"posters": 30, "tabletop": 3, "lettering": 50}
SHEETS = 0.4  # share of the pictures that are posters full of texts
TABLETOP = 0.15  # share of the other pictures, and of what is pasted
PASTES = 14  # tries to paste something, of which about one in four finds a place
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
NOT_MUON = ("place", "says", "stem.0", "down")
TINY = {"width": 32, "heads": 2, "stem": 16, "layers": 1}


@dataclass(kw_only=True)
class Batches:
    """Batch by number, of pictures of one shape."""

    load: Callable[[str, int], dict[str, CodedGroup]]
    config: ReaderConfig
    shards: dict[str, int]
    size: int
    kept: dict[tuple[str, int], dict[str, CodedGroup]] = field(default_factory=dict)

    def __call__(self, number: int) -> Batch:
        random = stream_random(number, "reader batch")
        shards = {kind: self.shard(kind, random.randrange(count)) for kind, count in self.shards.items()}

        def draw(kind: str, aspect: str | None = None) -> Coded:
            group = shards[kind][aspect or random.choice(sorted(shards[kind]))]
            row = random.randrange(len(group.scenes))
            return group.scenes[row], group.digits[row]

        def scene(aspect: str | None = None) -> Coded:
            return draw("tabletop" if random.random() < TABLETOP else "posters", aspect)

        def picture(aspect: str) -> tuple[Tensor, Shown]:
            if random.random() < SHEETS:
                return collage(self.config, draw("lettering", aspect), [], random)
            return collage(self.config, scene(aspect), [scene() for _ in range(PASTES)], random)

        aspects = sorted(set.intersection(*(set(groups) for groups in shards.values())))
        aspect = random.choices(aspects, [len(shards["posters"][name].scenes) for name in aspects])[0]
        made = [picture(aspect) for _ in range(self.size)]
        data = torch.stack([digits for digits, _ in made]), together([shown for _, shown in made])
        return Batch(data=data, units=self.size)

    def shard(self, kind: str, index: int) -> dict[str, CodedGroup]:
        """A shard; all stay in memory."""
        if (kind, index) not in self.kept:
            self.kept[kind, index] = self.load(kind, FIRST_SHARD[kind] + index)
        return self.kept[kind, index]


def reader_config(levels: tuple[int, ...], smoke: bool) -> ReaderConfig:
    """Every name of both worlds."""
    return ReaderConfig(
        levels=levels,
        names=tuple(sorted({entry.name for entry in catalogue()} | set(MATERIALS))),
        colours=COLOURS,
        materials=tuple(sorted({material for choices in MATERIALS.values() for material in choices})),
        letters=LETTERS,
        **(TINY if smoke else {}),
    )


def run(run: Run) -> dict:
    """Train; write the averaged weights and their card into the run's folder. Returns the card."""
    torch.manual_seed(stream_seed(0, "reader weights"))
    dtype = activation_dtype()
    tokenizer, name = tokenizer_mini.load(run)
    config = reader_config(tokenizer.config.levels, run.smoke)
    model, shipped = Reader(config), PACKAGE / "weights" / "reader.safetensors"
    if not run.smoke and made_for(shipped, config):
        load_into(model, shipped)  # state.pt, if there, takes precedence
    batches = Batches(
        load=lambda kind, index: load_codes(run.scenes, kind, index, tokenizer, name, dtype, run.shard_size),
        config=config,
        shards=dict.fromkeys(SHARDS, 1) if run.smoke else SHARDS,
        size=8 if run.smoke else BATCH,
    )

    def objective(model: nn.Module, data: tuple[Tensor, Shown], random: torch.Generator) -> tuple[Tensor, dict]:
        return reader_loss(model(data[0], dtype), data[1])

    steps = run.steps or (30 if run.smoke else STEPS)
    with nullcontext() if run.smoke else fused(model):
        done, ema = fit(
            model,
            objective,
            batches,
            optimizers(model, lr=3e-3, adam_lr=2e-3, weight_decay=0.05, exclude=NOT_MUON, dtype=dtype),
            Schedule(steps=steps, warmup=min(100, steps // 4 + 1), decay=0.6),
            FitConfig(steps=steps, minutes=run.minutes, ema=0.998, save_every=200, unit="pictures"),
            run.folder,
            resume=run.resume,
            report=run.report,
        )
    ema.swap(model)
    card = {
        "model": "reader",
        "recipe": run.folder.name,
        "command": "polarlight train reader-mini",
        "steps": done,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokenizer": name,
        "config": asdict(config),
        "nouns": nouns(config),
    }
    return export(model, run.folder / "reader.safetensors", card)
