"""Pictures: made from words, edited, varied, made larger."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse

from polarlight.base.errors import UserError

from ..authentication import caller_of, service_of
from ..bodies import checked, is_form, read_form, read_json
from ..dialects import dialect_of_body, known_dialect, set_dialect
from ..documentation import answers, body_of
from ..families import family_of
from ..image_answers import answer_body
from ..image_orders import ImageOrder, image_answer, submit_images
from ..image_requests import edit_order, generation_order, picture_order, upscale_order
from ..schemas.images import (
    ImageAnswerBody,
    ImageEdit,
    ImageEditForm,
    ImageGeneration,
    ImageOutputs,
    ImageUpscale,
    ImageUpscaleForm,
    ImageVariationForm,
)
from ..service import Admission, Caller, Service
from ..streaming import event_stream
from ..waiting import until_ended

router = APIRouter(prefix="/v1/images", tags=["images"])
Asking = Annotated[Caller, Depends(caller_of)]


@router.post("/generations", responses=answers(ImageAnswerBody), openapi_extra=body_of(ImageGeneration))
async def generate(request: Request, caller: Asking) -> Response:
    """Make pictures from words.

    A `size` is accepted on every model, `grok*` ones too. What is made has the nearest size that the model has; the answer
    names it, and says in `note` where it is not the one that was asked for. The price is that of the size made.
    """
    service = service_of(request)
    body = await read_json(request, service)
    asked = checked(ImageGeneration, body, known_dialect(request))
    admission = await service.admit_model(caller, "image", asked.model)
    order = await generation_order(service, asked)
    return await answered(request, service, admission, asked, order, "image_generation")


@router.post(
    "/edits",
    responses=answers(ImageAnswerBody),
    openapi_extra=body_of(ImageEdit, ImageEditForm, files=("image", "mask"), needed=("image",)),
)
async def edit(request: Request, caller: Asking) -> Response:
    """Change pictures by an instruction; with a mask only where it allows."""
    service = service_of(request)
    if is_form(request):
        asked, contents, mask = await _edit_form(request, service, ImageEditForm)
        admission = await service.admit_model(caller, "image", asked.model)
        order = await picture_order(service, asked, "edit", contents, mask)
    else:
        body = await read_json(request, service)
        asked = checked(ImageEdit, body, known_dialect(request))
        admission = await service.admit_model(caller, "image", asked.model)
        order = await edit_order(service, caller, asked)
    return await answered(request, service, admission, asked, order, "image_edit")


@router.post(
    "/variations",
    responses=answers(ImageAnswerBody),
    openapi_extra=body_of(None, ImageVariationForm, files=("image",), needed=("image",)),
)
async def vary(request: Request, caller: Asking) -> Response:
    """Make pictures like the one given."""
    service = service_of(request)
    asked, contents, _ = await _edit_form(request, service, ImageVariationForm)
    admission = await service.admit_model(caller, "image", asked.model)
    order = await picture_order(service, asked, "variation", contents[:1], None)
    return await answered(request, service, admission, asked, order, "image_generation")


@router.post(
    "/upscale",
    responses=answers(ImageAnswerBody),
    openapi_extra=body_of(ImageUpscale, ImageUpscaleForm, files=("image",), needed=("image",)),
)
async def upscale(request: Request, caller: Asking) -> Response:
    """Make a picture larger, `factor` (2 or 4) times as high and as wide.

    Neither OpenAI nor xAI has this. The price is that of a picture of the size made, and of one sent along.
    """
    service = service_of(request)
    contents: list[bytes] | None = None
    if is_form(request):
        asked, contents, _ = await _edit_form(request, service, ImageUpscaleForm)
    else:
        body = await read_json(request, service)
        asked = checked(ImageUpscale, body, known_dialect(request))
    admission = await service.admit_model(caller, "image", asked.model)
    order = await upscale_order(service, caller, asked, contents)
    return await answered(request, service, admission, asked, order, "image_upscale")


async def answered(
    request: Request, service: Service, admission: Admission, asked: ImageOutputs, order: ImageOrder, kind: str
) -> Response:
    """Submit an order and answer when it is done, or stream its events."""
    job = await submit_images(service, admission, order)
    keep = admission.caller.idempotency_key is not None
    if asked.stream:
        return event_stream(service, job, kind, keep=keep)
    ended = await until_ended(request, service, job, keep=keep)
    family = family_of(asked.model, service.engines)
    response_format = asked.response_format or ("url" if family == "grok" else "b64_json")
    body = await answer_body(service, await image_answer(service, ended), response_format)
    return JSONResponse(body.model_dump(mode="json"))


async def _edit_form(request: Request, service: Service, schema: type[Any]) -> tuple[Any, list[bytes], bytes | None]:
    """A form's fields, its pictures and its mask."""
    form = await read_form(request, service.state.settings.limits.file_bytes)
    named = form.fields.get("model")
    set_dialect(request, dialect_of_body({"model": named}, service.engines) if named else "openai")
    contents, masks = form.contents("image", "image[]"), form.contents("mask")
    asked = checked(schema, form.fields, known_dialect(request))
    if not contents:
        raise UserError("The form has no picture.", fix="Send a file named image.")
    return asked, contents, masks[0] if masks else None
