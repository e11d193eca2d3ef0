"""How the image services of others are spoken to: what each takes, what it lacks, and how its answers are read.

Facts: the types of openai-python, xAI's public OpenAPI documents, vLLM-Omni's docs/serving, SGLang's diffusion protocol file and
LocalAI's endpoints/openai, as of November 2026. Nothing is sent that a service does not know; what it cannot do is said by
`ModelInfo` before the task is accepted.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from ..base.errors import UserError
from .sizes import NativeSize
from .tasks import ImageTask, ModelInfo

OPENAI_SIZES = {"1k": {"1:1": (1024, 1024), "3:2": (1536, 1024), "2:3": (1024, 1536)}}
XAI_1K = {
    "1:1": (1024, 1024), "3:4": (896, 1280), "4:3": (1280, 896), "9:16": (768, 1408), "16:9": (1408, 768),
    "2:3": (864, 1296), "3:2": (1296, 864), "1:2": (704, 1408), "2:1": (1408, 704),
}  # fmt: skip
XAI_SIZES = {"1k": XAI_1K, "2k": {aspect: (2 * width, 2 * height) for aspect, (width, height) in XAI_1K.items()}}
FREE_1K = {"1:1": (1024, 1024), "3:2": (1248, 832), "2:3": (832, 1248), "16:9": (1360, 768), "9:16": (768, 1360)}
FREE_512 = {"1:1": (512, 512), "3:2": (624, 416), "2:3": (416, 624), "16:9": (688, 384), "9:16": (384, 688)}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One kind of service.

    health: path that answers 200 where it is well, from the root where it starts with "/"; bills: whether a request may cost money,
    in which case none is sent twice that may have been served; qualities: mode -> `quality`; negative: how a negative prompt
    goes; mask: the field of a mask, empty where there is none; clear_mask: whether the place to change is transparent (else white);
    partials: most partial pictures of a stream; answers: what is asked for as `response_format`, empty where the field is unknown.
    """

    name: str
    health: str
    bills: bool
    sizes: dict[str, dict[str, tuple[int, int]]]
    multiple: int | None = None
    qualities: Mapping[str, str] = field(default_factory=dict)
    seeds: bool = False
    negative: Literal["", "field", "pipe"] = ""
    mask: str = ""
    clear_mask: bool = False
    partials: int = 0
    answers: str = ""
    most_inputs: int = 1
    longest: int = 10_000
    model: str = ""

    def info(self, model: str, url: str) -> ModelInfo:
        """What a model behind this dialect can do."""
        modes = tuple(self.qualities) if self.name != "xai" or "2.0" in model else ()  # older ones know no quality
        return ModelInfo(
            name=model or f"{self.name} at {url}", owner=self.name, modality="image",
            family="grok" if self.name == "xai" else "openai", tasks=("draw", "edit"), sizes=self.sizes,
            modes=modes or ("speed",), max_prompt=self.longest, max_inputs=self.most_inputs, created=0,
            negative_prompt=bool(self.negative), masks=bool(self.mask), previews=self.partials > 0,
            multiple=self.multiple, most_pixels=2048 * 2048 if self.multiple else None,
        )  # fmt: skip


DIALECTS = {
    "openai": Dialect(
        name="openai", health="models", bills=True, sizes=OPENAI_SIZES, qualities={"speed": "low", "quality": "high"},
        mask="mask", clear_mask=True, partials=3, most_inputs=16, longest=32_000, model="gpt-image-1",
    ),
    "xai": Dialect(
        name="xai", health="models", bills=True, sizes=XAI_SIZES, qualities={"speed": "low", "quality": "medium"},
        answers="b64_json", most_inputs=5, longest=8_000, model="grok-imagine-image",
    ),
    "vllm-omni": Dialect(
        name="vllm-omni", health="/health", bills=False, sizes={"1k": FREE_1K}, multiple=16, seeds=True,
        negative="field", mask="mask_image", answers="b64_json", most_inputs=4,
    ),
    "sglang": Dialect(
        name="sglang", health="/health", bills=False, sizes={"1k": FREE_1K}, multiple=16, seeds=True, negative="field",
        answers="b64_json", most_inputs=4,
    ),
    "localai": Dialect(
        name="localai", health="/readyz", bills=False, sizes={"512px": FREE_512}, multiple=16, seeds=True,
        negative="pipe", mask="mask", answers="b64_json",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """A request: path below the base address, and either `json` or form `data` with `files`."""

    path: str
    json: dict[str, Any] | None = None
    data: dict[str, str] | None = None
    files: list[tuple[str, tuple[str, bytes, str]]] | None = None

    @property
    def streams(self) -> bool:
        """Whether an event stream is asked for."""
        return bool((self.json or self.data or {}).get("stream"))


def outgoing(dialect: Dialect, model: str, task: ImageTask, size: NativeSize) -> Outgoing:
    """The request for a task.

    Raises:
        UserError: the prompt holds what the service reads as a command.
    """
    fields = _fields(dialect, model, task, size)
    if task.task == "draw":
        return Outgoing(path="images/generations", json=fields)
    if dialect.name == "xai":
        pictures = [{"url": data_url(picture), "type": "image_url"} for picture in task.pictures]
        if len(pictures) == 1:  # a single picture's edit follows its shape
            del fields["aspect_ratio"]
        return Outgoing(
            path="images/edits", json=fields | ({"image": pictures[0]} if len(pictures) == 1 else {"images": pictures})
        )
    if dialect.name == "localai" and task.mask is None:
        files = [base64.b64encode(png(picture)).decode() for picture in task.pictures]
        return Outgoing(path="images/generations", json=fields | {"files": files})
    name = "image[]" if dialect.name == "openai" and len(task.pictures) > 1 else "image"
    files = [(name, ("picture.png", png(picture), "image/png")) for picture in task.pictures]
    if task.mask is not None:
        files.append((dialect.mask, ("mask.png", mask_png(task.mask, dialect.clear_mask), "image/png")))
    path = "images/inpainting" if dialect.name == "localai" else "images/edits"
    form = {name: "true" if value is True else str(value) for name, value in fields.items()}
    return Outgoing(path=path, data=form, files=files)


def _fields(dialect: Dialect, model: str, task: ImageTask, size: NativeSize) -> dict[str, Any]:
    """What is the same for drawing and editing."""
    fields: dict[str, Any] = {"prompt": task.prompt, "n": 1}
    if model:
        fields["model"] = model
    if dialect.name == "xai":
        fields |= {"aspect_ratio": size.aspect, "resolution": size.resolution}
    else:
        fields["size"] = f"{size.width}x{size.height}"
    if task.mode in dialect.qualities and (dialect.name != "xai" or "2.0" in model):
        fields["quality"] = dialect.qualities[task.mode]
    if dialect.seeds:
        fields["seed"] = task.seed
    if dialect.negative == "pipe" and "|" in task.prompt:
        raise UserError("This service takes what follows a | for a negative prompt.", fix="Write the prompt without |.")
    if task.negative_prompt:
        if dialect.negative == "pipe":
            fields["prompt"] = f"{task.prompt}|{task.negative_prompt}"
        else:
            fields["negative_prompt"] = task.negative_prompt
    if dialect.answers:
        fields["response_format"] = dialect.answers
    if task.previews and dialect.partials:
        fields |= {"stream": True, "partial_images": min(task.previews, dialect.partials)}
    return fields


def png(picture: UInt8[np.ndarray, "_ _ 3"]) -> bytes:
    """A picture as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def mask_png(mask: Bool[np.ndarray, "h w"], clear: bool) -> bytes:
    """A mask as PNG: the place to change transparent (OpenAI's custom) or white on black (all others')."""
    white = np.where(mask, 255, 0).astype(np.uint8)
    picture = Image.fromarray(white)
    if clear:
        picture = Image.merge("RGBA", [picture, picture, picture, Image.fromarray(255 - white)])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def data_url(picture: UInt8[np.ndarray, "_ _ 3"]) -> str:
    """A picture inside an address."""
    return f"data:image/png;base64,{base64.b64encode(png(picture)).decode()}"


def from_base64(text: str) -> bytes:
    """The bytes of bare base64 or of a data address."""
    return base64.b64decode(text.rpartition("base64,")[2])


def pixels(content: bytes) -> UInt8[np.ndarray, "_ _ 3"]:
    """A picture file's pixels.

    Raises:
        OSError: it is not a picture.
    """
    return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def complaint(status: int, body: Any) -> str:
    """What a service says went wrong, in any of the shapes in use: {"error": {"message"}}, {"error"}, {"detail"}, {"message"}."""
    said = body.get("error") or body.get("detail") or body.get("message") if isinstance(body, dict) else body
    if isinstance(said, dict):
        said = said.get("message")
    return str(said).strip()[:500] if said else f"status {status}"


async def server_events(lines: AsyncIterator[str]) -> AsyncIterator[dict[str, Any]]:
    """The JSON of every server-sent event that has any, from the lines of a stream; a closing [DONE] is left out."""
    parts: list[str] = []
    async for line in lines:
        if line.startswith("data:"):
            parts.append(line.removeprefix("data:").strip())
        elif not line and parts:
            text, parts = "\n".join(parts), []
            if text != "[DONE]":
                yield json.loads(text)
