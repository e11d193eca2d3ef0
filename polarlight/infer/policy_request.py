"""What the policy gate judges, and how it says no."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..base.errors import UserError

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
EDITS = frozenset({"edit", "video", "extend", "edit_video"})


class Refused(UserError):
    """The gate said no. `category`, `rule`: what was broken; `code`: "content_policy", "switched_off", "gate_failed" or
    "permit", which each door puts into its own words."""

    def __init__(self, sentence: str, *, category: str, rule: str, code: str, fix: str = "") -> None:
        super().__init__(sentence, fix=fix)
        self.category, self.rule, self.code = category, rule, code


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A picture that came in: uint8 [h, w, 3], and the file it was read from, where there was one.

    Only the file can carry the credentials that prove it made by a model; pixels alone count as a photograph.
    """

    pixels: np.ndarray
    content: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class GateRequest:
    """What somebody wants made. `task`: one of TASKS; `entry_point` and `key_id` are written down and never weighed.

    `subject_consent`: whoever asks states that the persons in the uploads agreed; it is written down with the decision.
    """

    task: str
    prompt: str
    entry_point: str
    key_id: str = ""
    pictures: tuple[Upload, ...] = ()
    subject_consent: bool = False


def request_digest(task: str, prompt: str, pictures: Sequence[np.ndarray]) -> str:
    """SHA-256 of a task, a prompt and pictures, with their shapes."""
    digest = hashlib.sha256(json.dumps([task, prompt, [one.shape for one in pictures]]).encode())
    for picture in pictures:
        digest.update(np.ascontiguousarray(picture))
    return digest.hexdigest()
