"""Scenes rendered once and kept: shards of pictures with their specs, and of their codes.

Shard k of a kind is a pure function of (kind, k): scenes SHARD * k ... SHARD * (k + 1) - 1 of the training split. It is made when
first asked for and kept in the run's folder, so several trainings share one rendering.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import count as count_up
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor

from ..base.errors import UserError
from ..base.files import atomic_path
from ..base.seeds import stream_seed
from ..models.visual_tokenizer import VisualTokenizer
from ..worlds.edits import draw_edit
from ..worlds.lettering import lettering_scene
from ..worlds.posters import Posters
from ..worlds.scene import Rendered, Scene, World, picture_size
from ..worlds.subjects import house_scene, subject_scene
from ..worlds.tabletop import Tabletop

SHARD = 1024
SMOKE_SHARD = 64
RENDER_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class Group:
    """Scenes of one aspect. Where a picture is made from another, `source` is that other and `notes` says its role, and for edits
    the instruction and its box."""

    pixels: UInt8[Tensor, "n h w 3"]
    text_mask: Bool[Tensor, "n h w"]
    scenes: list[Scene]
    source: UInt8[Tensor, "n y x 3"] | None = None
    notes: list[dict] | None = None


DRAWN: dict[str, Callable[[int], Scene]] = {  # the scene of a seed, by kind
    "posters": Posters().sample,
    "tabletop": Tabletop().sample,
    "lettering": lettering_scene,
    "subjects": subject_scene,
    "house": house_scene,
}
EDITED = ("tabletop", "house", "posters", "house")  # by turns: as the model draws them, and as others do


def world_of(name: str) -> World:
    """The world of a spec's "world", or of a kind of scenes."""
    return Tabletop() if name == "tabletop" else Posters()


def pixels_place(folder: Path, kind: str, index: int) -> Path:
    """The file of a shard's pixels."""
    return folder / f"{kind}-{index:04d}.npz"


def load_shard(folder: Path, kind: str, index: int, count: int = SHARD) -> dict[str, Group]:
    """Groups by aspect of shard `index`, rendering it first if it does not exist."""
    path = pixels_place(folder, kind, index)
    if not path.exists():
        groups = make_shard(kind, index, count)
        arrays: dict[str, np.ndarray] = {}
        for aspect, group in groups.items():
            arrays[f"{aspect}/pixels"] = group.pixels.numpy()
            arrays[f"{aspect}/text"] = np.packbits(group.text_mask.numpy(), axis=-1)
            arrays[f"{aspect}/scenes"] = np.array([scene.to_json() for scene in group.scenes])
            if group.source is not None:
                arrays[f"{aspect}/source"] = group.source.numpy()
                arrays[f"{aspect}/notes"] = np.array([json.dumps(note) for note in group.notes or []])
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)
        return groups
    with np.load(path) as file:
        aspects = sorted({key.split("/")[0] for key in file.files})
        return {aspect: _read_group(file, aspect) for aspect in aspects}


def _read_group(file: np.lib.npyio.NpzFile, aspect: str) -> Group:
    pixels = torch.from_numpy(file[f"{aspect}/pixels"])
    text = np.unpackbits(file[f"{aspect}/text"], axis=-1, count=pixels.shape[2]).astype(bool)
    edits = f"{aspect}/source" in file.files
    return Group(
        pixels=pixels,
        text_mask=torch.from_numpy(text),
        scenes=[Scene.from_json(str(text)) for text in file[f"{aspect}/scenes"]],
        source=torch.from_numpy(file[f"{aspect}/source"]) if edits else None,
        notes=[json.loads(str(note)) for note in file[f"{aspect}/notes"]] if edits else None,
    )


def make_shard(kind: str, index: int, count: int) -> dict[str, Group]:
    """Sample and render one shard."""
    seeds = range(index * count, (index + 1) * count)
    if kind in DRAWN:
        return _make_scenes(world_of(kind), list(map(DRAWN[kind], seeds)))
    edit = {"edits": None, "retexts": "retext"}  # edits of any kind, or of one
    maker = partial(_edit, kind=edit[kind]) if kind in edit else {"reference": _reference, "control": _control}[kind]
    by_aspect: dict[tuple[str, str], list] = {}
    for seed in seeds:  # scenes that no plain shard draws
        name = EDITED[seed % len(EDITED)]
        tries = (DRAWN[name](stream_seed(seed, kind, n) % 2**40 + 2**40) for n in count_up())
        scene = next(scene for scene in tries if kind not in edit or allows_edits(scene, seed, edit[kind]))
        by_aspect.setdefault((scene.spec["aspect"], scene.spec["world"]), []).append((seed, scene))
    parts: dict[str, list[Group]] = {}
    for (aspect, name), pairs in by_aspect.items():
        parts.setdefault(aspect, []).append(maker(world_of(name), aspect, pairs))
    return {aspect: _join(groups) for aspect, groups in parts.items()}


def allows_edits(scene: Scene, seed: int, kind: str | None = None) -> bool:
    """Whether anything in the scene can be changed, or what edits of a kind change: a lone text that no other word fits cannot."""
    try:
        draw_edit(scene, seed, kind=kind)
    except UserError:
        return False
    return True


def _make_scenes(world: World, drawn: list[Scene]) -> dict[str, Group]:
    by_aspect: dict[str, list[Scene]] = {}
    for scene in drawn:
        by_aspect.setdefault(scene.spec["aspect"], []).append(scene)
    groups = {}
    for aspect, scenes in by_aspect.items():
        rendered = render_all(world, [scene.spec for scene in scenes], aspect)
        groups[aspect] = Group(pixels=rendered.pixels, text_mask=rendered.text_mask, scenes=scenes)
    return groups


def _edit(world: World, aspect: str, pairs: list[tuple[int, Scene]], kind: str | None) -> Group:
    """The picture before is the source."""
    edits = [draw_edit(scene, seed, kind=kind) for seed, scene in pairs]
    before = render_all(world, [edit.before for edit in edits], aspect)
    after = render_all(world, [edit.after for edit in edits], aspect)
    return Group(
        pixels=after.pixels,
        text_mask=after.text_mask,
        scenes=[Scene(seed=seed, spec=edit.after) for (seed, _), edit in zip(pairs, edits, strict=True)],
        source=before.pixels,
        notes=[{"role": "SOURCE", "instruction": edit.instruction, "box": list(edit.box)} for edit in edits],
    )


def _control(world: World, aspect: str, pairs: list[tuple[int, Scene]]) -> Group:
    """The edge map (even seeds) or the depth map (odd) is the source."""
    rendered = render_all(world, [scene.spec for _, scene in pairs], aspect)
    odd = torch.tensor([seed % 2 == 1 for seed, _ in pairs])
    maps = torch.where(odd[:, None, None], rendered.depth, rendered.edges)
    return Group(
        pixels=rendered.pixels,
        text_mask=rendered.text_mask,
        scenes=[scene for _, scene in pairs],
        source=(maps.clamp(0, 1) * 255).to(torch.uint8)[..., None].expand(-1, -1, -1, 3).contiguous(),
        notes=[{"role": "DEPTH" if seed % 2 else "EDGES"} for seed, _ in pairs],
    )


def _reference(world: World, aspect: str, pairs: list[tuple[int, Scene]]) -> Group:
    """A mirrored close-up of the first object (of the whole picture if there is none), 64 px square, is the source."""
    rendered = render_all(world, [scene.spec for _, scene in pairs], aspect)
    close = []
    for (_, scene), pixels in zip(pairs, rendered.pixels, strict=True):
        objects = scene.spec["objects"]
        x0, y0, x1, y1 = objects[0]["box"] if objects else (0.0, 0.0, 1.0, 1.0)
        height, width = pixels.shape[:2]
        top, left = max(0, int(y0 * height)), max(0, int(x0 * width))
        crop = pixels[top : max(top + 8, round(y1 * height)), left : max(left + 8, round(x1 * width))].permute(2, 0, 1)
        close.append(F.interpolate(crop[None].float(), size=(64, 64), mode="area")[0].flip(-1))
    return Group(
        pixels=rendered.pixels,
        text_mask=rendered.text_mask,
        scenes=[scene for _, scene in pairs],
        source=torch.stack(close).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous(),
        notes=[{"role": "REFERENCE"} for _ in pairs],
    )


def _join(groups: list[Group]) -> Group:
    return Group(
        pixels=torch.cat([g.pixels for g in groups]),
        text_mask=torch.cat([g.text_mask for g in groups]),
        scenes=[scene for g in groups for scene in g.scenes],
        source=torch.cat([g.source for g in groups if g.source is not None]),
        notes=[note for g in groups for note in g.notes or []],
    )


def render_all(world: World, specs: list[dict], aspect: str) -> Rendered:
    """Render specs of one aspect in the 128 px family, a few at a time; pixels, text mask, depth and edges are kept."""
    size = picture_size(aspect)
    parts = [
        world.render(specs[start : start + RENDER_AT_ONCE], size, truth=True)
        for start in range(0, len(specs), RENDER_AT_ONCE)
    ]
    return Rendered(
        pixels=torch.cat([part.pixels for part in parts]),
        text_mask=torch.cat([part.text_mask for part in parts]),
        depth=torch.cat([part.depth for part in parts]),
        edges=torch.cat([part.edges for part in parts]),
    )


@dataclass(frozen=True, kw_only=True)
class CodedGroup:
    """Codes of one aspect's scenes; `text` is the share of each 8 px cell that text boxes cover, in 255ths."""

    digits: UInt8[Tensor, "n p q c"]
    text: UInt8[Tensor, "n p q"]
    scenes: list[Scene]
    source: UInt8[Tensor, "n y x c"] | None = None
    notes: list[dict] | None = None


def load_codes(
    folder: Path, kind: str, index: int, tokenizer: VisualTokenizer, name: str, dtype: torch.dtype, count: int = SHARD
) -> dict[str, CodedGroup]:
    """Codes of a shard under tokenizer `name` (a hash of its weights), encoding it first if need be. Pixels made for it are not
    kept: they take twenty times the room."""
    path = folder / f"{kind}-{index:04d}.{name}.pt"
    if path.exists():
        stored = torch.load(path, weights_only=True)
    else:
        stored = {}
        pixels = pixels_place(folder, kind, index).exists()
        groups = load_shard(folder, kind, index, count) if pixels else make_shard(kind, index, count)
        for aspect, group in groups.items():
            cells = F.avg_pool2d(group.text_mask[:, None].float(), 8)[:, 0]
            stored[aspect] = {
                "digits": encode_all(tokenizer, group.pixels, dtype),
                "text": (cells * 255).to(torch.uint8),
                "scenes": [scene.to_json() for scene in group.scenes],
            }
            if group.source is not None:
                stored[aspect] |= {"source": encode_all(tokenizer, group.source, dtype), "notes": group.notes}
        with atomic_path(path) as temporary:
            torch.save(stored, temporary)
    return {
        aspect: CodedGroup(
            digits=g["digits"],
            text=g["text"],
            scenes=[Scene.from_json(text) for text in g["scenes"]],
            source=g.get("source"),
            notes=g.get("notes"),
        )
        for aspect, g in stored.items()
    }


def encode_all(
    tokenizer: VisualTokenizer, pixels: UInt8[Tensor, "n h w 3"], dtype: torch.dtype
) -> UInt8[Tensor, "n p q c"]:
    """Encode many pictures, a few at a time."""
    return torch.cat([tokenizer.encode(part, dtype) for part in pixels.split(RENDER_AT_ONCE)])


@lru_cache(maxsize=4)
def cached_shard(folder: Path, kind: str, index: int, count: int = SHARD) -> dict[str, Group]:
    """The last few shards stay in memory."""
    return load_shard(folder, kind, index, count)


def pick(groups: dict[str, int], random: torch.Generator, count: int) -> tuple[str, Tensor]:
    """Choose an aspect in proportion to its size, then `count` of its rows (with repeats only if it has fewer)."""
    names = sorted(groups)
    weights = torch.tensor([float(groups[name]) for name in names])
    aspect = names[int(torch.multinomial(weights, 1, generator=random))]
    rows = torch.randperm(groups[aspect], generator=random)
    return aspect, rows.repeat(-(-count // len(rows)))[:count]
