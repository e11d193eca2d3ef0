"""What the visual tokenizer keeps of a picture: signal, structure, and legible letters by their height."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from ..worlds.scene import Spec, World, picture_size
from .ocr import TextScore, cut, read_crops, score_text, summarise

CAP_HEIGHTS = ((10, 12), (12, 14), (14, 18), (18, 99))  # px in the 128 px family
FIRST_SEED = 1_500_000_000  # of the evaluation's range, apart from the scenes that pictures are asked for
BATCH = 16

Pictures = UInt8[Tensor, "b h w 3"]


def psnr(a: UInt8[Tensor, "b h w 3"], b: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of each pair, dB; 99 for equal pictures."""
    error = (a.float() - b.float()).square().mean(dim=(1, 2, 3))
    return (10 * torch.log10(255.0**2 / error.clamp(min=1e-6))).clamp(max=99.0)


def ssim(a: UInt8[Tensor, "b h w 3"], b: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, " b"]:
    """Structural similarity of each pair on luminance, at most 1, in fp32 (Wang et al. 2004: 11 px Gaussian window of 1.5 px)."""
    weights = torch.tensor([0.299, 0.587, 0.114])
    x, y = (rearrange(pictures.float() @ weights, "b h w -> b 1 h w") / 255 for pictures in (a, b))
    position = torch.arange(11) - 5
    bell = torch.exp(-(position**2) / (2 * 1.5**2))
    window = torch.outer(bell, bell)[None, None] / bell.sum() ** 2

    def local_mean(values: Tensor) -> Tensor:
        return F.conv2d(values, window)

    mean_x, mean_y = local_mean(x), local_mean(y)
    spread_x, spread_y = local_mean(x * x) - mean_x**2, local_mean(y * y) - mean_y**2
    shared = local_mean(x * y) - mean_x * mean_y
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_x * mean_y + c1) * (2 * shared + c2)
    return (likeness / ((mean_x**2 + mean_y**2 + c1) * (spread_x + spread_y + c2))).mean(dim=(1, 2, 3))


def fidelity(reconstruct: Callable[[Pictures], Pictures], world: World, count: int) -> dict[str, Any]:
    """What `reconstruct` (a tokenizer there and back) keeps of `count` held-out scenes that carry Latin text.

    Returns the mean "psnr" (dB) and "ssim", and "text_by_cap_height": for each bucket of CAP_HEIGHTS the reading scores of
    the "real" renders and of the "reconstructed" ones. Every text is read in its own known box.
    """
    by_aspect: dict[str, list[Spec]] = {}
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        spec = world.sample(seed, "heldout", "text").spec
        by_aspect.setdefault(spec["aspect"], []).append(spec)
    signal, structure = [], []
    texts: list[Spec] = []
    crops: dict[str, list] = {"real": [], "reconstructed": []}
    for aspect, specs in by_aspect.items():
        for start in range(0, len(specs), BATCH):
            part = specs[start : start + BATCH]
            real = world.render(part, picture_size(aspect)).pixels
            again = reconstruct(real)
            signal.append(psnr(real, again))
            structure.append(ssim(real, again))
            for b, spec in enumerate(part):
                latin = [text for text in spec["texts"] if text["script"] == "latin"]
                texts += [text | {"cap_px": text["cap"] * real.shape[1]} for text in latin]
                for key, pictures in (("real", real), ("reconstructed", again)):
                    crops[key] += [cut(pictures[b].numpy(), text["box"]) for text in latin]
    scores = {
        key: [
            score_text(text["text"], [reading]) for text, reading in zip(texts, read_crops(part, "latin"), strict=True)
        ]
        for key, part in crops.items()
    }
    return {
        "count": count,
        "psnr": torch.cat(signal).mean().item(),
        "ssim": torch.cat(structure).mean().item(),
        "text": {key: summarise(part) for key, part in scores.items()},
        "text_by_cap_height": by_cap_height(texts, scores),
    }


def by_cap_height(texts: list[Spec], scores: dict[str, list[TextScore]]) -> dict[str, Any]:
    """The scores of each kind, by the height of the text's capitals; only the buckets that hold a text."""
    table = {}
    for low, high in CAP_HEIGHTS:
        inside = [index for index, text in enumerate(texts) if low <= text["cap_px"] < high]
        if inside:
            name = f"{low}-{high}" if high < 99 else f"{low}+"
            table[name] = {key: summarise([part[index] for index in inside]) for key, part in scores.items()}
    return table
