"""The image generator: prompts and pictures in, pictures out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from .. import __version__
from ..base.errors import UserError
from ..base.files import PACKAGE
from ..models.image_ar import ImageAR, ImageARConfig
from ..models.image_grammar import Picture as PictureCodes
from ..models.image_grammar import Role, Text, Tokens, pack, unpack, write
from ..models.visual_tokenizer import VisualTokenizer, VisualTokenizerConfig
from ..models.weights import load_into, read_card
from ..ops.orders import group_sizes, kept_first, raster, spread
from ..ops.streams import uniform
from ..text.prompts import check_prompt
from ..text.vocabulary import Vocabulary
from .decoding import Job, Sampling, decode
from .packed import PackedImageAR

SHIPPED = PACKAGE / "weights"
GRIDS = {"1:1": (8, 8), "3:2": (6, 9), "2:3": (9, 6), "16:9": (6, 11), "9:16": (11, 6)}  # rows, columns at size 128
CELL = 16  # px a position side
OnPass = Callable[[int, int, Callable[[], list[np.ndarray]]], None]


@dataclass(frozen=True, kw_only=True)
class Mode:
    """passes: at most this many groups; order "spread" or "raster"."""

    passes: int
    order: str
    sampling: Sampling


MODES = {
    "speed": Mode(passes=16, order="spread", sampling=Sampling(guidance=3.0, guidance_start=3.0, temperature=0.6)),
    "quality": Mode(
        passes=10_000, order="raster", sampling=Sampling(guidance=4.0, guidance_start=4.0, temperature=0.5)
    ),
}


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """A picture to draw. size: 128 or 256 (the family, see GRIDS); mode: one of MODES."""

    prompt: str
    seed: int = 0
    size: int = 128
    aspect: str = "1:1"
    mode: str = "speed"


@dataclass(frozen=True, kw_only=True)
class EditRequest:
    """A picture to change: uint8 [h, w, 3]; mask (bool [h, w]): only where it is True may anything change."""

    picture: np.ndarray
    instruction: str
    mask: np.ndarray | None = None
    seed: int = 0
    mode: str = "speed"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn picture, uint8 [h, w, 3], and all that is needed to draw it again."""

    pixels: np.ndarray
    seed: int
    passes: int
    metadata: dict[str, Any]


class ImageGenerator:
    """The tokenizer and the image model, ready to draw."""

    def __init__(self, tokenizer: VisualTokenizer, model: ImageAR, card: dict[str, Any], dtype: torch.dtype) -> None:
        self.tokenizer, self.model, self.card, self.dtype = tokenizer.eval(), model.eval(), card, dtype
        self.vocabulary = Vocabulary.shipped()
        for name, parameter in [*tokenizer.named_parameters(), *model.named_parameters()]:
            parameter.requires_grad_(False)
            if parameter.ndim >= 2 and not name.endswith("router"):
                parameter.data = parameter.data.to(dtype)
        self.decoder = PackedImageAR(model, dtype)

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
        return cls(tokenizer, model, card, dtype or fast_dtype())

    def draw(self, requests: Sequence[ImageRequest], on_pass: OnPass | None = None) -> list[Picture]:
        """Draw pictures, those of one shape and mode as one batch. A picture depends on its own request alone.

        on_pass(pass, passes, preview): called after every pass; preview() decodes the batch as it stands.

        Raises:
            UserError: a prompt, size, aspect or mode that the model does not have.
        """
        self._need("draw")
        prepared = [self._check(request) for request in requests]
        jobs = [self._draw_job(request) for request in prepared]
        keys = [(request.aspect, request.mode) for request in prepared]
        drawn = self._run(jobs, keys, [request.mode for request in prepared], on_pass)
        return [
            self._picture(pixels, request.seed, passes, {"prompt": request.prompt, **self._about(request.mode)})
            for (pixels, passes), request in zip(drawn, prepared, strict=True)
        ]

    def edit(self, requests: Sequence[EditRequest], on_pass: OnPass | None = None) -> list[Picture]:
        """Change pictures by instruction, each at the model's size of the nearest aspect. With a mask everything outside it stays,
        pixel for pixel (of the picture at that size).

        Raises:
            UserError: an empty mask or instruction, a mask of another size, or a model without edits.
        """
        self._need("edit")
        fitted = [self._fit(request) for request in requests]
        jobs = [self._edit_job(request, aspect) for request, aspect in fitted]
        keys = [(aspect, request.mode, job.kept) for (request, aspect), job in zip(fitted, jobs, strict=True)]
        drawn = self._run(jobs, keys, [request.mode for request, _ in fitted], on_pass)
        pictures = []
        for (pixels, passes), (request, _), original in zip(drawn, fitted, requests, strict=True):
            if request.mask is not None:
                pixels = np.where(request.mask[..., None], pixels, request.picture)
            parent = hashlib.sha256(original.picture.tobytes()).hexdigest()[:16]
            about = {"prompt": request.instruction, "task": "edit", "parent": parent, **self._about(request.mode)}
            pictures.append(self._picture(pixels, request.seed, passes, about))
        return pictures

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

        codes = [
            self._codes(Image.fromarray(picture), self._nearest_aspect(*picture.shape[:2])) for picture in pictures
        ]
        return [describe(self.decoder, self.vocabulary, code, self.dtype, longest) for code in codes]

    def _need(self, task: str) -> None:
        if task not in self.card["tasks"]:
            raise UserError(
                f"This model was not trained to {task} (it can {', '.join(self.card['tasks'])}).",
                fix="Name another model with --model, or train one.",
            )

    def _check(self, request: ImageRequest) -> ImageRequest:
        if request.size not in self.card["sizes"]:
            sizes = " and ".join(str(size) for size in self.card["sizes"])
            raise UserError(
                f"This model draws at size {sizes}, not {request.size}.", fix=f"Use --size {self.card['sizes'][-1]}."
            )
        if request.aspect not in GRIDS:
            raise UserError(f"There is no aspect {request.aspect!r}.", fix=f"Choose one of {', '.join(GRIDS)}.")
        if request.mode not in MODES:
            raise UserError(f"There is no mode {request.mode!r}.", fix=f"Choose one of {', '.join(MODES)}.")
        return replace(request, prompt=check_prompt(request.prompt))

    def _about(self, mode: str) -> dict[str, Any]:
        return {"mode": mode, "model": self.card["hash"], "polarlight": __version__}

    def _picture(self, pixels: np.ndarray, seed: int, passes: int, about: dict[str, Any]) -> Picture:
        height, width = pixels.shape[:2]
        return Picture(
            pixels=pixels, seed=seed, passes=passes, metadata={"task": "draw", **about, "seed": seed, "passes": passes,
                                                               "width": width, "height": height},
        )  # fmt: skip

    def _draw_job(self, request: ImageRequest) -> Job:
        rows, columns = GRIDS[request.aspect]
        order = drawing_order(MODES[request.mode].order, rows, columns)
        empty = torch.zeros(rows, columns, self.model.config.digits, dtype=torch.uint8)
        v = self.vocabulary
        target = PictureCodes(digits=empty, order=order)

        def sequence(words: list[int]) -> Tokens:
            return write([Text(ids=[v["<bos>"], v["<draw>"], *words]), target], v)

        return Job(
            conditional=sequence(v.encode(request.prompt)),
            free=sequence([]),
            order=order,
            kept=0,
            noise=uniform((rows * columns, self.model.config.digits), request.seed, "draw"),
            rows=rows,
            columns=columns,
        )

    def _fit(self, request: EditRequest) -> tuple[EditRequest, str]:
        """The request at the model's size, and its aspect."""
        height, width = request.picture.shape[:2]
        aspect = self._nearest_aspect(height, width)
        rows, columns = GRIDS[aspect]
        size = (columns * CELL, rows * CELL)
        picture = np.asarray(Image.fromarray(request.picture).resize(size, Image.Resampling.LANCZOS))
        mask = request.mask
        if mask is not None:
            if mask.shape != (height, width):
                raise UserError(
                    f"The mask is {mask.shape[1]} x {mask.shape[0]} px, the picture {width} x {height} px.",
                    fix="Make them the same size.",
                )
            shares = Image.fromarray(mask).convert("L").resize(size, Image.Resampling.BOX)
            mask = np.asarray(shares) > 0  # a line thinner than the model's pixels still counts
            if not mask.any():
                raise UserError(
                    "The mask is empty, so nothing may change.", fix="Paint white where the picture may change."
                )
        if request.mode not in MODES:
            raise UserError(f"There is no mode {request.mode!r}.", fix=f"Choose one of {', '.join(MODES)}.")
        return replace(request, picture=picture, mask=mask, instruction=check_prompt(request.instruction)), aspect

    def _nearest_aspect(self, height: int, width: int) -> str:
        return min(GRIDS, key=lambda name: abs(np.log(GRIDS[name][1] / GRIDS[name][0] * height / width)))

    def _codes(self, picture: Image.Image, aspect: str) -> UInt8[Tensor, "p q g"]:
        rows, columns = GRIDS[aspect]
        pixels = np.asarray(picture.resize((columns * CELL, rows * CELL), Image.Resampling.LANCZOS))
        return pack(self.tokenizer.encode(torch.from_numpy(pixels.copy())[None], self.dtype))[0]

    def _edit_job(self, request: EditRequest, aspect: str) -> Job:
        rows, columns = GRIDS[aspect]
        codes = self._codes(Image.fromarray(request.picture), aspect)
        order, kept = drawing_order(MODES[request.mode].order, rows, columns), 0
        if request.mask is not None:
            change = torch.from_numpy(request.mask.reshape(rows, CELL, columns, CELL).any((1, 3))).flatten()
            order, kept = kept_first(order, ~change), int((~change).sum())
        v = self.vocabulary
        parts = [PictureCodes(digits=codes, role=Role.SOURCE), PictureCodes(digits=codes, order=order, kept=kept)]

        def sequence(words: list[int]) -> Tokens:
            return write([Text(ids=[v["<bos>"], v["<edit>"], *words]), *parts], v)

        return Job(
            conditional=sequence(v.encode(request.instruction)),
            free=sequence([]),
            order=order,
            kept=kept,
            noise=uniform((rows * columns, self.model.config.digits), request.seed, "draw"),
            rows=rows,
            columns=columns,
        )

    def _run(
        self, jobs: Sequence[Job], keys: Sequence[tuple], modes: Sequence[str], on_pass: OnPass | None
    ) -> list[tuple[np.ndarray, int]]:
        """Decode jobs batch by batch (those with equal keys together); returns (pixels, passes) in the given order."""
        results: dict[int, tuple[np.ndarray, int]] = {}
        for key in dict.fromkeys(keys):
            members = [i for i, other in enumerate(keys) if other == key]
            batch, mode = [jobs[i] for i in members], MODES[modes[members[0]]]
            rows, columns = batch[0].rows, batch[0].columns
            groups = group_sizes(rows * columns - batch[0].kept, mode.passes)

            def report(
                number: int, passes: int, digits: UInt8[Tensor, "b n g"], rows: int = rows, columns: int = columns
            ) -> None:
                if on_pass:
                    on_pass(number, passes, lambda: list(self._pixels(digits, rows, columns)))

            digits = decode(self.decoder, batch, groups, mode.sampling, self.dtype, report)
            for i, pixels in zip(members, self._pixels(digits, rows, columns), strict=True):
                results[i] = (pixels, len(groups))
        return [results[i] for i in range(len(jobs))]

    def _pixels(self, digits: UInt8[Tensor, "b n g"], rows: int, columns: int) -> np.ndarray:
        codes = unpack(digits.unflatten(1, (rows, columns)))
        return torch.cat([self.tokenizer.decode(one[None], self.dtype) for one in codes]).numpy()


def drawing_order(name: str, rows: int, columns: int) -> Int64[Tensor, " n"]:
    """The order of a mode."""
    if name == "raster":
        return raster(rows, columns)
    return spread(rows, columns, uniform((rows * columns,), 0, "drawing order"))


def tuples(config: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists back to tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def fast_dtype() -> torch.dtype:
    """bf16 where the CPU multiplies it in hardware, else fp32."""
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
