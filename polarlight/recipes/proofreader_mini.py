"""Train the proofreader, which reads what candidates say: `polarlight/weights/proofreader.safetensors`.

    polarlight train proofreader-mini && polarlight train proofreader-export

It learns from posters full of texts, and from scenes of both worlds, as the tokenizer gives them back; no other training learns
from it. A new run starts from the shipped weights where they are of this config. 1,000 steps (370,000 letters) took 55 minutes
beside other training on two cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from random import Random

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ..base.files import PACKAGE
from ..base.seeds import stream_random, stream_seed
from ..models.proofreader import Proofreader, ProofreaderConfig, misread, strips
from ..models.visual_tokenizer import VisualTokenizer
from ..models.weights import export, load_into, made_for
from ..text.plan import Box
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from ..worlds.captions import plan_of
from ..worlds.sketch import plain_letters
from . import tokenizer_mini
from .runs import Run, activation_dtype
from .scenes import CodedGroup, load_codes

STEPS = 1000
FIRST_SHARD = {"lettering": 0, "posters": 64, "tabletop": 64}
SHARDS = {"lettering": 50, "posters": 30, "tabletop": 5}
PICTURES = {"lettering": 18, "posters": 4, "tabletop": 4}  # of a batch
SHIFT = 0.5  # letters and cap heights by which a place is wrong at most
SIZE = 0.15  # share by which it is too small or too large
TINY = {"width": 16, "context": 16}
NOT_MUON = ("convs.0", "says")


@dataclass(frozen=True, kw_only=True)
class Lines:
    """Strips of lines of one length, and what they say."""

    strips: Float[Tensor, "b 3 h w"]
    said: Int64[Tensor, "b k"]


@dataclass(kw_only=True)
class Batches:
    """Batch by number: strips and what they say, those of one length together."""

    load: Callable[[str, int], dict[str, CodedGroup]]
    tokenizer: VisualTokenizer
    model: Proofreader
    shards: dict[str, int]
    dtype: torch.dtype
    kept: dict[tuple[str, int], dict[str, CodedGroup]] = field(default_factory=dict)

    def __call__(self, number: int) -> Batch:
        random, found = stream_random(number, "proofreader batch"), dict[int, list[tuple[Tensor, Tensor]]]()
        for kind, count in PICTURES.items():
            shard = self.shard(kind, random.randrange(self.shards[kind]))
            aspect = random.choices(sorted(shard), [len(shard[name].scenes) for name in sorted(shard)])[0]
            group = shard[aspect]
            rows = [row for row, scene in enumerate(group.scenes) if scene.spec["texts"]]
            rows = random.sample(rows, min(count, len(rows)))
            if not rows:
                continue
            pictures = self.tokenizer.decode(group.digits[rows], self.dtype)
            for row, picture in zip(rows, pictures, strict=True):
                for text in plan_of(group.scenes[row].spec).texts:
                    for strip in strips(picture, text.text, shaken(text.box, text.text, random)):
                        numbers = self.model.numbers(strip.line)
                        if numbers is not None:
                            found.setdefault(len(numbers), []).append((strip.pixels, numbers))
        pairs = [tuple(map(torch.stack, zip(*found[length], strict=True))) for length in sorted(found)]
        lines = [Lines(strips=strips, said=said) for strips, said in pairs]
        return Batch(data=lines, units=sum(each.said.numel() for each in lines))

    def shard(self, kind: str, index: int) -> dict[str, CodedGroup]:
        """A shard; all stay in memory."""
        if (kind, index) not in self.kept:
            self.kept[kind, index] = self.load(kind, FIRST_SHARD[kind] + index)
        return self.kept[kind, index]


def shaken(box: Box, text: str, random: Random) -> Box:
    """A box as wrong as a picture may take it."""
    x0, y0, x1, y1 = box
    lines = text.split("\n")
    wide, high = (x1 - x0) / max(1, *map(len, lines)), (y1 - y0) / len(lines)
    right, down = random.uniform(-SHIFT, SHIFT) * wide, random.uniform(-SHIFT, SHIFT) * high * 0.6
    wider, higher = (random.uniform(-SIZE, SIZE) / 2 * side for side in (x1 - x0, y1 - y0))
    return x0 + right - wider, y0 + down - higher, x1 + right + wider, y1 + down + higher


def proofreader_loss(model: nn.Module, lines: Sequence[Lines]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Nats a letter; `read`: share of the lines of which every letter is right."""
    total, count, right, read = torch.zeros(()), 0, 0, 0
    for each in lines:
        says = model(each.strips)
        total = total + misread(says, each.said)
        count, read = count + each.said.numel(), read + len(each.said)
        with torch.no_grad():
            for row, truth in zip(says.argmax(-1), each.said.tolist(), strict=True):
                right += [one for one in row.unique_consecutive().tolist() if one < says.shape[-1] - 1] == truth
    loss = total / max(1, count)
    return loss, {"loss": loss.detach(), "read": torch.tensor(right / max(1, read))}


def run(run: Run) -> dict:
    """Train; write the averaged weights and their card into the run's folder. Returns the card."""
    torch.manual_seed(stream_seed(0, "proofreader weights"))
    tokenizer, name = tokenizer_mini.load(run)
    config = ProofreaderConfig(letters=plain_letters(), **(TINY if run.smoke else {}))
    model, shipped = Proofreader(config), PACKAGE / "weights" / "proofreader.safetensors"
    if not run.smoke and made_for(shipped, config):
        load_into(model, shipped)  # state.pt, if there, takes precedence
    dtype = activation_dtype()
    batches = Batches(
        load=lambda kind, index: load_codes(run.scenes, kind, index, tokenizer, name, dtype, run.shard_size),
        tokenizer=tokenizer,
        model=model,
        shards=dict.fromkeys(SHARDS, 1) if run.smoke else SHARDS,
        dtype=dtype,
    )
    steps = run.steps or (30 if run.smoke else STEPS)
    done, ema = fit(
        model,
        lambda model, data, random: proofreader_loss(model, data),
        batches,
        optimizers(model, lr=0.01, adam_lr=2e-3, weight_decay=0.02, exclude=NOT_MUON, dtype=torch.float32),
        Schedule(steps=steps, warmup=min(50, steps // 4 + 1), decay=0.5),
        FitConfig(steps=steps, minutes=run.minutes, ema=0.99, save_every=100, unit="letters"),
        run.folder,
        resume=run.resume,
        report=run.report,
    )
    ema.swap(model)
    card = {
        "model": "proofreader",
        "recipe": run.folder.name,
        "command": "polarlight train proofreader-mini",
        "steps": done,
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokenizer": name,
        "config": asdict(config),
    }
    return export(model, run.folder / "proofreader.safetensors", card)
