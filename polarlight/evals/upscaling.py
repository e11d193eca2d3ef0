"""What the upscaler is worth: against true renders of held-out scenes at twice the size, beside what any program can do.

Every scene is enlarged twice: as it was rendered, and from what the tokenizer leaves of it, which is what a generator's pictures
look like at best. Texts of posters are read in their own known boxes, small ones apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ..base.errors import UserError
from ..base.files import atomic_path
from ..infer.images import SHIPPED
from ..infer.upscaling import NAME
from ..media.grid import contact_sheet
from ..models.weights import record
from ..worlds.posters import Posters
from ..worlds.scene import Scene, Spec, World, picture_size
from ..worlds.tabletop import Tabletop
from .fidelity import psnr, ssim
from .ocr import cut, find_tesseract, read_crops, score_text, summarise

FIRST_SEED = 1_600_000_000  # of the evaluation's range, apart from the scenes of the cards of image model and tokenizer
SIDE, FACTOR = 128, 2
TABLETOP_EVERY = 5  # one scene in five is a tabletop; of the posters every second one holds a text
SMALL_CAP = 14  # px of a capital in the small picture, below which a text is a small one
SHOWN = 3  # scenes of the strip, each with two rows
FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
Picture = UInt8[np.ndarray, "_ _ 3"]
Pictures = UInt8[Tensor, "b h w 3"]
Enlarge = Callable[[Picture], Picture]


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A scene at both sizes: as rendered and through the tokenizer, and the truth that both are to become."""

    spec: Spec
    inputs: dict[str, Picture]
    truth: Picture


@dataclass(kw_only=True, eq=False)
class Tally:
    """Scores of one way to enlarge: PSNR (dB), SSIM, and crops of texts to be read."""

    psnr: list[float] = field(default_factory=list)
    ssim: list[float] = field(default_factory=list)
    crops: list[Picture] = field(default_factory=list)

    def add(self, made: Picture, shown: Shown) -> None:
        """Hold one picture against the truth."""
        pair = torch.from_numpy(np.stack([made, shown.truth]))
        self.psnr.append(psnr(pair[:1], pair[1:]).item())
        self.ssim.append(ssim(pair[:1], pair[1:]).item())
        self.crops += [cut(made, text["box"]) for text in latin_texts(shown.spec)]


def latin_texts(spec: Spec) -> list[Spec]:
    """The texts of a poster that Tesseract's English reads; those of a tabletop have no height in px."""
    return [text for text in spec["texts"] if text["script"] == "latin" and spec["world"] == "posters"]


def held_out_scenes(count: int) -> list[tuple[World, Scene]]:
    """`count` scenes of both worlds that no training saw."""
    posters, tabletop = Posters(), Tabletop()
    scenes: list[tuple[World, Scene]] = []
    for number in range(count):
        seed = FIRST_SEED + number
        if number % TABLETOP_EVERY == TABLETOP_EVERY - 1:
            scenes.append((tabletop, tabletop.sample(seed, "heldout")))
        else:
            scenes.append((posters, posters.sample(seed, "heldout", None if number % 2 else "text")))
    return scenes


def show(world: World, scene: Scene, reconstruct: Callable[[Pictures], Pictures]) -> Shown:
    """Render a scene at both sizes."""
    aspect = scene.spec["aspect"]
    small, large = (world.render([scene.spec], picture_size(aspect, side)).pixels for side in (SIDE, FACTOR * SIDE))
    inputs = {"clean": small[0].numpy(), "tokenizer": reconstruct(small)[0].numpy()}
    return Shown(spec=scene.spec, inputs=inputs, truth=large[0].numpy())


def resized(picture: Picture, way: Image.Resampling) -> Picture:
    """A picture at twice its size by one of Pillow's filters."""
    size = (FACTOR * picture.shape[1], FACTOR * picture.shape[0])
    return np.asarray(Image.fromarray(picture).resize(size, way))


def evaluate(
    upscale: Enlarge,
    reconstruct: Callable[[Pictures], Pictures],
    count: int,
    folder: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Score `upscale` and Pillow's filters on `count` held-out scenes; write upscale.png into `folder`.

    Args:
        upscale: a picture to one of twice its size.
        reconstruct: a tokenizer there and back.
        on_progress: called with (done, of all) after every scene.

    Returns "clean" and "tokenizer": way -> mean "psnr" (dB), "ssim", and character error rates: "cer" of all Latin texts and
    "small_cer" of those with capitals below 14 px in the small picture; and "truth": the error rates of the true renders. Without
    Tesseract no text is read, and "note" says so.

    Raises:
        UserError: the strip cannot be written.
    """
    ways: dict[str, Enlarge] = {name: lambda picture, way=way: resized(picture, way) for name, way in FILTERS.items()}
    ways["upscaler"] = upscale
    tallies = {kind: {name: Tally() for name in ways} for kind in ("clean", "tokenizer")}
    truth, texts, rows = Tally(), list[Spec](), list[Picture]()
    for number, (world, scene) in enumerate(held_out_scenes(count), 1):
        shown = show(world, scene, reconstruct)
        texts += [text | {"cap_px": text["cap"] * shown.inputs["clean"].shape[0]} for text in latin_texts(scene.spec)]
        truth.add(shown.truth, shown)
        for kind, picture in shown.inputs.items():
            made = {name: way(picture) for name, way in ways.items()}
            for name, large in made.items():
                tallies[kind][name].add(large, shown)
            if scene.spec["aspect"] == "1:1" and len(rows) < 8 * SHOWN:
                rows += [resized(picture, Image.Resampling.NEAREST), made["lanczos"], made["upscaler"], shown.truth]
        on_progress(number, count)
    write_strip(rows, folder / "upscale.png")
    scores: dict[str, Any] = {
        kind: {name: signal(tally) for name, tally in ways.items()} for kind, ways in tallies.items()
    }
    try:
        find_tesseract()
    except UserError as missing:
        return {"count": count, **scores, "note": f"No text was read. {missing}"}
    for kind, ways_of_it in tallies.items():
        for name, tally in ways_of_it.items():
            scores[kind][name] |= legibility(tally, texts)
    return {"count": count, **scores, "truth": legibility(truth, texts)}


def signal(tally: Tally) -> dict[str, float]:
    """Mean PSNR and SSIM."""
    return {"psnr": float(np.mean(tally.psnr)), "ssim": float(np.mean(tally.ssim))}


def legibility(tally: Tally, texts: Sequence[Spec]) -> dict[str, float]:
    """The character error rates of all texts and of the small ones, where there are any."""
    readings = read_crops(tally.crops, "latin")
    scores = [score_text(text["text"], [reading]) for text, reading in zip(texts, readings, strict=True)]
    small = [score for score, text in zip(scores, texts, strict=True) if text["cap_px"] < SMALL_CAP]
    return {name: summarise(some)["cer"] for name, some in (("cer", scores), ("small_cer", small)) if some}


def write_strip(pictures: Sequence[Picture], path: Path) -> None:
    """Four pictures a row: what was given, enlarged pixel by pixel; by Lanczos; by the upscaler; the truth. Every second row has
    the scene of the one above it, given as the tokenizer leaves it."""
    if not pictures:
        return  # no scene was square
    others = ["Lanczos", "upscaler", "true render"]
    labels = ["given", *others, "given, through the tokenizer", *others] * (len(pictures) // 8)
    with atomic_path(path) as temporary:
        Image.fromarray(contact_sheet(pictures, labels, columns=4)).save(temporary)


def record_scores(scores: dict[str, Any], weights: Path | None) -> None:
    """Put the scores of `evaluate` on the card of the upscaler in folder `weights` (None: the shipped one)."""
    command = f"polarlight eval upscaler --count {scores['count']}"
    record((weights or SHIPPED) / NAME, scores={"command": command, **scores})
