"""Workers: jobs of any process are taken up, watched, stopped, and ended once."""

import asyncio
import errno
import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from service_doors import House, in_house, made_home, soon

from polarlight.base.errors import UserError
from polarlight.infer.policy import Refused
from polarlight.serve import database, work
from polarlight.serve.image_orders import ImageOrder, submit_images
from polarlight.serve.job_rows import Job
from polarlight.serve.jobs import Jobs
from polarlight.serve.metrics import Metrics
from polarlight.serve.objects import StoreUnavailable
from polarlight.serve.options import Options
from polarlight.serve.service import Caller
from polarlight.serve.settings import Limits, Settings
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile
from polarlight.serve.work import Finished, JobFailed, Shown, Work, Workers, failure_of


async def submitted(house: House, **fields: object) -> Job:
    caller = Caller(key=house.key, door="test")
    admission = await house.service.admit_model(caller, "image", None)
    return await submit_images(house.service, admission, ImageOrder(prompt="a cat", **fields))


@in_house()
async def test_following_a_job_shows_previews_and_then_its_end(house: House) -> None:
    job = await submitted(house, previews=2)
    events = [event async for event in house.service.workers.follow(job)]
    assert [type(event) for event in events] == [Shown, Shown, Job]
    assert [event.number for event in events[:2]] == [1, 2]
    assert events[2].state == "done"


@in_house()
async def test_who_comes_late_sees_the_previews_all_the_same(house: House) -> None:
    house.images.go.clear()
    job = await submitted(house, previews=2)
    while not house.service.workers._works.get(job.id, None) or len(house.service.workers._works[job.id].shown) < 2:
        await asyncio.sleep(0.01)
    house.images.go.set()
    events = [event async for event in house.service.workers.follow(job)]
    assert [type(event) for event in events] == [Shown, Shown, Job]


@in_house(limits=Limits(lease_s=1.0))
async def test_a_job_cancelled_elsewhere_is_noticed_and_stopped(house: House) -> None:
    house.images.go.clear()
    job = await submitted(house)
    await soon(lambda: house.images.tasks)
    house.state.jobs.cancel(job.id)  # as another process would
    await soon(lambda: house.images.cancelled)
    assert house.state.jobs.get(job.id).state == "cancelled"
    assert house.charged() == 0


@in_house()
async def test_a_job_waits_while_the_engine_is_full(house: House) -> None:
    house.images.full = True
    job = await submitted(house)
    await asyncio.sleep(0.2)
    house.images.full = False
    assert await house.settled(job.id) == "done"
    assert house.state.jobs.get(job.id).attempts == 1


@in_house()
async def test_a_job_for_an_engine_that_has_closed_fails_and_does_not_go_in_circles(house: House) -> None:
    await house.images.close()
    job = await submitted(house)
    assert await house.settled(job.id) == "failed"
    assert house.state.jobs.get(job.id).error_code == "service_unavailable"


@in_house()
async def test_a_failing_picture_stops_its_siblings_and_costs_nothing(house: House) -> None:
    house.images.error = UserError("This cannot be drawn.", fix="Draw something else.")
    job = await submitted(house, n=3)
    assert await house.settled(job.id) == "failed"
    ended = house.state.jobs.get(job.id)
    assert (ended.error_code, ended.error_message) == (
        "invalid_argument",
        "This cannot be drawn. Draw something else.",
    )
    assert house.charged() == 0


@in_house()
async def test_a_job_whose_input_was_taken_down_fails_with_a_reason(house: House) -> None:
    from service_doors import picture_file

    from polarlight.serve.inputs import GivenPicture

    house.service.workers.options = house.service.options
    house.images.go.clear()
    await submitted(house)  # keeps the only engine busy
    content = picture_file(grey=50)
    order = {"task": "edit", "pictures": (GivenPicture.read(content),)}
    await house.service.workers.stop(0.1)
    job = await submitted(house, **order)
    house.state.files.take_down(sha256=__import__("hashlib").sha256(content).hexdigest())
    house.service.workers._stopping = False
    house.images.go.set()
    house.service.workers.start()
    assert await house.settled(job.id) == "failed"
    assert house.state.jobs.get(job.id).error_code == "failed_precondition"


@in_house()
async def test_a_job_waits_for_a_process_that_has_its_model(house: House) -> None:
    job = house.state.jobs.submit(house.key.id, "image", "another-servers-model", {"prompt": "x"}, ticks=5)
    house.service.workers.wake()
    answer = await house.client.post("/v1/images/generations", json={"prompt": "a cat", "model": "gpt-image-1"})
    assert answer.status_code == 200  # a later job goes first
    assert house.state.jobs.get(job.id).state == "queued"


@in_house()
async def test_a_job_whose_output_finds_the_disk_full_fails_as_unavailable_and_costs_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "write_bytes", disk_is_full)
    answers = {}
    for model in ("gpt-image-1", "grok-imagine-image"):
        answers[model] = await house.client.post("/v1/images/generations", json={"prompt": "a cat", "model": model})
    said = "The server's disk is full. Try again later."
    assert [answer.status_code for answer in answers.values()] == [503, 503]
    assert answers["gpt-image-1"].json()["error"]["message"] == said
    assert answers["grok-imagine-image"].json()["error"] == said
    assert [(job.state, job.error_code) for job in house.jobs()] == [("failed", "service_unavailable")] * 2
    assert house.charged() == 0


def disk_is_full(path: Path, content: bytes) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("No.", category="hate", rule="x", code="content_policy"), "content_policy"),
        (Refused("Off.", category="switched_off", rule="x", code="switched_off"), "service_unavailable"),
        (UserError("Wrong."), "invalid_argument"),
        (StoreUnavailable(OSError(errno.ENOSPC, "details")), "service_unavailable"),
        (JobFailed("failed_precondition", "Gone."), "failed_precondition"),
        (RuntimeError("details"), "internal_error"),
    ],
)
def test_errors_become_the_codes_that_clients_know(error: Exception, code: str) -> None:
    failure = failure_of(error)
    assert failure.code == code
    assert "details" not in failure.message


def workers_of(state: State, make: work.Maker, **more: object) -> Workers:
    """Workers without a service: `make` does every job."""
    return Workers(state, {"image": make}, Metrics(), Options(), **more)


async def make_nothing(work: Work, show: object) -> Finished:
    return Finished(files=[], result={}, cost_ticks=0)


def test_a_process_takes_no_job_whose_model_it_does_not_have(state: State) -> None:
    key_id = state.keys.create("a").key.id
    other, mine = (state.jobs.submit(key_id, "image", model, {}, ticks=1) for model in ("other", "mine"))

    async def go() -> None:
        workers = workers_of(state, make_nothing, models=lambda: ["mine", "also mine"])
        workers.start()
        await soon(lambda: state.jobs.get(mine.id).state == "done")
        await workers.stop(1)

    asyncio.run(go())
    assert (state.jobs.get(other.id).state, state.jobs.get(other.id).attempts) == ("queued", 0)


class SlowClaims(Jobs):
    """A queue behind a slow line: the answer to a claim takes its time."""

    def claim(self, worker: str, **values: object) -> Job | None:
        job = super().claim(worker, **values)
        self.claimed.set()
        time.sleep(0.3)
        return job


def test_a_job_claimed_in_the_moment_of_stopping_is_not_lost(state: State) -> None:
    key_id = state.keys.create("a").key.id
    job = state.jobs.submit(key_id, "image", "m", {}, ticks=1)
    slow = SlowClaims(state.database, state.ledger, state.files, state.settings.limits, state.jobs.clock)
    slow.claimed = threading.Event()

    async def go() -> None:
        workers = workers_of(replace(state, jobs=slow), make_nothing)
        workers.start()
        await asyncio.to_thread(slow.claimed.wait)
        await workers.stop(5)

    asyncio.run(go())
    assert state.jobs.get(job.id).state == "done"


class AwayOnce(Jobs):
    """A queue whose database is locked by somebody else when the first job ends."""

    away = True

    def finish(self, held: Job, **values: object) -> Job:
        if self.away:
            self.away = False
            with self.database.write():
                return super().finish(held, **values)
        return super().finish(held, **values)


def test_a_job_that_ends_while_the_database_is_away_is_done_again_and_does_not_fail(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LOCK_WAIT_S", 0.1)
    settings = Settings.at(made_home(tmp_path, migrated_file), limits=Limits(lease_s=1.0))
    state = State.open(settings)
    job = state.jobs.submit(state.keys.create("a").key.id, "image", "m", {}, ticks=1)
    away = AwayOnce(state.database, state.ledger, state.files, settings.limits)

    async def go() -> None:
        workers = workers_of(replace(state, jobs=away), make_nothing)
        workers.start()
        await soon(lambda: state.jobs.get(job.id).ended)
        await workers.stop(1)

    asyncio.run(go())
    assert (state.jobs.get(job.id).state, state.jobs.get(job.id).attempts) == ("done", 2)
    state.close()


def test_a_process_that_was_silent_too_long_takes_its_own_job_again_and_gives_up_the_first_try(
    state: State, clock: object
) -> None:
    job = state.jobs.submit(state.keys.create("a").key.id, "image", "m", {}, ticks=1)
    tries: list[Work] = []

    async def make_at_the_second_try(work: Work, show: object) -> Finished:
        tries.append(work)
        if len(tries) == 1:
            clock.now += state.settings.limits.lease_s
            await asyncio.sleep(60)
        else:
            await soon(lambda: tries[0].task.done())
            assert workers.under_way() == 1
        return await make_nothing(work, show)

    workers = workers_of(state, make_at_the_second_try)

    async def go() -> None:
        workers.start()
        await soon(lambda: state.jobs.get(job.id).ended)
        await workers.stop(1)

    asyncio.run(go())
    assert (state.jobs.get(job.id).state, state.jobs.get(job.id).attempts, workers.under_way()) == ("done", 2, 0)


def test_bytes_of_a_process_that_died_are_swept_soon_after_the_next_start(
    tmp_path: Path, migrated_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(work, "TIDY_S", 0.05)
    state = State.open(Settings.at(made_home(tmp_path, migrated_file)))
    lost = state.files.upload(NewFile(filename="lost.png", content=b"lost")).stored.key
    path = state.settings.home / "objects" / lost
    long_ago = path.stat().st_mtime - 7200
    os.utime(path, (long_ago, long_ago))

    async def go() -> None:
        workers = workers_of(state, make_nothing)
        workers.start()
        await soon(lambda: not path.exists())
        await workers.stop(1)

    asyncio.run(go())
    state.close()


class CountedReads(Jobs):
    """A queue that counts who asks for a job's state."""

    asked = 0

    def get(self, job_id: str, key_id: str | None = None) -> Job:
        self.asked += 1
        return super().get(job_id, key_id)


def test_who_brings_a_job_and_follows_it_waits_for_no_queue_and_no_look_up(state: State) -> None:
    key_id = state.keys.create("a").key.id
    counted = CountedReads(state.database, state.ledger, state.files, state.settings.limits, state.jobs.clock)

    def submit(job_id: str, worker: str | None) -> Job:
        return counted.submit(key_id, "image", "m", {}, ticks=1, job_id=job_id, worker=worker)

    async def go() -> list[Shown | Job]:
        workers = workers_of(replace(state, jobs=counted), make_nothing)
        workers.start()
        job = await workers.enter(submit)
        assert (job.state, workers.under_way()) == ("running", 1)
        events = [event async for event in workers.follow(job)]
        await workers.stop(1)
        return events

    assert [event.state for event in asyncio.run(go())] == ["done"]
    assert counted.asked == 0


def test_a_process_takes_no_more_at_once_than_it_may(state: State) -> None:
    key_id, go_on = state.keys.create("a").key.id, asyncio.Event()

    def submit(job_id: str, worker: str | None) -> Job:
        return state.jobs.submit(key_id, "image", "m", {}, ticks=1, job_id=job_id, worker=worker)

    async def make_later(work: Work, show: object) -> Finished:
        await go_on.wait()
        return await make_nothing(work, show)

    async def go() -> None:
        workers = Workers(state, {"image": make_later}, Metrics(), Options(together=2))
        workers.start()
        jobs = await asyncio.gather(workers.enter(submit), workers.enter(submit))
        jobs += [await workers.enter(submit) for _ in range(3)]
        assert [job.state for job in jobs] == ["running"] * 2 + ["queued"] * 3
        go_on.set()
        await soon(lambda: state.jobs.unfinished() == 0)
        await workers.stop(1)

    asyncio.run(go())


def test_a_process_that_stops_leaves_what_is_brought_in_the_queue(state: State) -> None:
    key_id = state.keys.create("a").key.id

    def submit(job_id: str, worker: str | None) -> Job:
        return state.jobs.submit(key_id, "image", "m", {}, ticks=1, job_id=job_id, worker=worker)

    async def go() -> Job:
        workers = workers_of(state, make_nothing)
        workers.start()
        await workers.stop(1)
        return await workers.enter(submit)

    assert asyncio.run(go()).state == "queued"


def test_a_job_brought_in_the_moment_of_stopping_is_done(state: State) -> None:
    key_id, submitted = state.keys.create("a").key.id, threading.Event()

    def submit(job_id: str, worker: str | None) -> Job:
        job = state.jobs.submit(key_id, "image", "m", {}, ticks=1, job_id=job_id, worker=worker)
        submitted.set()
        time.sleep(0.3)
        return job

    async def go() -> Job:
        workers = workers_of(state, make_nothing)
        workers.start()
        entering = asyncio.create_task(workers.enter(submit))
        await asyncio.to_thread(submitted.wait)
        entering.cancel()  # nor does it matter that its client is gone
        await workers.stop(5)
        return state.jobs.page(key_id)[0]

    assert asyncio.run(go()).state == "done"


def test_what_forbids_a_job_reaches_who_brings_it(state: State) -> None:
    def submit(job_id: str, worker: str | None) -> Job:
        raise UserError("No.")

    async def go() -> None:
        workers = workers_of(state, make_nothing)
        workers.start()
        with pytest.raises(UserError, match="No"):
            await workers.enter(submit)
        await workers.stop(1)

    asyncio.run(go())
