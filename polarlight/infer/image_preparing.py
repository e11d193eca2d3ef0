"""What a request needs before its first pass: its plans, its source's codes, its order, its jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from .. import __version__
from ..base.errors import UserError
from ..base.seeds import stream_random
from ..models.image_ar import ImageAR
from ..models.image_grammar import CELL, Role, pack, unpack
from ..models.image_grammar import Picture as PictureCodes
from ..models.letterer import Letterer, look
from ..models.proofreader import Proofreader
from ..models.visual_tokenizer import VisualTokenizer
from ..ops.orders import group_sizes, kept_first
from ..text.lettering import fitted, to_write
from ..text.plan import Plan, format_plan, given, is_open, parse_plan
from ..text.prompts import check_prompt
from ..text.vocabulary import Vocabulary, quoted_texts
from .choosing import Chooser
from .image_jobs import Prepared, new_job, request_settings
from .image_requests import (
    GRIDS,
    SPREADS,
    EditRequest,
    ImageRequest,
    Request,
    VariationRequest,
    check_candidates,
    drawing_order,
    extent,
    fit_mask,
    fit_picture,
    mode_named,
    nearest_aspect,
    touched,
)
from .packed import PackedImageAR
from .placing import place_of, widened
from .planning import Planner, open_asks

SOURCE_SHARE = 0.5  # of the side that sees the picture, in a variation without words: at 1 it copies, at 0 shapes melt


class ImagePreparer:
    """The models around the image model, and requests made ready for it."""

    def __init__(
        self,
        tokenizer: VisualTokenizer,
        model: ImageAR,
        card: dict[str, Any],
        dtype: torch.dtype,
        chooser: Chooser | None = None,
        folder: Path | None = None,
        letterer: Letterer | None = None,
        proofreader: Proofreader | None = None,
    ) -> None:
        """chooser: without one a request has no candidates but its first; folder: where a planner may lie; letterer: who writes the
        texts of plans; proofreader: who reads them in candidates."""
        self.chooser, self.folder, self.letterer, self.proofreader = chooser, folder, letterer, proofreader
        self.tokenizer, self.model, self.card, self.dtype = tokenizer.eval(), model.eval(), card, dtype
        self.vocabulary = Vocabulary.shipped()
        for name, parameter in [*tokenizer.named_parameters(), *model.named_parameters()]:
            parameter.requires_grad_(False)
            if parameter.ndim >= 2 and not name.endswith("router"):
                order = torch.channels_last if parameter.ndim == 4 else torch.preserve_format
                parameter.data = parameter.data.to(dtype, memory_format=order)  # so no call converts a weight again
        self.decoder = PackedImageAR(model, dtype, letterer)

    @cached_property
    def planner(self) -> Planner | None:
        """Who writes plans: the planner beside the model, else the model itself if it has learned to; None where there is neither.

        Raises:
            UserError: the planner's file is damaged.
        """
        lexicon, can = self.chooser.lexicon if self.chooser else None, self.card["tasks"]
        beside = self.folder if "layout" in can or self.letterer else None
        planner = Planner.find(beside, self.vocabulary, self.dtype, lexicon) if beside else None
        if planner is None and "plan" in can:
            return Planner(model=self.decoder, vocabulary=self.vocabulary, lexicon=lexicon)
        return planner

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
            for number, found in zip(asks, written, strict=True):
                told = [plan if "layout" in self.card["tasks"] else replace(plan, objects=()) for plan in found]
                plans[number] = tuple(dict.fromkeys(map(format_plan, told))) or ("",)
        return plans

    def _always(self, prompt: str) -> bool:
        """Whether a request for this that says nothing of a plan gets one."""
        return "plan" in self.card["tasks"] or bool(self.letterer and quoted_texts(prompt) and self.planner)

    def _need_planner(self) -> Planner:
        if self.planner is None:
            raise UserError("This model writes no plans.", fix="Write the plan yourself, or leave it out.")
        return self.planner

    def check_plan(self, plan: str) -> None:
        """Whether a request's plan can be drawn by.

        Raises:
            UserError: it cannot be read, says what this model does not draw by, or is to be written and nobody here writes any.
        """
        if is_open(plan):
            self._need_planner()
        self._read_plan(given(plan))

    def _read_plan(self, plan: str) -> Plan | None:
        read, can_place = parse_plan(plan), "layout" in self.card["tasks"]
        if plan.strip() and not can_place and self.letterer is None:
            raise UserError("This model draws without plans.", fix="Leave the plan out, or name another model.")
        if read.objects and not can_place:
            raise UserError("This model places texts, and no things.", fix="Leave the things out of the plan.")
        return read if plan.strip() else None

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
        candidates = candidates if self.chooser else 1
        own = tuple(plans[number % len(plans)] for number in range(candidates)) if plans else None
        return self._prepared(request, "draw", check_prompt(request.prompt), target, candidates, own)

    def _prepare_edit(self, request: EditRequest) -> Prepared:
        self._need("edit")
        (height, width), mode = request.picture.shape[:2], mode_named(request.mode)
        aspect = nearest_aspect(height, width)
        source, mask, kept = fit_picture(request.picture, aspect), None, 0
        codes, order = self._codes(source), drawing_order(mode.order, *GRIDS[aspect])
        words, plans = check_prompt(request.instruction), None
        place = None if request.mask is None else fit_mask(request.mask, height, width, aspect)
        if place is not None:
            mask = place
        elif self.chooser:
            place = place_of(words, unpack(codes), self.chooser)
            mask = None if place is None else widened(place)
        if place is not None and mask is not None:
            change = touched(mask)
            order, kept = kept_first(order, ~change), int((~change).sum())
            plans = self._plan_of_edit(words, place)
        parts = [PictureCodes(digits=codes, role=Role.SOURCE), PictureCodes(digits=codes, order=order, kept=kept)]
        # an instruction says nothing of the whole picture: only where words can be read is there a choice
        candidates = mode.candidates if plans and self.chooser and self.proofreader else 1
        prepared = self._prepared(request, "edit", words, parts, candidates, plans and plans * candidates)
        if mask is not None and request.mask is None:
            prepared.about["place"] = [round(side, 4) for side in extent(mask)]
        return replace(prepared, source=source, mask=mask, given=tuple(parts[:-1]))

    def _plan_of_edit(self, words: str, place: Bool[np.ndarray, "h w"]) -> tuple[str, ...] | None:
        """Where an edit's words are written: in the middle of its place; None where it writes none, or nobody here writes."""
        written = to_write(words)
        if self.letterer is None or written is None:
            return None
        return (format_plan(Plan(texts=(fitted(written, extent(place), place.shape),))),)

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
        read = [self._read_plan(plan) for plan in plans or [""] * candidates]
        jobs = tuple(
            new_job(self.vocabulary, task, (words, unwanted), pictures, request.seed, plan, number, seen)
            for number, (plan, seen) in enumerate(zip(read, self._seen(read, pictures[-1]), strict=True))
        )
        return Prepared(
            jobs=jobs,
            plans=plans,
            groups=group_sizes(len(jobs[0].order) - jobs[0].kept, mode.passes),
            sampling=mode.sampling if words or unwanted else replace(mode.sampling, guidance=1.0, guidance_start=1.0),
            seed=request.seed,
            about={**request_settings(request, words, unwanted), "model": self.card["hash"], "polarlight": __version__},
            corrections=mode.corrections,
        )

    def _correction(
        self, prepared: Prepared, digits: UInt8[Tensor, "n g"], plan: str, doubtful: Bool[Tensor, "rows columns"]
    ) -> Prepared:
        """The round that draws some positions of a request's picture anew, with as many candidates as before."""
        about, mode, count = prepared.about, mode_named(prepared.about["mode"]), len(prepared.jobs)
        order = kept_first(drawing_order(mode.order, *doubtful.shape), ~doubtful.flatten())
        kept, number = int((~doubtful).sum()), about.get("corrections", 0) + 1
        target = PictureCodes(digits=digits.unflatten(0, doubtful.shape), order=order, kept=kept)
        pictures = [*prepared.given, target]
        words, read = (about["prompt"], about.get("negative_prompt", "")), self._read_plan(plan)
        seen = self._seen([read], target)[0]
        jobs = tuple(
            new_job(self.vocabulary, prepared.task, words, pictures, prepared.seed, read, candidate, seen)
            for candidate in range(number * count, (number + 1) * count)
        )
        about["corrections"] = number
        return replace(
            prepared,
            jobs=jobs,
            plans=(plan,),
            groups=group_sizes(len(order) - kept, mode.passes),
            corrections=prepared.corrections - 1,
            so_far=digits,
            passes_before=prepared.passes_before + len(prepared.groups),
        )

    def _seen(self, plans: Sequence[Plan | None], target: PictureCodes) -> list[Float[Tensor, "n k"] | None]:
        """What the letterer sees of each plan's texts, where there is a letterer and a plan has any."""
        size, known = tuple(CELL * side for side in target.digits.shape[:2]), dict[Plan, Tensor]()
        for plan in plans:
            if self.letterer and plan and plan.texts and plan not in known:
                sketch = self.letterer.sketch(plan.texts, (size[0], size[1]))
                known[plan] = look(self.tokenizer.encoder, sketch[None], self.dtype)[0]
        return [known.get(plan) if plan else None for plan in plans]

    def _codes(self, picture: UInt8[np.ndarray, "h w 3"]) -> UInt8[Tensor, "p q g"]:
        """The packed codes of a picture at the model's size."""
        return pack(self.tokenizer.encode(torch.from_numpy(picture.copy())[None], self.dtype))[0]
