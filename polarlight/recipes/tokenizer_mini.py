"""Train the visual tokenizer on both worlds.

    polarlight train glyph-mini && polarlight train tokenizer-mini

Loss: L1 + 0.5 MSE, weighted towards text boxes, + edge L1 + L1 of the glyph reader's features, most inside text boxes + the nats
that the codes cost a small model that learns beside them. No pretrained network. A new run goes on from the shipped weights.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from ..base.errors import UserError
from ..base.files import PACKAGE
from ..base.seeds import stream_random, stream_seed
from ..models.code_prior import CodePrior
from ..models.glyph_reader import GlyphReader
from ..models.visual_tokenizer import VisualTokenizer, VisualTokenizerConfig, to_signed
from ..models.weights import export, load_into, made_for, read_card
from ..ops.edges import edges
from ..ops.streams import stream
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from . import glyph_mini
from .runs import Run, activation_dtype
from .scenes import SHARD, cached_shard, pick

BATCH = 32
TEXT_WEIGHT = 4.0
GLYPH_WEIGHT = 0.4
RATE_WEIGHT = 0.006  # a nat of a cell; at 0.015 things of little contrast are left out
ELSEWHERE = 0.3  # weight of the reader's features outside texts: strokes and outlines, whatever their contrast
READ_SHARE = 3  # one picture in three
MIXTURE = ("posters", "posters", "tabletop")  # kinds by turns
SHARDS = {"posters": 8, "tabletop": 1}
SHIPPED = VisualTokenizerConfig(levels=(5,) * 8)
NOT_MUON = ("stem", "head", "prior")
TINY = VisualTokenizerConfig(fine_channels=16, coarse_channels=32, fine_blocks=1, coarse_blocks=1)


class Learner(torch.nn.Module):
    """What trains: the tokenizer, and the prior that counts its nats."""

    def __init__(self, tokenizer: VisualTokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.prior = CodePrior(tokenizer.config.levels)


def tokenizer_loss(
    learner: Learner, pixels: Float[Tensor, "b 3 h w"], text: Bool[Tensor, "b h w"], reader: GlyphReader | None
) -> tuple[Tensor, dict[str, Tensor]]:
    """The training loss and its parts; distances in fp32 on the [-1, 1] scale."""
    made = learner.tokenizer(pixels)
    out = made.pixels
    nats, exact = learner.prior(made.raw)
    weight = 1 + (TEXT_WEIGHT - 1) * text[:, None].float()
    difference = (out - pixels).float()
    error = (difference.abs() + 0.5 * difference.square()) * weight
    edge = (edges(out) - edges(pixels)).float().abs() * weight
    loss = error.mean() + 0.5 * edge.mean() + RATE_WEIGHT * nats.mean()
    metrics = {
        "psnr": 10 * torch.log10(4 / difference.detach().square().mean((1, 2, 3))).mean(),
        "edge": edge.detach().mean(),
        "cell_nats": exact.mean(),
    }
    if (
        reader is not None
    ):  # on some pictures, most of them those with the most text: the reader costs as much as the tokenizer
        by_text, count = text.flatten(1).sum(1).argsort(descending=True), max(1, len(text) // READ_SHARE)
        most = torch.cat((by_text[: count - count // 3], by_text[len(text) - count // 3 :]))
        text, pixels, out = text[most], pixels[most], out[most]
        with torch.no_grad():
            truth = reader.features(pixels)
        glyph = pixels.new_zeros((), dtype=torch.float32)
        for ours, real in zip(reader.features(out), truth, strict=True):
            inside = ELSEWHERE + F.interpolate(text[:, None].float(), size=real.shape[-2:], mode="area")
            glyph = glyph + ((ours - real).float().abs().mean(1, keepdim=True) * inside).sum() / inside.sum().clamp_min(
                1
            )
        loss = loss + GLYPH_WEIGHT * glyph / 3
        metrics["glyph"] = glyph.detach()
    return loss, {"loss": loss.detach(), **metrics}


def make_batch(run: Run, number: int, dtype: torch.dtype, mixture: tuple[str, ...] = MIXTURE) -> Batch:
    """Batch `number`: rows of one shard and one aspect."""
    kind = mixture[number % len(mixture)]
    shard = number // len(mixture) * BATCH // (2 * SHARD) % (1 if run.smoke else SHARDS[kind])  # two rounds a shard
    groups = cached_shard(run.scenes, kind, shard, run.shard_size)
    aspect, rows = pick({name: len(g.scenes) for name, g in groups.items()}, stream(number, "tokenizer batch"), BATCH)
    group = groups[aspect]
    pixels, text = to_signed(group.pixels[rows]).to(dtype), group.text_mask[rows]
    if number % 4 == 3:  # worlds lie on the grid of cells; pictures from elsewhere do not
        top, left = stream_random(number, "tokenizer crop").choices(range(8), k=2)
        height, width = pixels.shape[2] - 8, pixels.shape[3] - 8
        pixels = pixels[:, :, top : top + height, left : left + width]
        text = text[:, top : top + height, left : left + width]
    return Batch(data=(pixels.contiguous(memory_format=torch.channels_last), text), units=BATCH)


def run(run: Run, config: VisualTokenizerConfig | None = None) -> dict:
    """Train; returns the steps done."""
    torch.manual_seed(stream_seed(0, "tokenizer weights"))
    model = Learner(VisualTokenizer(config or (TINY if run.smoke else SHIPPED)))
    shipped = PACKAGE / "weights" / "tokenizer.safetensors"
    if not run.smoke and made_for(shipped, model.tokenizer.config):
        load_into(model.tokenizer, shipped)  # state.pt, if there, takes precedence
    dtype = activation_dtype()
    reader_folder = run.sibling("glyph-mini")
    reader = glyph_mini.load(reader_folder) if (reader_folder / "state.pt").exists() else None
    steps = run.steps or (30 if run.smoke else 3000)

    def objective(model: torch.nn.Module, data: tuple[Tensor, Tensor], random: torch.Generator) -> tuple[Tensor, dict]:
        return tokenizer_loss(model, *data, reader)  # type: ignore[arg-type]

    done, ema = fit(
        model,
        objective,
        lambda number: make_batch(run, number, dtype),
        optimizers(model, lr=1.2e-3, adam_lr=6e-4, weight_decay=0.0, exclude=NOT_MUON, dtype=dtype),
        Schedule(steps=steps, warmup=100),
        FitConfig(steps=steps, minutes=run.minutes, ema=0.998, save_every=250),
        run.folder,
        resume=run.resume,
        report=run.report,
    )
    path = run.folder / "tokenizer.safetensors"
    tokenizer = model.tokenizer
    card = {"model": "visual tokenizer", "recipe": run.folder.name, "steps": done, "config": asdict(tokenizer.config)}
    ema.swap(model)
    return export(tokenizer, path, card | {"parameters": sum(p.numel() for p in tokenizer.parameters())})


def place(run: Run) -> Path:
    """Where the run `tokenizer-mini` (`tokenizer-smoke`) beside this one leaves its weights."""
    return run.sibling("tokenizer-smoke" if run.smoke else "tokenizer-mini") / "tokenizer.safetensors"


def load(run: Run) -> tuple[VisualTokenizer, str]:
    """The tokenizer to build on and its hash: that of the run beside this one, else the shipped one."""
    beside = place(run)
    return load_file(beside if beside.exists() else PACKAGE / "weights" / "tokenizer.safetensors")


def load_file(path: Path) -> tuple[VisualTokenizer, str]:
    """A tokenizer from its file, frozen, and its hash.

    Raises:
        UserError: the file or its card is missing or damaged.
    """
    if not path.exists():
        raise UserError(f"There is no tokenizer at {path}.", fix="Train one first: polarlight train tokenizer-mini.")
    card = read_card(path)
    model = VisualTokenizer(VisualTokenizerConfig(**{**card["config"], "levels": tuple(card["config"]["levels"])}))
    load_into(model, path)
    return model.eval().requires_grad_(False), card["hash"]
