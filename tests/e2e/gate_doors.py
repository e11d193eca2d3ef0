"""The doors of a service, each as something that can be asked for what a case of the policy suite wants."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import httpx
import pytest
from infer.policy_suite import Case
from service_doors import House, data_uri, picture_file

from polarlight.base.errors import UserError
from polarlight.infer.engine import ImageTask
from polarlight.infer.images import ImageGenerator, Picture
from polarlight.infer.policy import Refused
from polarlight.infer.policy_images import GatedGenerator
from polarlight.media.pictures import decode_picture, upright_pixels
from polarlight.media.sealing import SealedPicture
from polarlight.serve.accounts import Key
from polarlight.serve.gallery import Gallery, NewTile
from polarlight.serve.ledger import CreditsUsedUp
from polarlight.serve.stored_files import NewFile
from polarlight.serve.studio_orders import Plan, Start

OPENAI, XAI = "gpt-image-1", "grok-imagine-image"
PHOTO = picture_file()
PIXELS = upright_pixels(decode_picture(PHOTO, "the photo"))
Answer = str | None  # the sentence of a refusal, None where the gate let the request pass
Ask = Callable[[list[Case]], Awaitable[Answer]]


class Poor:
    """A service whose key cannot pay, and its doors."""

    def __init__(self, house: House) -> None:
        made = house.state.keys.create("poor", prepaid=True)
        self.house, self.service = house, house.service
        self.key: Key = made.key
        self.secret: str = made.secret


def passed_or_sentence(answer: httpx.Response) -> Answer:
    """What a REST answer means: the purse (403) comes after the gate."""
    body = answer.json()
    sentence = body["error"] if isinstance(body["error"], str) else body["error"]["message"]
    assert answer.status_code in (400, 403), answer.text
    assert (answer.status_code == 403) == ("credit" in sentence.lower()), answer.text
    return None if answer.status_code == 403 else sentence


@asynccontextmanager
async def rest(poor: Poor, model: str) -> AsyncIterator[Ask]:
    async with poor.house.client_with(poor.secret) as client:

        async def ask(several: list[Case]) -> Answer:
            (case,) = several
            body, path = {"prompt": case.prompt, "model": model, "subject_consent": case.consent}, "generations"
            if case.photo:
                body, path = body | {"image": {"url": data_uri(PHOTO)}}, "edits"
            return passed_or_sentence(await client.post(f"/v1/images/{path}", json=body))

        yield ask


@asynccontextmanager
async def batch(poor: Poor) -> AsyncIterator[Ask]:
    async with poor.house.client_with(poor.secret) as client:
        opened = (await client.post("/v1/batches", json={"name": "the suite"})).json()["batch_id"]

        async def ask(several: list[Case]) -> Answer:
            requests = []
            for case in several:
                body, kind = {"prompt": case.prompt, "model": XAI, "subject_consent": case.consent}, "image_generation"
                if case.photo:
                    body, kind = body | {"image": {"url": data_uri(PHOTO)}}, "image_edit"
                requests.append({"batch_request_id": name_of(case), "batch_request": {kind: body}})
            return passed_or_sentence(
                await client.post(f"/v1/batches/{opened}/requests", json={"batch_requests": requests})
            )

        yield ask


@asynccontextmanager
async def grpc(poor: Poor, in_batches: bool = False) -> AsyncIterator[Ask]:
    aio = pytest.importorskip("grpc.aio")
    pytest.importorskip("xai_sdk")
    from xai_sdk.proto import batch_pb2, batch_pb2_grpc, image_pb2, image_pb2_grpc

    from polarlight.serve.grpc.door import GrpcDoor

    door = GrpcDoor(port=0)
    async with door(poor.service), aio.insecure_channel(f"127.0.0.1:{door.port}") as channel:
        key = ("authorization", f"Bearer {poor.secret}")
        images, batches = image_pb2_grpc.ImageStub(channel), batch_pb2_grpc.BatchMgmtStub(channel)
        opened = await batches.CreateBatch(batch_pb2.CreateBatchRequest(name="the suite"), metadata=[key])

        async def ask(several: list[Case]) -> Answer:
            requests = [image_pb2.GenerateImageRequest(prompt=case.prompt, model=XAI) for case in several]
            for case, request in zip(several, requests, strict=True):
                if case.photo:
                    request.image.image_url = data_uri(PHOTO)
            metadata = [key, ("subject-consent", str(several[0].consent).lower())]
            named = [batch_pb2.BatchRequest(image_request=request) for request in requests]
            adding = batch_pb2.AddBatchRequestsRequest(batch_id=opened.batch_id, batch_requests=named)
            call, message = (batches.AddBatchRequests, adding) if in_batches else (images.GenerateImage, requests[0])
            with pytest.raises(aio.AioRpcError) as error:
                await call(message, metadata=metadata)
            sentence = error.value.details()
            return None if "credit" in sentence.lower() else sentence

        yield ask


@asynccontextmanager
async def studio(poor: Poor) -> AsyncIterator[Ask]:
    state, key = poor.house.state, poor.key
    gallery = Gallery(state.database, state.files, state.files.clock)
    file = NewFile(filename="photo.png", content=PHOTO, content_type="image/png", purpose="input")
    kept = {"file_id": state.files.add(key.id, file).id, "kind": "upload", "content_type": "image/png"}
    tile = gallery.add(key.id, NewTile(**kept, width=128, height=128))

    async def ask(several: list[Case]) -> Answer:
        (case,) = several
        start = Start(
            request="r", prompt=case.prompt, model=OPENAI, task="edit" if case.photo else "draw", seed=1, allowed=1,
            sources=[tile.id] if case.photo else [], subject_consent=case.consent,
        )  # fmt: skip
        plan = await asyncio.to_thread(Plan.read, poor.service, gallery, key, start)
        try:
            async for _ in plan.make(1):
                raise AssertionError("a picture was made without credit")
        except CreditsUsedUp:
            return None
        except Refused as refusal:
            return str(refusal)
        raise AssertionError("the studio ended without a word")

    yield ask


@asynccontextmanager
async def command_line(poor: Poor) -> AsyncIterator[Ask]:
    """What `imagine` and `edit` call; the model is out of reach, so that what is allowed ends there."""

    class NoModel(Exception):
        pass

    def load() -> ImageGenerator:
        raise NoModel

    def seal(picture: Picture) -> SealedPicture:
        raise AssertionError("a picture was made without a model")

    generator = GatedGenerator(poor.service.gate, "cli", load)

    async def ask(several: list[Case]) -> Answer:
        (case,) = several
        task = ImageTask(prompt=case.prompt)
        if case.photo:
            task = ImageTask(prompt=case.prompt, task="edit", pictures=(PIXELS,))
        given = {"file": PHOTO if case.photo else None, "subject_consent": case.consent}
        try:
            generator.make(task, [1], seal=seal, **given)
        except Refused as refusal:
            return str(refusal)
        except NoModel:
            return None
        except UserError as error:  # a script that the shipped model never saw; the gate agreed before
            if "unsupported script" in str(error) or "not text" in str(error):
                return None
            raise
        raise AssertionError("a picture was made without a model")

    yield ask


DOORS: dict[str, Callable[[Poor], AbstractAsyncContextManager[Ask]]] = {
    "REST in OpenAI's dialect": lambda poor: rest(poor, OPENAI),
    "REST in xAI's dialect": lambda poor: rest(poor, XAI),
    "batch": batch,
    "gRPC": grpc,
    "batch by gRPC": lambda poor: grpc(poor, in_batches=True),
    "studio": studio,
    "command line": command_line,
}


def name_of(case: Case) -> str:
    """What a case is found by in the audit log."""
    return f"{hashlib.sha256(case.prompt.encode()).hexdigest()}-{case.photo}-{case.consent}"
