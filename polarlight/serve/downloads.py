"""Stored bytes on their way out: ranges, types, names; nothing that a browser would run."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from .errors import Problem
from .service import Service
from .stored_files import StoredFile

RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
SHOWN = ("image/png", "image/jpeg", "image/webp", "image/gif", "video/mp4", "video/webm", "audio/mpeg", "audio/wav")


async def download(request: Request, service: Service, file: StoredFile) -> Response:
    """A file, or the range of it that the request names.

    Raises:
        Problem: 416 where the range is not within the file, 404 where its bytes are gone.
    """
    headers = {
        "accept-ranges": "bytes", "etag": f'"{file.sha256}"', "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox", "cache-control": "private, max-age=3600",
        "content-disposition": f"{'inline' if file.content_type in SHOWN else 'attachment'}; "
        f"filename*=UTF-8''{quote(file.filename, safe='')}",
    }  # fmt: skip
    if request.headers.get("if-none-match") == headers["etag"]:
        return Response(status_code=304, headers=headers)
    span = wanted_range(request.headers.get("range"), file.bytes)
    start, end = span or (0, file.bytes)
    headers["content-length"] = str(end - start)
    if span is not None:
        headers["content-range"] = f"bytes {start}-{end - 1}/{file.bytes}"
    status, kind = (206 if span else 200), file.content_type
    if request.method == "HEAD" or file.bytes == 0:
        return Response(status_code=status, headers=headers, media_type=kind)
    try:
        reading = await asyncio.to_thread(service.state.objects.open, file.object_key, start, end)
    except FileNotFoundError as error:
        raise Problem(404, f"The bytes of the file {file.id} are gone.") from error
    parts: Iterator[bytes] = reading.parts
    return StreamingResponse(parts, status, headers=headers, media_type=kind)


def wanted_range(header: str | None, size: int) -> tuple[int, int] | None:
    """The bytes [start, end) that a Range header asks for; None for the whole file, also where it asks for several ranges.

    Raises:
        Problem: 416, the range is not within the file.
    """
    found = RANGE.fullmatch(header.strip()) if header else None
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:
        start, end = max(0, size - int(found[2])), size
    else:
        start, end = int(found[1]), min(size, int(found[2]) + 1 if found[2] else size)
    if start >= end:
        raise Problem(416, f"The range is not within the {size} bytes of the file.")
    return start, end
