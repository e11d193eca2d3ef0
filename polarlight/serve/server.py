"""Running the service: uvicorn in front, a graceful end behind."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FrameType

import uvicorn

from polarlight.base.errors import UserError
from polarlight.infer.apart import SWITCH_S
from polarlight.infer.engine import Engines
from polarlight.infer.policy import GateConfig
from polarlight.infer.pool import open_apart

from .app import Door, make_app
from .options import Options
from .service import Service
from .settings import Settings
from .state import State

HOST, PORT = "127.0.0.1", 8080


class Server(uvicorn.Server):
    """uvicorn's server; it tells the service at the first signal, so that it stops being ready before it stops answering."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self.service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """SIGTERM or SIGINT: finish what is under way. A second SIGINT ends at once."""
        self.service.draining = True
        super().handle_exit(sig, frame)


def serve(
    settings: Settings,
    engines: Engines,
    *,
    host: str = HOST,
    port: int = PORT,
    options: Options | None = None,
    policy: GateConfig | None = None,
    doors: Sequence[Door] = (),
) -> None:
    """Serve until SIGTERM or SIGINT.

    Then no connection is accepted any more, requests under way get `Options.drain_s` to end, and jobs that have not ended
    after as long again go back to the queue. On the first run the owner's key is printed, this once.

    policy: the operator's choices for the gate; doors: other ways in, such as gRPC, that live as long as the application
    (see `app.Door`).

    Raises:
        UserError: a setting is wrong, a package is missing, or the port is taken.
    """
    log_to_stderr()
    options = options or Options.from_environment()
    if settings.public_url == Settings.public_url:
        settings = replace(settings, public_url=f"http://{f'[{host}]' if ':' in host else host}:{port}")
    state = State.open(settings)
    service = Service.open(settings, engines, options, state=state, policy=policy)
    show_owner_key(state)
    server = make_server(service, host, port, doors)
    sys.setswitchinterval(SWITCH_S)
    try:
        server.run()
    except SystemExit as leave:  # uvicorn's way to say that it cannot listen
        raise UserError(f"Cannot listen on {host}:{port}.", fix="Choose another port.") from leave
    if not server.started:
        raise UserError("The server could not start.", fix="Its last lines on stderr say why.")


def make_server(service: Service, host: str, port: int, doors: Sequence[Door] = ()) -> Server:
    """A server that is ready to run; port 0 takes a free one."""
    config = uvicorn.Config(
        make_app(service, doors), host=host, port=port, log_config=None, access_log=False, server_header=False,
        lifespan="on", ws_max_size=1 << 20, timeout_graceful_shutdown=max(1, round(service.options.drain_s)),
    )  # fmt: skip
    return Server(config, service)


def show_owner_key(state: State) -> None:
    """Make the owner's key on the first run and print it to the terminal; only its hash is kept."""
    made = state.keys.ensure_owner()
    if made is not None:
        print(f"The owner's key, shown this once: {made.secret}", file=sys.stderr)


def log_to_stderr(level: int = logging.INFO) -> None:
    """One line an event on stderr; the lines of requests are JSON. Nothing happens where somebody set up logging before."""
    logger = logging.getLogger("polarlight")
    if logger.handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(level)


def open_engines(
    specs: Sequence[str], aliases: Mapping[str, str] | None = None, processes: int | None = None
) -> Engines:
    """Engines by their specs and processes (see `pool.open_apart`), and other names for them (alias -> own name).

    Raises:
        UserError: a spec or an alias is wrong.
    """
    engines, others = Engines(), dict(aliases or {})
    for spec in specs:
        engine = open_apart(spec, processes)
        engines.add(engine, *[alias for alias, name in others.items() if name == engine.info.name])
    for alias, name in others.items():
        if name not in engines.names():
            raise UserError(f"The alias {alias!r} stands for {name!r}, which is not loaded.", fix="Correct the alias.")
    return engines
