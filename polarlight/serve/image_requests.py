"""Requests for pictures, read into orders."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from polarlight.base.errors import UserError
from polarlight.infer.engine import UnsupportedTask

from .families import family_of
from .image_orders import ImageOrder
from .inputs import GivenPicture, read_mask, read_reference
from .schemas.images import (
    ImageEdit,
    ImageEditForm,
    ImageGeneration,
    ImageOutputs,
    ImageSettings,
    ImageUpscale,
    ImageUpscaleForm,
    ImageVariationForm,
)
from .service import Caller, Service
from .storage import storage_of


async def generation_order(service: Service, asked: ImageGeneration) -> ImageOrder:
    """Pictures from words.

    Raises:
        UserError: the request contradicts itself, or asks for what no model here does.
    """
    return _order(service, asked, prompt=asked.prompt)


async def edit_order(service: Service, caller: Caller, asked: ImageEdit) -> ImageOrder:
    """An edit as JSON: its pictures are fetched.

    Raises:
        UserError, NoSuchFile, ContentTooLarge: a picture cannot be had, or the request contradicts itself.
    """

    contents = [await _fetched(service, caller, place) for place in asked.places()]
    mask = await _fetched(service, caller, asked.mask.place) if asked.mask else None
    return await picture_order(service, asked, "edit", contents, mask)


async def picture_order(
    service: Service,
    asked: ImageEdit | ImageEditForm | ImageVariationForm,
    task: Literal["edit", "variation"],
    contents: list[bytes],
    mask: bytes | None,
) -> ImageOrder:
    """An edit or a variation of pictures at hand.

    Raises:
        UserError: a picture or the mask cannot be read, or the request contradicts itself.
    """
    pictures = await asyncio.to_thread(_read_pictures, contents)
    pixels = None if mask is None else await asyncio.to_thread(read_mask, mask, *pictures[0].pixels.shape[:2])
    given = {"pictures": pictures, "mask": mask, "mask_pixels": pixels}
    return _order(service, asked, prompt=asked.prompt, task=task, **given)


async def upscale_order(
    service: Service, caller: Caller, asked: ImageUpscaleForm, contents: list[bytes] | None = None
) -> ImageOrder:
    """A larger picture of the one at hand, or of the one that the request names.

    Raises:
        UserError, NoSuchFile, ContentTooLarge: the picture cannot be had, there are several, or the request asks for what no
            model here does.
    """
    if contents is None:
        assert isinstance(asked, ImageUpscale), "without a picture the request names one"
        contents = [await _fetched(service, caller, asked.image.place)]
    if len(contents) > 1:
        raise UserError("One picture is made larger at a time.", fix="Send a single image.")
    pictures = await asyncio.to_thread(_read_pictures, contents)
    return ImageOrder(
        prompt=asked.prompt, task="upscale", factor=asked.factor, pictures=pictures, **_outputs(service, asked)
    )


async def _fetched(service: Service, caller: Caller, place: str) -> bytes:
    return await read_reference(service.state, service.options, caller.key.id, place)


def _order(service: Service, asked: ImageSettings, prompt: str, **more: Any) -> ImageOrder:
    """What a request says, as an order.

    Raises:
        UserError: it contradicts itself.
        UnsupportedTask: it asks for what no model here does.
    """
    if asked.background == "transparent":
        raise UnsupportedTask("Transparent backgrounds are not made here.", fix="Leave background out.")
    outputs = _outputs(service, asked)
    size, aspect = asked.size or "auto", asked.aspect_ratio or "auto"
    if "auto" not in (size, aspect):
        raise UserError("The request gives both size and aspect_ratio.", fix="Give one of them.")
    return ImageOrder(
        prompt=prompt, n=asked.n or 1, size=aspect if size == "auto" else size, resolution=asked.resolution,
        quality=asked.quality, negative_prompt=asked.negative_prompt or None, plan=asked.plan or None,
        candidates=asked.candidates, seed=asked.seed,
        previews=(asked.partial_images or 0) if asked.stream else 0, **outputs, **more,
    )  # fmt: skip


def _outputs(service: Service, asked: ImageOutputs) -> dict[str, Any]:
    """What a request says of how its pictures come.

    Raises:
        UnsupportedTask: it asks for what no model here does.
    """
    if asked.output_compression not in (None, 100):
        raise UnsupportedTask("The strength of compression is fixed.", fix="Leave output_compression out.")
    grok = family_of(asked.model, service.engines) == "grok"
    return {
        "form": asked.output_format or ("jpeg" if grok else "png"), "subject_consent": asked.subject_consent,
        "storage": storage_of(asked.storage_options),
    }  # fmt: skip


def _read_pictures(contents: list[bytes]) -> tuple[GivenPicture, ...]:
    """Decoded pictures."""
    return tuple(GivenPicture.read(content, f"Picture {number}") for number, content in enumerate(contents, 1))
