"""A request made ready: the sequences its picture is drawn in, and the settings that go with it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from ..models.image_grammar import Picture, Text, Tokens, region_words, write
from ..ops.streams import uniform
from ..text.plan import Plan
from ..text.vocabulary import Vocabulary
from .image_requests import EditRequest, ImageRequest, Request, VariationRequest, touched
from .sampling import Job, Sampling


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A request made ready: what to decode (see `continuous.Drawing`), and what else its picture needs.

    jobs: those of all candidates, of one shape and order; they differ in their noise, and in their plan where there are several;
    plans: the plan of each in turn, empty where it has none; about: the metadata known beforehand; source, mask: of a masked edit,
    at the model's size; outside the mask the source stays; given: pictures that stand before the drawn one; corrections: rounds
    that may follow; so_far: in such a round the digits of the picture as it was, a candidate as well; passes_before: those of the
    rounds before.
    """

    jobs: tuple[Job, ...]
    plans: tuple[str, ...] | None = None
    groups: list[int] = field(repr=False)
    sampling: Sampling
    seed: int
    about: dict[str, Any]
    source: UInt8[np.ndarray, "_ _ 3"] | None = field(default=None, repr=False)
    mask: Bool[np.ndarray, "_ _"] | None = field(default=None, repr=False)
    given: tuple[Picture, ...] = field(default=(), repr=False)
    corrections: int = 0
    so_far: UInt8[Tensor, "n g"] | None = field(default=None, repr=False)
    passes_before: int = 0

    @property
    def job(self) -> Job:
        """That of the first candidate, which is the picture of a request without others."""
        return self.jobs[0]

    def plan(self, candidate: int) -> str:
        """The plan of a candidate."""
        return self.plans[candidate % len(self.plans)] if self.plans else ""

    @property
    def task(self) -> str:
        """What the model is told to do: "draw" or "edit"."""
        return "edit" if self.about.get("task") == "edit" else "draw"

    @property
    def open(self) -> Bool[Tensor, "rows columns"]:
        """The positions that may be drawn anew: those that the mask reaches into."""
        shape = (self.job.rows, self.job.columns)
        return torch.ones(shape, dtype=torch.bool) if self.mask is None else touched(self.mask).view(shape)

    def drawn(self, passes: int) -> Bool[Tensor, "rows columns"]:
        """The positions that are given or drawn after so many passes."""
        flags = torch.zeros(len(self.job.order), dtype=torch.bool)
        flags[self.job.order[: self.job.kept + sum(self.groups[:passes])]] = True
        return flags.view(self.job.rows, self.job.columns)


def new_job(
    v: Vocabulary,
    task: str,
    words: tuple[str, str],
    pictures: Sequence[Picture],
    seed: int,
    plan: Plan | None = None,
    candidate: int = 0,
    seen: Float[Tensor, "n k"] | None = None,
) -> Job:
    """The job of drawing the last of `pictures` after words. words: what is wanted, and what guidance leads away from; either may
    be empty; plan: where what is wanted stands; candidate: every one has noise of its own; seen: what a letterer sees of the
    plan's texts."""
    target = pictures[-1]
    rows, columns, digits = target.digits.shape
    assert target.order is not None, "the last picture is the one to draw"

    def sequence(text: str, target: Picture) -> Tokens:
        return write([Text(ids=[v["<bos>"], v[f"<{task}>"], *v.encode(text)]), *pictures[:-1], target], v)

    return Job(
        conditional=sequence(words[0] if plan is None else told(words[0], plan), replace(target, plan=plan)),
        free=sequence(words[1], target),
        order=target.order,
        kept=target.kept,
        noise=uniform((rows * columns, digits), seed, "draw", *([candidate] if candidate else [])),
        rows=rows,
        columns=columns,
        seen=seen,
    )


def told(prompt: str, plan: Plan) -> str:
    """The prompt with the things of the plan that it does not name: what nobody speaks of outside the regions gets no room."""
    said = zip(plan.objects, region_words(plan), strict=False)
    return ", ".join([prompt, *(words for thing, words in said if thing.name not in prompt.lower())])


def request_settings(request: Request, words: str, unwanted: str) -> dict[str, Any]:
    """What a picture's metadata says of its request. words, unwanted: the prompts as they were read."""
    about: dict[str, Any] = {"prompt": words}
    if not isinstance(request, ImageRequest):
        about["task"] = "edit" if isinstance(request, EditRequest) else "variation"
        about["parent"] = hashlib.sha256(request.picture.tobytes()).hexdigest()[:16]
    if isinstance(request, VariationRequest):
        about["strength"] = request.strength
    if unwanted:
        about["negative_prompt"] = unwanted
    return about | {"mode": request.mode}
