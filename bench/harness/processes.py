"""A server as a process of its own on a free port of 127.0.0.1, and a client that keeps its connections."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import httpx

from polarlight.base.files import PACKAGE
from polarlight.base.machine import ALLOCATOR, ALLOCATOR_GUARD

PATIENCE_S = 90.0  # for a start, and for an answer on a machine that others load
STOP_S = 30.0
Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Server:
    """A server that answers. log: what it writes to stderr."""

    pid: int
    url: str
    log: Path


class Client:
    """Requests of many at once over connections that stay open, run from plain functions."""

    def __init__(self, url: str, secret: str = "") -> None:
        headers = {"authorization": f"Bearer {secret}"} if secret else {}
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=64)
        self.loop = asyncio.new_event_loop()
        self.http = httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_S, limits=limits, trust_env=False)

    def run(self, work: Coroutine[Any, Any, Value]) -> Value:
        """The result of a coroutine, on this client's loop."""
        return self.loop.run_until_complete(work)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON of an answer.

        Raises:
            SystemExit: the server refused.
        """
        answer = await self.http.post(path, json=body)
        if answer.status_code != 200:
            raise SystemExit(f"{answer.request.url} answered {answer.status_code}: {answer.text[:400]}")
        return answer.json()

    def close(self) -> None:
        """End the connections."""
        self.run(self.http.aclose())
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()


@contextmanager
def listening(command: Callable[[int], Sequence[str]], ready: str, log: Path, **settings: Any) -> Iterator[Server]:
    """A server that was started with `command(port)` and answers at the path `ready`; it is stopped at the end.

    settings: as for `subprocess.Popen`.

    Raises:
        SystemExit: it ended, or said nothing for PATIENCE_S; its last lines are shown.
    """
    port = free_port()
    with open(log, "w") as lines:
        process = subprocess.Popen(command(port), stdout=lines, stderr=lines, **settings)
    server = Server(pid=process.pid, url=f"http://127.0.0.1:{port}", log=log)
    try:
        wait_for(process, server, ready)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(process: subprocess.Popen[bytes], server: Server, ready: str) -> None:
    """Return when the server answers. Raises SystemExit as `listening` says."""
    deadline = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(server.url + ready, timeout=5, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise SystemExit(f"{' '.join(map(str, process.args))} did not start:\n{server.log.read_text()[-2000:]}")


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def as_users_start_it(home: Path, threads: int) -> dict[str, str]:
    """The environment of a server with its state in `home`: without the benchmark's own allocator settings."""
    tuned = (*ALLOCATOR, ALLOCATOR_GUARD)
    plain = {name: value for name, value in os.environ.items() if name not in tuned and "POLARLIGHT_" not in name}
    return plain | {"POLARLIGHT_HOME": str(home), "OMP_NUM_THREADS": str(threads)}


def polarlight_serve(home: Path, threads: int, spec: str = "polarlight") -> Any:
    """`polarlight serve` with one model, as a context manager that yields its `Server`."""
    home.mkdir(parents=True, exist_ok=True)

    def command(port: int) -> Sequence[str]:
        return (sys.executable, "-m", "polarlight", "serve", "--port", str(port), "--model", spec)

    return listening(command, "/health", home / "log", env=as_users_start_it(home, threads))


def one_candidate(folder: Path) -> Path:
    """The shipped weights in a folder, without the reader: every picture is drawn once, so that ways to draw can be compared."""
    folder.mkdir(parents=True)
    for path in (PACKAGE / "weights").iterdir():
        if not path.name.startswith("reader"):
            (folder / path.name).symlink_to(path)
    return folder


def owner_key(server: Server) -> str:
    """The key that a server shows on its first run.

    Raises:
        SystemExit: its log has none.
    """
    for line in server.log.read_text().splitlines():
        if line.startswith("The owner's key"):
            return line.rpartition(" ")[2]
    raise SystemExit(f"{server.log} shows no key.")
