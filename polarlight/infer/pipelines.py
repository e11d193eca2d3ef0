"""Any diffusers pipeline as an engine: text to image, image to image, inpainting, text or image to video.

What a pipeline can do is read from its parameters. A text-to-image pipeline lends its parts to its image-to-image and inpainting
siblings where diffusers knows them, so one folder gives all three. Seeds go through a CPU generator, as in diffusers' own examples:
one seed gives one picture on every machine of the same kind.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import lcm, sqrt
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from ..base.errors import UserError
from ..media.clips import encode_clip
from .engine import (
    Cancelled,
    Done,
    ImageResult,
    ImageTask,
    ModelInfo,
    Preview,
    Task,
    Ticket,
    UnsupportedTask,
    VideoResult,
    VideoTask,
)
from .images import fast_dtype
from .shipped import preview_passes
from .worker import WorkerEngine

if TYPE_CHECKING:
    from diffusers import DiffusionPipeline

ASPECTS = ("1:1", "3:2", "2:3", "4:3", "3:4", "16:9", "9:16")
WAITING = 32
LONGEST = 10_000  # characters; a text encoder cuts what it cannot read and says so itself
FPS = 16.0
STEPS = 50  # where a pipeline names no number of its own
ROOM = 1.25  # pixels a picture may have more than the square a pipeline was trained on
OPTIONS = ("steps", "guidance", "download")


def open_pipeline(spec: str) -> PipelineEngine:
    """The pipeline in a folder or under a hub id: "PATH_OR_ID[?steps=4&guidance=0&download=1]".

    Nothing is downloaded without `download=1`. Weights must be safetensors. It runs on the GPU where there is one, in bf16 where
    that is fast.

    Raises:
        UserError: diffusers is not installed, nothing is found, an unknown option, or a pipeline that makes no pictures or clips
            from text.
    """
    name, _, query = spec.partition("?")
    options = dict(parse_qsl(query))
    if unknown := set(options) - set(OPTIONS):
        raise UserError(f"There is no option {min(unknown)!r} for a pipeline.", fix=f"There are: {', '.join(OPTIONS)}.")
    try:
        steps = int(options["steps"]) if "steps" in options else None
        guidance = float(options["guidance"]) if "guidance" in options else None
    except ValueError as error:
        raise UserError("Steps and guidance are numbers.", fix="Write for example ?steps=4&guidance=1.5.") from error
    diffusers = need_diffusers()
    cuda = torch.cuda.is_available()
    dtype = torch.bfloat16 if cuda else fast_dtype()
    online = options.get("download") == "1" and not Path(name).is_dir()
    try:
        pipeline = diffusers.DiffusionPipeline.from_pretrained(
            name, torch_dtype=dtype, local_files_only=not online, use_safetensors=True
        )
    except (OSError, ValueError, ImportError, AttributeError) as error:
        raise UserError(
            f"There is no pipeline to load at {name}: {str(error).splitlines()[0]}",
            fix=f"Give a folder that diffusers saved, or allow a download: diffusers:{name}?download=1.",
        ) from error
    if cuda:
        pipeline.to("cuda")
    return PipelineEngine(pipeline, Path(name).name, steps=steps, guidance=guidance)


def need_diffusers() -> Any:
    """The package.

    Raises:
        UserError: it, or transformers, is not installed.
    """
    try:
        import diffusers
        import transformers  # noqa: F401  (diffusers itself starts without it and fails later)
    except ImportError as error:
        raise UserError(
            "Pipelines need the packages diffusers and transformers.",
            fix="Install them: pip install 'polarlight[diffusers]'.",
        ) from error
    return diffusers


def parameters(pipeline: DiffusionPipeline) -> Mapping[str, inspect.Parameter]:
    """What calling a pipeline takes."""
    return inspect.signature(type(pipeline).__call__).parameters


def roles(pipeline: DiffusionPipeline) -> dict[str, DiffusionPipeline]:
    """The pipeline and its siblings by what they do: "draw", "edit", "mask" (edit within a mask), or "generate" (clips).

    Raises:
        UserError: it takes no prompt.
    """
    takes = parameters(pipeline)
    if "prompt" not in takes:
        raise UserError(f"{type(pipeline).__name__} takes no prompt.", fix="Choose a pipeline that draws from text.")
    if "num_frames" in takes:
        return {"generate": pipeline}
    own = "mask" if "mask_image" in takes else "edit" if "image" in takes else "draw"
    found, diffusers = {own: pipeline}, need_diffusers()
    siblings = {
        "draw": diffusers.AutoPipelineForText2Image,
        "edit": diffusers.AutoPipelineForImage2Image,
        "mask": diffusers.AutoPipelineForInpainting,
    }
    for role, auto in siblings.items():
        if role not in found:
            with suppress(ValueError):  # diffusers knows no such sibling
                found[role] = auto.from_pipe(pipeline)
    return found


class PipelineEngine(WorkerEngine):
    """A pipeline and its siblings, one task at a time."""

    def __init__(
        self, pipeline: DiffusionPipeline, name: str, *, steps: int | None = None, guidance: float | None = None
    ) -> None:
        """steps: denoising steps of the mode "quality" (None: the pipeline's own); "speed" takes half."""
        super().__init__(together=1, waiting=WAITING)
        self._roles = roles(pipeline)
        for each in self._roles.values():
            each.set_progress_bar_config(disable=True)
        self._guidance = guidance
        default = parameters(pipeline).get("num_inference_steps")
        own = default.default if default is not None and isinstance(default.default, int) else STEPS
        self._steps = {"quality": steps or own, "speed": max(1, (steps or own) // 2)}
        self._info = self._describe(pipeline, name)

    @property
    def info(self) -> ModelInfo:
        """What the pipeline's parameters say."""
        return self._info

    def _describe(self, pipeline: DiffusionPipeline, name: str) -> ModelInfo:
        side, multiple = trained_side(pipeline), lcm(8, 2 * scale_factor(pipeline))
        video, takes = "generate" in self._roles, parameters(pipeline)
        edits = "edit" in self._roles or "mask" in self._roles
        tasks = ("generate",) if video else ("draw",) * ("draw" in self._roles) + ("edit",) * edits
        return ModelInfo(
            name=name, owner="diffusers", modality="video" if video else "image", family="openai", tasks=tasks,
            sizes={f"{side}px": {aspect: sides(aspect, side, multiple) for aspect in ASPECTS}}, modes=tuple(self._steps),
            max_prompt=LONGEST, max_inputs=int("image" in takes) + int("last_image" in takes) if video else int(edits),
            created=0, negative_prompt="negative_prompt" in takes, masks="mask" in self._roles,
            previews="callback_on_step_end" in takes and pictured_latents(pipeline) and not video,
            multiple=multiple, most_pixels=int(ROOM * side * side),
        )  # fmt: skip

    def _check(self, task: Task) -> None:
        super()._check(task)
        if isinstance(task, ImageTask) and task.task == "edit":
            if task.mask is None and "edit" not in self._roles:
                raise UnsupportedTask(f"The model {self.info.name} edits only within a mask.", fix="Bring a mask.")
            if task.mask is not None and not task.mask.any():
                raise UserError("The mask is empty, so nothing may change.", fix="Mark where the picture may change.")
        if isinstance(task, VideoTask):
            takes = parameters(self._roles["generate"])
            if task.keyframes or task.references:
                raise UnsupportedTask(f"The model {self.info.name} takes no keyframes or references.")
            for frame, name, words in ((task.first, "image", "first"), (task.last, "last_image", "last")):
                if (frame is not None) and name not in takes:
                    raise UnsupportedTask(f"The model {self.info.name} takes no {words} frame.", fix="Leave it out.")
            if task.first is None and "image" in takes and takes["image"].default is inspect.Parameter.empty:
                raise UnsupportedTask(f"The model {self.info.name} needs a first frame.", fix="Bring one.")
        self.info.size_of(task)

    def _work(self) -> None:
        while (taken := self._take(1)) is not None:
            for ticket in taken:
                since = time.monotonic()
                try:
                    event: Done | Exception = Done(result=self._make(ticket))
                except Exception as error:
                    event = error
                self._finished(time.monotonic() - since)
                ticket.post(event)

    def _make(self, ticket: Ticket) -> ImageResult | VideoResult:
        task, mode = ticket.task, ticket.task.mode or self.info.modes[0]
        size, passes = self.info.size_of(task), self._steps[mode]
        role = task.task if isinstance(task, VideoTask) or task.mask is None else "mask"
        pipeline = self._roles[role]
        takes, given = parameters(pipeline), {"prompt": task.prompt, "num_inference_steps": passes}
        about = {"prompt": task.prompt, "task": task.task, "mode": mode, "model": self.info.name, "seed": task.seed}
        if task.negative_prompt:
            given["negative_prompt"] = about["negative_prompt"] = task.negative_prompt
        if size.note:
            about["note"] = size.note
        if self._guidance is not None:
            given["guidance_scale"] = self._guidance
        given |= {"height": size.height, "width": size.width, "generator": torch.Generator().manual_seed(task.seed)}
        given["callback_on_step_end"] = self._watch(ticket, passes)
        about |= {"width": size.width, "height": size.height, "passes": passes}
        if isinstance(task, VideoTask):
            return self._film(pipeline, task, given, about)
        if task.pictures:
            given["image"] = fitted(task.pictures[0], size.width, size.height)
        if task.mask is not None:
            given["mask_image"] = fitted(task.mask, size.width, size.height)
        made = pipeline(**{name: value for name, value in given.items() if name in takes}, output_type="pil")
        if any(getattr(made, "nsfw_content_detected", None) or ()):
            raise UserError("The pipeline's own safety checker blocked the picture.", fix="Change the prompt.")
        pixels = np.asarray(made.images[0].convert("RGB"))
        if task.mask is not None:
            pixels = np.where(np.asarray(given["mask_image"])[..., None] > 0, pixels, np.asarray(given["image"]))
        height, width = pixels.shape[:2]
        about |= {"width": width, "height": height}
        return ImageResult(pixels=pixels, seed=task.seed, passes=passes, metadata=about)

    def _film(
        self, pipeline: DiffusionPipeline, task: VideoTask, given: dict[str, Any], about: dict[str, Any]
    ) -> VideoResult:
        """Frames at the task's rate, in the number that the pipeline's temporal grid has."""
        takes, fps, grid = parameters(pipeline), task.fps or FPS, getattr(pipeline, "vae_scale_factor_temporal", 1)
        frames = max(1, round((task.seconds * fps - 1) / grid)) * grid + 1 if grid > 1 else round(task.seconds * fps)
        given |= {"num_frames": max(1, frames), "output_type": "np"}
        for name, frame in (("image", task.first), ("last_image", task.last)):
            if frame is not None:
                given[name] = fitted(frame, given["width"], given["height"])
        made = pipeline(**{name: value for name, value in given.items() if name in takes})
        clip = (np.asarray(made.frames[0]) * 255).round().clip(0, 255).astype(np.uint8)
        return VideoResult(
            content=encode_clip(clip, fps), seconds=len(clip) / fps, size=(clip.shape[2], clip.shape[1]),
            seed=task.seed, metadata=about | {"fps": fps, "frames": len(clip)},
        )  # fmt: skip

    def _watch(self, ticket: Ticket, steps: int) -> Callable[..., dict[str, Any]]:
        """The callback after every step: stops what is cancelled, shows what was asked for."""

        def after_step(pipeline: Any, number: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            if ticket.cancelled:
                raise Cancelled(f"Cancelled after pass {number + 1}.")
            passes = getattr(pipeline, "num_timesteps", steps)  # fewer than the steps where an edit keeps much
            if self.info.previews and number + 1 in preview_passes(passes, ticket.task.previews):
                picture = look(pipeline, tensors["latents"])
                ticket.post(Preview(number=number + 1, passes=passes, picture=picture))
            return tensors

        return after_step


def scale_factor(pipeline: DiffusionPipeline) -> int:
    """Pixels a side of one latent."""
    return int(getattr(pipeline, "vae_scale_factor", getattr(pipeline, "vae_scale_factor_spatial", 8)))


def trained_side(pipeline: DiffusionPipeline) -> int:
    """The side of the square, in pixels, that a pipeline was trained on; 1024 where it does not say."""
    network = getattr(pipeline, "unet", None) or getattr(pipeline, "transformer", None)
    said = getattr(pipeline, "default_sample_size", None) or getattr(
        getattr(network, "config", None), "sample_size", None
    )
    if isinstance(said, (tuple, list)):
        said = max(said)
    return int(said) * scale_factor(pipeline) if said else 1024


def sides(aspect: str, side: int, multiple: int) -> tuple[int, int]:
    """(width, height) of an aspect with about side x side pixels, in whole multiples."""
    across, down = map(int, aspect.split(":"))
    root = sqrt(across / down)
    width, height = side * root, side / root
    return max(1, round(width / multiple)) * multiple, max(1, round(height / multiple)) * multiple


def pictured_latents(pipeline: DiffusionPipeline) -> bool:
    """Whether a pipeline's latents are pictures that its VAE can decode as they are; packed ones are not."""
    config = getattr(getattr(pipeline, "vae", None), "config", None)
    return getattr(config, "scaling_factor", None) is not None and not hasattr(pipeline, "_unpack_latents")


@torch.inference_mode()
def look(pipeline: Any, latents: Tensor) -> UInt8[np.ndarray, "h w 3"]:
    """The picture that latents stand for."""
    vae = pipeline.vae
    scaled = latents[:1] / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
    decoded = vae.decode(scaled.to(vae.dtype), return_dict=False)[0][0]
    return ((decoded.float().clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).cpu().numpy()


def fitted(picture: np.ndarray, width: int, height: int) -> Image.Image:
    """A picture, or a mask (any touched pixel counts), at another size."""
    if picture.dtype != bool:
        return Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
    shares = Image.fromarray(picture).convert("L").resize((width, height), Image.Resampling.BOX)
    return shares.point(lambda share: 255 if share else 0)
