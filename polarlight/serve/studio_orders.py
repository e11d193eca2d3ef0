"""From what the page asks for to the service's orders, and from an ended job to a tile."""

from __future__ import annotations

import io
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from polarlight.base.errors import UserError
from polarlight.infer.engine import ModelInfo
from polarlight.media.pictures import file_stem

from .accounts import Key
from .errors import Problem
from .gallery import Gallery, NewTile, Tile
from .image_orders import ImageOrder, image_answer, problem_of_job, submit_images
from .inputs import GivenPicture, from_data_uri, read_mask
from .job_rows import Job
from .service import Caller, Service
from .storage import Storage
from .video_orders import VideoOrder, submit_video
from .work import Shown

SEEDS = 2**32
PREVIEWS = 3
BORDER = 8  # a masked variation keeps this part (one eighth) of each side
DOOR = "studio"


class Start(BaseModel):
    """A request of the page. count: None for an endless stream; seed: the first tile's.

    plan: what stands where in a drawing, whose source is but the picture that the plan was taken from; mask: a data URI, clear or
    white where the first source may change; factor: how many times as high and wide the first source becomes; seconds: a clip's
    length; allowed: tiles that there is room for.
    """

    model_config = ConfigDict(extra="forbid")

    type: Literal["start"] = "start"
    request: str = Field(min_length=1, max_length=64)
    prompt: str = Field(max_length=20_000)
    negative_prompt: str = Field(default="", max_length=20_000)
    model: str = Field(max_length=200)
    mode: str | None = Field(default=None, max_length=40)
    aspect: str = Field(default="1:1", max_length=16)
    task: Literal["draw", "edit", "variation", "upscale", "video"] = "draw"
    factor: Literal[2, 4] = 2
    sources: list[str] = Field(default=[], max_length=16)
    plan: str | None = Field(default=None, max_length=20_000)
    mask: str | None = None
    seconds: float = Field(default=5.0, gt=0, le=60)
    seed: int = Field(ge=0, lt=SEEDS)
    count: int | None = Field(default=None, ge=1, le=64)
    allowed: int = Field(ge=0, le=1_000_000)
    subject_consent: bool = False


def varies_by(model: ModelInfo) -> str:
    """How "more like this" is done with a model: "variation", "masked_edit" (the border stays) or "new_seeds"."""
    if "variation" in model.tasks:
        return "variation"
    return "masked_edit" if "edit" in model.tasks and model.masks else "new_seeds"


def inner_mask(height: int, width: int) -> bytes:
    """A PNG that is white but for a border of an eighth of each side."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // BORDER : height - height // BORDER, width // BORDER : width - width // BORDER] = 255
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def quality_of(model: ModelInfo, mode: str) -> str:
    """The quality by which the service chooses a mode: a model's modes run from the fastest to the best.

    Raises:
        UserError: the model has no such mode.
    """
    if mode not in model.modes:
        raise UserError(f"The model {model.name} has no mode {mode!r}.", fix=f"Choose one of {', '.join(model.modes)}.")
    rank = model.modes.index(mode)
    return "low" if rank == 0 else "high" if rank == len(model.modes) - 1 else "medium"


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A request of the page, read and ready: `make` makes one tile of it."""

    service: Service
    key: Key
    start: Start
    order: ImageOrder | VideoOrder

    @classmethod
    def read(cls, service: Service, gallery: Gallery, key: Key, start: Start) -> Plan:
        """Fetch the sources and find out what the model can do with them. Blocks: call it from a thread.

        Raises:
            Problem: there is no such model.
            NoSuchTile, UserError: a source is gone, or the mask does not fit.
        """
        info = service.engine(start.model, "video" if start.task == "video" else "image")[1].info
        sources = [gallery.get(key.id, each) for each in start.sources]
        pictures = () if start.plan is not None else tuple(_picture(service, each) for each in sources)
        order = _video(start, pictures) if start.task == "video" else _image(start, info, pictures)
        return cls(service=service, key=key, start=start, order=order)

    async def make(self, seed: int) -> AsyncGenerator[Shown | NewTile, None]:
        """One tile: its drafts, then itself. Leaving early cancels the job.

        Raises:
            Problem, UserError, EngineFull: why it cannot be made.
        """
        caller = Caller(key=self.key, door=DOOR)
        suffix = "mp4" if self.start.task == "video" else "png"
        given = {"seed": seed, "storage": Storage(filename=f"{file_stem(self.start.prompt, seed)}.{suffix}")}
        modality = "video" if isinstance(self.order, VideoOrder) else "image"
        admission = await self.service.admit_model(caller, modality, self.start.model)
        if isinstance(self.order, VideoOrder):
            job = await submit_video(self.service, admission, replace(self.order, **given))
        else:
            job = await submit_images(self.service, admission, replace(self.order, **given))
        try:
            async with aclosing(self.service.workers.follow(job)) as events:
                async for event in events:
                    if isinstance(event, Shown):
                        yield event
                    else:
                        job = event
            yield await (self._clip(job) if suffix == "mp4" else self._picture(job))
        finally:
            if not job.ended:
                self.service.workers.abandon(job)

    async def _picture(self, job: Job) -> NewTile:
        picture = (await image_answer(self.service, job)).pictures[0]
        if picture.file is None:
            raise Problem(400, "The picture was withheld by the gate. Change the prompt.", code="moderation_blocked")
        return self._tile(
            file_id=picture.file.id, content_type=picture.file.content_type, seed=picture.seed, width=picture.width,
            height=picture.height,
        )  # fmt: skip

    async def _clip(self, job: Job) -> NewTile:
        if job.state != "done" or job.result is None:
            raise problem_of_job(job)
        if not job.result["allowed"]:
            raise Problem(400, f"The clip was withheld by the gate. {job.result['message']}", code="moderation_blocked")
        facts = {name: job.result[name] for name in ("width", "height", "seed")}
        return self._tile(file_id=job.result["files"][0], content_type="video/mp4", **facts)

    def _tile(self, **facts: Any) -> NewTile:
        start = self.start
        return NewTile(
            kind=start.task, model=start.model, mode=start.mode or "", prompt=start.prompt, aspect=start.aspect,
            negative_prompt=start.negative_prompt, parent_id=start.sources[0] if start.sources else None, **facts,
        )  # fmt: skip


def _image(start: Start, info: ModelInfo, pictures: tuple[GivenPicture, ...]) -> ImageOrder:
    task, mask = start.task, None
    if start.mask is not None:
        mask = from_data_uri(start.mask, len(start.mask))
    if task == "variation" and pictures:
        way = varies_by(info)
        if way == "masked_edit":
            task, mask = "edit", inner_mask(*pictures[0].pixels.shape[:2])
        elif way == "new_seeds":
            task, pictures = "draw", ()
    if mask is not None and not pictures:
        raise UserError("A mask needs a picture.", fix="Add the picture that shall change.")
    assert task != "video", "clips are ordered elsewhere"
    return ImageOrder(
        prompt=start.prompt, size=start.aspect if task == "draw" else "auto", task=task, factor=start.factor,
        quality=quality_of(info, start.mode or info.modes[0]), negative_prompt=start.negative_prompt or None,
        plan=start.plan or None, pictures=pictures, mask=mask, previews=PREVIEWS if info.previews else 0,
        mask_pixels=None if mask is None else read_mask(mask, *pictures[0].pixels.shape[:2]),
        subject_consent=start.subject_consent,
    )  # fmt: skip


def _video(start: Start, pictures: tuple[GivenPicture, ...]) -> VideoOrder:
    return VideoOrder(
        prompt=start.prompt, seconds=start.seconds, size=start.aspect,
        negative_prompt=start.negative_prompt or None, first=pictures[0] if pictures else None,
        subject_consent=start.subject_consent,
    )  # fmt: skip


def _picture(service: Service, tile: Tile) -> GivenPicture:
    state = service.state
    return GivenPicture.read(state.objects.get(state.files.get(tile.file_id).object_key))
