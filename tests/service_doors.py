"""A running service for tests: over ASGI in the same loop, or behind uvicorn on a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from service_engines import WITHHELD, FakeClips, FakeImages
from service_waiting import wait_for

from polarlight.infer.engine import Engines
from polarlight.infer.policy import GateConfig
from polarlight.serve.app import Door, make_app
from polarlight.serve.options import Options
from polarlight.serve.server import make_server
from polarlight.serve.service import Service
from polarlight.serve.settings import Limits, Settings
from polarlight.serve.state import State


def classifier(picture: np.ndarray) -> dict[str, float]:
    return {"withheld": float(abs(float(picture.mean()) - WITHHELD) < 2)}


class House:
    """A service with fake engines, two keys and a client."""

    def __init__(
        self,
        home: Path,
        *,
        clips: bool = True,
        limits: Limits | None = None,
        names: tuple[str, ...] = (),
        **options: object,
    ) -> None:
        self.images, self.clips = FakeImages(), FakeClips()
        engines = Engines()
        engines.add(self.images, "gpt-image-1", "grok-imagine-image")
        if clips:
            engines.add(self.clips, "sora-2", "grok-imagine-video")
        home.mkdir(exist_ok=True)
        self.settings = Settings.at(home, public_url="http://test", limits=limits or Limits())
        self.state = State.open(self.settings)
        policy = GateConfig(names=names, classifiers={"grey": (classifier, {"withheld": 0.5})})
        # signing costs 30 ms a picture; what it writes is tested by itself
        opened = Options(**{"sign": False, "drain_s": 2.0, **options})
        self.service = Service.open(self.settings, engines, opened, state=self.state, policy=policy)
        made = self.state.keys.create("first")
        self.key, self.secret = made.key, made.secret
        self.other = self.state.keys.create("second").secret
        self.app = make_app(self.service)
        self.client = self.client_with(self.secret)

    def client_with(self, secret: str | None) -> httpx.AsyncClient:
        headers = {} if secret is None else {"authorization": f"Bearer {secret}"}
        return httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://test", headers=headers)

    async def settled(self, job_id: str) -> str:
        """The state that a job ends in."""
        async with asyncio.timeout(20):
            while not (job := await asyncio.to_thread(self.state.jobs.get, job_id)).ended:
                await asyncio.sleep(0.02)
        return job.state

    def jobs(self) -> list:
        return self.state.jobs.page(self.key.id, limit=100)

    def charged(self) -> int:
        return sum(line.ticks for line in self.state.ledger.usage(key_id=self.key.id))


@asynccontextmanager
async def open_house(home: Path, **options: object) -> AsyncIterator[House]:
    """The service, started, spoken to over ASGI."""
    house = House(home, **options)
    async with house.app.router.lifespan_context(house.app), house.client:
        yield house


@contextmanager
def running(service: Service, doors: Sequence[Door] = ()) -> Iterator[str]:
    """The service behind uvicorn in a thread, on a free port of 127.0.0.1; its address."""
    server = make_server(service, "127.0.0.1", 0, doors=doors)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_for(lambda: server.started, "the server starts", 20)
    try:
        yield "http://127.0.0.1:{1}".format(*server.servers[0].sockets[0].getsockname())
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


@contextmanager
def listening_house(home: Path, **options: object) -> Iterator[tuple[House, str]]:
    """A house behind uvicorn; also its address."""
    house = House(home, **options)
    with running(house.service) as address:
        yield house, address


async def soon(condition: Callable[[], object]) -> None:
    """Return as soon as something holds, while the loop goes on."""
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)


def picture_file(form: str = "PNG", size: tuple[int, int] = (128, 128), grey: int = 120) -> bytes:
    """A picture file of one grey."""
    buffer = io.BytesIO()
    Image.new("RGB", size, (grey, grey, grey)).save(buffer, form)
    return buffer.getvalue()


def mask_file(size: tuple[int, int] = (128, 128)) -> bytes:
    """A mask whose middle is transparent."""
    alpha = np.full((size[1], size[0]), 255, np.uint8)
    alpha[40:80, 40:80] = 0
    buffer = io.BytesIO()
    Image.fromarray(np.dstack([np.zeros((*alpha.shape, 3), np.uint8), alpha])).save(buffer, "PNG")
    return buffer.getvalue()


def data_uri(content: bytes, kind: str = "image/png") -> str:
    """A file as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def pixels_of(b64: str) -> np.ndarray:
    """The picture of a b64 answer."""
    return np.array(Image.open(io.BytesIO(base64.b64decode(b64))).convert("RGB"))


def in_house(**options: object) -> Callable[[Callable[..., Awaitable[None]]], Callable[..., None]]:
    """Make a test of a coroutine that is given a started service, and what else it asks for: parameters, fixtures."""

    def decorate(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
        async def go(home: Path, **others: object) -> None:
            async with open_house(home, **options) as house:
                await test(house, **others)

        @wraps(test)
        def run(tmp_path: Path, migrated_file: Path, **others: object) -> None:
            asyncio.run(go(made_home(tmp_path, migrated_file), **others))

        own = list(signature(test).parameters.values())[1:]
        needs = [Parameter(name, Parameter.KEYWORD_ONLY) for name in ("tmp_path", "migrated_file")]
        run.__signature__ = Signature([*needs, *(each.replace(kind=Parameter.KEYWORD_ONLY) for each in own)])
        return run

    return decorate


def made_home(folder: Path, migrated_file: Path) -> Path:
    """A state folder whose database has its schema already."""
    home = folder / "home"
    home.mkdir()
    shutil.copy(migrated_file, home / "polarlight.db")
    return home
