"""The door itself: a gRPC server beside HTTP, over the same service.

serve(settings, engines, port=8080, doors=[GrpcDoor(port=50051)])

Clients write `localhost:PORT` and leave `use_insecure_channel` out: otherwise xai-sdk sends no key with uploads
(`docs/api-clients.md`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from polarlight.base.errors import UserError

from ..service import Service

if TYPE_CHECKING:
    import grpc

PACKAGES = ("grpc.aio", "xai_sdk.proto")
MESSAGE_BYTES = 20 << 20  # xAI's SDK has the same bound
OPTIONS = (
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.so_reuseport", 0),  # else two servers would share a port in silence
    # the SDK pings every 30 s, calls or none; by default a server calls that too many and drops the connection
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)


@dataclass
class GrpcDoor:
    """Opens a gRPC server for a service; port 0 takes a free one, and `port` names it once the door is open.

    Keys travel as they are: on other hosts than this machine, put a proxy that speaks TLS before it, as before HTTP.

    Raises:
        UserError: a package is missing.
    """

    host: str = "127.0.0.1"
    port: int = 50051

    def __post_init__(self) -> None:
        try:
            for package in PACKAGES:
                import_module(package)
        except ImportError as error:
            raise UserError(
                "gRPC needs the packages grpcio and xai-sdk.", fix="Install them: pip install 'polarlight[grpc]'."
            ) from error

    @asynccontextmanager
    async def __call__(self, service: Service) -> AsyncIterator[None]:
        """Serve until the context ends; then no call is accepted any more, and those under way get `Options.drain_s`.

        Raises:
            UserError: the port is taken.
        """
        server = make_server(service)
        address = f"{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"
        try:
            self.port = server.add_insecure_port(address)
        except RuntimeError as error:
            raise UserError(f"Cannot listen on {address} for gRPC.", fix="Choose another port.") from error
        await server.start()
        try:
            yield
        finally:
            await server.stop(service.options.drain_s)


def make_server(service: Service) -> grpc.aio.Server:
    """A server of all services, which listens nowhere yet."""
    import grpc.aio
    from xai_sdk import proto

    from .authentication import Auth
    from .batches import Batches
    from .envelope import Envelope
    from .files import Files
    from .images import Images
    from .models import Models
    from .videos import Videos

    server = grpc.aio.server(interceptors=[Envelope(service)], options=OPTIONS)
    proto.auth_pb2_grpc.add_AuthServicer_to_server(Auth(), server)
    proto.batch_pb2_grpc.add_BatchMgmtServicer_to_server(Batches(service), server)
    proto.files_pb2_grpc.add_FilesServicer_to_server(Files(service), server)
    proto.image_pb2_grpc.add_ImageServicer_to_server(Images(service), server)
    proto.models_pb2_grpc.add_ModelsServicer_to_server(Models(service), server)
    proto.video_pb2_grpc.add_VideoServicer_to_server(Videos(service), server)
    return server
