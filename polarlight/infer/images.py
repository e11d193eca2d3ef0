"""The image generator: prompts and pictures in, pictures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from ..base.errors import UserError
from ..base.files import PACKAGE
from ..models.image_ar import ImageAR, ImageARConfig
from ..models.image_grammar import unpack
from ..models.letterer import Letterer
from ..models.visual_tokenizer import VisualTokenizer, VisualTokenizerConfig
from ..models.weights import load_into, read_card, tuples
from .choosing import Chooser
from .decoding import decode
from .drafts import draft, fill_undrawn
from .image_jobs import Prepared
from .image_preparing import SOURCE_SHARE, ImagePreparer
from .image_requests import (
    CELL,
    GRIDS,
    MODES,
    EditRequest,
    ImageRequest,
    Mode,
    VariationRequest,
    fit_picture,
    nearest_aspect,
)

__all__ = [
    "CELL",
    "GRIDS",
    "MODES",
    "SHIPPED",
    "SOURCE_SHARE",
    "EditRequest",
    "ImageGenerator",
    "ImageRequest",
    "Mode",
    "OnPass",
    "Picture",
    "Prepared",
    "VariationRequest",
    "fast_dtype",
]

SHIPPED = PACKAGE / "weights"
AT_ONCE = 128  # pictures under way at most; more fill the memory and are no faster
OnPass = Callable[[int, int, Callable[[], list[np.ndarray]]], None]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn picture, uint8 [h, w, 3], and all that is needed to draw it again."""

    pixels: np.ndarray
    seed: int
    passes: int
    metadata: dict[str, Any]


class ImageGenerator(ImagePreparer):
    """The tokenizer and the image model, ready to draw.

    Who runs the passes himself calls `prepare`, decodes the job, and calls `draft` on the way and `picture` at the end.
    """

    @classmethod
    def load(cls, folder: Path | None = None, dtype: torch.dtype | None = None) -> ImageGenerator:
        """Load image.safetensors and tokenizer.safetensors of a folder (None: the shipped ones).

        Raises:
            UserError: a file is missing, damaged, or the two do not belong together.
        """
        folder = folder or SHIPPED
        tokenizer_path, model_path = folder / "tokenizer.safetensors", folder / "image.safetensors"
        tokenizer_card, card = read_card(tokenizer_path), read_card(model_path)
        if card.get("tokenizer") != tokenizer_card.get("hash"):
            raise UserError(
                f"The image model in {folder} was trained on another tokenizer.",
                fix="Put the files of one release together.",
            )
        try:
            with torch.random.fork_rng(devices=[]):  # not on "meta": its initialisers import a second of compiler
                tokenizer = VisualTokenizer(VisualTokenizerConfig(**tuples(tokenizer_card["config"])))
                model = ImageAR(ImageARConfig(**tuples(card["config"])))
        except (KeyError, TypeError) as error:
            raise UserError(
                f"The model cards in {folder} do not describe a model of this version: {error}",
                fix="Use the release that the model came with, or train it again.",
            ) from error
        load_into(tokenizer, tokenizer_path)
        load_into(model, model_path)
        chooser = Chooser.find(folder, tokenizer_card["hash"])
        letterer = Letterer.find(folder, card["hash"])
        return cls(tokenizer, model, card, dtype or fast_dtype(), chooser, folder, letterer)

    def draw(self, requests: Sequence[ImageRequest], on_pass: OnPass | None = None) -> list[Picture]:
        """Draw pictures, those of one shape and mode as one batch. A picture depends on its own request alone, bit for bit.

        on_pass(pass, passes, preview): called after every pass; preview() makes drafts of the batch as it stands.

        Raises:
            UserError: a prompt, size, aspect or mode that the model does not have.
        """
        plans = self.plans(requests)
        return self._run([self.prepare(*each) for each in zip(requests, plans, strict=True)], on_pass)

    def edit(self, requests: Sequence[EditRequest], on_pass: OnPass | None = None) -> list[Picture]:
        """Change pictures by instruction, each at the model's size of the nearest aspect. With a mask everything outside it stays,
        pixel for pixel (of the picture at that size).

        Raises:
            UserError: an empty mask or instruction, a mask of another size, or a model without edits.
        """
        return self._run([self.prepare(request) for request in requests], on_pass)

    def vary(self, requests: Sequence[VariationRequest], on_pass: OnPass | None = None) -> list[Picture]:
        """Draw other pictures like the given ones, each at the model's size of the nearest aspect.

        Raises:
            UserError: a strength outside (0, 1], or a prompt or mode that the model does not have.
        """
        return self._run([self.prepare(request) for request in requests], on_pass)

    def reconstruct(self, pixels: UInt8[Tensor, "b h w 3"]) -> UInt8[Tensor, "b h w 3"]:
        """Through the tokenizer and back."""
        return self.tokenizer.decode(self.tokenizer.encode(pixels, self.dtype), self.dtype)

    def caption(self, pictures: Sequence[np.ndarray], longest: int = 160) -> list[str]:
        """Describe pictures, greedily.

        Raises:
            UserError: the model was not trained to caption.
        """
        self._need("caption")
        from .captioning import describe

        codes = [self._codes(fit_picture(picture, nearest_aspect(*picture.shape[:2]))) for picture in pictures]
        return [describe(self.decoder, self.vocabulary, code, self.dtype, longest) for code in codes]

    def picture(self, prepared: Prepared, digits: UInt8[Tensor, "n g"], candidate: int = 0) -> Picture:
        """The finished picture of all its digits, by position; candidate: its number."""
        pixels = self._beside_source(prepared, self._decode(prepared, digits).numpy())
        (height, width), passes = pixels.shape[:2], len(prepared.groups)
        about = {"task": "draw", **prepared.about, "seed": prepared.seed, "passes": passes}
        about |= {"width": width, "height": height}
        about |= {"plan": prepared.plans[candidate]} if prepared.plans else {}
        return Picture(pixels=pixels, seed=prepared.seed, passes=passes, metadata=about)

    def best(self, prepared: Prepared, digits: UInt8[Tensor, "k n g"]) -> Picture:
        """The finished picture of the candidate that fits the prompt best."""
        if self.chooser is None or len(digits) == 1:
            return self.picture(prepared, digits[0])
        cells = [unpack(own.unflatten(0, (prepared.job.rows, prepared.job.columns))) for own in digits]
        chosen, claims = self.chooser.best(prepared.about["prompt"], cells)
        prepared.about.update(candidates=len(digits), chosen=chosen, claims=claims)
        return self.picture(prepared, digits[chosen], chosen)

    def draft(self, prepared: Prepared, digits: UInt8[Tensor, "n g"], passes: int) -> UInt8[np.ndarray, "h w 3"]:
        """How the picture looks after so many passes: sharp where it is drawn, a soft field of the colours around elsewhere."""
        drawn = prepared.drawn(passes)
        if drawn.any():
            digits = fill_undrawn(digits, drawn.flatten(), *drawn.shape)
        return self._beside_source(prepared, draft(self._decode(prepared, digits), drawn).numpy())

    def _decode(self, prepared: Prepared, digits: UInt8[Tensor, "n g"]) -> UInt8[Tensor, "h w 3"]:
        codes = unpack(digits.unflatten(0, (prepared.job.rows, prepared.job.columns)))
        return self.tokenizer.decode(codes[None], self.dtype)[0]

    def _beside_source(self, prepared: Prepared, pixels: np.ndarray) -> np.ndarray:
        """A masked edit's picture: outside the mask the source's own pixels."""
        if prepared.mask is None or prepared.source is None:
            return pixels
        return np.where(prepared.mask[..., None], pixels, prepared.source)

    def _run(self, prepared: Sequence[Prepared], on_pass: OnPass | None) -> list[Picture]:
        """Decode batch by batch, those that run alike together; returns the best candidates in the order of the requests."""
        batches: dict[tuple[Any, ...], list[int]] = {}
        for number, one in enumerate(prepared):
            alike = (one.job.rows, one.job.columns, one.job.kept, tuple(one.groups), one.sampling, len(one.jobs))
            batches.setdefault(alike, []).append(number)
        pictures: dict[int, Picture] = {}
        for alike, together in batches.items():
            step = max(1, AT_ONCE // alike[-1])
            for members in (together[start : start + step] for start in range(0, len(together), step)):
                batch = [prepared[number] for number in members]
                pictures |= zip(members, self._run_together(batch, on_pass), strict=True)
        return [pictures[number] for number in range(len(prepared))]

    def _run_together(self, batch: list[Prepared], on_pass: OnPass | None) -> list[Picture]:
        """Requests that run alike, with all their candidates; drafts are those of the first ones."""
        each = len(batch[0].jobs)

        def report(number: int, passes: int, digits: UInt8[Tensor, "b n g"]) -> None:
            if on_pass:
                pairs = list(zip(batch, digits[::each], strict=True))
                on_pass(number, passes, lambda: [self.draft(one, own, number) for one, own in pairs])

        jobs = [job for one in batch for job in one.jobs]
        digits = decode(self.decoder, jobs, batch[0].groups, batch[0].sampling, self.dtype, report)
        return [self.best(one, own) for one, own in zip(batch, digits.split(each), strict=True)]


def fast_dtype() -> torch.dtype:
    """bf16 where the CPU multiplies it in hardware, else fp32."""
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
