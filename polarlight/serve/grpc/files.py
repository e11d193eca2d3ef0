"""Files: uploaded and read in parts, listed, published, deleted."""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import AsyncIterator
from typing import Any

import grpc
from xai_sdk.proto import files_pb2, files_pb2_grpc

from ..bodies import checked
from ..errors import Problem
from ..objects import PLAIN, SUFFIXES, ContentTooLarge
from ..routes.files import PAGE, _listed, _seconds
from ..schemas.files import FileUpload, PublicUrlRequest
from ..service import Service
from ..stored_files import NewFile, StoredFile
from .authentication import CALLER
from .messages import optional, stamp

Context = grpc.aio.ServicerContext
MOST_LISTED = 10_000


class Files(files_pb2_grpc.FilesServicer):
    """The files of the calling key."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def UploadFile(self, parts: AsyncIterator[files_pb2.UploadFileChunk], context: Context) -> files_pb2.File:
        """Keep a file; its name tells its type."""
        await self.service.admit(CALLER.get(), "files")
        about, content = await self._received(parts)
        asked = checked(FileUpload, optional(about, "expires_after"), "openai")
        kind = mimetypes.guess_type(about.name)[0]
        file = NewFile(
            filename=about.name.replace("\\", "/").rpartition("/")[2][-200:] or "file", content=content,
            content_type=kind if kind in SUFFIXES else PLAIN, purpose=asked.purpose,
            expires_in_s=_seconds(asked.expires_after),
        )  # fmt: skip
        return self._message(await asyncio.to_thread(self.service.state.files.add, CALLER.get().key.id, file))

    async def ListFiles(self, request: files_pb2.ListFilesRequest, context: Context) -> files_pb2.ListFilesResponse:
        """The key's files, oldest first unless it is asked otherwise: that is what the protocol's order says unset."""
        caller = CALLER.get()
        await self.service.admit(caller, "files")
        if request.filter:
            raise Problem(400, "Lists are not filtered by expressions.", param="filter")
        if request.sort_by != files_pb2.FilesSortBy.FILES_SORT_BY_CREATED_AT:
            raise Problem(400, "Files are listed by the time they came. Leave sort_by out.", param="sort_by")
        limit = page_limit(request.limit, PAGE, MOST_LISTED)
        chosen = {"newest_first": request.order == files_pb2.Ordering.DESCENDING}
        after = request.pagination_token or None
        found = await asyncio.to_thread(_listed, self.service, caller.key.id, limit + 1, after, chosen)
        token = found[limit - 1].id if len(found) > limit else None
        return files_pb2.ListFilesResponse(data=map(self._message, found[:limit]), pagination_token=token)

    async def RetrieveFile(self, request: files_pb2.RetrieveFileRequest, context: Context) -> files_pb2.File:
        """One file."""
        return self._message(await self._file(request.file_id))

    async def DeleteFile(self, request: files_pb2.DeleteFileRequest, context: Context) -> files_pb2.DeleteFileResponse:
        """Remove a file, and with it its public address."""
        file = await self._file(request.file_id)
        await asyncio.to_thread(self.service.state.files.delete, file.id, file.key_id)
        return files_pb2.DeleteFileResponse(id=file.id, deleted=True)

    async def RetrieveFileContent(
        self, request: files_pb2.RetrieveFileContentRequest, context: Context
    ) -> AsyncIterator[files_pb2.FileContentChunk]:
        """A file's bytes."""
        if request.format == files_pb2.DownloadFormat.DOWNLOAD_FORMAT_TEXT:
            raise Problem(400, "Files come as they are, not as their text. Leave format out.", param="format")
        file = await self._file(request.file_id)
        if file.bytes == 0:
            return
        try:
            reading = await asyncio.to_thread(self.service.state.objects.open, file.object_key)
        except FileNotFoundError as error:
            raise Problem(404, f"The bytes of the file {file.id} are gone.") from error
        while (part := await asyncio.to_thread(next, reading.parts, None)) is not None:
            yield files_pb2.FileContentChunk(data=part)

    async def CreatePublicUrl(
        self, request: files_pb2.CreatePublicUrlRequest, context: Context
    ) -> files_pb2.CreatePublicUrlResponse:
        """Give a file a public address, a new one each time."""
        file = await self._file(request.file_id)
        asked = checked(PublicUrlRequest, optional(request, "expires_after"), "openai")
        file = await asyncio.to_thread(self.service.state.files.publish, file.id, asked.expires_after)
        return files_pb2.CreatePublicUrlResponse(
            public_url=self.service.address(file), expires_at=stamp(file.public_until)
        )

    async def RevokePublicUrl(
        self, request: files_pb2.RevokePublicUrlRequest, context: Context
    ) -> files_pb2.RevokePublicUrlResponse:
        """End a file's public address."""
        file = await self._file(request.file_id)
        ended = self.service.address(file) if file.public_token else None
        await asyncio.to_thread(self.service.state.files.unpublish, file.id)
        return files_pb2.RevokePublicUrlResponse(file_id=file.id, revoked=ended is not None, public_url=ended)

    async def _file(self, file_id: str) -> StoredFile:
        caller = CALLER.get()
        await self.service.admit(caller, "files")
        return await asyncio.to_thread(self.service.state.files.get, file_id, caller.key.id)

    async def _received(
        self, parts: AsyncIterator[files_pb2.UploadFileChunk]
    ) -> tuple[files_pb2.UploadFileInit, bytes]:
        """What an upload says of the file, and the file; the client may be silent as long as in REST."""
        most, about, content = self.service.state.settings.limits.file_bytes, None, bytearray()
        reading = aiter(parts)
        while (part := await self._next(reading)) is not None:
            if part.WhichOneof("chunk") == "init":
                about = part.init
            content += part.data
            if len(content) > most:
                raise ContentTooLarge(f"The file is larger than {most} bytes.", fix="Send a smaller file.")
        if about is None:
            raise Problem(400, "The upload does not begin with the file's name.")
        return about, bytes(content)

    async def _next(self, reading: AsyncIterator[Any]) -> Any:
        try:
            async with asyncio.timeout(self.service.options.body_s):
                return await anext(reading, None)
        except TimeoutError as error:
            raise Problem(408, "The file did not arrive in time.") from error

    def _message(self, file: StoredFile) -> files_pb2.File:
        """A file as it is shown."""
        return files_pb2.File(
            id=file.id, filename=file.filename, size=file.bytes, created_at=stamp(file.created_at),
            expires_at=stamp(file.expires_at), public_url=self.service.address(file) if file.public_token else None,
            public_url_expires_at=stamp(file.public_until),
        )  # fmt: skip


def page_limit(asked: int, usual: int, most: int) -> int:
    """How many a page has; 0 is what the protocol sends where nothing was said.

    Raises:
        Problem: it is below zero or above `most`.
    """
    if not 0 <= asked <= most:
        raise Problem(400, f"limit must be from 1 to {most}.", param="limit")
    return asked or usual
