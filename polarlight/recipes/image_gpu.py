"""Train the image model on one GPU from a stream of scenes that are rendered while it trains.

    polarlight train image-gpu --steps 6000 --minutes 9

Needs the tokenizer of `tokenizer-mini` (or the shipped one) and as many processor cores as there are: workers render, one process
encodes. On an H100 with 16 cores see docs/log.md for rates. `polarlight train image-export` ships what stands in runs/image-mini:
put this run's state.pt there first.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..base.errors import UserError
from ..base.files import PACKAGE
from ..base.seeds import stream_random
from ..models.image_ar import image_loss
from ..models.image_grammar import EVERYBODYS, GAP, HEAD, IGNORE, PROMPTS, Role, Tokens, frame
from ..models.weights import load_into, made_for
from ..ops.orders import raster, wavefront
from ..text.vocabulary import Vocabulary
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from ..worlds.scene import picture_size
from . import tokenizer_mini
from .image_examples import SPREADS, Mixture, choose, spread_order
from .image_mini import NOT_MUON, new_model
from .runs import Run
from .scene_stream import Pool, SceneStream

BATCH = 768
CAPACITY = {"subjects": 220_000, "house": 100_000, "tabletop": 60_000, "edits": 40_000}
SHARES = {"subjects": 0.5, "house": 0.2, "tabletop": 0.18, "edits": 0.12}  # of the batches
CORES = {"subjects": 0.3, "house": 0.2, "tabletop": 0.35, "edits": 0.15}  # of the workers
SEQUENCES_SORTED = 4  # batches' worth of scenes drawn at once, of which one of like lengths is taken


def orders_of(rows: int, columns: int, device: str) -> Tensor:
    """[kinds, n]: raster, wavefront, then the spreads."""
    spreads = [spread_order(rows, columns, number) for number in range(SPREADS)]
    return torch.stack((raster(rows, columns), wavefront(rows, columns), *spreads)).to(device)


def holes(count: int, rows: int, columns: int, random: torch.Generator) -> Tensor:
    """[count, n] bool: a random rectangle of each picture that is to be drawn, at least 2 x 2."""
    edges = []
    for length in (rows, columns):
        size = torch.randint(2, length + 1, (count,), generator=random, device=random.device)
        start = (torch.rand(count, generator=random, device=random.device) * (length - size + 1)).long()
        place = torch.arange(length, device=random.device)
        edges.append((place >= start[:, None]) & (place < (start + size)[:, None]))
    return (edges[0][:, :, None] & edges[1][:, None]).flatten(1)


@dataclass(frozen=True, kw_only=True)
class Regions:
    """Regions of a batch of plans: their words [b, l] with whose each is (0: there is none) and where it lies [b, l], and whose
    words each position sees [b, n]."""

    words: Tensor
    whose: Tensor
    lies: Tensor
    sees: Tensor


@dataclass(frozen=True, kw_only=True)
class Sequences:
    """Builds a batch of like sequences at once: text, then (of an edit) the source, then the words of regions, then the picture
    to draw."""

    vocabulary: Vocabulary
    rows: int
    columns: int
    task: str

    def __call__(
        self,
        words: Tensor,
        lengths: Tensor,
        digits: Tensor,
        order: Tensor,
        weight: Tensor,
        source: Tensor | None = None,
        regions: Regions | None = None,
    ) -> Tokens:
        """words [b, w] with their lengths [b]; digits, source [b, n, g]; order [b, n]; weight [b, n] in drawing order."""
        v = self.vocabulary
        opening = [v[f"<h:{self.rows}>"], v[f"<w:{self.columns}>"], v["<img>"]]
        parts = [self.text(words, lengths, digits.shape[-1])]
        cursor = lengths.float() + 2
        if source is not None:
            parts.append(self.fixed(opening, cursor, digits))
            cursor = cursor + len(opening) + GAP
            parts.append(self.context(source, cursor))
            cursor = cursor + GAP
            parts.append(self.fixed([v["</img>"]], cursor, digits))
            cursor = cursor + 1
        if regions is not None:
            parts[0]["whose"][:] = torch.where(parts[0]["lies"][..., 0] >= HEAD, PROMPTS, EVERYBODYS)
            parts.append(self.said(regions, digits.shape[-1]))
        parts.append(self.fixed(opening, cursor, digits))
        parts.append(self.drawn(digits, order, weight, cursor + len(opening) + GAP, parts[-1]))
        if regions is not None:
            sees = regions.sees.long().gather(1, order)
            parts[-2]["sees"][:, -1], parts[-1]["sees"] = sees[:, 0], sees[:, 1:]
        return Tokens(**{name: torch.cat([p[name] for p in parts], 1) for name in parts[0]})

    def said(self, regions: Regions, digits: int) -> dict[str, Tensor]:
        """The words of regions, each lying where the text lies."""
        part = self.blank(*regions.words.shape, digits, regions.words.device)
        part["whose"] = part["sees"] = regions.whose.long()
        part["valid"] = regions.whose > 0
        part["ids"] = regions.words.long()
        lies = (regions.lies + HEAD) * part["valid"]
        part["lies"] = part["asks"] = lies.float()[..., None].expand(-1, -1, 2)
        return part

    def blank(self, batch: int, length: int, digits: int, device: torch.device) -> dict[str, Tensor]:
        """Parts of sequences with nothing in them."""

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(batch, length, *shape, dtype=dtype, device=device)

        return {
            "valid": torch.ones(batch, length, dtype=torch.bool, device=device),
            "ids": zeros(dtype=torch.long),
            "is_cell": zeros(dtype=torch.bool),
            "digits": zeros(digits, dtype=torch.uint8),
            "role": zeros(dtype=torch.long),
            "own": zeros(4),
            "asked": zeros(4),
            "lies": zeros(2),
            "asks": zeros(2),
            "whose": torch.full((batch, length), EVERYBODYS, device=device),
            "sees": torch.full((batch, length), PROMPTS, device=device),
            "text_target": torch.full((batch, length), IGNORE, device=device),
            "cell_target": zeros(digits, dtype=torch.uint8),
            "cell_weight": zeros(),
        }

    def text(self, words: Tensor, lengths: Tensor, digits: int) -> dict[str, Tensor]:
        """<bos>, the task and the words, ending at the right."""
        v, (batch, most) = self.vocabulary, words.shape
        part = self.blank(batch, most + 2, digits, words.device)
        index = torch.arange(most + 2, device=words.device) - (most - lengths[:, None])
        ids = words.gather(1, (index - 2).clamp(0, most - 1))
        ids = torch.where(index == 0, v["<bos>"], torch.where(index == 1, v[f"<{self.task}>"], ids))
        part["valid"] = index >= 0
        part["ids"] = ids * part["valid"]
        part["lies"] = part["asks"] = (index.float() * part["valid"])[..., None].expand(-1, -1, 2)
        return part

    def fixed(self, ids: list[int], cursor: Tensor, like: Tensor) -> dict[str, Tensor]:
        """The same text in every row."""
        part = self.blank(len(like), len(ids), like.shape[-1], like.device)
        part["ids"] += torch.tensor(ids, device=like.device)
        lies = cursor[:, None] + torch.arange(len(ids), device=like.device)
        part["lies"] = lies[..., None].expand(-1, -1, 2).clone()
        part["asks"] = part["lies"].clone()
        return part

    def context(self, digits: Tensor, cursor: Tensor) -> dict[str, Tensor]:
        """A source picture, row by row."""
        part = self.blank(*digits.shape, digits.device)
        part["is_cell"][:] = True
        part["digits"] = digits
        part["role"][:] = int(Role.SOURCE)
        part["own"][:] = frame(self.rows, self.columns).to(digits.device)
        part["lies"] = part["asks"] = part["own"][..., :2] + cursor[:, None, None]
        return part

    def drawn(
        self, digits: Tensor, order: Tensor, weight: Tensor, cursor: Tensor, opening: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """The picture to draw, all but its last position; `opening` ends in the token that asks for the first."""
        batch, n, g = digits.shape
        place = frame(self.rows, self.columns).to(digits.device)[order]
        codes = digits.gather(1, order[..., None].expand(-1, -1, g))
        part = self.blank(batch, n - 1, g, digits.device)
        part["is_cell"][:] = True
        part["digits"], part["cell_target"], part["cell_weight"] = codes[:, :-1], codes[:, 1:], weight[:, 1:]
        part["own"], part["asked"] = place[:, :-1], place[:, 1:]
        part["lies"], part["asks"] = (part[name][..., :2] + cursor[:, None, None] for name in ("own", "asked"))
        part["role"][:] = int(Role.TARGET)
        opening["asked"][:, -1], opening["asks"][:, -1] = place[:, 0], place[:, 0, :2] + cursor[:, None]
        opening["role"][:, -1] = int(Role.TARGET)
        opening["cell_target"][:, -1], opening["cell_weight"][:, -1] = codes[:, 0], weight[:, 0]
        return part


@runtime_checkable
class Source(Protocol):
    """Where batches come from: a `SceneStream`, or anything with its pools."""

    device: str

    def of(self, kind: str) -> dict[str, Pool]: ...


class StreamBatches:
    """Batch by number from the pools: one kind and aspect each, rows of like lengths."""

    def __init__(
        self, stream: Source, vocabulary: Vocabulary, mixture: Mixture, size: int, flops: tuple[int, int]
    ) -> None:
        self.stream, self.vocabulary, self.mixture, self.size, self.flops = stream, vocabulary, mixture, size, flops
        self.orders: dict[tuple[int, int], Tensor] = {}

    def __call__(self, number: int) -> Batch:
        random = stream_random(number, "stream batch")
        kind = choose(random, tuple(SHARES.items()))
        pools = self.stream.of(kind)
        aspect = choose(random, tuple((name, float(pool.filled)) for name, pool in pools.items()))
        generator = torch.Generator(self.stream.device).manual_seed(number)
        tokens = self.sequences(kind, aspect, pools[aspect], generator)
        drawn = self.size * tokens.cell_weight.shape[1] // 2
        flops = 6.0 * (self.flops[0] * tokens.ids.numel() + self.flops[1] * drawn)
        return Batch(data=tokens, units=self.size, flops=flops)

    def sequences(self, kind: str, aspect: str, pool: Pool, random: torch.Generator) -> Tokens:
        """Scenes of a pool as sequences."""
        m, device, size = self.mixture, random.device, self.size if kind != "edits" else self.size * 2 // 3

        def rand(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=random, device=device)

        index = (rand(size * SEQUENCES_SORTED) * pool.filled).long()
        way = (rand(len(index)) * pool.arrays["words"].shape[1]).long()
        lengths, counts = pool.arrays["lengths"][index, way].long(), torch.zeros_like(index)
        dropped = rand(len(index)) < m.drop_text
        if kind != "edits":
            counts = (pool.arrays["whose"][index] > 0).sum(1) * (rand(len(index)) < m.planned) * ~dropped
        lengths = torch.where(dropped, 0, lengths)
        part = (lengths + counts).argsort()[int(rand(1) * SEQUENCES_SORTED) * size :][:size]
        index, way, lengths, counts = index[part], way[part], lengths[part], counts[part]
        scenes = pool.rows(index)
        rows, columns = shape_of(aspect)
        task = "edit" if kind == "edits" else "draw"
        build = Sequences(vocabulary=self.vocabulary, rows=rows, columns=columns, task=task)
        words = F.pad(pool.arrays["words"][index, way].long(), (0, 8))
        regions = None
        rest = rows * columns + 4 + (rows * columns + 4) * (kind == "edits")  # tokens that are not words
        if kind != "edits":
            most = max(1, int(counts.max()))
            by_plan = (counts > 0)[:, None]
            whose, sees = scenes["whose"][:, :most] * by_plan, torch.where(by_plan, scenes["sees"], PROMPTS)
            said, lies = (scenes[name][:, :most] for name in ("region_words", "lies"))
            regions = Regions(words=said, whose=whose, lies=lies, sees=sees)
            rest += most
        words = words[:, : eights(int(lengths.max()) + rest) - rest]
        order, drawn = self.order(rows, columns, size, random, kind == "edits")
        weight = 1 + (m.text_weight - 1) * scenes["cover"].float() / 255
        if kind == "edits":
            drawn = scenes["changed"] | (rand(size, 1) < 0.5)
            weight = torch.where(scenes["changed"], 3.0 * weight, weight)
        keeps_first = (
            drawn.gather(1, order).to(torch.uint8).sort(dim=1, stable=True).indices
        )  # kept positions first, in their order
        order = order.gather(1, keeps_first)
        weight = (weight * drawn).gather(1, order)
        return build(words, lengths, scenes["digits"], order, weight, scenes.get("source_digits"), regions)

    def order(self, rows: int, columns: int, size: int, random: torch.Generator, edit: bool) -> tuple[Tensor, Tensor]:
        """[size, n] drawing orders of the mixture, and which positions are drawn."""
        key = (rows, columns)
        if key not in self.orders:
            self.orders[key] = orders_of(rows, columns, str(random.device))
        shares = {"raster": 0.5, "spread": 0.5} if edit else dict(self.mixture.orders)
        hole = shares.get("hole", 0.0)
        chances = [shares.get("raster", 0) + hole / 2, shares.get("wavefront", 0)]
        chances += [(shares.get("spread", 0) + hole / 2) / SPREADS] * SPREADS
        kinds = torch.tensor(chances, device=random.device).multinomial(size, replacement=True, generator=random)
        whole = torch.rand(size, 1, generator=random, device=random.device) >= hole
        return self.orders[key][kinds], whole | holes(size, rows, columns, random)


def eights(length: int) -> int:
    """The next multiple of 8: attention over whole sequences of such lengths is faster."""
    return -(-length // 8) * 8


def shape_of(aspect: str) -> tuple[int, int]:
    """Rows and columns of positions of a picture of the 128 px family."""
    height, width = picture_size(aspect)
    return height // 16, width // 16


def run(run: Run) -> dict:
    """Train; returns the steps done.

    Raises:
        UserError: there is no GPU.
    """
    if not torch.cuda.is_available():
        raise UserError("There is no GPU here.", fix="Train on the processor: polarlight train image-mini.")
    torch.set_float32_matmul_precision("high")
    device, dtype, vocabulary, mixture = "cuda", torch.bfloat16, Vocabulary.shipped(), Mixture()
    place = tokenizer_mini.place(run)
    path = place if place.exists() else PACKAGE / "weights" / "tokenizer.safetensors"
    tokenizer, _ = tokenizer_mini.load_file(path)
    model = new_model(vocabulary, tokenizer, smoke=False)
    shipped = PACKAGE / "weights" / "image.safetensors"
    if made_for(shipped, model.config):
        load_into(model, shipped)
    model.to(device)
    cores = max(4, (os.cpu_count() or 4) - 2)
    workers = {kind: max(1, round(share * cores)) for kind, share in CORES.items()}
    steps = run.steps or 6000
    with SceneStream(workers, path, device, dtype, CAPACITY, mixture) as stream:
        wait_for(stream)
        done, _ = fit(
            model,
            lambda model, data, random: image_loss(model, data, dtype),
            StreamBatches(stream, vocabulary, mixture, BATCH, model.active_parameters()),
            optimizers(model, lr=6e-3, adam_lr=3e-3, weight_decay=0.05, exclude=NOT_MUON, dtype=dtype),
            Schedule(steps=steps, warmup=100),
            FitConfig(steps=steps, minutes=run.minutes, ema=0.999, log_every=25, save_every=1000, unit="scenes"),
            run.folder,
            resume=run.resume,
            report=run.report,
        )
        seen = {"/".join(key): pool.written for key, pool in stream.pools.items()}
    return {"steps": done, "scenes_rendered": seen, "parameters": sum(p.numel() for p in model.parameters())}


def wait_for(stream: SceneStream, least: int = 2048) -> None:
    """Until every kind has some scenes."""
    while any(
        sum(pool.filled for pool in stream.of(kind).values()) < (least if kind == "subjects" else 256)
        for kind in SHARES
    ):
        stream.check()
        time.sleep(0.2)
