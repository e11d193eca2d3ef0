"""Requests for pictures and their answers."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from .shared import Aspect, Body, FileOutput, ModelName, Prompt, Reference, Seed, Size, StorageOptions, Usage, Words

Quality = Literal["auto", "low", "medium", "high", "xhigh", "max", "standard", "hd"]
GROK_QUALITIES = ("auto", "low", "medium", "high")


class ImageOutputs(Body):
    """What every request for pictures may say of how they come. `user`, `safety_identifier` change nothing here."""

    model: ModelName | None = None
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    output_compression: int | None = Field(default=None, ge=0, le=100)
    stream: bool | None = None
    user: str | None = None
    safety_identifier: str | None = None
    subject_consent: bool = False
    storage_options: StorageOptions | None = None


class ImageSettings(ImageOutputs):
    """What every request for pictures that a model draws may say. `style`, `moderation` change nothing here."""

    n: int | None = Field(default=None, ge=1, le=10)
    size: Size | None = None
    aspect_ratio: Aspect | None = None
    resolution: str | None = Field(default=None, max_length=16)
    quality: Quality | None = None
    background: Literal["transparent", "opaque", "auto"] | None = None
    moderation: Literal["low", "auto"] | None = None
    partial_images: int | None = Field(default=None, ge=0, le=3)
    seed: Seed | None = None
    negative_prompt: Words | None = None
    plan: Words | None = None
    candidates: int | None = Field(default=None, ge=1, le=16)
    style: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _known_to_grok(cls, body: Any) -> Any:
        if isinstance(body, dict) and str(body.get("model", "")).startswith("grok"):
            quality = body.get("quality")
            if quality is not None and quality not in GROK_QUALITIES:
                raise ValueError(f"quality: unknown variant `{quality}`, expected one of {', '.join(GROK_QUALITIES)}")
        return body


class ImageGeneration(ImageSettings):
    """`POST /v1/images/generations`."""

    prompt: Prompt


class ImageEdit(ImageSettings):
    """`POST /v1/images/edits` as JSON: one `image` or several `images`."""

    prompt: Prompt
    image: Reference | None = None
    images: list[Reference] | None = Field(default=None, min_length=1, max_length=16)
    image_url: str | None = None
    mask: Reference | None = None

    @model_validator(mode="after")
    def _some_picture(self) -> ImageEdit:
        if len([each for each in (self.image, self.images, self.image_url) if each]) != 1:
            raise ValueError("give either image or images")
        return self

    def places(self) -> list[str]:
        """Where the pictures are, in order."""
        if self.image_url:
            return [self.image_url]
        return [each.place for each in (self.images or [self.image]) if each is not None]


class ImageEditForm(ImageSettings):
    """`POST /v1/images/edits` as a form; the pictures are its files `image` or `image[]`."""

    prompt: Prompt
    input_fidelity: Literal["high", "low"] | None = None


class ImageVariationForm(ImageSettings):
    """`POST /v1/images/variations`; the picture is the form's file `image`."""

    prompt: Words = ""


class ImageUpscaleForm(ImageOutputs):
    """`POST /v1/images/upscale` as a form; the picture is its file `image`. prompt: what it is known to show, if anything."""

    factor: Literal[2, 4] = 2
    prompt: Words = ""

    @field_validator("factor", mode="before")
    @classmethod
    def _number(cls, factor: Any) -> Any:
        return int(factor) if factor in ("2", "4") else factor  # a form has nothing but text


class ImageUpscale(ImageUpscaleForm):
    """`POST /v1/images/upscale` as JSON."""

    image: Reference


class ImageData(BaseModel):
    """One picture. `url` and `b64_json` are both null where `respect_moderation` is false."""

    url: str | None = None
    b64_json: str | None = None
    mime_type: str
    revised_prompt: str
    respect_moderation: bool
    file_output: FileOutput | None = None
    seed: int
    size: str
    note: str | None = None


class ImageAnswerBody(BaseModel):
    """Pictures, for both dialects."""

    created: int
    data: list[ImageData]
    model: str
    background: Literal["opaque"] = "opaque"
    output_format: Literal["png", "jpeg", "webp"]
    quality: Quality
    size: str
    usage: Usage
