"""Listings of models. Prices are in ticks ($1 = 10^10 ticks) unless a field says otherwise."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict


class ModelBody(BaseModel):
    """A model; `context_length` is the longest prompt in characters, `image_price` that of its cheapest picture."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    aliases: list[str]
    context_length: int
    image_price: int | None = None


class ModelList(BaseModel):
    """Every model that the key may use."""

    object: Literal["list"] = "list"
    data: list[ModelBody]


class ImagePriceBody(BaseModel):
    """What a picture costs, in ticks."""

    quality: str
    resolution: str
    price_per_image: int


class GenerationModel(BaseModel):
    """A model that makes pictures or clips; `max_prompt_length` in characters, `image_price` in cents."""

    model_config = ConfigDict(extra="forbid")

    id: str
    fingerprint: str
    max_prompt_length: int
    created: int
    object: Literal["model"] = "model"
    owned_by: str
    version: str
    input_modalities: list[str]
    output_modalities: list[str]
    aliases: list[str]
    image_price: int | None = None
    pricing: list[ImagePriceBody] | None = None
    sizes: dict[str, dict[str, str]]


class GenerationModelList(BaseModel):
    """Models of one modality."""

    models: list[GenerationModel]
