"""Upscaling: a picture at two or four times its size, tile by tile.

A tile is enlarged with as much around it as its pixels depend on, so that the tiles make the very picture that the whole at once
would make, while memory stays that of one tile: some 50 MB.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from .. import __version__
from ..base.errors import UserError
from ..models.upscaler import SCALE, UpscalerConfig, UpscalerModel
from ..models.visual_tokenizer import to_signed, to_uint8
from ..models.weights import read_card, revive
from .images import SHIPPED, Picture, fast_dtype
from .sizes import upscaled_size

TILE = 192  # px a side; a tile of the small picture takes 0.2 s on two fp32 cores
NAME = "upscaler.safetensors"


class Upscaler:
    """The upscaler, ready to work. One picture always gives the same one."""

    def __init__(
        self, model: UpscalerModel, card: dict[str, Any], dtype: torch.dtype | None = None, tile: int = TILE
    ) -> None:
        """dtype: of the convolutions, the machine's fast one if left out; tile: px a side of what is enlarged at once."""
        self.model, self.card = model.eval().requires_grad_(False), card
        self.dtype, self.tile = dtype or fast_dtype(), tile

    @classmethod
    def load(cls, folder: Path | None = None) -> Upscaler:
        """Load upscaler.safetensors of a folder (None: the shipped one).

        Raises:
            UserError: there is none, or it is damaged.
        """
        path = (folder or SHIPPED) / NAME
        if not path.exists():
            raise UserError(
                f"There is no upscaler at {path}.",
                fix="Train one first: polarlight train upscaler-mini, then polarlight train upscaler-export.",
            )
        return cls(revive(path, "an upscaler", lambda config: UpscalerModel(UpscalerConfig(**config))), read_card(path))

    @classmethod
    def find(cls, folder: Path | None = None) -> Upscaler | None:
        """As `load`, but None where the folder has no upscaler.

        Raises:
            UserError: there is one, and it is damaged.
        """
        return cls.load(folder) if ((folder or SHIPPED) / NAME).exists() else None

    def upscale(self, pixels: UInt8[np.ndarray, "h w 3"], factor: int = 2) -> UInt8[np.ndarray, "y x 3"]:
        """A picture `factor` (2 or 4) times as high and as wide.

        Raises:
            UserError: another factor, or a result of more than 16.7 megapixels.
        """
        return self.run(pixels, factor).pixels

    def run(
        self, pixels: UInt8[np.ndarray, "h w 3"], factor: int, on_tile: Callable[[int, int], None] | None = None
    ) -> Upscaling:
        """All of an upscaling, see `upscale`. on_tile(done, total): called after every tile."""
        under_way = Upscaling(self, pixels, factor)
        while not under_way.finished:
            under_way.step()
            if on_tile:
                on_tile(under_way.done, under_way.total)
        return under_way

    def picture(self, done: Upscaling, *, prompt: str = "", seed: int = 0) -> Picture:
        """A finished picture with its settings. prompt: what it is known to show; seed: a number that changes nothing."""
        height, width = done.pixels.shape[:2]
        about: dict[str, Any] = {"prompt": prompt} if prompt else {}
        about |= {"task": "upscale", "parent": hashlib.sha256(done.source.tobytes()).hexdigest()[:16]}
        about |= {"factor": done.factor, "model": self.card["hash"], "polarlight": __version__}
        about |= {"width": width, "height": height}
        return Picture(pixels=done.pixels, seed=seed, passes=1, metadata=about)


class Upscaling:
    """One picture on its way: `step` enlarges one tile, so that other work can go on in between."""

    def __init__(self, upscaler: Upscaler, source: UInt8[np.ndarray, "_ _ 3"], factor: int) -> None:
        """See `Upscaler.upscale`."""
        upscaled_size(source.shape[1], source.shape[0], factor)
        self.upscaler, self.source, self.factor = upscaler, source, factor
        sides = [SCALE**number for number in range(factor.bit_length() - 1)]  # of each pass's input: 1, then 2
        counts = [tuple(-(-side * scale // upscaler.tile) for side in source.shape[:2]) for scale in sides]
        self.done, self.total = 0, sum(rows * columns for rows, columns in counts)
        self._places = [place for count in counts for place in product(*map(range, count))]
        self._given = self.pixels = source

    @property
    def finished(self) -> bool:
        """Whether every tile is done: `pixels` is the picture then."""
        return self.done == self.total

    @torch.inference_mode()
    def step(self) -> None:
        """Enlarge the next tile."""
        row, column = self._places[self.done]
        if (row, column) == (0, 0):  # a pass begins, on what the one before it made
            self._given = self.pixels
            height, width = self._given.shape[:2]
            self.pixels = np.empty((SCALE * height, SCALE * width, 3), np.uint8)
        tile, margin = self.upscaler.tile, self.upscaler.model.config.receptive_field
        inside, around = zip(
            *(
                span(place * tile, tile, margin, side)
                for place, side in zip((row, column), self._given.shape, strict=False)
            ),
            strict=True,
        )
        small = torch.from_numpy(np.ascontiguousarray(self._given[around]))[None]
        large = to_uint8(self.upscaler.model(to_signed(small), self.upscaler.dtype))[0].numpy()
        put, cut = zip(*(larger(*pair) for pair in zip(inside, around, strict=True)), strict=True)
        self.pixels[put] = large[cut]
        self.done += 1


def span(start: int, tile: int, margin: int, side: int) -> tuple[slice, slice]:
    """A tile along one side, and the same with a margin where the picture has one. Every piece with its margins is equally long,
    where the picture is long enough: convolutions of one shape add up in one order."""
    inside = slice(start, min(start + tile, side))
    length = min(tile + 2 * margin, side)
    first = min(max(0, start - margin), side - length)
    return inside, slice(first, first + length)


def larger(inside: slice, around: slice) -> tuple[slice, slice]:
    """Where a tile lies in the enlarged picture, and where in the enlarged piece."""
    put = slice(SCALE * inside.start, SCALE * inside.stop)
    return put, slice(put.start - SCALE * around.start, put.stop - SCALE * around.start)
