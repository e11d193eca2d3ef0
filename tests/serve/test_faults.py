"""Whole servers, workers and clients under kill -9, on each database and each object store.

Three clients order from two servers, which a worker without a door helps, while one of the six is killed every moment and
started again. `make faults` kills fifty times in each of the four settings.
"""

import hashlib
import io
import json
import os
import random
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from service_client import written
from service_nursery import Nursery, Place, answers, free_ports
from service_waiting import wait_for
from sqlalchemy import select

from polarlight.infer.policy_audit import AuditLog
from polarlight.serve import tables
from polarlight.serve.job_rows import Job
from polarlight.serve.objects import KEY
from polarlight.serve.settings import Settings
from polarlight.serve.state import State
from polarlight.serve.stored_files import StoredFile

KILLS = int(os.environ.get("POLARLIGHT_TEST_KILLS", "10"))
CLIENTS = 3
CREDIT = 10**15


@dataclass(frozen=True, kw_only=True)
class Account:
    """A client's key and what it wrote down."""

    key_id: str
    secret: str
    journal: Path

    def accepted(self, kind: str) -> list[dict[str, Any]]:
        return [each for each in written(self.journal) if each["kind"] == kind]


@pytest.fixture
def place(settings: Settings, objects_url: str) -> Place:
    folder = settings.home.parent
    return Place(folder=str(folder), database_url=settings.database_url, objects_url=objects_url)


@pytest.fixture(params=["folder", "s3"])
def objects_url(request: pytest.FixtureRequest, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "folder":
        return settings.objects_url
    address = request.getfixturevalue("s3_address")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    return f"s3://pictures/{uuid.uuid4()}?endpoint={address}&region=us-east-1"


@pytest.fixture
def nursery(place: Place) -> Iterator[Nursery]:
    started = Nursery(place)
    yield started
    started.close()


@pytest.fixture
def real(place: Place) -> Iterator[State]:
    """The state as the processes have it."""
    opened = State.open(place.settings())
    yield opened
    opened.close()


def test_killing_anything_at_any_moment_loses_nothing_and_charges_nothing_twice(
    place: Place, nursery: Nursery, real: State
) -> None:
    accounts = []
    for number in range(CLIENTS):
        made = real.keys.create(f"client {number}", prepaid=number > 0)
        if number:
            real.ledger.credit(made.key.id, CREDIT, reference=made.key.id)
        journal = Path(place.folder) / f"client-{number}"
        accounts.append(Account(key_id=made.key.id, secret=made.secret, journal=journal))
    figures = kill_under_load(place, nursery, real, accounts)
    figures |= check_everything(place, real, accounts)
    print(json.dumps(figures))
    assert figures["interrupted"], "no kill came while a job was running"
    assert all(figures.get(kind) for kind in ("picture", "clip", "batch", "upload", "removed"))


def kill_under_load(place: Place, nursery: Nursery, real: State, accounts: list[Account]) -> dict[str, Any]:
    """Kill and start again, then let everything come to its end."""
    ports = free_ports(2)
    begin: dict[str, Callable[[], int]] = {f"server {port}": _server(nursery, port) for port in ports}
    begin["worker"] = lambda: nursery.start("work")
    for number, account in enumerate(accounts):
        begin[f"client {number}"] = _client(nursery, number, ports, account)
    living = {name: start() for name, start in begin.items()}
    wait_for(lambda: all(map(answers, ports)), "the servers start")
    moments, killed, since, names = random.Random(), Counter[str](), time.monotonic(), list(begin)
    while killed.total() < KILLS or (not interrupted(real) and killed.total() < 20 * KILLS):
        time.sleep(moments.uniform(0.02, 0.7))
        kind = moments.choice(["server", "worker", "client"])
        name = moments.choice([each for each in names if each.startswith(kind)])
        assert nursery.end(living[name]) == -signal.SIGKILL, f"the {name} ended by itself"
        killed[kind] += 1
        time.sleep(moments.choice([0, 0, 0.3]))
        living[name] = begin[name]()
    place.stop.touch()
    for name in names:
        if name.startswith("client"):
            assert nursery.end(living.pop(name), 0) == 0, [each.accepted("fault") for each in accounts]
    wait_for(lambda: real.jobs.unfinished() == 0, "every job ends")
    for child in living.values():
        assert nursery.end(child, signal.SIGTERM) in (0, -signal.SIGTERM)
    return {"kills": dict(killed), "interrupted": interrupted(real), "seconds": round(time.monotonic() - since, 1)}


def _server(nursery: Nursery, port: int) -> Callable[[], int]:
    return lambda: nursery.start("serve", port=port)


def _client(nursery: Nursery, number: int, ports: list[int], account: Account) -> Callable[[], int]:
    return lambda: nursery.start("order", number=number, ports=ports, secret=account.secret)


def interrupted(state: State) -> int:
    """How many jobs had a worker that was lost."""
    with state.database.read() as connection:
        return len(connection.execute(select(tables.jobs.c.id).where(tables.jobs.c.attempts > 1)).all())


def check_everything(place: Place, state: State, accounts: list[Account]) -> dict[str, Any]:
    """What was accepted is there, whole, paid once and by the right key; what is there is named, and nothing else is there."""
    with state.database.read() as connection:
        rows = connection.execute(select(tables.jobs)).all()
        jobs = {row.id: state.jobs.get(row.id) for row in rows}
    said = place.errors.read_text()
    assert "Traceback" not in said, said[-3000:]
    assert {job.state for job in jobs.values()} <= {"done", "cancelled"}
    for account in accounts:
        assert account.accepted("fault") == []
        check_orders(state, account, [job for job in jobs.values() if job.key_id == account.key_id])
        check_ledger(state, account, jobs)
    orphans = check_bytes(place, state)
    audit = AuditLog(Path(place.folder) / "home" / "policy")
    assert next(audit.records(), None)
    assert audit.verify() is None
    kinds = Counter(each["kind"] for account in accounts for each in written(account.journal))
    return {**kinds, "jobs": len(jobs), "orphans": orphans}


def check_orders(state: State, account: Account, jobs: list[Job]) -> None:
    """Every order that a client saw accepted is one job of its own key, done, with the very files that the client was given."""
    by_key = Counter(job.idempotency_key for job in jobs)
    assert None not in by_key
    assert set(by_key.values()) <= {1}
    named = {job.idempotency_key: job for job in jobs}
    for picture in account.accepted("picture"):
        job = named[picture["key"]]
        assert [file.sha256 for file in made_whole(state, job)] == picture["sha256"]
    for clip in account.accepted("clip"):
        assert named[clip["key"]].id == clip["id"]
        assert len(made_whole(state, named[clip["key"]])) == 3
    batches = Counter(batch.name for batch in state.batches.page(account.key_id, limit=10**6))
    uploads = Counter(file.filename for file in state.files.page(account.key_id, limit=10**6, purpose="vision"))
    assert set((batches | uploads).values()) <= {1}, "a repeated request made a second batch or file"
    for batch in account.accepted("batch"):
        found = state.batches.get(batch["id"], account.key_id)
        assert (found.requests, found.successes) == (len(batch["requests"]), len(batch["requests"]))
        for name in batch["requests"]:
            made_whole(state, named[f"{batch['id']}/{name}"])
    for upload in account.accepted("upload"):
        assert state.files.get(upload["id"], account.key_id).sha256 == upload["sha256"]
    assert not {each["id"] for each in account.accepted("removed")} & {job.id for job in jobs}


def made_whole(state: State, job: Job) -> list[StoredFile]:
    """The files of a job, every one of which can be shown."""
    assert (job.state, job.progress) == ("done", 100)
    files = state.files.of_job(job.id)
    assert job.result is not None
    assert [file.id for file in files] == job.result["files"]
    for file in files:
        content = io.BytesIO(state.objects.get(file.object_key))
        assert file.key_id == job.key_id
        if file.content_type == "video/mp4":
            with av.open(content) as container:
                assert sum(1 for _ in container.decode(video=0)) == 4
        else:
            with Image.open(content) as picture:
                picture.load()
    return files


def check_ledger(state: State, account: Account, jobs: dict[str, Job]) -> None:
    """Every job was reserved once and settled once, deleted ones too, and the balance is the sum of the rows."""
    entries = state.ledger.entries(account.key_id, limit=10**6)
    balance, settled = 0, Counter[str]()
    for entry in entries:
        balance += entry.ticks
        assert entry.balance_after == balance
        settled[entry.request_id or ""] += {"reserved": 1, "charged": 100, "released": 100}.get(entry.kind, 0)
        if entry.kind in ("charged", "released") and entry.request_id in jobs:
            job = jobs[entry.request_id]
            expected = ("charged", job.cost_ticks) if job.state == "done" else ("released", 0)
            assert (entry.kind, entry.cost_ticks) == expected
    assert set(settled.values()) - {0} == {101}, "a reservation is open, or was settled twice"
    own = {job.id for job in jobs.values() if job.key_id == account.key_id}
    assert own <= set(settled)
    assert state.ledger.balance(account.key_id) == balance
    assert state.ledger.spent(account.key_id) == sum(entry.cost_ticks for entry in entries)


def check_bytes(place: Place, state: State) -> int:
    """Rows and objects name each other, every object is whole, nothing half done is left; returns how many were swept."""
    swept = state.files.contents.sweep(older_than_s=0)
    with state.database.read() as connection:
        files = connection.execute(select(tables.files)).all()
        contents = set(connection.execute(select(tables.contents.c.object_key)).scalars())
    keys = list(state.objects.keys())
    assert len(keys) == len(set(keys))
    assert set(keys) == contents == {file.object_key for file in files}
    assert all(hashlib.sha256(state.objects.get(key)).hexdigest() in key for key in keys)
    assert all(file.sha256 in file.object_key and file.bytes >= 1 for file in files)
    store = Path(place.folder) / "home" / "objects"
    left = [path for path in store.rglob("*") if path.is_file() and not KEY.fullmatch(str(path.relative_to(store)))]
    assert left == []
    assert list((Path(place.folder) / "temporary").iterdir()) == []
    return swept
