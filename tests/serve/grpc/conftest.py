"""A service with fake engines behind HTTP and gRPC in a thread, and xAI's own clients pointed at it."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from service_doors import House, made_home

from polarlight.serve.server import make_server
from polarlight.serve.settings import Limits

xai_sdk = pytest.importorskip("xai_sdk")


@dataclass
class Served:
    """A house and where its gRPC door is."""

    house: House
    port: int

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def client(self, secret: str | None = None, **more: object) -> "xai_sdk.Client":
        # by this name the client sends the key with uploads too, which it forgets on channels it calls insecure
        return xai_sdk.Client(api_key=secret or self.house.secret, api_host=f"localhost:{self.port}", **more)

    def aio_client(self) -> "xai_sdk.AsyncClient":
        return xai_sdk.AsyncClient(api_key=self.house.secret, api_host=f"localhost:{self.port}")


@contextmanager
def serving(home: Path, **options: object) -> Iterator[Served]:
    """Both doors on free ports of 127.0.0.1; addresses of outputs lead to the HTTP one."""
    from polarlight.serve.grpc.door import GrpcDoor

    house, door = House(home, **options), GrpcDoor(port=0)
    server = make_server(house.service, "127.0.0.1", 0, doors=[door])
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    settings = replace(house.settings, public_url=f"http://127.0.0.1:{port}")
    object.__setattr__(house.state, "settings", settings)
    try:
        yield Served(house, door.port)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[Served]:
    with serving(made_home(tmp_path_factory.mktemp("grpc"), migrated_file)) as both:
        yield both


@pytest.fixture
def strict(tmp_path: Path, migrated_file: Path) -> Iterator[Served]:
    """A service that waits 0.3 s for the next part of a file and takes 1000 bytes of it."""
    with serving(made_home(tmp_path, migrated_file), body_s=0.3, limits=Limits(file_bytes=1000)) as both:
        yield both


@pytest.fixture
def client(served: Served) -> Iterator["xai_sdk.Client"]:
    with served.client() as made:
        yield made
