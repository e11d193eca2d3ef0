"""The whole server as a process: first start, graceful end, and kill -9."""

import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest
from service_doors import made_home
from service_waiting import wait_for

from polarlight.base.errors import UserError
from polarlight.infer.engine import Engines
from polarlight.serve.server import SWITCH_S, open_engines, serve
from polarlight.serve.settings import Settings
from polarlight.serve.state import State

TESTS = Path(__file__).parents[1]
REQUEST = {"prompt": "a red cat", "seed": 3}


class Process:
    """A server in a folder, and its owner's key."""

    def __init__(self, home: Path, seconds: float = 0.0, drain_s: float = 5.0, secret: str = "") -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        arguments = [str(home), str(self.port), str(seconds), str(drain_s)]
        environment = {**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"}
        self.process = subprocess.Popen(
            [sys.executable, str(TESTS / "service_process.py"), *arguments], stderr=subprocess.PIPE, text=True,
            env=environment,
        )  # fmt: skip
        self.secret = secret or self.process.stderr.readline().rpartition(" ")[2].strip()
        self.url = f"http://127.0.0.1:{self.port}"
        self.headers = {"authorization": f"Bearer {self.secret}"}
        wait_for(self.answers, "the server starts")

    def answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health").is_success
        except httpx.TransportError:
            return False

    def draw(self, **headers: str) -> httpx.Response:
        path = f"{self.url}/v1/images/generations"
        return httpx.post(path, json=REQUEST, headers={**self.headers, **headers}, timeout=30)

    def end(self, sign: int) -> int:
        self.process.send_signal(sign)
        status = self.process.wait(20)
        self.process.stderr.close()
        return status


def test_the_owners_key_is_printed_once_and_a_request_under_way_survives_sigterm(tmp_path, migrated_file) -> None:
    home = made_home(tmp_path, migrated_file)
    server, answers = Process(home, seconds=0.5), []
    assert server.secret.startswith("pl-")
    waiting = threading.Thread(target=lambda: answers.append(server.draw()))
    waiting.start()
    state = State.open(Settings.at(home))
    wait_for(lambda: state.jobs.unfinished() == 1)
    assert server.end(signal.SIGTERM) == -signal.SIGTERM
    waiting.join()
    assert answers[0].status_code == 200
    assert state.keys.ensure_owner() is None
    state.close()


def test_killing_the_server_loses_no_job_and_charges_none_twice(tmp_path, migrated_file) -> None:
    home = made_home(tmp_path, migrated_file)
    server = Process(home, seconds=30)
    waiting = threading.Thread(target=_expect_break, args=(server,))
    waiting.start()
    state = State.open(Settings.at(home))
    key = state.keys.all()[0]
    wait_for(lambda: any(job.state == "running" for job in state.jobs.page(key.id)))
    server.end(signal.SIGKILL)
    waiting.join()
    again = Process(home, secret=server.secret)
    # the client that comes back with its idempotency key gets the picture that was ordered before
    answer = again.draw(**{"idempotency-key": "once"})
    assert answer.status_code == 200
    assert [(job.state, job.attempts) for job in state.jobs.page(key.id)] == [("done", 2)]
    assert [(line.requests, line.ticks) for line in state.ledger.usage(by=())] == [(1, 200_000_000)]
    again.end(signal.SIGTERM)
    state.close()


def _expect_break(server: Process) -> None:
    with pytest.raises(httpx.TransportError):
        server.draw(**{"idempotency-key": "once"})


def test_a_job_that_takes_longer_than_the_drain_goes_back_to_the_queue(tmp_path, migrated_file) -> None:
    home = made_home(tmp_path, migrated_file)
    server = Process(home, seconds=30, drain_s=0.3)
    waiting = threading.Thread(target=_ends_badly, args=(server,))
    waiting.start()
    state = State.open(Settings.at(home))
    key = state.keys.all()[0]
    wait_for(lambda: any(job.state == "running" for job in state.jobs.page(key.id)))
    server.end(signal.SIGTERM)
    waiting.join()
    assert [(job.state, job.attempts) for job in state.jobs.page(key.id)] == [("queued", 0)]
    state.close()


def _ends_badly(server: Process) -> None:
    try:
        assert server.draw(**{"idempotency-key": "k"}).status_code >= 500
    except httpx.TransportError:
        return


def test_a_port_that_is_taken_is_one_sentence(tmp_path, migrated_file) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"Cannot listen on 127.0.0.1:{port}"):
            serve(Settings.at(made_home(tmp_path, migrated_file)), Engines(), port=port)
    logging.getLogger("polarlight").handlers.clear()


def test_an_alias_of_a_model_that_is_not_loaded_is_refused() -> None:
    with pytest.raises(UserError, match="stands for 'nothing'"):
        open_engines([], {"gpt-image-1": "nothing"})


def test_a_server_lets_its_threads_take_turns_quickly(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[float] = []
    monkeypatch.setattr(sys, "setswitchinterval", set_to.append)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(UserError, match="Cannot listen"):
            serve(Settings.at(made_home(tmp_path, migrated_file)), Engines(), port=taken.getsockname()[1])
    logging.getLogger("polarlight").handlers.clear()
    assert set_to == [SWITCH_S]


def test_the_server_leaves_torch_to_the_processes_of_its_models() -> None:
    code = "import sys, polarlight.serve.server, polarlight.serve.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
