"""Requests for files and their answers."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from .shared import MONTH_S, Body, Listing


class FileUpload(Body):
    """The fields of the form beside its file `file`. `expires_after`: seconds, or OpenAI's {anchor, seconds}."""

    purpose: str = Field(default="user_data", pattern=r"^[\w-]{1,64}$")
    expires_after: int | dict[str, str] | None = None


class FileBody(BaseModel):
    """A file, for both dialects. Times are seconds since 1970.

    `public_url` is null where the file has no public address now, `public_url_expires_at` also where it has one until it
    is revoked.
    """

    id: str
    object: Literal["file"] = "file"
    bytes: int
    filename: str
    purpose: str
    status: Literal["processed"] = "processed"
    content_type: str
    created_at: int
    expires_at: int | None
    public_url: str | None
    public_url_expires_at: int | None


class FileList(Listing):
    """A page of files; `pagination_token` leads to the next, too."""

    data: list[FileBody]
    pagination_token: str | None


class FileDeleted(BaseModel):
    """A file that is gone."""

    id: str
    object: Literal["file"] = "file"
    deleted: bool = True


class PublicUrlRequest(Body):
    """How long the address shall be good, in seconds."""

    expires_after: int | None = Field(default=None, ge=3600, le=MONTH_S)


class PublicUrl(BaseModel):
    """A public address; `expires_at` is null where it lasts until it is revoked."""

    public_url: str
    expires_at: int | None


class PublicUrlRevoked(BaseModel):
    """An address that ended; `public_url` is the one that did, null where there was none."""

    id: str
    revoked: bool
    public_url: str | None
