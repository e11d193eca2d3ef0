"""A service behind HTTP and gRPC at once for tests, and what xAI's own clients need to reach it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest
import xai_sdk
from service_doors import House, running

from polarlight.serve.grpc.door import GrpcDoor

Code = grpc.StatusCode


@dataclass
class Served:
    """A house and where its gRPC door is."""

    house: House
    port: int

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Who calls, for calls without the client."""
        return (("authorization", f"Bearer {self.house.secret}"),)

    def channel(self) -> grpc.Channel:
        return grpc.insecure_channel(f"127.0.0.1:{self.port}")

    def client(self, secret: str | None = None, **more: object) -> xai_sdk.Client:
        # by this name the client sends the key with uploads too, which it forgets on channels it calls insecure
        return xai_sdk.Client(api_key=secret or self.house.secret, api_host=f"localhost:{self.port}", **more)

    def aio_client(self) -> xai_sdk.AsyncClient:
        return xai_sdk.AsyncClient(api_key=self.house.secret, api_host=f"localhost:{self.port}")


@contextmanager
def serving(home: Path, **options: object) -> Iterator[Served]:
    """Both doors on free ports of 127.0.0.1; addresses of outputs lead to the HTTP one."""
    house, door = House(home, **options), GrpcDoor(port=0)
    with running(house.service, [door]) as address:
        object.__setattr__(house.state, "settings", replace(house.settings, public_url=address))
        yield Served(house, door.port)


@contextmanager
def refused(code: grpc.StatusCode, words: str = "") -> Iterator[pytest.ExceptionInfo[grpc.RpcError]]:
    """The call inside ends with this status, and with these words among its details."""
    with pytest.raises(grpc.RpcError) as error:
        yield error
    assert error.value.code() is code
    assert words in error.value.details()
