"""Models: those that make pictures. The protocol has no listing of models that make clips, and here are none for words."""

from __future__ import annotations

import grpc
from google.protobuf.empty_pb2 import Empty
from xai_sdk.proto import models_pb2, models_pb2_grpc

from polarlight.infer.engine import Engine

from ..errors import Problem
from ..model_answers import find_model, generation_model, unknown_model, usable_models
from ..service import Service
from .authentication import CALLER
from .messages import stamp

Context = grpc.aio.ServicerContext
MODALITIES = {"text": models_pb2.Modality.TEXT, "image": models_pb2.Modality.IMAGE}


class Models(models_pb2_grpc.ModelsServicer):
    """What there is, for the calling key."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def ListImageGenerationModels(
        self, request: Empty, context: Context
    ) -> models_pb2.ListImageGenerationModelsResponse:
        """The models that make pictures."""
        usable = await usable_models(self.service, CALLER.get(), "image")
        return models_pb2.ListImageGenerationModelsResponse(models=map(self._message, usable))

    async def GetImageGenerationModel(
        self, request: models_pb2.GetModelRequest, context: Context
    ) -> models_pb2.ImageGenerationModel:
        """One of them, by its name or an alias."""
        return self._message(await find_model(self.service, CALLER.get(), request.name, "image"))

    async def ListLanguageModels(self, request: Empty, context: Context) -> models_pb2.ListLanguageModelsResponse:
        """An empty list."""
        await self.service.admit(CALLER.get(), "models")
        return models_pb2.ListLanguageModelsResponse()

    async def GetLanguageModel(self, request: models_pb2.GetModelRequest, context: Context) -> models_pb2.LanguageModel:
        """There is none."""
        raise await self._missing()

    async def ListEmbeddingModels(self, request: Empty, context: Context) -> models_pb2.ListEmbeddingModelsResponse:
        """An empty list."""
        await self.service.admit(CALLER.get(), "models")
        return models_pb2.ListEmbeddingModelsResponse()

    async def GetEmbeddingModel(
        self, request: models_pb2.GetModelRequest, context: Context
    ) -> models_pb2.EmbeddingModel:
        """There is none."""
        raise await self._missing()

    async def _missing(self) -> Problem:
        await self.service.admit(CALLER.get(), "models")
        return unknown_model()

    def _message(self, engine: Engine) -> models_pb2.ImageGenerationModel:
        """A model as REST describes it; `image_price` is that of its cheapest picture, in cents."""
        model = generation_model(self.service, engine)
        return models_pb2.ImageGenerationModel(
            name=model.id, aliases=model.aliases, version=model.version, created=stamp(model.created),
            input_modalities=[MODALITIES[each] for each in model.input_modalities],
            output_modalities=[MODALITIES[each] for each in model.output_modalities],
            image_price=model.image_price or 0, max_prompt_length=model.max_prompt_length,
            system_fingerprint=model.fingerprint,
        )  # fmt: skip
