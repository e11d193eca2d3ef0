"""Pictures as server-sent events, with OpenAI's names: partial images on the way, then the finished ones."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from fastapi.responses import StreamingResponse

from .errors import problem_of
from .image_answers import answer_body
from .image_orders import image_answer
from .job_rows import Job
from .service import Service

log = logging.getLogger("polarlight.serve.streaming")


def event_stream(service: Service, job: Job, kind: str, *, keep: bool) -> StreamingResponse:
    """The events of an image job. `kind`: "image_generation", "image_edit" or "image_upscale"; `keep`: as in `until_ended`."""
    headers = {"cache-control": "no-cache", "x-accel-buffering": "no"}
    return StreamingResponse(
        image_events(service, job, kind, keep=keep), media_type="text/event-stream", headers=headers
    )


async def image_events(service: Service, job: Job, kind: str, *, keep: bool) -> AsyncIterator[bytes]:
    """The events as bytes. An error is an event too: the status was sent long before."""
    ended, index = False, 0
    try:
        async for event in service.workers.follow(job):
            if isinstance(event, Job):
                ended = True
                async for line in _completed(service, event, kind):
                    yield line
            else:
                about = {
                    "b64_json": base64.b64encode(event.file.content).decode(), "partial_image_index": index,
                    "created_at": int(job.created_at), "background": "opaque", "output_format": job.body["form"],
                    "quality": job.body["quality"] or "auto", "size": job.body["size"], "image_index": event.picture,
                }  # fmt: skip
                index += 1
                yield sse(f"{kind}.partial_image", about)
    except Exception as error:
        ended = True
        log.error("a stream broke off", exc_info=error)
        yield sse("error", problem_of(error).body("openai"))
    finally:
        if not ended and not keep:
            service.workers.abandon(job)


async def _completed(service: Service, job: Job, kind: str) -> AsyncIterator[bytes]:
    """The last events of an ended job."""
    try:
        body = await answer_body(service, await image_answer(service, job), "b64_json")
    except Exception as error:
        yield sse("error", problem_of(error).body("openai"))
        return
    for index, picture in enumerate(body.data):
        about = {
            "created_at": body.created, "background": body.background, "output_format": body.output_format,
            "quality": body.quality, "image_index": index, "usage": body.usage.model_dump(mode="json"),
            **picture.model_dump(mode="json"),
        }  # fmt: skip
        yield sse(f"{kind}.completed", about)


def sse(name: str, data: Any) -> bytes:
    """One event."""
    body = {"type": name, **data}
    return f"event: {name}\ndata: {json.dumps(body)}\n\n".encode()
