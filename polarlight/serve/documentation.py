"""What the OpenAPI document says of bodies that the routes read themselves: two dialects, JSON or a form, on one path."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from .errors import CODES
from .schemas.account import DataSharingChange
from .schemas.batches import BatchCreation, BatchRequests
from .schemas.files import FileUpload, PublicUrlRequest
from .schemas.images import (
    ImageEdit,
    ImageEditForm,
    ImageGeneration,
    ImageUpscale,
    ImageUpscaleForm,
    ImageVariationForm,
)
from .schemas.shared import ErrorBody
from .schemas.videos import Remix, VideoCreation, VideoEdit, VideoExtension, VideoGeneration

PLACE = "#/components/schemas/{model}"
TEXT_STATUSES = (422,)
BODIES: tuple[type[BaseModel], ...] = (
    BatchCreation, BatchRequests, DataSharingChange, FileUpload, ImageEdit, ImageEditForm, ImageGeneration, ImageUpscale,
    ImageUpscaleForm, ImageVariationForm, PublicUrlRequest, Remix, VideoCreation, VideoEdit, VideoExtension,
    VideoGeneration,
)  # fmt: skip


def answers(success: Any = None) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: its own (a schema or a union of them), and an error's for every status, in both dialects."""
    errors: dict[int | str, dict[str, Any]] = {
        code: {"model": ErrorBody} for code in CODES if code not in TEXT_STATUSES
    }
    errors[422] = {"description": "xAI: not the schema", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return errors | ({} if success is None else {200: {"model": success}})


def body_of(
    json_schema: type[BaseModel] | None = None,
    form_schema: type[BaseModel] | None = None,
    *,
    files: tuple[str, ...] = (),
    needed: tuple[str, ...] = (),
) -> dict[str, Any]:
    """A request's body: as JSON, as a form with these files, some of which it needs, or as either."""
    content: dict[str, Any] = {}
    if json_schema is not None:
        assert json_schema in BODIES, f"{json_schema.__name__} is not among the documented bodies"
        content["application/json"] = {"schema": {"$ref": PLACE.format(model=json_schema.__name__)}}
    if form_schema is not None:
        assert form_schema in BODIES, f"{form_schema.__name__} is not among the documented bodies"
        form = form_schema.model_json_schema(ref_template=PLACE)
        form.pop("$defs", None)
        form["properties"] |= {name: {"type": "string", "format": "binary"} for name in files}
        form["required"] = sorted({*form.get("required", ()), *needed})
        content["multipart/form-data"] = {"schema": form}
    return {"requestBody": {"required": True, "content": content}}


def openapi(app: FastAPI) -> dict[str, Any]:
    """The document, made once; every route but the open ones asks for a bearer key."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )  # fmt: skip
        _, definitions = models_json_schema([(body, "validation") for body in BODIES], ref_template=PLACE)
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(definitions.get("$defs", {}))
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, methods in document["paths"].items():
            for operation in methods.values():
                if not path.startswith("/health"):
                    operation["security"] = [{"key": []}]
        app.openapi_schema = document
    return app.openapi_schema
