"""Which dialect a request speaks: xAI's or OpenAI's. Both use the same paths.

What only one of them has (a path, the form of an id, a body's fields) decides; then the model's name; then the family of the model
that answers where none is named. A `grok*` model speaks xAI's dialect, everything else OpenAI's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from fastapi import Request

from polarlight.infer.engine import Engines

from .errors import Dialect
from .families import family_of

XAI_PATHS = re.compile(
    r"/v1/(image-generation-models|video-generation-models|api-key|me|batches|videos/generations)(/|:|$)|"
    r"/v1/files/[^/]+/public-url|/v1/videos/[0-9a-f]{8}-[0-9a-f-]{27}$"
)
PEEK = 1 << 20  # bytes of JSON that are read to answer even a request without a key in its own dialect


def dialect_of_body(body: Mapping[str, Any], engines: Engines, modality: str = "image") -> Dialect:
    """The dialect of a JSON body."""
    model = body.get("model")
    if isinstance(model, str) and model:
        return "xai" if family_of(model, engines) == "grok" else "openai"
    video = body.get("video")
    if isinstance(video, dict) and "id" in video:
        return "openai"
    given = (video, body.get("image"))
    if any(isinstance(each, dict) and each.keys() & {"url", "file_id"} for each in given):
        return "xai"
    return "xai" if family_of(None, engines, modality) == "grok" else "openai"


async def dialect_of(request: Request, engines: Engines) -> Dialect:
    """The dialect of a request, from its path and, where that is shared, its body."""
    path = request.url.path
    if XAI_PATHS.match(path):
        return "xai"
    if not path.startswith(("/v1/images/", "/v1/videos")) or "/video_" in path:
        return "openai"
    length = request.headers.get("content-length", "")
    if not request.headers.get("content-type", "").startswith("application/json"):
        return "openai"
    if not length.isascii() or not length.isdigit() or int(length) > PEEK:
        return "openai"
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        return "openai"
    modality = "video" if path.startswith("/v1/videos") else "image"
    return dialect_of_body(body, engines, modality) if isinstance(body, dict) else "openai"


def set_dialect(request: Request, dialect: Dialect) -> None:
    """Remember a dialect for the answer, an error's too."""
    request.state.dialect = dialect


def known_dialect(request: Request) -> Dialect:
    """The dialect found so far."""
    return getattr(request.state, "dialect", "xai" if XAI_PATHS.match(request.url.path) else "openai")
