"""Models: what there is, for whom, at which price."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Request

from polarlight import __version__
from polarlight.base.errors import UserError
from polarlight.infer.engine import Engine

from ..authentication import caller_of, service_of
from ..documentation import answers
from ..errors import Problem
from ..prices import TICKS_PER_DOLLAR, Prices
from ..schemas.models import GenerationModel, GenerationModelList, ImagePriceBody, ModelBody, ModelList
from ..service import Caller, Service

router = APIRouter(tags=["models"])
Asking = Annotated[Caller, Depends(caller_of)]


@router.get("/v1/models", responses=answers())
async def listing(request: Request, caller: Asking) -> ModelList:
    """Every model that the key may use."""
    service = service_of(request)
    return ModelList(data=[model_body(service, engine) for engine in await _usable(service, caller)])


@router.get("/v1/models/{name}", responses=answers())
async def retrieve(request: Request, caller: Asking, name: str) -> ModelBody:
    """One model, by its name or an alias."""
    service = service_of(request)
    return model_body(service, await _one(service, caller, name))


@router.get("/v1/image-generation-models", responses=answers())
async def image_models(request: Request, caller: Asking) -> GenerationModelList:
    """The models that make pictures."""
    return await _of(request, caller, "image")


@router.get("/v1/image-generation-models/{name}", responses=answers())
async def image_model(request: Request, caller: Asking, name: str) -> GenerationModel:
    """One of them."""
    service = service_of(request)
    return generation_model(service, await _one(service, caller, name, "image"))


@router.get("/v1/video-generation-models", responses=answers())
async def video_models(request: Request, caller: Asking) -> GenerationModelList:
    """The models that make clips."""
    return await _of(request, caller, "video")


@router.get("/v1/video-generation-models/{name}", responses=answers())
async def video_model(request: Request, caller: Asking, name: str) -> GenerationModel:
    """One of them."""
    service = service_of(request)
    return generation_model(service, await _one(service, caller, name, "video"))


def model_body(service: Service, engine: Engine) -> ModelBody:
    """A model in the common listing."""
    info = engine.info
    price = cheapest(service.state.prices, info.name) if info.modality == "image" else None
    return ModelBody(
        id=info.name, created=info.created, owned_by=info.owner, aliases=service.engines.aliases(info.name),
        context_length=info.max_prompt, image_price=price,
    )  # fmt: skip


def generation_model(service: Service, engine: Engine) -> GenerationModel:
    """A model in the listing of its modality."""
    info, prices = engine.info, service.state.prices
    image = info.modality == "image"
    takes = ["text", *(["image"] if info.max_inputs else []), *([] if image else ["video"])]
    described = f"{info.name} {info.created} {info.tasks} {info.modes}"
    return GenerationModel(
        id=info.name, fingerprint=f"fp_{hashlib.sha256(described.encode()).hexdigest()[:12]}",
        max_prompt_length=info.max_prompt, created=info.created, owned_by=info.owner, version=__version__,
        input_modalities=takes, output_modalities=[info.modality], aliases=service.engines.aliases(info.name),
        image_price=cheapest(prices, info.name) * 100 // TICKS_PER_DOLLAR if image else None,
        pricing=[_price(each.quality, each.resolution, each.ticks) for each in prices.image_list(info.name)]
        if image
        else None,
        sizes={tier: {name: f"{w}x{h}" for name, (w, h) in sizes.items()} for tier, sizes in info.sizes.items()},
    )  # fmt: skip


def cheapest(prices: Prices, model: str) -> int:
    """Ticks of a model's cheapest picture."""
    return min((each.ticks for each in prices.image_list(model)), default=0)


def _price(quality: str, resolution: str, ticks: int) -> ImagePriceBody:
    return ImagePriceBody(quality=quality, resolution=resolution, price_per_image=ticks)


async def _usable(service: Service, caller: Caller) -> list[Engine]:
    """The engines whose name, or one of whose aliases, the key's lists allow."""
    await service.admit(caller, "models")
    names = {
        engine.info.name: [engine.info.name, *service.engines.aliases(engine.info.name)] for engine in service.engines
    }
    return [
        engine for engine in service.engines if any(caller.key.may("models", name) for name in names[engine.info.name])
    ]


async def _one(service: Service, caller: Caller, name: str, modality: str | None = None) -> Engine:
    await service.admit(caller, "models")
    try:
        engine = service.engines.get(name)
    except UserError:
        engine = None
    if engine is None or not caller.key.may("models", name) or modality not in (None, engine.info.modality):
        raise Problem(404, "Model not found", code="model_not_found", param="model")
    return engine


async def _of(request: Request, caller: Caller, modality: str) -> GenerationModelList:
    service = service_of(request)
    usable = [engine for engine in await _usable(service, caller) if engine.info.modality == modality]
    return GenerationModelList(models=[generation_model(service, engine) for engine in usable])
