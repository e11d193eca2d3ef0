"""What models are asked for, what they answer, and what they say of themselves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, UInt8

from ..base.errors import UserError
from ..text.plan import given, parse_plan, plan_words
from .sizes import NativeSize, nearest_size, upscaled_size

CAN = {
    "image": {
        "draw": "draw pictures",
        "edit": "edit pictures",
        "variation": "make variations of pictures",
        "upscale": "make pictures larger",
    },
    "video": {"generate": "make clips", "edit": "edit clips", "extend": "extend clips"},
}


class UnsupportedTask(UserError):
    """The model named cannot do this task."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageTask:
    """One picture to make.

    size: "auto", an aspect ("16:9") or pixels ("1024x768"); resolution: one of the model's, None for its largest; mode: one of the
    model's, None for its first. pictures: uint8 [h, w, 3], what is edited, varied or upscaled; mask: bool like the first picture,
    True where it may change. plan: what stands where, as `text.plan` reads it, or "auto" to have it written; without one the model
    may make its own. candidates: drawings of which the one that fits the prompt best is kept, None for the mode's own number.
    factor: 2 or 4, how many times as high and wide an upscaled picture becomes, whose prompt only says what it is known to show.
    previews: at most this many pictures on the way.
    """

    prompt: str
    seed: int = 0
    size: str = "auto"
    resolution: str | None = None
    mode: str | None = None
    negative_prompt: str | None = None
    pictures: tuple[UInt8[np.ndarray, "_ _ 3"], ...] = ()
    mask: Bool[np.ndarray, "_ _"] | None = None
    plan: str | None = None
    candidates: int | None = None
    task: Literal["draw", "edit", "variation", "upscale"] = "draw"
    factor: int = 2
    previews: int = 0

    @property
    def words(self) -> str:
        """All that is said of what shall be seen: the prompt, then every name and text of a plan as a person would read it.

        Raises:
            UserError: the plan cannot be read.
        """
        if not given(self.plan):
            return self.prompt
        return "\n".join((self.prompt, *plan_words(parse_plan(given(self.plan)))))

    @property
    def gate_task(self) -> str:
        """What the policy gate calls this: a variation is an edit, and so is a larger picture."""
        return "draw" if self.task == "draw" else "edit"


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoTask:
    """One clip to make.

    first, last: frames, uint8 [h, w, 3]; keyframes: (seconds, frame) pairs; references: pictures of what shall appear; source: the
    clip (mp4 bytes) that is edited or extended, in which case `seconds` is the length of the added part. Other fields: `ImageTask`.
    """

    prompt: str
    seconds: float = 5.0
    size: str = "auto"
    resolution: str | None = None
    fps: float | None = None
    seed: int = 0
    mode: str | None = None
    negative_prompt: str | None = None
    first: UInt8[np.ndarray, "_ _ 3"] | None = None
    last: UInt8[np.ndarray, "_ _ 3"] | None = None
    keyframes: tuple[tuple[float, UInt8[np.ndarray, "_ _ 3"]], ...] = ()
    references: tuple[UInt8[np.ndarray, "_ _ 3"], ...] = ()
    source: bytes | None = None
    task: Literal["generate", "edit", "extend"] = "generate"
    previews: int = 0

    @property
    def words(self) -> str:
        """All that is said of what shall be seen."""
        return self.prompt

    @property
    def gate_task(self) -> str:
        """What the policy gate calls this."""
        return {"generate": "video", "edit": "edit_video", "extend": "extend"}[self.task]

    @property
    def pictures(self) -> tuple[UInt8[np.ndarray, "_ _ 3"], ...]:
        """Every picture given: first, last, keyframes, references."""
        ends = [frame for frame in (self.first, self.last) if frame is not None]
        return (*ends, *(frame for _, frame in self.keyframes), *self.references)


Task = ImageTask | VideoTask


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageResult:
    """A picture, uint8 [h, w, 3], and all that is needed to make it again."""

    pixels: UInt8[np.ndarray, "_ _ 3"]
    seed: int
    passes: int
    metadata: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class VideoResult:
    """A clip as mp4 bytes; size: (width, height)."""

    content: bytes
    seconds: float
    size: tuple[int, int]
    seed: int
    metadata: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """How the picture (a clip's first frame) looks after pass `number` of `passes`."""

    number: int
    passes: int
    picture: UInt8[np.ndarray, "_ _ 3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Done:
    """The last event of a ticket."""

    result: ImageResult | VideoResult


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a model says of itself.

    family: whose dialect is its default; tasks: those of `ImageTask.task` or `VideoTask.task`; sizes: resolution -> aspect ->
    (width, height), smallest resolution first; multiple: where every size in this multiple of pixels is native, up to most_pixels;
    max_prompt: characters; max_inputs: pictures a task may bring; created: seconds since 1970; candidates: the most that it chooses
    among.
    """

    name: str
    owner: str
    modality: Literal["image", "video"]
    family: Literal["polarlight", "grok", "openai"]
    tasks: tuple[str, ...]
    sizes: dict[str, dict[str, tuple[int, int]]]
    modes: tuple[str, ...]
    max_prompt: int
    max_inputs: int
    created: int
    negative_prompt: bool = False
    masks: bool = False
    plans: bool = False
    candidates: int = 1
    previews: bool = True
    multiple: int | None = None
    most_pixels: int | None = None

    def native_size(self, size: str, resolution: str | None = None) -> NativeSize:
        """The size a task will have; see `sizes.nearest_size`.

        Raises:
            UserError: `size` is neither "auto" nor an aspect nor pixels.
        """
        return nearest_size(self.sizes, size, resolution, self.multiple, self.most_pixels)

    def size_of(self, task: Task) -> NativeSize:
        """The size a task will have. What starts from a picture has that picture's shape where nothing else is asked for; what is
        upscaled has a multiple of its size, whatever is asked for.

        Raises:
            UserError: the task's size cannot be read, or an upscaled picture would be too large.
        """
        if isinstance(task, ImageTask) and task.task == "upscale":
            return upscaled_size(task.pictures[0].shape[1], task.pictures[0].shape[0], task.factor)
        if task.size != "auto" or not task.pictures:
            return self.native_size(task.size, task.resolution)
        height, width = task.pictures[0].shape[:2]
        if self.multiple:
            return self.native_size(f"{width}x{height}", task.resolution)
        return replace(self.native_size(f"{width}:{height}", task.resolution), note="")

    def check(self, task: Task) -> None:
        """Whether this model can do the task.

        Raises:
            UnsupportedTask: it cannot; the sentence says what is in the way.
            UserError: the picture to upscale is too large.
        """
        can, pictures = CAN[self.modality], len(task.pictures)
        if isinstance(task, VideoTask) != (self.modality == "video"):
            kind = "video" if isinstance(task, VideoTask) else "images"
            raise UnsupportedTask(
                f"The model {self.name} does not make {kind}.", fix=f"It makes {self.modality}s only."
            )
        if task.task not in self.tasks:
            raise UnsupportedTask(
                f"The model {self.name} cannot {can[task.task]}.",
                fix=f"It can {', '.join(can[name] for name in self.tasks)}.",
            )
        if len(task.prompt) > self.max_prompt and task.task != "upscale":  # no model reads that one
            raise UnsupportedTask(
                f"The prompt has {len(task.prompt):,} characters; {self.name} reads {self.max_prompt:,}.",
                fix="Shorten it and try again.",
            )
        if pictures > self.max_inputs:
            raise UnsupportedTask(
                f"The task brings {pictures} pictures; {self.name} takes {self.max_inputs}.", fix="Bring fewer."
            )
        if task.mode is not None and task.mode not in self.modes:
            raise UnsupportedTask(
                f"The model {self.name} has no mode {task.mode!r}.", fix=f"Choose one of {', '.join(self.modes)}."
            )
        if task.negative_prompt and not self.negative_prompt:
            raise UnsupportedTask(f"The model {self.name} takes no negative prompt.", fix="Leave it out.")
        if isinstance(task, ImageTask):
            self._check_pictures(task)
        elif (task.source is None) != (task.task == "generate"):
            needs = "takes no source clip" if task.source else "needs a source clip"
            raise UnsupportedTask(f"The task {task.task!r} {needs}.", fix="Choose the task by what you bring.")

    def _check_pictures(self, task: ImageTask) -> None:
        if task.plan and not (self.plans and task.task == "draw"):
            raise UnsupportedTask(
                f"The model {self.name} takes no plan to {CAN['image'][task.task]}.", fix="Leave it out."
            )
        if task.candidates is not None and not 1 <= task.candidates <= (self.candidates if task.task == "draw" else 1):
            raise UnsupportedTask(
                f"The model {self.name} cannot {CAN['image'][task.task]} from {task.candidates} candidates.",
                fix=f"Ask for 1 to {self.candidates}." if self.candidates > 1 else "Leave them out.",
            )
        if bool(task.pictures) != (task.task != "draw"):
            needs = "takes no picture" if task.pictures else "needs a picture"
            raise UnsupportedTask(f"The task {task.task!r} {needs}.", fix="Choose the task by what you bring.")
        if task.task == "upscale":
            self.size_of(task)
        if task.mask is None:
            return
        if not self.masks or task.task != "edit":
            raise UnsupportedTask(
                f"The model {self.name} takes no mask to {CAN['image'][task.task]}.", fix="Leave it out."
            )
        if task.mask.shape != task.pictures[0].shape[:2]:
            raise UserError("The mask and the picture differ in size.", fix="Make them the same size.")
