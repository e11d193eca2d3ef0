"""Reading a request's body: JSON or a form, checked against a schema, refused in the caller's dialect."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException

from .dialects import dialect_of_body, set_dialect
from .errors import Problem
from .objects import ContentTooLarge
from .service import Service

LARGE = 1 << 20  # bytes of JSON from which parsing leaves the event loop
FORM = "multipart/form-data"
Schema = TypeVar("Schema", bound=BaseModel)


@dataclass(frozen=True, kw_only=True)
class FormFile:
    """A file of a form."""

    name: str
    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Form:
    """A form's fields, and its files in their order."""

    fields: dict[str, Any]
    files: tuple[FormFile, ...]

    def contents(self, *names: str) -> list[bytes]:
        """The bytes of the files of these names."""
        return [file.content for file in self.files if file.name in names]


def is_form(request: Request) -> bool:
    """Whether the body is a form."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM


async def read_json(request: Request, service: Service, modality: str = "image") -> dict[str, Any]:
    """The body as a JSON object; finds out the dialect from it.

    Raises:
        Problem: 415 where it is not JSON by its type, 400 where it is not by its content.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "Send the body as application/json.")
    content = await request.body()
    try:
        body = await asyncio.to_thread(json.loads, content) if len(content) > LARGE else json.loads(content)
    except (ValueError, RecursionError) as error:
        raise Problem(400, "The body is not JSON.", code="invalid_json") from error
    if not isinstance(body, dict):
        raise Problem(400, "The body is not a JSON object.", code="invalid_json")
    if request.url.path.startswith(("/v1/images/", "/v1/videos")):
        set_dialect(request, _dialect(request, body, service, modality))
    return body


def _dialect(request: Request, body: dict[str, Any], service: Service, modality: str) -> Any:
    if request.url.path.startswith("/v1/videos/generations"):
        return "xai"
    return dialect_of_body(body, service.engines, modality)


async def read_form(request: Request, most: int) -> Form:
    """The body as a form.

    Raises:
        Problem: it is not a form that can be read.
        ContentTooLarge: a file has more than `most` bytes.
    """
    files, fields = [], {}
    try:
        async with request.form(max_files=20, max_fields=100) as form:
            for name, value in form.multi_items():
                if isinstance(value, str):
                    _set_field(fields, name, value)
                    continue
                if (value.size or 0) > most:
                    raise ContentTooLarge(f"The file is larger than {most} bytes.", fix="Send a smaller file.")
                kind = (value.content_type or "").partition(";")[0].strip().lower()
                sent = {"filename": value.filename or "", "content_type": kind, "content": await value.read()}
                files.append(FormFile(name=name, **sent))
    except HTTPException as error:
        raise Problem(400, "The form cannot be read.") from error
    return Form(fields=fields, files=tuple(files))


def _set_field(fields: dict[str, Any], name: str, value: str) -> None:
    """Put a field in its place: `a[b]` is a field of the object `a`; an empty one is left out."""
    outer, _, inner = name.partition("[")
    inner = inner.rstrip("]")
    if value == "":
        return
    if not inner:
        fields[outer] = value
    elif isinstance(within := fields.setdefault(outer, {}), dict):
        within[inner] = value


def checked(schema: type[Schema], body: Mapping[str, Any], dialect: str) -> Schema:
    """A body as its schema.

    Raises:
        Problem: it does not fit; xAI says so with 422, OpenAI with 400 and the field's name.
    """
    try:
        return schema.model_validate(dict(body))
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        if dialect == "xai":
            what = f"missing field `{name}`" if first["type"] == "missing" else f"{name}: {first['msg']}".lstrip(": ")
            sentence = f"Failed to deserialize the JSON body into the target type: {what} at line 1 column 1"
            raise Problem(422, sentence) from error
        if first["type"] == "missing":
            code, sentence = "missing_required_parameter", f"Missing required parameter: '{name}'."
        else:
            code, sentence = "invalid_value", f"Invalid value for '{name}': {first['msg']}."
        raise Problem(400, sentence, code=code, param=name or None) from error
