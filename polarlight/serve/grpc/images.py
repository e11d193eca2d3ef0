"""Pictures: made from words, and edited."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from xai_sdk.proto import image_pb2, image_pb2_grpc

from ..bodies import checked
from ..image_answers import answer_body
from ..image_orders import image_answer, submit_images
from ..image_requests import edit_order, generation_order
from ..jobs import Job
from ..schemas.images import ImageAnswerBody, ImageData, ImageEdit, ImageGeneration
from ..service import Service
from ..waiting import ended_job
from .authentication import CALLER
from .messages import file_output, optional, reference, storage, usage, word

# in the order of the enums' numbers
ASPECT_RATIOS = (
    "", "1:1", "3:4", "4:3", "9:16", "16:9", "2:3", "3:2", "auto", "9:19.5", "19.5:9", "9:20", "20:9", "1:2", "2:1",
)  # fmt: skip
RESOLUTIONS = ("", "1k", "2k")
QUALITIES = ("", "low", "medium", "high")
FORMATS = ("", "b64_json", "url")


class Images(image_pb2_grpc.ImageServicer):
    """Pictures, answered when they are done."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def GenerateImage(
        self, request: image_pb2.GenerateImageRequest, context: grpc.aio.ServicerContext
    ) -> image_pb2.ImageResponse:
        """Make pictures; with pictures in the request, edit them."""
        service, caller = self.service, CALLER.get()
        endpoint, body = image_body(request)
        asked: ImageEdit | ImageGeneration
        if endpoint == "image_edit":
            asked = checked(ImageEdit, body, "openai")  # its sentences do not speak of JSON
            admission = await service.admit_model(caller, "image", asked.model)
            order = await edit_order(service, caller, asked)
        else:
            asked = checked(ImageGeneration, body, "openai")
            admission = await service.admit_model(caller, "image", asked.model)
            order = await generation_order(service, asked)
        job = await submit_images(service, admission, order)
        ended = await until_ended(service, job, keep=caller.idempotency_key is not None)
        answer = await image_answer(service, ended)
        return image_message(await answer_body(service, answer, body["response_format"]))


async def until_ended(service: Service, job: Job, *, keep: bool) -> Job:
    """The ended job; a call that is cancelled, or past its deadline, takes the work along, unless it is to be kept.

    When the server stops, the work goes back to the queue instead.
    """
    try:
        return await ended_job(service, job)
    except asyncio.CancelledError:
        if not keep and not service.draining:
            service.workers.abandon(job)
        raise


def image_body(request: image_pb2.GenerateImageRequest) -> tuple[str, dict[str, Any]]:
    """The endpoint and the body that a request would have in REST; pictures come as JPEG, as the SDK promises.

    Raises:
        UserError: an enum has a number that is not known here.
    """
    body: dict[str, Any] = {
        "prompt": request.prompt, "model": request.model or None, "user": request.user or None,
        "aspect_ratio": word(request, "aspect_ratio", ASPECT_RATIOS),
        "resolution": word(request, "resolution", RESOLUTIONS), "quality": word(request, "quality", QUALITIES),
        "response_format": word(request, "format", FORMATS) or "url", "output_format": "jpeg",
        **optional(request, "n"), **storage(request),
    }  # fmt: skip
    if request.HasField("image"):
        body["image"] = reference(request.image)
    if request.images:
        body["images"] = [reference(each) for each in request.images]
    return ("image_edit" if body.keys() & {"image", "images"} else "image_generation"), body


def image_message(body: ImageAnswerBody) -> image_pb2.ImageResponse:
    """REST's answer as a message; base64 comes as a data URI."""
    return image_pb2.ImageResponse(
        images=[_picture(each) for each in body.data], model=body.model, usage=usage(body.usage)
    )


def _picture(made: ImageData) -> image_pb2.GeneratedImage:
    """One picture; a withheld one has neither address nor content."""
    message = image_pb2.GeneratedImage(
        respect_moderation=made.respect_moderation, file_output=file_output(made.file_output)
    )
    if made.url:
        message.url = made.url
    elif made.b64_json:
        message.base64 = f"data:{made.mime_type};base64,{made.b64_json}"
    return message
