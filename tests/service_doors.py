"""A running service for tests: over ASGI in the same loop, or behind uvicorn on a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import base64
import io
import shutil
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from service_engines import WITHHELD, FakeClips, FakeImages

from polarlight.infer.engine import Engines
from polarlight.infer.policy import GateConfig
from polarlight.serve.app import make_app
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
        for _ in range(200):
            job = await asyncio.to_thread(self.state.jobs.get, job_id)
            if job.ended:
                return job.state
            await asyncio.sleep(0.02)
        raise AssertionError(f"the job {job_id} is still {job.state}")

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
def listening_house(home: Path, **options: object) -> Iterator[tuple[House, str]]:
    """The service behind uvicorn in a thread; also its address."""
    house = House(home, **options)
    server = make_server(house.service, "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield house, f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


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


def in_house(**options: object) -> Callable[[Callable[[House], Awaitable[None]]], Callable[[Path, Path], None]]:
    """Make a test of a coroutine that is given a started service."""

    def decorate(test: Callable[[House], Awaitable[None]]) -> Callable[[Path, Path], None]:
        async def go(home: Path) -> None:
            async with open_house(home, **options) as house:
                await test(house)

        def run(tmp_path: Path, migrated_file: Path) -> None:
            asyncio.run(go(made_home(tmp_path, migrated_file)))

        run.__name__, run.__qualname__, run.__doc__ = test.__name__, test.__qualname__, test.__doc__
        run.__module__ = test.__module__
        return run

    return decorate


def made_home(folder: Path, migrated_file: Path) -> Path:
    """A state folder whose database has its schema already."""
    home = folder / "home"
    home.mkdir()
    shutil.copy(migrated_file, home / "polarlight.db")
    return home
