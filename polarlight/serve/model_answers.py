"""What a key is told of the models: which there are, what they take and make, at which price."""

from __future__ import annotations

import hashlib

from polarlight import __version__
from polarlight.base.errors import UserError
from polarlight.infer.engine import Engine

from .errors import Problem
from .prices import TICKS_PER_DOLLAR, Prices
from .schemas.models import GenerationModel, ImagePriceBody, ModelBody
from .service import Caller, Service


async def usable_models(service: Service, caller: Caller, modality: str | None = None) -> list[Engine]:
    """The engines (of one modality) whose name, or one of whose aliases, the key's lists allow.

    Raises:
        Problem, TooManyRequests: as `Service.admit`.
    """
    await service.admit(caller, "models")

    def usable(engine: Engine) -> bool:
        names = [engine.info.name, *service.engines.aliases(engine.info.name)]
        return modality in (None, engine.info.modality) and any(caller.key.may("models", name) for name in names)

    return [engine for engine in service.engines if usable(engine)]


async def find_model(service: Service, caller: Caller, name: str, modality: str | None = None) -> Engine:
    """The engine behind a name or an alias.

    Raises:
        Problem: there is none (of this modality), or the key may not use it.
        TooManyRequests: its rate limit is used up.
    """
    await service.admit(caller, "models")
    try:
        engine = service.engines.get(name)
    except UserError:
        engine = None
    if engine is None or not caller.key.may("models", name) or modality not in (None, engine.info.modality):
        raise unknown_model()
    return engine


def unknown_model() -> Problem:
    """How a look-up of a model is answered that is not there."""
    return Problem(404, "Model not found", code="model_not_found", param="model")


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
    pricing = [
        ImagePriceBody(quality=each.quality, resolution=each.resolution, price_per_image=each.ticks)
        for each in prices.image_list(info.name)
    ]
    return GenerationModel(
        id=info.name, fingerprint=f"fp_{hashlib.sha256(described.encode()).hexdigest()[:12]}",
        max_prompt_length=info.max_prompt, created=info.created, owned_by=info.owner, version=__version__,
        input_modalities=takes, output_modalities=[info.modality], aliases=service.engines.aliases(info.name),
        image_price=cheapest(prices, info.name) * 100 // TICKS_PER_DOLLAR if image else None,
        pricing=pricing if image else None,
        sizes={tier: {name: f"{w}x{h}" for name, (w, h) in sizes.items()} for tier, sizes in info.sizes.items()},
    )  # fmt: skip


def cheapest(prices: Prices, model: str) -> int:
    """Ticks of a model's cheapest picture."""
    return min((each.ticks for each in prices.image_list(model)), default=0)
