"""Train the image model on both worlds: draw, inpaint, edit by instruction.

    polarlight train image-mini --minutes 60

Run it again to go on: training resumes exactly. A new run starts from the shipped average where that is of this config: at a lower
rate that falls to zero over all of --steps (1,250 steps of 128 take 70 minutes on two cores with AMX, see docs/log.md). From
nothing, the last 35 % of --steps decay. The posters are those of `worlds.subjects`, two thirds of all scenes its subjects. Needs a
trained tokenizer (the run `tokenizer-mini` beside it, or the shipped one). Results in runs/image-mini; `polarlight train
image-export` ships them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch

from ..base.files import PACKAGE
from ..base.seeds import stream_random, stream_seed
from ..models.image_ar import ImageAR, ImageARConfig, image_loss
from ..models.image_grammar import Tokens, collate
from ..models.visual_tokenizer import VisualTokenizer
from ..models.weights import load_into, made_for
from ..text.vocabulary import Vocabulary
from ..train.fuse import fused
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from . import tokenizer_mini
from .image_examples import Examples, Mixture, choose
from .runs import Run, activation_dtype
from .scenes import CodedGroup, load_codes


@dataclass(frozen=True, kw_only=True)
class Window:
    """The shards of a kind that are in use at once, and for how many pools the window stays before it moves on by one."""

    shards: int
    pools: int


BATCH = 128
POOL, LANES = 4, 8
WINDOWS = {  # a poster is seen about four times, what costs more to render more often
    "house": Window(shards=4, pools=50),
    "subjects": Window(shards=4, pools=12),
    "tabletop": Window(shards=2, pools=150),
    "edits": Window(shards=2, pools=225),
}
SMOKE = Window(shards=1, pools=1 << 30)
FIRST_SHARD = 64  # below it stand those that earlier weights were trained on
NOT_MUON = ("tokens", "roles", "codes", "place", "router", "head.out", "head.before")
TINY = {
    "width": 64,
    "layers": 2,
    "heads": 2,
    "head_dim": 32,
    "dense_hidden": 128,
    "expert_hidden": 32,
    "shared_hidden": 64,
    "head_hidden": 32,
}
MIXTURE = Mixture(  # more row by row than on a GPU: quality mode draws so, and it is where spelling is learnt
    tasks=(("draw", 0.95), ("edit", 0.05)),
    tabletop=0.1,
    subjects=0.65,
    planned=0.0,
    text_weight=1.5,
    thing_weight=2.5,
    orders=(("raster", 0.57), ("spread", 0.29), ("wavefront", 0.01), ("hole", 0.13)),
)
EVERY_TASK = Mixture(
    tasks=(("draw", 0.4), ("plan", 0.1), ("caption", 0.1), ("edit", 0.14), ("reference", 0.13), ("control", 0.13)),
    planned=0.5,
)


@dataclass(kw_only=True)
class CodedScenes:
    """Scenes of a kind, ever new ones: a window over an endless row of shards that moves with the number of the pool."""

    load: Callable[[int], dict[str, CodedGroup]]
    window: Window
    first: int = 0
    groups: dict[int, list[CodedGroup]] = field(default_factory=dict)

    def at(self, number: int) -> list[CodedGroup]:
        """The groups that pool `number` draws from; new shards are made, old ones forgotten."""
        start = self.first + number // self.window.pools
        wanted = range(start, start + self.window.shards)
        self.groups = {n: self.groups[n] if n in self.groups else list(self.load(n).values()) for n in wanted}
        return [group for groups in self.groups.values() for group in groups]

    def rows(self, number: int, purpose: str, count: int) -> list[tuple[CodedGroup, int]]:
        """`count` random scenes of all aspects for pool `number`."""
        random, flat = stream_random(number, purpose), self.at(number)
        chosen = random.choices(flat, [len(g.scenes) for g in flat], k=count)
        return [(group, random.randrange(len(group.scenes))) for group in chosen]


@dataclass(kw_only=True)
class Batches:
    """Batch by number. Examples are drawn in pools of one task and one style of caption, a pool makes POOL batches of like lengths,
    and LANES pools take turns. flops: active parameters of (backbone, head)."""

    scenes: dict[str, CodedScenes]
    examples: Examples
    size: int
    flops: tuple[int, int]
    pools: dict[int, list[Tokens]] = field(default_factory=dict)

    def __call__(self, number: int) -> Batch:
        block, place = divmod(number, POOL * LANES)
        turn, lane = divmod(place, LANES)
        tokens = self.pool(block * LANES + lane)
        part, size = (turn + lane) % POOL, len(tokens) // POOL
        batch = collate(tokens[part * size : (part + 1) * size], multiple=8)
        drawn = int((batch.cell_weight > 0).sum())
        flops = 6.0 * (self.flops[0] * batch.ids.numel() + self.flops[1] * drawn)
        return Batch(data=batch, units=int(batch.valid.sum()), flops=flops)

    def pool(self, number: int) -> list[Tokens]:
        """Pool `number`, sorted by length; the last few are kept."""
        if number not in self.pools:
            self.pools = {kept: self.pools[kept] for kept in sorted(self.pools)[-2 * LANES :]}
            self.pools[number] = sorted(self.draw_pool(number), key=lambda tokens: tokens.ids.shape[1])
        return self.pools[number]

    def draw_pool(self, number: int) -> list[Tokens]:
        """POOL batches' worth of examples; fewer where they are long."""
        random, examples = stream_random(number, "image pool"), self.examples
        task, style = choose(random, examples.mixture.tasks), choose(random, examples.mixture.styles)
        size = self.size * 2 // 3 if style == "long" else self.size
        size *= 2 if task == "plan" else 1  # without a picture they are short
        kind = {"edit": "edits", "reference": "reference", "control": "control"}.get(task)
        if kind:
            rows = self.scenes[kind].rows(number, kind, size * 2 // 3 * POOL)
            return [examples.from_source(task, group, row, style, random) for group, row in rows]
        counts = {kind: round(size * POOL * getattr(examples.mixture, kind)) for kind in ("tabletop", "subjects")}
        counts["house"] = size * POOL - sum(counts.values())
        rows = [row for kind, count in counts.items() if count for row in self.scenes[kind].rows(number, kind, count)]
        if task == "plan":
            return [examples.plan(g.scenes[row], g.digits[row], style, random) for g, row in rows]
        if task == "caption":
            return [examples.caption(g.scenes[row], g.digits[row], style, random) for g, row in rows]
        return [examples.draw(g.scenes[row], g.digits[row], g.text[row], style, random) for g, row in rows]


def new_model(vocabulary: Vocabulary, tokenizer: VisualTokenizer, smoke: bool) -> ImageAR:
    """The model with its seeded first weights."""
    torch.manual_seed(stream_seed(0, "image weights"))
    config = ImageARConfig(vocabulary=len(vocabulary), levels=tokenizer.config.levels, **(TINY if smoke else {}))
    return ImageAR(config)


def run(run: Run) -> dict:
    """Train; returns the steps done."""
    dtype, vocabulary = activation_dtype(), Vocabulary.shipped()
    tokenizer, name = tokenizer_mini.load(run)
    model = new_model(vocabulary, tokenizer, run.smoke)
    shipped = PACKAGE / "weights" / "image.safetensors"
    warm = not run.smoke and made_for(shipped, model.config)
    if warm:
        load_into(model, shipped)  # state.pt, if there, takes precedence
    kinds = dict.fromkeys((*WINDOWS, "reference", "control"), SMOKE) if run.smoke else WINDOWS
    examples = Examples(vocabulary, EVERY_TASK if run.smoke else MIXTURE)

    def load(kind: str, index: int) -> dict[str, CodedGroup]:
        return load_codes(run.scenes, kind, index, tokenizer, name, dtype, run.shard_size)

    first = 0 if run.smoke else FIRST_SHARD
    scenes = {kind: CodedScenes(load=partial(load, kind), window=w, first=first) for kind, w in kinds.items()}
    steps, size = run.steps or (40 if run.smoke else 3800), 16 if run.smoke else BATCH
    rate = 2.5e-3 if warm else 6e-3  # of 130 steps 3e-3 learned more than 1e-3; on scenes well known 1e-3 (docs/log.md)
    with nullcontext() if run.smoke else fused(model):
        done, _ = fit(
            model,
            lambda model, data, random: image_loss(model, data, dtype),
            Batches(scenes=scenes, examples=examples, size=size, flops=model.active_parameters()),
            optimizers(model, lr=rate, adam_lr=rate / 2, weight_decay=0.05, exclude=NOT_MUON, dtype=dtype),
            Schedule(steps=steps, warmup=min(100, steps // 4 + 1), decay=1.0 if warm else 0.35),
            FitConfig(
                steps=steps,
                minutes=run.minutes,
                ema=0.996,
                save_every=100,
                peak_flops=run.peak_flops,
                unit="tokens",
                forked=True,
            ),
            run.folder,
            resume=run.resume,
            report=run.report,
        )
    return {"steps": done, "parameters": sum(p.numel() for p in model.parameters())}
