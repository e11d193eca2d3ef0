"""The whole state under workers that are killed, and under two at a time."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from polarlight.serve.job_rows import Job
from polarlight.serve.settings import Limits, Settings
from polarlight.serve.state import State

KILLS = int(os.environ.get("POLARLIGHT_TEST_KILLS", "10"))
PRICE = 10


class Workers:
    """Worker processes of this test on one state; `log` has a line for every job that was begun."""

    def __init__(self, settings: Settings, lease_s: float, log: Path) -> None:
        program = str(Path(__file__).parent / "job_worker.py")
        places = [str(settings.home), settings.database_url, str(lease_s), str(log)]
        pipe = subprocess.PIPE
        self.parent = subprocess.Popen([sys.executable, program, *places], stdin=pipe, stdout=pipe, text=True)

    def start(self) -> int:
        assert self.parent.stdin is not None
        assert self.parent.stdout is not None
        self.parent.stdin.write("start\n")
        self.parent.stdin.flush()
        return int(self.parent.stdout.readline())

    def stop(self) -> None:
        self.parent.communicate()


@pytest.fixture
def workers(settings: Settings, tmp_path: Path) -> Iterator[Callable[[float], Workers]]:
    started: list[Workers] = []

    def make(lease_s: float) -> Workers:
        started.append(Workers(settings, lease_s, tmp_path / "begun"))
        return started[-1]

    yield make
    for each in started:
        each.stop()


@pytest.fixture
def real(settings: Settings) -> Iterator[State]:
    """The state with the clock that workers have."""
    opened = State.open(replace(settings, limits=Limits(attempts=10_000)))
    yield opened
    opened.close()


def submit(state: State, key_id: str, count: int) -> list[Job]:
    return [state.jobs.submit(key_id, "image", "m", {"seed": seed}, ticks=PRICE) for seed in range(count)]


def wait_for_all(state: State, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while state.jobs.unfinished():
        assert time.monotonic() < deadline, f"{state.jobs.unfinished()} jobs never ended"
        time.sleep(0.05)


def check_everything(state: State, key_id: str, jobs: list[Job]) -> None:
    """No job lost, none charged twice, no half file, and the sums agree."""
    assert {state.jobs.get(job.id).state for job in jobs} == {"done"}
    entries = state.ledger.entries(key_id, limit=100_000)
    kinds = Counter((entry.kind, entry.request_id) for entry in entries if entry.request_id)
    assert kinds == Counter({(kind, job.id): 1 for job in jobs for kind in ("reserved", "charged")})
    assert state.ledger.balance(key_id) == sum(entry.ticks for entry in entries) == -(PRICE - 1) * len(jobs)
    state.files.contents.sweep(older_than_s=0)
    stored = set(state.objects.keys())
    assert all(hashlib.sha256(state.objects.get(key)).hexdigest() in key for key in stored)
    files = [state.files.of_job(job.id) for job in jobs]
    assert [len(made) for made in files] == [1] * len(jobs)
    for job, made in zip(jobs, files, strict=True):
        assert state.objects.get(made[0].object_key) == job.id.encode() * 4096
    assert stored == {made[0].object_key for made in files}


def test_killing_workers_at_any_moment_loses_no_job_and_charges_none_twice(
    real: State, workers: Callable[[float], Workers]
) -> None:
    key_id, moments = real.keys.create("a").key.id, random.Random(7)
    jobs: list[Job] = []
    nursery, interrupted = workers(0.3), 0
    for kill in range(20 * KILLS):
        jobs += submit(real, key_id, 3)
        worker = nursery.start()
        time.sleep(moments.uniform(0.02, 0.12) * (1 + kill / KILLS))  # later and later, where workers begin slowly
        with suppress(ProcessLookupError):  # it may have found nothing to do and left
            os.kill(worker, signal.SIGKILL)
        interrupted += sum(real.jobs.get(job.id).state == "running" for job in jobs)
        if kill + 1 >= KILLS and interrupted:
            break
    assert interrupted, "no kill came while a job was running"
    nursery.start()
    wait_for_all(real, seconds=60 + KILLS)
    check_everything(real, key_id, jobs)


def test_workers_side_by_side_never_run_a_job_twice(
    real: State, workers: Callable[[float], Workers], tmp_path: Path
) -> None:
    key_id = real.keys.create("a").key.id
    jobs = submit(real, key_id, 30)
    nursery = workers(60)
    for _ in range(2):
        nursery.start()
    wait_for_all(real)
    assert Counter((tmp_path / "begun").read_text().split()) == Counter(job.id for job in jobs)
    assert {real.jobs.get(job.id).attempts for job in jobs} == {1}
    check_everything(real, key_id, jobs)


def test_tidying_looks_after_every_part(state: State, clock: object) -> None:
    key = state.keys.create("a", requests_per_minute=1).key
    state.rates.admit(key)
    lost, waiting = submit(state, key.id, 2)
    state.jobs.claim("w", lease_s=5.0)
    clock.now += 60
    state.tidy()
    assert state.jobs.get(lost.id).state == "queued"
    clock.now += state.settings.limits.wait_s
    state.tidy()
    assert {state.jobs.get(job.id).state for job in (lost, waiting)} == {"expired"}


def test_the_state_opens_again_where_it_was_left(settings: Settings) -> None:
    first = State.open(settings)
    made = first.keys.create("a")
    first.close()
    again = State.open(settings)
    assert again.keys.authenticate(made.secret) == made.key
    again.close()
