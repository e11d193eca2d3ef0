"""The door opens beside HTTP and closes with it."""

import asyncio
import sys
import threading
from pathlib import Path

import pytest
from service_doors import House, made_home, soon
from service_grpc import Code, refused

from polarlight.base.errors import UserError
from polarlight.serve.grpc.door import MESSAGE_BYTES, GrpcDoor


def test_a_missing_package_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xai_sdk.proto", None)
    with pytest.raises(UserError, match=r"polarlight\[grpc\]"):
        GrpcDoor()


def test_a_port_that_is_taken_is_one_sentence(served, tmp_path: Path, migrated_file: Path) -> None:
    taken = served.port
    house = House(made_home(tmp_path, migrated_file))

    async def go() -> None:
        with pytest.raises(UserError, match=f"Cannot listen on 127.0.0.1:{taken} for gRPC."):
            async with GrpcDoor(port=taken)(house.service):
                raise AssertionError("two servers share a port")

    asyncio.run(go())
    house.state.close()


def test_a_message_above_the_bound_is_refused_and_one_below_it_is_read(client) -> None:
    small, large = (f"data:image/png;base64,{'A' * size}" for size in (MESSAGE_BYTES - 4096, MESSAGE_BYTES))
    with refused(Code.INVALID_ARGUMENT):
        client.image.sample("x", "grok-imagine-image", image_url=small)
    with refused(Code.RESOURCE_EXHAUSTED):
        client.image.sample("x", "grok-imagine-image", image_url=large)


def test_a_closing_door_lets_the_calls_under_way_end(tmp_path: Path, migrated_file: Path) -> None:
    house, door = House(made_home(tmp_path, migrated_file), drain_s=10.0), GrpcDoor(port=0)
    urls: list[str] = []

    def ask() -> None:
        import xai_sdk

        with xai_sdk.Client(house.secret, api_host=f"127.0.0.1:{door.port}", use_insecure_channel=True) as client:
            urls.append(client.image.sample("a cat", "grok-imagine-image").url)

    async def go() -> None:
        house.images.go.clear()
        caller = threading.Thread(target=ask)
        await house.service.start()
        async with door(house.service):
            caller.start()
            await soon(lambda: house.images.tasks)
            asyncio.get_running_loop().call_later(0.2, house.images.go.set)
        assert house.images.go.is_set()
        await asyncio.to_thread(caller.join, 10)
        await house.service.stop()

    asyncio.run(go())
    assert urls[0].startswith("http://test/public/")
