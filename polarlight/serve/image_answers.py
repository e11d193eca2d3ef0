"""The answer to a request for pictures, one body for both dialects."""

from __future__ import annotations

import asyncio
import base64
import re

from .image_orders import ImageAnswer, MadePicture
from .outputs import MEDIA_TYPES
from .schemas.images import ImageAnswerBody, ImageData
from .schemas.shared import FileOutput, TokenDetails, Usage
from .service import Service
from .stored_files import StoredFile


async def answer_body(service: Service, answer: ImageAnswer, response_format: str) -> ImageAnswerBody:
    """The body; `response_format` is "url" or "b64_json"."""
    return await asyncio.to_thread(_body, service, answer, response_format)


def _body(service: Service, answer: ImageAnswer, response_format: str) -> ImageAnswerBody:
    about = answer.about
    data = [_picture(service, each, answer, response_format) for each in answer.pictures]
    return ImageAnswerBody(
        created=int(answer.job.created_at), data=data, model=answer.job.model, output_format=about["form"],
        quality=about["quality"] or "auto", size=data[0].size, usage=usage_of(answer),
    )  # fmt: skip


def usage_of(answer: ImageAnswer) -> Usage:
    """Ticks and tokens."""
    words = len(re.findall(r"\w+|[^\w\s]", answer.about["prompt"]))
    larger = answer.about["factor"] ** 2 if answer.about["task"] == "upscale" else 1
    given = -(-len(answer.about["pictures"]) * answer.pictures[0].tokens // larger)
    made = sum(each.tokens for each in answer.pictures)
    return Usage(
        cost_in_usd_ticks=answer.cost_ticks, input_tokens=words + given, output_tokens=made,
        input_tokens_details=TokenDetails(text_tokens=words, image_tokens=given),
        output_tokens_details=TokenDetails(image_tokens=made), total_tokens=words + given + made,
    )  # fmt: skip


def file_output(service: Service, file: StoredFile, storage: dict[str, object]) -> FileOutput:
    """What is said of an output that the client asked to keep."""
    url, until = None, None
    if storage["public_s"] != 0:
        seconds = storage["public_s"]
        url, until = service.publish(file, seconds if isinstance(seconds, int | float) else None)
    return FileOutput(
        file_id=file.id, filename=file.filename, expires_at=file.expires_at and int(file.expires_at), public_url=url,
        public_url_expires_at=until and int(until),
    )  # fmt: skip


def _picture(service: Service, made: MadePicture, answer: ImageAnswer, response_format: str) -> ImageData:
    file, url, content, kept = made.file, None, None, None
    if file is not None:
        if storage := answer.about["storage"]:
            kept = file_output(service, file, storage)
        if response_format == "url":
            url = service.publish(file)[0]
        else:
            content = base64.b64encode(service.state.objects.get(file.object_key)).decode()
    return ImageData(
        url=url, b64_json=content, mime_type=MEDIA_TYPES[answer.about["form"]], revised_prompt=made.prompt,
        respect_moderation=made.allowed, file_output=kept, seed=made.seed, size=f"{made.width}x{made.height}",
        note=made.note or None,
    )  # fmt: skip
