"""Parts that several messages share, to and from the bodies of xAI's REST API.

A message is read into the body that REST would have received, and a REST body is written as a message: what is checked,
refused, priced and made is decided once, for both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from xai_sdk.proto import image_pb2, usage_pb2, video_pb2

from polarlight.base.errors import UserError

from ..errors import Problem
from ..schemas.shared import FileOutput, Usage


def stamp(seconds: float | None) -> Timestamp | None:
    """Seconds since 1970 as a message."""
    return None if seconds is None else Timestamp(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))


def word(request: Message, field: str, words: Sequence[str]) -> str | None:
    """The word that an enum field stands for; `words` are in the order of their numbers, and number 0 says nothing.

    Raises:
        UserError: the number is newer than this program.
    """
    number = getattr(request, field)
    if not 0 <= number < len(words):
        raise UserError(f"The value {number} of {field} is not known here.", fix="Leave it out, or choose another.")
    return words[number] or None


def optional(request: Message, *fields: str) -> dict[str, Any]:
    """Those of the optional plain fields that are set."""
    return {field: getattr(request, field) for field in fields if request.HasField(field)}


def reference(content: image_pb2.ImageUrlContent | video_pb2.VideoUrlContent) -> dict[str, str]:
    """A picture or a clip by its address, its data URI or the id of its file; empty where the message is."""
    source = content.WhichOneof("source")
    if source is None:
        return {}
    return {"file_id" if source == "file_id" else "url": getattr(content, source)}


def storage(request: Message) -> dict[str, Any]:
    """The field `storage_options` of a body, where the request has it."""
    if not request.HasField("storage_options"):
        return {}
    options: image_pb2.StorageOptions = request.storage_options
    asked = {"filename": options.filename, **optional(options, "expires_after")}
    if options.HasField("public_url"):
        asked["public_url"] = optional(options.public_url, "expires_after") or True
    return {"storage_options": asked}


def file_output(kept: FileOutput | None) -> image_pb2.FileOutput | None:
    """A kept output."""
    if kept is None:
        return None
    return image_pb2.FileOutput(
        file_id=kept.file_id, filename=kept.filename, public_url=kept.public_url, expires_at=stamp(kept.expires_at),
        public_url_expires_at=stamp(kept.public_url_expires_at), public_url_error=kept.public_url_error,
    )  # fmt: skip


def usage(used: Usage) -> usage_pb2.SamplingUsage:
    """What a request cost, and its size in tokens."""
    return usage_pb2.SamplingUsage(
        completion_tokens=used.output_tokens, prompt_tokens=used.input_tokens, total_tokens=used.total_tokens,
        prompt_text_tokens=used.input_tokens_details.text_tokens,
        prompt_image_tokens=used.input_tokens_details.image_tokens, cost_in_usd_ticks=used.cost_in_usd_ticks,
    )  # fmt: skip


def page_limit(asked: int, usual: int, most: int) -> int:
    """How many a page has; 0 is what the protocol sends where nothing was said.

    Raises:
        Problem: it is below zero or above `most`.
    """
    if not 0 <= asked <= most:
        raise Problem(400, f"limit must be from 1 to {most}.", param="limit")
    return asked or usual
