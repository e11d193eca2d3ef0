"""The image model behind the gate, for a door that runs it itself, such as the command line.

`images.ImageGenerator` is the bare model: for research, training and evaluation, which measure it as it is. A door never
takes it as it is: a server has it as an engine, which asks for a permit, and every other door has it from here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..media.sealing import SealedPicture
from ..text.plan import given, parse_plan
from ..text.prompts import check_prompt
from .engine import spend
from .policy import Gate, Verdict
from .policy_permits import Permit, TaskPermit
from .policy_request import GateRequest, Upload, task_request
from .tasks import ImageTask

if TYPE_CHECKING:
    from .images import ImageGenerator, OnPass, Picture
    from .upscaling import Upscaler

Look = Callable[[], list[np.ndarray]]
Seal = Callable[["Picture"], SealedPicture]


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A picture that may be seen, and its file."""

    picture: Picture
    file: SealedPicture


@dataclass(frozen=True, kw_only=True)
class Made:
    """What came out: the pictures that may be seen, and the verdicts on those that may not."""

    pictures: list[Finished]
    withheld: list[Verdict]


class GatedGenerator:
    """Draws, edits, captions and upscales what the gate permits. `load` brings the model for it, an `Upscaler` to upscale, and is
    called only after the gate agreed."""

    def __init__(self, gate: Gate, entry_point: str, load: Callable[[], ImageGenerator | Upscaler]) -> None:
        self._gate, self._entry_point, self._load = gate, entry_point, load

    def make(
        self,
        task: ImageTask,
        seeds: Sequence[int],
        *,
        seal: Seal,
        file: bytes | None = None,
        subject_consent: bool = False,
        on_pass: OnPass | None = None,
    ) -> Made:
        """Do a task, "draw", "edit" or "upscale", once for each seed, as one batch; each picture has its own permit and verdict.

        seal: makes a file of a picture, marked and signed, before the gate judges it, so that the log names its manifest;
        file: what the picture of an edit was read from; on_pass(pass, passes, look): called after every pass, and `look`
        gives the drafts, black where the gate withholds one.

        Raises:
            Refused: the gate says no, or withholds every picture.
            UserError: a prompt, size, mask or mode that the model does not have, or a picture that cannot be sealed.
        """
        assert task.task in ("draw", "edit", "upscale"), f"the generator has no task {task.task}"
        assert not task.negative_prompt, "the generator takes no negative prompt"
        tasks = [replace(task, seed=seed) for seed in seeds]
        files = (file,) * len(task.pictures)
        permits = [self._gate.check(self._request(each, files, subject_consent)) for each in tasks]
        if task.task != "upscale":
            check_prompt(task.prompt)  # a mistake need not wait for the model
        parse_plan(given(task.plan))
        generator = self._load()
        for permit, each in zip(permits, tasks, strict=True):
            spend(TaskPermit(permit=permit, task=each), each)
        drawn = _run(generator, tasks, on_pass and self._judged(on_pass, permits))
        made = Made(pictures=[], withheld=[])
        for permit, picture in zip(permits, drawn, strict=True):
            sealed = seal(picture)
            verdict = self._gate.check_output(permit, sealed.pixels, sealed.manifest)
            if verdict.allowed:
                made.pictures.append(Finished(picture=picture, file=sealed))
            else:
                made.withheld.append(verdict)
        if not made.pictures:
            raise made.withheld[0].refusal()
        return made

    def caption(self, pixels: np.ndarray, file: bytes | None = None) -> str:
        """Say what a picture shows.

        Raises:
            Refused: the gate says no.
            UserError: the model was not trained to caption.
        """
        upload = Upload(pixels=pixels, content=file)
        request = GateRequest(task="caption", prompt="", pictures=(upload,), entry_point=self._entry_point)
        permit = self._gate.check(request)
        generator: Any = self._load()
        permit.spend("caption", "", pictures=[pixels])
        return generator.caption([pixels])[0]

    def _request(self, task: ImageTask, files: tuple[bytes | None, ...], subject_consent: bool) -> GateRequest:
        return task_request(task, entry_point=self._entry_point, files=files, subject_consent=subject_consent)

    def _judged(self, on_pass: OnPass, permits: Sequence[Permit]) -> OnPass:
        """Like `on_pass`, with drafts that the gate lets be seen."""

        def show(number: int, passes: int, look: Look) -> None:
            def seen() -> list[np.ndarray]:
                pairs = zip(permits, look(), strict=True)
                return [
                    draft if self._gate.may_show(permit, draft) else np.zeros_like(draft) for permit, draft in pairs
                ]

            on_pass(number, passes, seen)

        return show


def _run(generator: Any, tasks: Sequence[ImageTask], on_pass: OnPass | None) -> list[Picture]:
    from .images import EditRequest, ImageRequest

    if tasks[0].task == "upscale":
        on_tile = on_pass and (lambda done, total: on_pass(done, total, list))  # there are no drafts to look at
        done = [generator.run(each.pictures[0], each.factor, on_tile) for each in tasks]
        return [generator.picture(one, prompt=each.prompt) for one, each in zip(done, tasks, strict=True)]
    if tasks[0].task == "draw":
        drawings = [
            ImageRequest(
                prompt=each.prompt, seed=each.seed, size=int(each.resolution or "128"),
                aspect="1:1" if each.size == "auto" else each.size, mode=each.mode or "speed", plan=each.plan,
                candidates=each.candidates,
            )
            for each in tasks
        ]  # fmt: skip
        return generator.draw(drawings, on_pass)
    edits = [
        EditRequest(
            picture=each.pictures[0], instruction=each.prompt, mask=each.mask, seed=each.seed, mode=each.mode or "speed"
        )
        for each in tasks
    ]
    return generator.edit(edits, on_pass)
