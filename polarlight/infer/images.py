"""The image generator: prompts and pictures in, pictures out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from ..models.proofreader import Proofreader
from ..models.visual_tokenizer import VisualTokenizer, VisualTokenizerConfig
from ..models.weights import read_card, revive
from ..text.plan import parse_plan
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
from .proofreading import Proofs

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
PIXELS_AT_ONCE = 8  # pictures decoded together: each costs less than half of what it costs alone, with the same bits
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

    Who runs the passes himself calls `prepare`, decodes the jobs, and calls `drafts` on the way and `finish` at the end.
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
        tokenizer = revive(
            tokenizer_path, "a tokenizer", lambda config: VisualTokenizer(VisualTokenizerConfig(**config))
        )
        model = revive(model_path, "an image model", lambda config: ImageAR(ImageARConfig(**config)))
        chooser = Chooser.find(folder, tokenizer_card["hash"])
        letterer, proofreader = Letterer.find(folder, card["hash"]), Proofreader.find(folder, tokenizer_card["hash"])
        return cls(tokenizer, model, card, dtype or fast_dtype(), chooser, folder, letterer, proofreader)

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

    def picture(self, prepared: Prepared, pixels: UInt8[np.ndarray, "h w 3"], candidate: int = 0) -> Picture:
        """A finished picture of its pixels and all that is known of it; candidate: its number."""
        (height, width), passes = pixels.shape[:2], prepared.passes_before + len(prepared.groups)
        about = {"task": "draw", **prepared.about, "seed": prepared.seed, "passes": passes}
        about |= {"width": width, "height": height}
        about |= {"plan": prepared.plan(candidate)} if prepared.plans else {}
        return Picture(pixels=pixels, seed=prepared.seed, passes=passes, metadata=about)

    def finish(
        self, drawn: Sequence[tuple[Prepared, UInt8[Tensor, "_ _ g"]]]
    ) -> Iterator[tuple[int, Picture | Prepared]]:
        """What became of requests that are drawn, each with the digits of its candidates: its number among them, and the picture,
        that of the candidate that fits the prompt best; or what is to be drawn before, where it has letters that are hardly read
        and the request may have them corrected. First come those without a choice, whose pixels are decoded together.
        """
        alone = [n for n, (prepared, _) in enumerate(drawn) if self.chooser is None or len(prepared.jobs) == 1]
        for number, pixels in zip(alone, self.pixels([(drawn[n][0], drawn[n][1][0]) for n in alone]), strict=True):
            yield number, self.picture(drawn[number][0], pixels)
        for number in sorted({*range(len(drawn))} - {*alone}):
            yield number, self._choose(*drawn[number])

    def _choose(self, prepared: Prepared, digits: UInt8[Tensor, "k n g"]) -> Picture | Prepared:
        """See `finish`."""
        assert self.chooser is not None
        candidates = digits if prepared.so_far is None else torch.cat((prepared.so_far[None], digits))
        cells = [unpack(own.unflatten(0, (prepared.job.rows, prepared.job.columns))) for own in candidates]
        proofs = self._proofs(prepared, candidates)
        chosen, claims = self.chooser.best(prepared.about["prompt"], cells, proofs.claims() if proofs else {})
        if prepared.so_far is None:
            prepared.about.update(candidates=len(digits), chosen=chosen)
        prepared.about["claims"] = claims
        if proofs and prepared.corrections and (doubtful := proofs.doubtful(chosen) & prepared.open).any():
            return self._correction(prepared, candidates[chosen], prepared.plan(chosen), doubtful)
        pixels = proofs.pictures[chosen].numpy() if proofs else self.pixels([(prepared, candidates[chosen])])[0]
        return self.picture(prepared, pixels, chosen)

    def _proofs(self, prepared: Prepared, candidates: UInt8[Tensor, "k n g"]) -> Proofs | None:
        """The candidates ready to be read, if there is anything to read and who reads it."""
        plans = [parse_plan(prepared.plan(number)) for number in range(len(candidates))] if prepared.plans else []
        if self.proofreader is None or not any(plan.texts for plan in plans):
            return None
        pictures = [torch.from_numpy(pixels) for pixels in self.pixels([(prepared, own) for own in candidates])]
        return Proofs(reader=self.proofreader, pictures=pictures, plans=plans)

    def drafts(
        self, under_way: Sequence[tuple[Prepared, UInt8[Tensor, "_ g"], int]]
    ) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """How pictures look after so many passes: sharp where they are drawn, a soft field of the colours around elsewhere."""
        drawn = [prepared.drawn(passes) for prepared, _, passes in under_way]
        filled = [
            (prepared, fill_undrawn(digits, flags.flatten(), *flags.shape) if flags.any() else digits)
            for (prepared, digits, _), flags in zip(under_way, drawn, strict=True)
        ]
        return [
            beside_source(prepared, draft(pixels, flags).numpy())
            for (prepared, _), pixels, flags in zip(filled, self._decoded(filled), drawn, strict=True)
        ]

    def pixels(self, pictures: Sequence[tuple[Prepared, UInt8[Tensor, "_ g"]]]) -> list[UInt8[np.ndarray, "_ _ 3"]]:
        """The pixels of all of a picture's digits, by position."""
        decoded = zip(pictures, self._decoded(pictures), strict=True)
        return [beside_source(prepared, pixels.numpy()) for (prepared, _), pixels in decoded]

    def _decoded(self, pictures: Sequence[tuple[Prepared, UInt8[Tensor, "_ g"]]]) -> list[UInt8[Tensor, "_ _ 3"]]:
        """Through the tokenizer's decoder, those of one shape together."""
        shapes: dict[tuple[int, int], list[int]] = {}
        for number, (prepared, _) in enumerate(pictures):
            shapes.setdefault((prepared.job.rows, prepared.job.columns), []).append(number)
        found = dict[int, Tensor]()
        for shape, members in shapes.items():
            for start in range(0, len(members), PIXELS_AT_ONCE):
                some = members[start : start + PIXELS_AT_ONCE]
                codes = unpack(torch.stack([pictures[number][1] for number in some]).unflatten(1, shape))
                found |= zip(some, self.tokenizer.decode(codes, self.dtype), strict=True)
        return [found[number] for number in range(len(pictures))]

    def _run(self, prepared: Sequence[Prepared], on_pass: OnPass | None) -> list[Picture]:
        """Decode batch by batch, those that run alike together; returns the best candidates in the order of the requests."""
        pictures, open_ones = dict[int, Picture](), dict(enumerate(prepared))
        while open_ones:
            batches: dict[tuple[Any, ...], list[int]] = {}
            for number, one in open_ones.items():
                alike = (one.job.rows, one.job.columns, one.job.kept, tuple(one.groups), one.sampling, len(one.jobs))
                batches.setdefault(alike, []).append(number)
            made: dict[int, Picture | Prepared] = {}
            for alike, together in batches.items():
                step = max(1, AT_ONCE // alike[-1])
                for members in (together[start : start + step] for start in range(0, len(together), step)):
                    batch = [open_ones[number] for number in members]
                    made |= zip(members, self._run_together(batch, on_pass), strict=True)
            pictures |= {number: one for number, one in made.items() if isinstance(one, Picture)}
            open_ones = {number: one for number, one in made.items() if isinstance(one, Prepared)}
        return [pictures[number] for number in range(len(prepared))]

    def _run_together(self, batch: list[Prepared], on_pass: OnPass | None) -> list[Picture | Prepared]:
        """Requests that run alike, with all their candidates; drafts are those of the first ones. Corrections are not reported:
        they come after the last pass that was promised."""
        each = len(batch[0].jobs)

        def report(number: int, passes: int, digits: UInt8[Tensor, "b n g"]) -> None:
            if on_pass and not batch[0].passes_before:
                under_way = [(one, own, number) for one, own in zip(batch, digits[::each], strict=True)]
                on_pass(number, passes, lambda: self.drafts(under_way))

        jobs = [job for one in batch for job in one.jobs]
        digits = decode(self.decoder, jobs, batch[0].groups, batch[0].sampling, self.dtype, report)
        made = dict(self.finish(list(zip(batch, digits.split(each), strict=True))))
        return [made[number] for number in range(len(batch))]


def beside_source(prepared: Prepared, pixels: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """A masked edit's picture: outside the mask the source's own pixels."""
    if prepared.mask is None or prepared.source is None:
        return pixels
    return np.where(prepared.mask[..., None], pixels, prepared.source)


def fast_dtype() -> torch.dtype:
    """bf16 where the CPU multiplies it in hardware, else fp32."""
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
