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
from ..file_requests import MOST_LISTED, PAGE, keep_file, list_files, open_address, own_file, revoke_address
from ..objects import ContentTooLarge
from ..schemas.files import FileUpload, PublicUrlRequest
from ..service import Service
from ..stored_files import StoredFile
from .authentication import CALLER
from .messages import optional, page_limit, stamp

Context = grpc.aio.ServicerContext


class Files(files_pb2_grpc.FilesServicer):
    """The files of the calling key."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def UploadFile(self, parts: AsyncIterator[files_pb2.UploadFileChunk], context: Context) -> files_pb2.File:
        """Keep a file; its name tells its type. The same upload again with the same idempotency key is the same file."""
        caller = CALLER.get()
        await self.service.admit(caller, "files")
        about, content = await self._received(parts)
        asked = checked(FileUpload, optional(about, "expires_after"), "openai")
        kind = mimetypes.guess_type(about.name)[0]
        return self._message(
            await keep_file(self.service, caller, asked, filename=about.name, content=content, content_type=kind)
        )

    async def ListFiles(self, request: files_pb2.ListFilesRequest, context: Context) -> files_pb2.ListFilesResponse:
        """The key's files, oldest first unless it is asked otherwise: that is what the protocol's order says unset."""
        caller = CALLER.get()
        await self.service.admit(caller, "files")
        if request.filter:
            raise Problem(400, "Lists are not filtered by expressions.", param="filter")
        if request.sort_by != files_pb2.FilesSortBy.FILES_SORT_BY_CREATED_AT:
            raise Problem(400, "Files are listed by the time they came. Leave sort_by out.", param="sort_by")
        page = await list_files(
            self.service, caller, after=request.pagination_token or None,
            limit=page_limit(request.limit, PAGE, MOST_LISTED),
            newest_first=request.order == files_pb2.Ordering.DESCENDING,
        )  # fmt: skip
        return files_pb2.ListFilesResponse(data=map(self._message, page.items), pagination_token=page.token)

    async def RetrieveFile(self, request: files_pb2.RetrieveFileRequest, context: Context) -> files_pb2.File:
        """One file."""
        return self._message(await own_file(self.service, CALLER.get(), request.file_id))

    async def DeleteFile(self, request: files_pb2.DeleteFileRequest, context: Context) -> files_pb2.DeleteFileResponse:
        """Remove a file, and with it its public address."""
        file = await own_file(self.service, CALLER.get(), request.file_id)
        await asyncio.to_thread(self.service.state.files.delete, file.id, file.key_id)
        return files_pb2.DeleteFileResponse(id=file.id, deleted=True)

    async def RetrieveFileContent(
        self, request: files_pb2.RetrieveFileContentRequest, context: Context
    ) -> AsyncIterator[files_pb2.FileContentChunk]:
        """A file's bytes."""
        if request.format == files_pb2.DownloadFormat.DOWNLOAD_FORMAT_TEXT:
            raise Problem(400, "Files come as they are, not as their text. Leave format out.", param="format")
        file = await own_file(self.service, CALLER.get(), request.file_id)
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
        file = await own_file(self.service, CALLER.get(), request.file_id)
        asked = checked(PublicUrlRequest, optional(request, "expires_after"), "openai")
        file = await asyncio.to_thread(self.service.state.files.publish, file.id, asked.expires_after)
        return files_pb2.CreatePublicUrlResponse(
            public_url=self.service.address(file), expires_at=stamp(file.public_until)
        )

    async def RevokePublicUrl(
        self, request: files_pb2.RevokePublicUrlRequest, context: Context
    ) -> files_pb2.RevokePublicUrlResponse:
        """End a file's public address."""
        file = await own_file(self.service, CALLER.get(), request.file_id)
        ended = await revoke_address(self.service, file)
        return files_pb2.RevokePublicUrlResponse(file_id=file.id, revoked=ended is not None, public_url=ended)

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
        address, until = open_address(self.service, file)
        return files_pb2.File(
            id=file.id, filename=file.filename, size=file.bytes, created_at=stamp(file.created_at),
            expires_at=stamp(file.expires_at), public_url=address, public_url_expires_at=stamp(until),
        )  # fmt: skip
