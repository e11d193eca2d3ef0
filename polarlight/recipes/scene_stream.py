"""An endless stream of coded scenes for training on a GPU: processes render, one encodes, pools on the device keep the latest.

Nothing is written to disk. A pool is a ring: scenes leave it when newer ones need their place, so a long run sees most scenes
only a few times. `image_gpu` builds whole batches from the pools.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from queue import Empty
from random import Random
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor

from ..base.errors import UserError
from ..base.seeds import stream_random, stream_seed
from ..models.image_grammar import FIRST_REGION, region_map, region_words
from ..models.visual_tokenizer import VisualTokenizer
from ..text.plan import Plan, snapped
from ..text.vocabulary import Vocabulary
from ..worlds.captions import caption, plan_of
from ..worlds.scene import Scene, World, picture_size
from .image_examples import Mixture, choose, touched_cells
from .scenes import DRAWN, EDITED, allows_edits, draw_edit, render_all, world_of

CHUNK = 64  # scenes of one kind and aspect that travel together
WAYS = 3  # captions of each scene
WORDS = 72  # tokens of a caption at most; longer draws are drawn again
REGION_WORDS = 40  # of all regions of a plan at most; the few scenes that have more go without one
FIRST_SEED = 10_000_000  # below the judge's and the evaluation's seeds


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Arrays of CHUNK scenes. pixels [n h w 3] or, once encoded, digits [n p g]; cover [n p]: share of a position under text;
    words [n WAYS WORDS] with their lengths; of scenes the words of the plan's regions [n REGION_WORDS] with whose each is (0 where
    there is none) and where it lies, and whose words each position sees [n p]; for edits the source, and changed [n p]."""

    kind: str
    aspect: str
    arrays: dict[str, np.ndarray]


def wordings(texts: Iterator[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    """WAYS token sequences of at most WORDS tokens each, zero-padded, with their lengths."""
    words, lengths = np.zeros((WAYS, WORDS), np.int16), np.zeros(WAYS, np.int16)
    fitting = (ids for ids in texts if len(ids) <= WORDS)
    for way, ids in zip(range(WAYS), fitting, strict=False):
        words[way, : len(ids)], lengths[way] = ids, len(ids)
    return words, lengths


def tell(scene: Scene, vocabulary: Vocabulary, mixture: Mixture, random: Random) -> tuple[np.ndarray, np.ndarray]:
    """Captions of a scene; the short style where others keep being too long."""
    styles = (choose(random, mixture.styles) if n < 4 * WAYS else "short" for n in count())
    return wordings(vocabulary.encode(caption(scene.spec, random, style)) for style in styles)


def regions_of(scene: Scene, vocabulary: Vocabulary) -> dict[str, np.ndarray]:
    """The regions of a scene's plan; none where they have too many words."""
    plan = snapped(plan_of(scene.spec))
    said = [vocabulary.encode(words) for words in region_words(plan)]
    fits = sum(map(len, said)) <= REGION_WORDS
    arrays = {name: np.zeros(REGION_WORDS, np.int16) for name in ("region_words", "whose", "lies")}
    high, wide = (side // 16 for side in picture_size(scene.spec["aspect"]))
    arrays["sees"] = region_map(plan if fits else Plan(), high, wide).numpy().astype(np.int16)
    if fits:
        about = [(t, whose, place) for whose, ids in enumerate(said, FIRST_REGION) for place, t in enumerate(ids)]
        for number, values in enumerate(about):
            arrays["region_words"][number], arrays["whose"][number], arrays["lies"][number] = values
    return arrays


def covered(text_mask: Tensor) -> np.ndarray:
    """The largest share of a 8 px cell that texts cover, for each position of 2 x 2 cells; 0..255."""
    cells = F.avg_pool2d(text_mask[:, None].float(), 8)
    return (F.max_pool2d(cells, 2)[:, 0] * 255).to(torch.uint8).flatten(1).numpy()


def scene_chunk(kind: str, world: World, aspect: str, scenes: list[Scene], mixture: Mixture) -> Chunk:
    """Rendered scenes and their captions."""
    vocabulary = Vocabulary.shipped()
    rendered = render_all(world, [scene.spec for scene in scenes], aspect)
    told = [tell(scene, vocabulary, mixture, stream_random(scene.seed, "captions")) for scene in scenes]
    words, lengths = (np.stack(part) for part in zip(*told, strict=True))
    regions = [regions_of(scene, vocabulary) for scene in scenes]
    arrays = {"pixels": rendered.pixels.numpy(), "cover": covered(rendered.text_mask), "words": words}
    arrays |= {"lengths": lengths} | {name: np.stack([each[name] for each in regions]) for name in regions[0]}
    return Chunk(kind=kind, aspect=aspect, arrays=arrays)


def edit_chunk(world: World, aspect: str, pairs: list[tuple[int, Scene]]) -> Chunk:
    """Edits of scenes: the picture before is the source, all wordings are the one instruction."""
    vocabulary = Vocabulary.shipped()
    edits = [draw_edit(scene, seed) for seed, scene in pairs]
    before, after = (render_all(world, [getattr(edit, side) for edit in edits], aspect) for side in ("before", "after"))
    told = [wordings(iter([vocabulary.encode(edit.instruction)[:WORDS]] * WAYS)) for edit in edits]
    words, lengths = (np.stack(part) for part in zip(*told, strict=True))
    rows, columns = after.pixels.shape[1] // 16, after.pixels.shape[2] // 16
    changed = np.stack([touched_cells(list(edit.box), rows, columns).numpy() for edit in edits])
    arrays = {"pixels": after.pixels.numpy(), "source": before.pixels.numpy(), "cover": covered(after.text_mask)}
    return Chunk(kind="edits", aspect=aspect, arrays=arrays | {"words": words, "lengths": lengths, "changed": changed})


def chunks(kind: str, worker: int, workers: int, mixture: Mixture) -> Iterator[Chunk]:
    """What worker number `worker` of `workers` makes of a kind: other scenes than any other worker."""
    waiting: dict[tuple[str, str], list[Any]] = {}
    for number in count(worker, workers):
        name = EDITED[number // workers % len(EDITED)] if kind == "edits" else kind
        world = world_of(name)
        seed = FIRST_SEED + number if kind != "edits" else stream_seed(number, "edits") % 2**40 + 2**40
        scene = DRAWN[name](seed)
        if kind == "edits" and not allows_edits(scene, number):
            continue
        pending = waiting.setdefault((world.name, scene.spec["aspect"]), [])
        pending.append((number, scene) if kind == "edits" else scene)
        if len(pending) == CHUNK:
            aspect = scene.spec["aspect"]
            made = edit_chunk(world, aspect, pending) if kind == "edits" else None
            yield made or scene_chunk(kind, world, aspect, pending, mixture)
            pending.clear()


def produce(kind: str, worker: int, workers: int, mixture: Mixture, out: Any) -> None:
    """A worker process: render for ever, waiting where the queue is full."""
    torch.set_num_threads(1)
    for chunk in chunks(kind, worker, workers, mixture):
        out.put(chunk)


def encode(tokenizer: VisualTokenizer, chunk: Chunk, device: str, dtype: torch.dtype) -> Chunk:
    """The chunk with codes in place of pixels."""
    arrays = dict(chunk.arrays)
    for name, codes in (("pixels", "digits"), ("source", "source_digits")):
        if name in arrays:
            digits = tokenizer.encode(torch.from_numpy(arrays.pop(name)).to(device), dtype)
            n, high, wide, d = digits.shape
            packed = digits.view(n, high // 2, 2, wide // 2, 2, d).transpose(2, 3)
            arrays[codes] = packed.reshape(n, high * wide // 4, 4 * d).cpu().numpy()
    return Chunk(kind=chunk.kind, aspect=chunk.aspect, arrays=arrays)


def encode_all(path: Path, device: str, dtype: torch.dtype, pictures: Any, out: Any) -> None:
    """The encoding process."""
    from .tokenizer_mini import load_file

    tokenizer = load_file(path)[0].to(device)
    while True:
        out.put(encode(tokenizer, pictures.get(), device, dtype))


@dataclass(kw_only=True)
class Pool:
    """A ring of scenes of one kind and aspect on the device."""

    capacity: int
    device: str
    filled: int = 0
    written: int = 0
    arrays: dict[str, Tensor] = field(default_factory=dict)

    def add(self, arrays: dict[str, np.ndarray]) -> None:
        """Take a chunk in, over the oldest scenes if there is no room."""
        for name, values in arrays.items():
            tensor = torch.from_numpy(values)
            if name not in self.arrays:
                self.arrays[name] = torch.zeros(
                    self.capacity, *tensor.shape[1:], dtype=tensor.dtype, device=self.device
                )
            start = self.written % (self.capacity // CHUNK * CHUNK)
            self.arrays[name][start : start + len(values)] = tensor.to(self.device)
        self.written += CHUNK
        self.filled = min(self.written, self.capacity // CHUNK * CHUNK)

    def rows(self, index: Tensor) -> dict[str, Tensor]:
        """Some scenes."""
        return {name: values[index] for name, values in self.arrays.items()}


class SceneStream:
    """The processes and the pools they fill. A context manager: leaving it ends the processes."""

    def __init__(
        self,
        workers: dict[str, int],
        tokenizer: Path,
        device: str,
        dtype: torch.dtype,
        capacity: dict[str, int],
        mixture: Mixture,
    ) -> None:
        self.pools: dict[tuple[str, str], Pool] = {}
        self.capacity, self.device = capacity, device
        context = mp.get_context("spawn")
        self.pictures, self.coded = (
            context.Queue(maxsize=48),
            context.Queue(maxsize=256),
        )  # kept: children open them by name
        jobs = [
            (produce, (kind, n, many, mixture, self.pictures)) for kind, many in workers.items() for n in range(many)
        ]
        jobs.append((encode_all, (tokenizer, device, dtype, self.pictures, self.coded)))
        self.processes = [context.Process(target=target, args=args, daemon=True) for target, args in jobs]
        self.open = True
        self.thread = threading.Thread(target=self._receive, daemon=True)

    def __enter__(self) -> SceneStream:
        for process in self.processes:
            process.start()
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False
        self.thread.join(timeout=5)
        for process in self.processes:
            process.kill()

    def _receive(self) -> None:
        while self.open:
            try:
                chunk = self.coded.get(timeout=1)
            except Empty:
                self.check()
                continue
            key = (chunk.kind, chunk.aspect)
            if key not in self.pools:
                self.pools[key] = Pool(capacity=self.capacity[chunk.kind], device=self.device)
            self.pools[key].add(chunk.arrays)

    def check(self) -> None:
        """Whether every process lives.

        Raises:
            UserError: one has ended.
        """
        if any(process.exitcode not in (None, 0) for process in self.processes):
            raise UserError("A process that makes scenes has ended; its message stands above.")

    def of(self, kind: str) -> dict[str, Pool]:
        """The pools of a kind by aspect that hold anything."""
        return {aspect: pool for (name, aspect), pool in list(self.pools.items()) if name == kind and pool.filled}
