"""The image generator: prompts and pictures in, pictures out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from .. import __version__
from ..base.errors import UserError
from ..base.files import PACKAGE
from ..base.seeds import stream_random
from ..models.image_ar import ImageAR, ImageARConfig
from ..models.image_grammar import Picture as PictureCodes
from ..models.image_grammar import Role, pack, unpack
from ..models.letterer import Letterer
from ..models.visual_tokenizer import VisualTokenizer, VisualTokenizerConfig
from ..models.weights import load_into, read_card
from ..ops.orders import group_sizes, kept_first
from ..text.plan import format_plan, given, parse_plan
from ..text.prompts import check_prompt
from ..text.vocabulary import Vocabulary
from .choosing import Chooser
from .decoding import decode
from .drafts import draft, fill_undrawn
from .image_jobs import Prepared, new_job, request_settings
from .image_requests import (
    CELL,
    GRIDS,
    MODES,
    SPREADS,
    EditRequest,
    ImageRequest,
    Mode,
    Request,
    VariationRequest,
    check_candidates,
    drawing_order,
    fit_mask,
    fit_picture,
    mode_named,
    nearest_aspect,
    touched,
)
from .packed import PackedImageAR
from .planning import Planner, is_open, open_asks

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
    "tuples",
]

SHIPPED = PACKAGE / "weights"
AT_ONCE = 128  # pictures under way at most; more fill the memory and are no faster
SOURCE_SHARE = 0.5  # of the side that sees the picture, in a variation without words: at 1 it copies, at 0 shapes melt
OnPass = Callable[[int, int, Callable[[], list[np.ndarray]]], None]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A drawn picture, uint8 [h, w, 3], and all that is needed to draw it again."""

    pixels: np.ndarray
    seed: int
    passes: int
    metadata: dict[str, Any]


class ImageGenerator:
    """The tokenizer and the image model, ready to draw.

    Who runs the passes himself calls `prepare`, decodes the job, and calls `draft` on the way and `picture` at the end.
    """

    def __init__(
        self,
        tokenizer: VisualTokenizer,
        model: ImageAR,
        card: dict[str, Any],
        dtype: torch.dtype,
        chooser: Chooser | None = None,
        folder: Path | None = None,
        letterer: Letterer | None = None,
    ) -> None:
        """chooser: without one a request has no candidates but its first; folder: where a planner may lie; letterer: who writes the
        texts of plans."""
        self.chooser, self.folder = chooser, folder
        self.tokenizer, self.model, self.card, self.dtype = tokenizer.eval(), model.eval(), card, dtype
        self.vocabulary = Vocabulary.shipped()
        for name, parameter in [*tokenizer.named_parameters(), *model.named_parameters()]:
            parameter.requires_grad_(False)
            if parameter.ndim >= 2 and not name.endswith("router"):
                parameter.data = parameter.data.to(dtype)
        self.decoder = PackedImageAR(model, dtype, letterer)

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

    @cached_property
    def planner(self) -> Planner | None:
        """Who writes plans: the planner beside the model, else the model itself if it has learned to; None where there is neither.

        Raises:
            UserError: the planner's file is damaged.
        """
        lexicon, can = self.chooser.lexicon if self.chooser else None, self.card["tasks"]
        beside = self.folder if "layout" in can else None
        planner = Planner.find(beside, self.vocabulary, self.dtype, lexicon) if beside else None
        if planner is None and "plan" in can:
            return Planner(model=self.decoder, vocabulary=self.vocabulary, lexicon=lexicon)
        return planner

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

    def plans(self, requests: Sequence[Request]) -> list[tuple[str, ...] | None]:
        """The plans that each is drawn by, its candidates in turn: the given one, or those that are written where the request asks
        for it or leaves it to a model that plans; None for without. Written ones depend on prompt, shape and seed alone;
        where none is found, the only one is empty.

        Raises:
            UserError: a plan is to be written, and nobody here writes any.
        """
        plans = [(one.plan,) if isinstance(one, ImageRequest) and one.plan is not None else None for one in requests]
        asks = open_asks(requests, self._always)
        if asks:
            written = self._need_planner().write(list(asks.values()))
            plans = [
                plans[n] if n not in asks else tuple(map(format_plan, written.pop(0))) or ("",)
                for n in range(len(plans))
            ]
        return plans

    @property
    def _always(self) -> bool:
        """Whether requests that say nothing of a plan get one."""
        return "plan" in self.card["tasks"]

    def _need_planner(self) -> Planner:
        if self.planner is None:
            raise UserError("This model writes no plans.", fix="Write the plan yourself, or leave it out.")
        return self.planner

    def check_plan(self, plan: str) -> None:
        """Whether a request's plan can be drawn by.

        Raises:
            UserError: it cannot be read, or is to be written and nobody here writes any.
        """
        if is_open(plan, self._always):
            self._need_planner()
        parse_plan(given(plan))

    def prepare(self, request: Request, plans: tuple[str, ...] | None = None) -> Prepared:
        """Everything that a request needs before its first pass. plans: what `plans` says of it, where that is known.

        Raises:
            UserError: as `draw`, `edit` and `vary` say.
        """
        if isinstance(request, ImageRequest):
            return self._prepare_draw(request, plans or self.plans([request])[0])
        if isinstance(request, EditRequest):
            return self._prepare_edit(request)
        return self._prepare_variation(request)

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

    def _need(self, task: str) -> None:
        if task not in self.card["tasks"]:
            raise UserError(
                f"This model was not trained to {task} (it can {', '.join(self.card['tasks'])}).",
                fix="Name another model with --model, or train one.",
            )

    def _prepare_draw(self, request: ImageRequest, plans: tuple[str, ...] | None) -> Prepared:
        self._need("draw")
        if request.size not in self.card["sizes"]:
            sizes = " and ".join(str(size) for size in self.card["sizes"])
            raise UserError(
                f"This model draws at size {sizes}, not {request.size}.", fix=f"Use --size {self.card['sizes'][-1]}."
            )
        if request.aspect not in GRIDS:
            raise UserError(f"There is no aspect {request.aspect!r}.", fix=f"Choose one of {', '.join(GRIDS)}.")
        (rows, columns), mode = GRIDS[request.aspect], mode_named(request.mode)
        order = drawing_order(mode.order, rows, columns)
        empty = torch.zeros(rows, columns, self.model.config.digits, dtype=torch.uint8)
        target = [PictureCodes(digits=empty, order=order)]
        candidates = check_candidates(mode.candidates if request.candidates is None else request.candidates)
        if self.chooser is None and request.candidates not in (None, 1):
            raise UserError(
                "This model has no reader to choose among candidates.", fix="Ask for one, or name another model."
            )
        if plans and any(plans) and "layout" not in self.card["tasks"]:
            raise UserError("This model draws without plans.", fix="Leave the plan out, or name another model.")
        candidates = candidates if self.chooser else 1
        own = tuple(plans[number % len(plans)] for number in range(candidates)) if plans else None
        return self._prepared(request, "draw", check_prompt(request.prompt), target, candidates, own)

    def _prepare_edit(self, request: EditRequest) -> Prepared:
        self._need("edit")
        (height, width), mode = request.picture.shape[:2], mode_named(request.mode)
        aspect = nearest_aspect(height, width)
        source, mask, kept = fit_picture(request.picture, aspect), None, 0
        codes, order = self._codes(source), drawing_order(mode.order, *GRIDS[aspect])
        if request.mask is not None:
            mask = fit_mask(request.mask, height, width, aspect)
            change = touched(mask)
            order, kept = kept_first(order, ~change), int((~change).sum())
        parts = [PictureCodes(digits=codes, role=Role.SOURCE), PictureCodes(digits=codes, order=order, kept=kept)]
        prepared = self._prepared(request, "edit", check_prompt(request.instruction), parts)
        return replace(prepared, source=source, mask=mask)

    def _prepare_variation(self, request: VariationRequest) -> Prepared:
        """Some of the picture's positions, the first of a spread order, are given; what follows them in that order is drawn.

        Where there are no words, and the model has learned to edit, one side sees the picture as an edit's source and would copy
        it, the other does not; what is drawn lies between the two.
        """
        self._need("draw")
        if not 0 < request.strength <= 1:
            raise UserError(
                f"A strength of {request.strength:g} is not possible.", fix="Give one above 0 and at most 1."
            )
        aspect = nearest_aspect(*request.picture.shape[:2])
        codes = self._codes(fit_picture(request.picture, aspect))
        order = drawing_order("spread", *GRIDS[aspect], stream_random(request.seed, "variation").randrange(SPREADS))
        kept = min(len(order) - 1, round(len(order) * (1 - request.strength)))
        words, target = request.prompt.strip(), PictureCodes(digits=codes, order=order, kept=kept)
        prepared = self._prepared(request, "draw", check_prompt(words) if words else "", [target])
        if words or request.negative_prompt or "edit" not in self.card["tasks"]:
            return prepared
        parts = [PictureCodes(digits=codes, role=Role.SOURCE), target]
        seeing = new_job(self.vocabulary, "edit", ("", ""), parts, request.seed).conditional
        sampling = replace(prepared.sampling, guidance=SOURCE_SHARE, guidance_start=SOURCE_SHARE)
        return replace(prepared, jobs=(replace(prepared.job, conditional=seeing),), sampling=sampling)

    def _prepared(
        self,
        request: Request,
        task: str,
        words: str,
        pictures: list[PictureCodes],
        candidates: int = 1,
        plans: tuple[str, ...] | None = None,
    ) -> Prepared:
        """A request whose last picture is to be drawn after `words`, every candidate by its plan."""
        mode, unwanted = (
            mode_named(request.mode),
            check_prompt(request.negative_prompt) if request.negative_prompt else "",
        )
        read = [parse_plan(plan) if plan else None for plan in plans or [""] * candidates]
        jobs = tuple(
            new_job(
                self.vocabulary,
                task,
                (words, unwanted),
                pictures,
                request.seed,
                plan,
                number,
                self.decoder.letterer is not None,
            )
            for number, plan in enumerate(read)
        )
        return Prepared(
            jobs=jobs,
            plans=plans,
            groups=group_sizes(len(jobs[0].order) - jobs[0].kept, mode.passes),
            sampling=mode.sampling if words or unwanted else replace(mode.sampling, guidance=1.0, guidance_start=1.0),
            seed=request.seed,
            about={**request_settings(request, words, unwanted), "model": self.card["hash"], "polarlight": __version__},
        )

    def _codes(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "p q g"]:
        """The packed codes of a picture at the model's size."""
        return pack(self.tokenizer.encode(torch.from_numpy(picture.copy())[None], self.dtype))[0]

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


def tuples(config: dict[str, Any]) -> dict[str, Any]:
    """JSON's lists back to tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in config.items()}


def fast_dtype() -> torch.dtype:
    """bf16 where the CPU multiplies it in hardware, else fp32."""
    fast = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if fast else torch.float32
