"""Servers, workers and clients that a test starts in milliseconds, each a process of its own that can be killed alone.

`Nursery` is the test's side. Run as a program, this file imports everything once and then forks a child for each line it reads:
{"start": ROLE, ...} prints the child's process id, {"end": PID, "sign": SIGNAL or 0} ends or awaits a child and prints its status.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import random
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parent
# imported before the first fork; none of them starts a thread
NEEDED = (
    "alembic.command",
    "alembic.config",
    "av",
    "PIL.WebPImagePlugin",
    "polarlight.serve.server",
    "service_client",
    "service_engines",
)
LONGEST_S = 600  # no child outlives its test by more
HELD = "long"  # pictures and clips whose prompt begins so wait while the file `hold` is there


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a service of several processes keeps its state. `folder` also takes the processes' own notes."""

    folder: str
    database_url: str
    objects_url: str
    lease_s: float = 1.5

    @property
    def begun(self) -> Path:
        """A line `PROCESS PROMPT` for every picture or clip that an engine began; `PROCESS -PROMPT` for one it gave up."""
        return Path(self.folder) / "begun"

    @property
    def errors(self) -> Path:
        """What the processes say on stderr: warnings, errors and tracebacks."""
        return Path(self.folder) / "errors"

    @property
    def hold(self) -> Path:
        """While this file exists, long work does not end."""
        return Path(self.folder) / "hold"

    @property
    def stop(self) -> Path:
        """When this file exists, clients finish their order and leave."""
        return Path(self.folder) / "stop"

    def settings(self, public_url: str = "http://127.0.0.1:8080") -> Any:
        """The settings of every process; a job may lose any number of workers."""
        from polarlight.serve.settings import Limits, Settings

        return Settings.at(
            Path(self.folder) / "home", database_url=self.database_url, objects_url=self.objects_url,
            limits=Limits(lease_s=self.lease_s, attempts=10_000), public_url=public_url,
        )  # fmt: skip


class Nursery:
    """The test's side: start, kill, end."""

    def __init__(self, place: Place) -> None:
        self.place = place
        temporary = Path(place.folder) / "temporary"
        temporary.mkdir(parents=True)
        environment = {
            **os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}", "TMPDIR": str(temporary),
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([sys.executable, __file__], stdin=pipe, stdout=pipe, text=True, env=environment)

    def start(self, role: str, **arguments: Any) -> int:
        """Start a child and return its process id. Roles: serve, work, order (see the functions of these names)."""
        return self._ask({"start": role, "place": vars(self.place), **arguments})

    def end(self, child: int, sign: int = signal.SIGKILL) -> int:
        """Send a signal (0: none) and wait for the end; returns the exit status, the signal's number below zero."""
        return self._ask({"end": child, "sign": int(sign)})

    def close(self) -> None:
        """Kill what still lives, and the nursery."""
        self.process.communicate(timeout=30)

    def _ask(self, order: dict[str, Any]) -> int:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the nursery has died; its last words are on stderr"
        return int(answer)


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in taken]
    for each in taken:
        each.close()
    return ports


def answers(port: int) -> bool:
    """Whether a server answers on this port."""
    import httpx

    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5, trust_env=False).is_success
    except httpx.TransportError:
        return False


def open_engines(place: Place, name: str, most_s: float) -> Any:
    """An engine for pictures and one for clips; each takes up to `most_s` seconds for one, at random."""
    from service_engines import FakeClips, FakeImages

    from polarlight.infer.engine import Engines

    def note(text: str) -> None:
        with open(place.begun, "a") as file:
            file.write(f"{name} {text}\n")

    class Uneven:
        async def _work(self, ticket: Any) -> None:
            prompt = ticket.task.prompt
            note(prompt)
            await asyncio.sleep(random.uniform(0, most_s))
            while prompt.startswith(HELD) and place.hold.exists() and not ticket.cancelled:
                await asyncio.sleep(0.01)
            if ticket.cancelled:
                note(f"-{prompt}")
            await super()._work(ticket)

    class UnevenImages(Uneven, FakeImages):
        """Pictures, some sooner than others."""

    class UnevenClips(Uneven, FakeClips):
        """Clips, some sooner than others."""

    engines = Engines()
    engines.add(UnevenImages())
    engines.add(UnevenClips())
    return engines


def options(together: int) -> Any:
    """Options of a process that works on so many jobs at once; signing costs 30 ms a picture and is tested by itself."""
    from polarlight.serve.options import Options

    return Options(sign=False, drain_s=10.0, together=together)


def serve(place: Place, port: int, most_s: float = 0.5, together: int = 16) -> None:
    """A whole server over HTTP until SIGTERM."""
    from polarlight.serve.server import serve as run

    engines = open_engines(place, str(port), most_s)
    run(place.settings(f"http://127.0.0.1:{port}"), engines, port=port, options=options(together))


def work(place: Place, most_s: float = 0.5, together: int = 4) -> None:
    """A worker without a door until SIGTERM."""
    from polarlight.serve.service import Service

    async def run() -> None:
        engines = open_engines(place, f"worker-{os.getpid()}", most_s)
        service = Service.open(place.settings(), engines, options(together))
        told = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told.set)
        await service.start()
        await told.wait()
        await service.stop()

    asyncio.run(run())


def order(place: Place, **arguments: Any) -> None:
    """A client that orders until the file `stop` is there."""
    from service_client import Client

    Client(folder=Path(place.folder), stop=place.stop, **arguments).run()


def grow(told: dict[str, Any]) -> None:
    """The whole life of a child."""
    signal.alarm(LONGEST_S)
    role, place = {"serve": serve, "work": work, "order": order}[told.pop("start")], Place(**told.pop("place"))
    nothing = os.open(os.devnull, os.O_RDWR)
    said = os.open(place.errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for handle, stream in ((nothing, 0), (nothing, 1), (said, 2)):
        os.dup2(handle, stream)
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("polarlight").addHandler(logging.StreamHandler())
    logging.getLogger("polarlight").propagate = False
    status = 1
    try:
        role(place, **told)
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def main() -> None:
    for needed in NEEDED:
        import_module(needed)
    with suppress(ImportError):  # the extra [postgres]
        import_module("psycopg")
    living: set[int] = set()
    for line in sys.stdin:
        told = json.loads(line)
        if "start" in told:
            answer = os.fork() or grow(told)
            living.add(answer)
        else:
            if told["sign"]:
                os.kill(told["end"], told["sign"])
            answer = os.waitstatus_to_exitcode(os.waitpid(told["end"], 0)[1])
            living.discard(told["end"])
        print(answer, flush=True)
    for child in living:  # the test is over
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
