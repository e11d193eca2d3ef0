"""What the policy gate judges and what its permits are bound to, and how it says no."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from ..base.errors import UserError
from .tasks import Task, VideoTask

# what a task needs switched on; tasks in EDITS change a given picture
TASKS = {
    "draw": ("draw",),
    "edit": ("edit",),
    "video": ("video",),
    "extend": ("video",),
    "edit_video": ("video", "edit"),
    "world": ("world",),
    "film": ("film",),
    "caption": ("caption",),
    "publish": ("publish",),
}
CONSENT = "consent"  # the rule that a photograph of a person is changed only with that person's consent
EDITS = frozenset({"edit", "video", "extend", "edit_video"})


class Refused(UserError):
    """The gate said no. `category`, `rule`: what was broken; `code`: "content_policy", "switched_off", "gate_failed" or
    "permit", which each door puts into its own words."""

    def __init__(self, sentence: str, *, category: str, rule: str, code: str, fix: str = "") -> None:
        super().__init__(sentence, fix=fix)
        self.category, self.rule, self.code = category, rule, code


@dataclass(frozen=True, kw_only=True, eq=False)
class Contents:
    """All that decides what a task makes, but for seed, size and mode, which change nothing about what may be made.

    prompt: all the words of what shall be seen, those of a plan too; pictures: uint8 [h, w, 3] each; roles: what each is for
    ("first", "last", "at 1.5 s", "reference"; "" where it is what is edited); mask: bool [h, w]; source: the clip that is edited
    or extended.
    """

    task: str
    prompt: str
    negative_prompt: str = ""
    pictures: tuple[np.ndarray, ...] = ()
    roles: tuple[str, ...] = ()
    mask: np.ndarray | None = None
    source: bytes | None = None

    @classmethod
    def of(cls, task: Task) -> Contents:
        """Those of an engine's task."""
        video = isinstance(task, VideoTask)
        return cls(
            task=task.gate_task, prompt=task.words, negative_prompt=task.negative_prompt or "", pictures=task.pictures,
            roles=picture_roles(task), mask=None if isinstance(task, VideoTask) else task.mask,
            source=task.source if video else None,
        )  # fmt: skip

    def digest(self) -> str:
        """SHA-256 of everything, in which no two different contents look alike."""
        arrays = [*self.pictures, *([] if self.mask is None else [self.mask])]
        shapes = [[str(each.dtype), *each.shape] for each in arrays]
        source = None if self.source is None else hashlib.sha256(self.source).hexdigest()
        head = [self.task, self.prompt, self.negative_prompt, self.roles, shapes, self.mask is not None, source]
        digest = hashlib.sha256(json.dumps(head).encode())
        for array in arrays:
            digest.update(np.ascontiguousarray(array))
        return digest.hexdigest()


def picture_roles(task: Task) -> tuple[str, ...]:
    """What each of a task's pictures is for, in their order."""
    if not isinstance(task, VideoTask):
        return ("",) * len(task.pictures)
    ends = [name for name, frame in (("first", task.first), ("last", task.last)) if frame is not None]
    return (*ends, *(f"at {at:g} s" for at, _ in task.keyframes), *("reference" for _ in task.references))


@dataclass(frozen=True, kw_only=True, eq=False)
class Upload:
    """A picture that came in: uint8 [h, w, 3], and the file it was read from, where there was one. `role`: see `Contents`.

    Only the file can carry the credentials that prove it made by a model; pixels alone count as a photograph.
    """

    pixels: np.ndarray
    content: bytes | None = None
    role: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class GateRequest:
    """What somebody wants made. `task`: one of TASKS; `entry_point` and `key_id` are written down and never weighed.

    `source`: the clip that is edited or extended, `frames` what the gate sees of it (uint8 [h, w, 3]); `mask`: see `Contents`.
    `subject_consent`: whoever asks states that the persons in the uploads agreed; it is written down with the decision.
    """

    task: str
    prompt: str
    entry_point: str
    key_id: str = ""
    negative_prompt: str = ""
    pictures: tuple[Upload, ...] = ()
    mask: np.ndarray | None = None
    source: bytes | None = None
    frames: tuple[np.ndarray, ...] = ()
    subject_consent: bool = False

    @property
    def contents(self) -> Contents:
        """What a permit for this is bound to."""
        return Contents(
            task=self.task, prompt=self.prompt, negative_prompt=self.negative_prompt,
            pictures=tuple(each.pixels for each in self.pictures), roles=tuple(each.role for each in self.pictures),
            mask=self.mask, source=self.source,
        )  # fmt: skip


def task_request(
    task: Task,
    *,
    entry_point: str,
    key_id: str = "",
    files: tuple[bytes | None, ...] = (),
    frames: tuple[np.ndarray, ...] = (),
    subject_consent: bool = False,
) -> GateRequest:
    """An engine's task as the gate judges it. `files`: those that the task's pictures were read from, in their order."""
    contents = Contents.of(task)
    read = files or (None,) * len(contents.pictures)
    uploads = [
        Upload(pixels=pixels, content=content, role=role)
        for pixels, role, content in zip(contents.pictures, contents.roles, read, strict=True)
    ]
    return GateRequest(
        task=contents.task, prompt=contents.prompt, negative_prompt=contents.negative_prompt, pictures=tuple(uploads),
        mask=contents.mask, source=contents.source, frames=frames, entry_point=entry_point, key_id=key_id,
        subject_consent=subject_consent,
    )  # fmt: skip
