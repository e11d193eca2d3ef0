"""Models: what there is, for whom, at which price."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from ..authentication import caller_of, service_of
from ..documentation import answers
from ..model_answers import find_model, generation_model, model_body, usable_models
from ..schemas.models import GenerationModel, GenerationModelList, ModelBody, ModelList
from ..service import Caller

router = APIRouter(tags=["models"])
Asking = Annotated[Caller, Depends(caller_of)]


@router.get("/v1/models", responses=answers())
async def listing(request: Request, caller: Asking) -> ModelList:
    """Every model that the key may use."""
    service = service_of(request)
    return ModelList(data=[model_body(service, engine) for engine in await usable_models(service, caller)])


@router.get("/v1/models/{name}", responses=answers())
async def retrieve(request: Request, caller: Asking, name: str) -> ModelBody:
    """One model, by its name or an alias."""
    service = service_of(request)
    return model_body(service, await find_model(service, caller, name))


@router.get("/v1/image-generation-models", responses=answers())
async def image_models(request: Request, caller: Asking) -> GenerationModelList:
    """The models that make pictures."""
    return await _all(request, caller, "image")


@router.get("/v1/image-generation-models/{name}", responses=answers())
async def image_model(request: Request, caller: Asking, name: str) -> GenerationModel:
    """One of them."""
    return await _one(request, caller, name, "image")


@router.get("/v1/video-generation-models", responses=answers())
async def video_models(request: Request, caller: Asking) -> GenerationModelList:
    """The models that make clips."""
    return await _all(request, caller, "video")


@router.get("/v1/video-generation-models/{name}", responses=answers())
async def video_model(request: Request, caller: Asking, name: str) -> GenerationModel:
    """One of them."""
    return await _one(request, caller, name, "video")


async def _all(request: Request, caller: Caller, modality: str) -> GenerationModelList:
    service = service_of(request)
    usable = await usable_models(service, caller, modality)
    return GenerationModelList(models=[generation_model(service, engine) for engine in usable])


async def _one(request: Request, caller: Caller, name: str, modality: str) -> GenerationModel:
    service = service_of(request)
    return generation_model(service, await find_model(service, caller, name, modality))
