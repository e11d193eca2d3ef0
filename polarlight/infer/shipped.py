"""The shipped image model as an engine, with continuous batching.

One thread owns the model. Between two passes it lets waiting tasks in (see `continuous`), drops cancelled ones, shows previews to
those who asked and hands out what is done. One seed gives one picture whatever else is under way, as far as `ShippedEngine` says.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..ops.orders import group_sizes
from ..text.prompts import LONGEST_PROMPT, check_prompt
from .continuous import Drawing, RunningBatch
from .engine import Cancelled, Done, ImageResult, ImageTask, ModelInfo, Preview, Task, Ticket
from .images import CELL, GRIDS, MODES, EditRequest, ImageGenerator, ImageRequest
from .packed import PackedImageAR
from .sampling import Job
from .worker import WorkerEngine

SLOTS = 8  # pictures at once
WAITING = 64
COMPANY_S = (
    0.004  # an idle worker waits this long for others to share the first pass with; a pass takes about four times that
)
POSITIONS = max(rows * columns for rows, columns in GRIDS.values())
RESOLUTION = "128"  # the family of GRIDS

Finish = Callable[[np.ndarray, int], ImageResult]


@dataclass(kw_only=True, eq=False)
class Running:
    """A task under way: how its picture becomes a result, and the passes whose previews are still owed."""

    ticket: Ticket
    drawing: Drawing
    finish: Finish
    previews: set[int]
    since: float


class ShippedEngine(WorkerEngine):
    """`ImageGenerator` behind the engine protocol."""

    def __init__(
        self,
        generator: ImageGenerator,
        name: str = "polarlight",
        slots: int = SLOTS,
        waiting: int = WAITING,
        exact: bool = False,
    ) -> None:
        """name: what it is registered under; slots: pictures at once; waiting: tasks that may wait.

        exact: one seed gives one picture bit for bit whatever else is drawn, also in bf16 on CPUs with tiled products; a tenth to a
        fifth slower. Without it that holds in fp32 only, and in bf16 for about a third of the pictures.
        """
        super().__init__(together=slots, waiting=waiting)
        self.generator, self._name = generator, name
        self._model = PackedImageAR(generator.model, generator.dtype, steady=True) if exact else generator.decoder
        self._under_way: list[Running] = []
        self._batch = self._new_batch()

    @classmethod
    def load(cls, folder: Path | None = None, exact: bool = False) -> ShippedEngine:
        """The model in a folder (None: the shipped one). exact: see the class.

        Raises:
            UserError: a file is missing, damaged, or the files do not belong together.
        """
        name = f"polarlight-{folder.resolve().name}" if folder else "polarlight"
        return cls(ImageGenerator.load(folder), name, exact=exact)

    @cached_property
    def info(self) -> ModelInfo:
        """What the model's card says."""
        card = self.generator.card
        tasks = tuple(task for task in ("draw", "edit") if task in card["tasks"])
        sizes = {aspect: (columns * CELL, rows * CELL) for aspect, (rows, columns) in GRIDS.items()}
        return ModelInfo(
            name=self._name, owner="polarlight", modality="image", family="polarlight", tasks=tasks,
            sizes={RESOLUTION: sizes}, modes=tuple(MODES), max_prompt=LONGEST_PROMPT, max_inputs=int("edit" in tasks),
            created=card.get("created", 0), negative_prompt=True, masks="edit" in tasks,
        )  # fmt: skip

    def _check(self, task: Task) -> None:
        super()._check(task)
        check_prompt(task.prompt)
        if task.negative_prompt:
            check_prompt(task.negative_prompt)

    def _new_batch(self) -> RunningBatch:
        return RunningBatch(self._model, self._together, POSITIONS)

    @torch.inference_mode()
    def _work(self) -> None:
        while (taken := self._take(self._batch.free, COMPANY_S)) is not None:
            try:
                self._admit(taken)
                self._settle()
                if self._batch.drawings:
                    self._batch.step()
                    self._settle()
            except Exception as error:  # a pass failed: everyone in it hears why, and the next tasks get a new batch
                for running in list(self._under_way):
                    self._leave(running, error)
                self._batch = self._new_batch()

    def _admit(self, tickets: list[Ticket]) -> None:
        """Prepare tasks and let them join the batch; a task that cannot be prepared hears why."""
        joining = []
        for ticket in tickets:
            since = time.monotonic()
            try:
                joining.append(self._prepare(ticket, since))
            except Exception as error:
                self._finished(time.monotonic() - since)
                ticket.post(error)
        self._under_way += joining
        if joining:
            self._batch.admit([running.drawing for running in joining])

    def _settle(self) -> None:
        """After a pass: drop who was cancelled, hand out what is done, show what was asked for."""
        for running in list(self._under_way):
            drawing, ticket = running.drawing, running.ticket
            if ticket.cancelled:
                self._batch.remove(drawing)
                self._leave(running, Cancelled(f"Cancelled after pass {drawing.passes}."))
            elif drawing.finished:
                self._batch.remove(drawing)
                self._leave(running, Done(result=running.finish(self._pixels(drawing), drawing.passes)))
            elif drawing.passes in running.previews:
                running.previews.remove(drawing.passes)
                ticket.post(Preview(number=drawing.passes, passes=len(drawing.groups), picture=self._pixels(drawing)))

    def _leave(self, running: Running, event: Done | Exception) -> None:
        """The last event of a task."""
        self._under_way.remove(running)
        self._finished(time.monotonic() - running.since)
        running.ticket.post(event)

    def _pixels(self, drawing: Drawing) -> np.ndarray:
        """The picture as it stands."""
        return self.generator._pixels(drawing.digits[None], drawing.job.rows, drawing.job.columns)[0]

    def _prepare(self, ticket: Ticket, since: float) -> Running:
        """Everything a task needs before its first pass."""
        task, mode = ticket.task, ticket.task.mode or self.info.modes[0]
        job, finish = self._edit(task, mode) if task.task == "edit" else self._draw(task, mode)
        groups = group_sizes(len(job.order) - job.kept, MODES[mode].passes)
        return Running(
            ticket=ticket,
            drawing=Drawing(job, groups, MODES[mode].sampling),
            finish=finish,
            previews=preview_passes(len(groups), task.previews),
            since=since,
        )

    def _draw(self, task: ImageTask, mode: str) -> tuple[Job, Finish]:
        size = self.info.native_size(task.size, task.resolution)
        request = ImageRequest(prompt=check_prompt(task.prompt), seed=task.seed, aspect=size.aspect, mode=mode)
        job, about = self.generator._draw_job(request), {"prompt": request.prompt}
        if task.negative_prompt:  # guidance leads away from the side without a prompt, so what is not wanted goes there
            about["negative_prompt"] = check_prompt(task.negative_prompt)
            unwanted = self.generator._draw_job(replace(request, prompt=about["negative_prompt"]))
            job = replace(job, free=unwanted.conditional)
        if size.note:
            about["note"] = size.note
        return job, lambda pixels, passes: self._result(pixels, task.seed, passes, mode, about)

    def _edit(self, task: ImageTask, mode: str) -> tuple[Job, Finish]:
        picture = task.pictures[0]
        request, aspect = self.generator._fit(
            EditRequest(picture=picture, instruction=task.prompt, mask=task.mask, seed=task.seed, mode=mode)
        )
        job = self.generator._edit_job(request, aspect)
        parent = hashlib.sha256(picture.tobytes()).hexdigest()[:16]
        about = {"prompt": request.instruction, "task": "edit", "parent": parent}
        if task.negative_prompt:
            about["negative_prompt"] = check_prompt(task.negative_prompt)
            unwanted = self.generator._edit_job(replace(request, instruction=about["negative_prompt"]), aspect)
            job = replace(job, free=unwanted.conditional)

        def finish(pixels: np.ndarray, passes: int) -> ImageResult:
            if request.mask is not None:
                pixels = np.where(request.mask[..., None], pixels, request.picture)
            return self._result(pixels, task.seed, passes, mode, about)

        return job, finish

    def _result(self, pixels: np.ndarray, seed: int, passes: int, mode: str, about: dict[str, Any]) -> ImageResult:
        drawn = self.generator._picture(pixels, seed, passes, about | self.generator._about(mode))
        return ImageResult(pixels=drawn.pixels, seed=seed, passes=passes, metadata=drawn.metadata)


def preview_passes(passes: int, wanted: int) -> set[int]:
    """After which passes to show a preview: at most `wanted`, spread evenly, none after the last pass."""
    count = min(wanted, passes - 1)
    return {max(1, round(passes * number / (count + 1))) for number in range(1, count + 1)}
