"""The shipped image model as an engine, with continuous batching; and the upscaler, where there is one.

One thread owns both. Between two passes it lets waiting tasks in (see `continuous`), drops cancelled ones, shows previews to
those who asked, hands out what is done and enlarges one tile of a picture that is to become larger, so that a large one keeps
nobody waiting. A task with candidates draws each as a picture of its own, and the reader chooses when all are done. One seed
gives one picture, bit for bit, whatever else is under way.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ..text.prompts import LONGEST_PROMPT, check_prompt
from .continuous import Drawing, RunningBatch
from .engine import Cancelled, Done, ImageResult, ImageTask, ModelInfo, Preview, Task, Ticket
from .image_jobs import Prepared
from .image_requests import CELL, GRIDS, MODES, MOST_CANDIDATES, EditRequest, ImageRequest, Request, VariationRequest
from .images import ImageGenerator
from .upscaling import Upscaler, Upscaling
from .worker import WorkerEngine

SLOTS = 8  # pictures at once
WAITING = 64
COMPANY_S = (
    0.004  # an idle worker waits this long for others to share the first pass with; a pass takes about four times that
)
POSITIONS = max(rows * columns for rows, columns in GRIDS.values())
RESOLUTION = "128"  # the family of GRIDS

NEEDED = {"draw": "draw", "edit": "edit", "variation": "draw"}  # what a model must have learned for each task


@dataclass(kw_only=True, eq=False)
class Running:
    """A task under way: its candidates, and the passes of the first one whose previews are still owed."""

    ticket: Ticket
    candidates: list[Drawing]
    prepared: Prepared
    previews: set[int]
    since: float


@dataclass(kw_only=True, eq=False)
class Enlarging:
    """A picture that is becoming larger."""

    ticket: Ticket
    upscaling: Upscaling
    since: float


class ShippedEngine(WorkerEngine):
    """`ImageGenerator` and `Upscaler` behind the engine protocol."""

    def __init__(
        self,
        generator: ImageGenerator,
        name: str = "polarlight",
        slots: int = SLOTS,
        waiting: int = WAITING,
        upscaler: Upscaler | None = None,
    ) -> None:
        """name: what it is registered under; slots: pictures at once; waiting: tasks that may wait; upscaler: without one it does
        not upscale."""
        super().__init__(together=slots, waiting=waiting)
        self.generator, self.upscaler, self._name = generator, upscaler, name
        self._under_way: list[Running] = []
        self._standing: list[Drawing] = []  # candidates of tasks under way that found no place in the batch yet
        self._enlarging: list[Enlarging] = []
        self._batch = self._new_batch()

    @classmethod
    def load(cls, folder: Path | None = None) -> ShippedEngine:
        """The model in a folder (None: the shipped one), and the upscaler beside it if there is one.

        Raises:
            UserError: a file is missing, damaged, or the files do not belong together.
        """
        name = f"polarlight-{folder.resolve().name}" if folder else "polarlight"
        return cls(ImageGenerator.load(folder), name, upscaler=Upscaler.find(folder))

    @cached_property
    def info(self) -> ModelInfo:
        """What the model's card says."""
        card = self.generator.card
        can = card["tasks"]
        tasks = tuple(task for task, needed in NEEDED.items() if needed in can)
        tasks += ("upscale",) if self.upscaler else ()
        plans = "layout" in can or self.generator.letterer is not None
        sizes = {aspect: (columns * CELL, rows * CELL) for aspect, (rows, columns) in GRIDS.items()}
        return ModelInfo(
            name=self._name, owner="polarlight", modality="image", family="polarlight", tasks=tasks,
            sizes={RESOLUTION: sizes}, modes=tuple(MODES), max_prompt=LONGEST_PROMPT, max_inputs=1,
            created=card.get("created", 0), negative_prompt=True, masks="edit" in can,
            plans=plans, candidates=MOST_CANDIDATES if self.generator.chooser else 1,
        )  # fmt: skip

    def _check(self, task: Task) -> None:
        super()._check(task)
        if task.task != "upscale" and (task.prompt or task.task != "variation"):
            check_prompt(task.prompt)
        if task.negative_prompt:
            check_prompt(task.negative_prompt)
        if isinstance(task, ImageTask) and task.plan:
            self.generator.check_plan(task.plan)

    def _new_batch(self) -> RunningBatch:
        return RunningBatch(self.generator.decoder, self._together, POSITIONS)

    @torch.inference_mode()
    def _work(self) -> None:
        while (taken := self._take(self._room(), COMPANY_S, self._size)) is not None:
            if self.threads not in (None, torch.get_num_threads()):
                torch.set_num_threads(self.threads)
            try:
                self._admit(self._begin_enlarging(taken))
                self._settle()
                entering, self._standing = self._standing[: self._batch.free], self._standing[self._batch.free :]
                if entering or self._batch.drawings:
                    self._batch.step(entering)
                    self._settle()
                self._enlarge()
            except Exception as error:  # a pass failed: everyone in it hears why, and the next tasks get a new batch
                for running in list(self._under_way):
                    self._leave(running, error)
                self._batch, self._standing = self._new_batch(), []

    def _room(self) -> int:
        """Places for pictures of new tasks."""
        return self._batch.free - len(self._standing) - len(self._enlarging)

    def _size(self, ticket: Ticket) -> int:
        """The places that a task takes."""
        task = ticket.task
        if not isinstance(task, ImageTask) or task.task != "draw" or self.generator.chooser is None:
            return 1
        return task.candidates or MODES[task.mode or self.info.modes[0]].candidates

    def _begin_enlarging(self, tickets: list[Ticket]) -> list[Ticket]:
        """Begin the tasks that are no drawings; returns those that are."""
        drawings = list[Ticket]()
        for ticket in tickets:
            task = ticket.task
            if not isinstance(task, ImageTask) or task.task != "upscale":
                drawings.append(ticket)
                continue
            assert self.upscaler is not None, "a task that this engine does not have was let in"
            upscaling = Upscaling(self.upscaler, task.pictures[0], task.factor)
            self._enlarging.append(Enlarging(ticket=ticket, upscaling=upscaling, since=time.monotonic()))
        return drawings

    def _enlarge(self) -> None:
        """One tile of the picture that has waited longest; a picture that fails or was cancelled hears so."""
        if not self._enlarging:
            return
        first = self._enlarging.pop(0)
        upscaling, ticket, event = first.upscaling, first.ticket, None
        try:
            if ticket.cancelled:
                event = Cancelled(f"Cancelled after {upscaling.done} of {upscaling.total} tiles.")
            else:
                upscaling.step()
                event = self._enlarged(first) if upscaling.finished else None
        except Exception as error:
            event = error
        if event is None:
            self._enlarging.append(first)  # they take turns
            return
        self._finished(time.monotonic() - first.since)
        ticket.post(event)

    def _enlarged(self, done: Enlarging) -> Done:
        """The finished picture of an upscaling."""
        task = done.ticket.task
        assert self.upscaler is not None
        made = self.upscaler.picture(done.upscaling, prompt=task.prompt, seed=task.seed)
        return Done(result=ImageResult(pixels=made.pixels, seed=made.seed, passes=made.passes, metadata=made.metadata))

    def _admit(self, tickets: list[Ticket]) -> None:
        """Plan and prepare tasks, which join the batch at its next pass; a task that cannot be prepared hears why."""
        since, joining = time.monotonic(), list[Running]()
        asked = [self._request(ticket.task) for ticket in tickets if isinstance(ticket.task, ImageTask)]
        try:
            plans = self.generator.plans([request for request, _ in asked])
        except Exception as error:  # a damaged planner, say
            for ticket in tickets:
                self._refuse(ticket, error, since)
            return
        for ticket, (request, note), own in zip(tickets, asked, plans, strict=True):
            try:
                joining.append(self._prepare(ticket, request, own, note, since))
            except Exception as error:
                self._refuse(ticket, error, since)
        self._under_way += joining
        self._standing += [drawing for running in joining for drawing in running.candidates]

    def _settle(self) -> None:
        """After a pass: drop who was cancelled, hand out what is done, show what was asked for."""
        done, shown = list[Running](), list[Running]()
        for running in list(self._under_way):
            first, ticket = running.candidates[0], running.ticket
            inside = [drawing for drawing in running.candidates if drawing in self._batch.drawings]
            for drawing in inside if ticket.cancelled else [each for each in inside if each.finished]:
                self._batch.remove(drawing)
            if ticket.cancelled:
                self._standing = [drawing for drawing in self._standing if drawing not in running.candidates]
                self._leave(running, Cancelled(f"Cancelled after pass {first.passes}."))
            elif all(drawing.finished for drawing in running.candidates):
                done.append(running)
            elif first.passes in running.previews:
                running.previews.remove(first.passes)
                shown.append(running)
        self._show(shown)
        self._hand_out(done)

    def _show(self, under_way: Sequence[Running]) -> None:
        """Drafts of tasks."""
        firsts = [running.candidates[0] for running in under_way]
        asked = [
            (running.prepared, first.digits, first.passes) for running, first in zip(under_way, firsts, strict=True)
        ]
        for running, first, draft in zip(under_way, firsts, self.generator.drafts(asked), strict=True):
            running.ticket.post(Preview(number=first.passes, passes=len(first.groups), picture=draft))

    def _hand_out(self, done: Sequence[Running]) -> None:
        """Pictures of tasks whose candidates are all drawn; one whose letters are to be corrected stays."""
        digits = [torch.stack([drawing.digits for drawing in running.candidates]) for running in done]
        drawn = self.generator.finish([(running.prepared, own) for running, own in zip(done, digits, strict=True)])
        for number, made in drawn:
            running = done[number]
            if isinstance(made, Prepared):
                running.prepared, running.candidates, running.previews = made, drawings_of(made), set()
                self._standing += running.candidates
                continue
            result = ImageResult(pixels=made.pixels, seed=made.seed, passes=made.passes, metadata=made.metadata)
            self._leave(running, Done(result=result))

    def _refuse(self, ticket: Ticket, error: Exception, since: float) -> None:
        """The only event of a task that does not begin."""
        self._finished(time.monotonic() - since)
        ticket.post(error)

    def _leave(self, running: Running, event: Done | Exception) -> None:
        """The last event of a task."""
        self._under_way.remove(running)
        self._finished(time.monotonic() - running.since)
        running.ticket.post(event)

    def _prepare(
        self, ticket: Ticket, request: Request, plans: tuple[str, ...] | None, note: str, since: float
    ) -> Running:
        """Everything a task needs before its first pass. plans: to draw it by; note: what the picture's metadata shall say beside
        the request."""
        prepared = self.generator.prepare(request, plans)
        if note:
            prepared.about["note"] = note
        return Running(
            ticket=ticket,
            candidates=drawings_of(prepared),
            prepared=prepared,
            previews=preview_passes(len(prepared.groups), ticket.task.previews),
            since=since,
        )

    def _request(self, task: ImageTask) -> tuple[Request, str]:
        """A task in the generator's words, and a sentence where its size is not the one asked for."""
        mode = task.mode or self.info.modes[0]
        common: dict[str, Any] = {"seed": task.seed, "mode": mode, "negative_prompt": task.negative_prompt or None}
        if task.task == "draw":
            size = self.info.native_size(task.size, task.resolution)
            common |= {"aspect": size.aspect, "plan": task.plan, "candidates": task.candidates}
            return ImageRequest(prompt=task.prompt, **common), size.note
        picture = task.pictures[0]
        if task.task == "variation":
            return VariationRequest(picture=picture, prompt=task.prompt, **common), ""
        return EditRequest(picture=picture, instruction=task.prompt, mask=task.mask, **common), ""


def preview_passes(passes: int, wanted: int) -> set[int]:
    """After which passes to show a preview: at most `wanted`, spread evenly, none after the last pass."""
    count = min(wanted, passes - 1)
    return {max(1, round(passes * number / (count + 1))) for number in range(1, count + 1)}


def drawings_of(prepared: Prepared) -> list[Drawing]:
    """Its candidates, to be let in."""
    return [Drawing(job, prepared.groups, prepared.sampling) for job in prepared.jobs]
