"""Requests of a batch, read and answered: pictures, edits, enlargements, clips."""

from __future__ import annotations

import json
from typing import Any

from polarlight.base.errors import UserError

from .batches import BatchRequest
from .bodies import checked
from .errors import Problem
from .families import family_of
from .image_answers import answer_body
from .image_orders import image_answer, prepare_images
from .image_requests import edit_order, generation_order, upscale_order
from .job_rows import Job
from .schemas.batches import BatchRequestBody, BatchResult
from .schemas.images import ImageEdit, ImageGeneration, ImageUpscale
from .schemas.videos import VideoGeneration
from .service import Caller, Service
from .video_answers import XAI_CODES, error_of, video_status
from .video_orders import prepare_video
from .video_requests import generating_order

URLS = {
    "/v1/images/generations": "image_generation",
    "/v1/images/edits": "image_edit",
    "/v1/images/upscale": "image_upscale",
    "/v1/videos/generations": "video_generation",
}
BODIES: dict[str, type[ImageGeneration | ImageEdit | ImageUpscale]] = {
    "image_generation": ImageGeneration, "image_edit": ImageEdit, "image_upscale": ImageUpscale,
}  # fmt: skip
MOST_LINES = 10_000


def requests_in(content: bytes) -> list[BatchRequestBody]:
    """The requests of a file: JSON lines `{custom_id, url, body}` or `{batch_request_id, batch_request}`.

    Raises:
        UserError: a line is neither, or there are more than 10,000.
    """
    lines = [line for line in content.splitlines() if line.strip()]
    if not 1 <= len(lines) <= MOST_LINES:
        raise UserError(f"The file has {len(lines)} requests.", fix=f"Send from 1 to {MOST_LINES}.")
    return [_request_in(number, line) for number, line in enumerate(lines, 1)]


async def prepared(service: Service, caller: Caller, request: BatchRequestBody) -> BatchRequest:
    """A request, checked by model, gate and price, ready to be added.

    Raises:
        UserError: it has an unknown endpoint, or its model cannot do it.
        Problem, Refused: as `submit_images`.
    """
    if len(request.batch_request) != 1:
        raise UserError(f"The request {request.batch_request_id} has no single endpoint.", fix="Name one endpoint.")
    endpoint, body = next(iter(request.batch_request.items()))
    if endpoint not in URLS.values() or not isinstance(body, dict):
        known = ", ".join(URLS.values())
        raise UserError(f"The request {request.batch_request_id} has no known endpoint.", fix=f"Use one of {known}.")
    if endpoint == "video_generation":
        clip = checked(VideoGeneration, body, "xai")
        admission, order = await generating_order(service, caller, clip, counted=False)
        ticks, work = await prepare_video(service, admission, order)
        kind, answer = "video", {"endpoint": endpoint}
    else:
        asked = checked(BODIES[endpoint], body, "xai")
        admission = await service.admit_model(caller, "image", asked.model, counted=False)
        if isinstance(asked, ImageUpscale):
            order = await upscale_order(service, caller, asked)
        elif isinstance(asked, ImageEdit):
            order = await edit_order(service, caller, asked)
        else:
            order = await generation_order(service, asked)
        ticks, work = await prepare_images(service, admission, order)
        kind, answer = "image", {"endpoint": endpoint, "response_format": asked.response_format}
    return BatchRequest(
        request_id=request.batch_request_id, kind=kind, model=admission.model, body=work | {"batch": answer}, ticks=ticks
    )  # fmt: skip


async def result_of(service: Service, job: Job) -> BatchResult:
    """The result of an ended job of a batch."""
    about = job.body["batch"]
    result: dict[str, Any]
    if job.state != "done":
        error = error_of(job, XAI_CODES)
        assert error is not None, "a job that ended without success has an error"
        result = {"error": error.model_dump(mode="json")}
    elif job.kind == "video":
        status = await video_status(service, job)
        result = {"response": {about["endpoint"]: status.model_dump(mode="json", exclude_none=True)}}
    else:
        grok = family_of(job.model, service.engines) == "grok"
        chosen = about["response_format"] or ("url" if grok else "b64_json")
        body = await answer_body(service, await image_answer(service, job), chosen)
        result = {"response": {about["endpoint"]: body.model_dump(mode="json")}}
    return BatchResult(batch_request_id=job.batch_request_id or "", batch_result=result)


def _request_in(number: int, line: bytes) -> BatchRequestBody:
    try:
        found = json.loads(line)
        if "custom_id" in found:
            found = {"batch_request_id": found["custom_id"], "batch_request": {URLS[found["url"]]: found["body"]}}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"Line {number} of the file is not a request.", fix="Write {custom_id, url, body}.") from error
    try:
        return checked(BatchRequestBody, found if isinstance(found, dict) else {}, "xai")
    except Problem as problem:
        raise UserError(f"Line {number} of the file is not a request.", fix=problem.sentence) from problem
