"""The queue: accepted once, run by one, charged once, whatever dies."""

import threading

import pytest
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from polarlight.serve import tables
from polarlight.serve.idempotency import IdempotencyConflict
from polarlight.serve.job_rows import FINAL, Job, LeaseLost, NoSuchJob
from polarlight.serve.jobs import Jobs
from polarlight.serve.ledger import CreditsUsedUp
from polarlight.serve.objects import Objects
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile, StoredFile, StoredFiles

START = 1000


@pytest.fixture
def key_id(state: State) -> str:
    return funded(state, "a")


def funded(state: State, name: str) -> str:
    key_id = state.keys.create(name, prepaid=True).key.id
    state.ledger.credit(key_id, START, reference=key_id)
    return key_id


def submit(state: State, key_id: str, seed: int = 1, **values: object) -> Job:
    body = {"prompt": "a fox", "seed": seed}
    return state.jobs.submit(key_id, "image", "polarlight-image", body, **{"ticks": 10, **values})


def claim(state: State, worker: str = "w", **values: object) -> Job:
    job = state.jobs.claim(worker, **values)
    assert job is not None
    return job


def png(content: bytes = b"picture") -> NewFile:
    return NewFile(filename="fox.png", content=content, content_type="image/png")


def test_a_job_runs_from_queued_to_done(state: State, clock: object, key_id: str) -> None:
    queued = submit(state, key_id)
    assert (queued.state, queued.progress, queued.attempts) == ("queued", 0, 0)
    running = claim(state)
    assert (running.id, running.state, running.body) == (queued.id, "running", {"prompt": "a fox", "seed": 1})
    assert running.lease_until == clock.now + state.settings.limits.lease_s
    assert state.jobs.beat(running, progress=40).progress == 40
    done = state.jobs.finish(running, files=[png()], result={"respect_moderation": True}, cost_ticks=8)
    assert (done.state, done.progress, done.cost_ticks, done.finished_at) == ("done", 100, 8, clock.now)
    file = state.files.of_job(done.id)[0]
    assert done.result == {"respect_moderation": True, "files": [file.id]}
    assert (file.key_id, state.objects.get(file.object_key)) == (key_id, b"picture")
    assert state.jobs.get(done.id) == done
    assert state.ledger.balance(key_id) == START - 8
    assert state.jobs.claim("w") is None


def test_several_files_keep_their_order(state: State, key_id: str) -> None:
    submit(state, key_id)
    contents = [bytes([number]) for number in (3, 1, 2, 1)]
    done = state.jobs.finish(claim(state), files=[png(content) for content in contents])
    files = [state.files.get(file_id) for file_id in done.result["files"]]
    assert [state.objects.get(file.object_key) for file in files] == contents
    assert state.files.of_job(done.id) == files


def test_a_failed_job_is_free_unless_it_is_billed(state: State, key_id: str) -> None:
    for cost in (0, 4):
        submit(state, key_id)
        failed = state.jobs.fail(claim(state), "invalid_argument", "The picture was refused.", cost_ticks=cost)
        assert (failed.state, failed.error_code, failed.cost_ticks) == ("failed", "invalid_argument", cost)
    assert state.ledger.balance(key_id) == START - 4


def test_an_error_is_written_down_whatever_characters_it_has(state: State, key_id: str) -> None:
    submit(state, key_id)
    assert state.jobs.fail(claim(state), "internal_error", "a\0b \ud800 é").error_message == "ab ? é"


def test_a_key_that_cannot_pay_gets_no_job(state: State, key_id: str) -> None:
    with pytest.raises(CreditsUsedUp):
        submit(state, key_id, ticks=START + 1)
    assert state.jobs.page(key_id) == []


def test_the_same_request_under_one_idempotency_key_is_one_job(state: State, key_id: str) -> None:
    first = submit(state, key_id, idempotency_key="x")
    assert submit(state, key_id, idempotency_key="x") == first
    assert submit(state, funded(state, "b"), idempotency_key="x").id != first.id
    assert state.ledger.balance(key_id) == START - 10


def test_another_request_under_the_same_idempotency_key_is_a_conflict(state: State, key_id: str) -> None:
    submit(state, key_id, idempotency_key="x")
    with pytest.raises(IdempotencyConflict):
        submit(state, key_id, seed=2, idempotency_key="x")
    assert state.ledger.balance(key_id) == START - 10


def test_one_request_sent_many_times_at_once_is_one_job(state: State, key_id: str) -> None:
    jobs: list[Job] = []
    threads = [
        threading.Thread(target=lambda: jobs.append(submit(state, key_id, idempotency_key="x"))) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job in jobs}) == 1
    assert len(jobs) == 6
    assert state.ledger.balance(key_id) == START - 10


def test_keys_take_turns_and_within_a_key_the_oldest_goes_first(state: State, clock: object, key_id: str) -> None:
    other = funded(state, "b")
    mine = [submit(state, key_id, seed).id for seed in range(4)]
    theirs = [submit(state, other, seed).id for seed in range(2)]
    order = []
    for _ in range(6):
        clock.now += 1
        order.append(claim(state).id)
    assert order == [mine[0], theirs[0], mine[1], theirs[1], mine[2], mine[3]]


def test_a_worker_takes_only_the_kinds_it_can_do(state: State, key_id: str) -> None:
    submit(state, key_id)
    assert state.jobs.claim("w", kinds=["video"]) is None
    assert claim(state, kinds=["video", "image"]).kind == "image"


def test_a_worker_takes_only_jobs_for_the_models_it_has(state: State, key_id: str) -> None:
    submit(state, key_id)
    assert state.jobs.claim("w", models=["other"]) is state.jobs.claim("w", models=[]) is None
    assert claim(state, models=["other", "polarlight-image"]).model == "polarlight-image"


def test_a_silent_workers_job_goes_to_another_and_its_late_words_do_not_count(
    state: State, clock: object, key_id: str
) -> None:
    submit(state, key_id)
    lost = claim(state, "first", lease_s=5.0)
    clock.now += 5
    taken = claim(state, "second")
    assert (taken.id, taken.attempts) == (lost.id, 2)
    late = [
        lambda: state.jobs.beat(lost),
        lambda: state.jobs.finish(lost, files=[png(b"late")]),
        lambda: state.jobs.fail(lost, "internal_error", "late"),
        lambda: state.jobs.give_back(lost),
    ]
    for word in late:
        with pytest.raises(LeaseLost):
            word()
    state.jobs.finish(taken, files=[png()])
    assert [state.objects.get(file.object_key) for file in state.files.of_job(taken.id)] == [b"picture"]
    assert state.ledger.balance(key_id) == START - 10


def test_the_same_worker_is_a_stranger_to_its_own_lost_lease(state: State, clock: object, key_id: str) -> None:
    submit(state, key_id)
    lost = claim(state, "w", lease_s=5.0)
    clock.now += 5
    assert claim(state, "w").id == lost.id
    with pytest.raises(LeaseLost):
        state.jobs.finish(lost)


def test_a_beating_worker_keeps_its_job(state: State, clock: object, key_id: str) -> None:
    submit(state, key_id)
    job = claim(state, lease_s=5.0)
    for _ in range(4):
        clock.now += 4
        job = state.jobs.beat(job, lease_s=5.0)
        assert state.jobs.claim("other") is None


def test_a_job_that_loses_its_worker_too_often_has_failed_and_is_free(state: State, clock: object, key_id: str) -> None:
    job = submit(state, key_id)
    for _ in range(state.settings.limits.attempts):
        claim(state, lease_s=5.0)
        clock.now += 5
    assert state.jobs.claim("w") is None
    failed = state.jobs.get(job.id)
    assert (failed.state, failed.error_code) == ("failed", "internal_error")
    assert state.ledger.balance(key_id) == START


def test_a_job_given_back_does_not_count_as_an_attempt(state: State, key_id: str) -> None:
    submit(state, key_id)
    for _ in range(5):
        given_back = state.jobs.give_back(claim(state))
    assert (given_back.state, given_back.attempts, given_back.worker) == ("queued", 0, None)


@pytest.mark.parametrize("running", [False, True])
def test_a_cancelled_job_is_free_and_its_worker_hears_of_it(state: State, key_id: str, running: bool) -> None:
    job = submit(state, key_id)
    held = claim(state) if running else job
    assert state.jobs.cancel(job.id, key_id).state == "cancelled"
    assert state.jobs.cancel(job.id).state == "cancelled"
    with pytest.raises(LeaseLost) as lost:
        state.jobs.beat(held)
    assert lost.value.state == "cancelled"
    assert state.ledger.balance(key_id) == START
    assert state.jobs.claim("w") is None


def test_a_job_that_has_ended_cannot_be_cancelled(state: State, key_id: str) -> None:
    submit(state, key_id)
    done = state.jobs.finish(claim(state))
    assert state.jobs.cancel(done.id) == done


def test_a_job_that_waited_too_long_expires_and_is_free(state: State, clock: object, key_id: str) -> None:
    job = submit(state, key_id)
    clock.now += state.settings.limits.wait_s
    assert state.jobs.claim("w") is None
    assert state.jobs.purge() == 1
    assert state.jobs.get(job.id).state == "expired"
    assert state.ledger.balance(key_id) == START


def test_an_ended_job_is_forgotten_later_and_its_files_stay(state: State, clock: object, key_id: str) -> None:
    submit(state, key_id)
    done = state.jobs.finish(claim(state), files=[png()])
    clock.now += state.settings.limits.keep_s - 1
    assert state.jobs.purge() == 0
    clock.now += 1
    assert state.jobs.purge() == 1
    with pytest.raises(NoSuchJob):
        state.jobs.get(done.id)
    assert state.files.get(done.result["files"][0]).job_id is None


def test_a_running_job_is_neither_expired_nor_forgotten(state: State, clock: object, key_id: str) -> None:
    submit(state, key_id)
    job = claim(state, lease_s=10**9)
    clock.now += 10**8
    assert state.jobs.purge() == 0
    assert state.jobs.finish(job).state == "done"


def test_deleting_a_job_takes_its_files_with_it(state: State, key_id: str) -> None:
    submit(state, key_id)
    done = state.jobs.finish(claim(state), files=[png()])
    state.jobs.delete(done.id, key_id)
    assert list(state.objects.keys()) == []
    with pytest.raises(NoSuchJob):
        state.jobs.get(done.id)
    assert state.ledger.balance(key_id) == START - 10


def test_deleting_a_running_job_stops_its_worker(state: State, key_id: str) -> None:
    submit(state, key_id)
    job = claim(state)
    state.jobs.delete(job.id)
    with pytest.raises(LeaseLost):
        state.jobs.finish(job)
    assert state.ledger.balance(key_id) == START


def test_another_key_sees_no_job(state: State, key_id: str) -> None:
    job, other = submit(state, key_id), funded(state, "b")
    for call in (state.jobs.get, state.jobs.cancel, state.jobs.delete):
        with pytest.raises(NoSuchJob):
            call(job.id, other)
    assert state.jobs.page(other) == []


def test_pages_follow_one_another_in_both_orders(state: State, key_id: str) -> None:
    ids = [submit(state, key_id, seed).id for seed in range(5)]
    for newest_first, expected in ((True, ids[::-1]), (False, ids)):
        first = state.jobs.page(key_id, limit=2, newest_first=newest_first)
        rest = state.jobs.page(key_id, after=first[-1].id, newest_first=newest_first)
        assert [job.id for job in first + rest] == expected
    assert state.jobs.page(key_id, kinds=["video"]) == []


@pytest.mark.parametrize(
    "refused", [{"cost_ticks": 11}, {"result": {"not JSON": b""}}], ids=["at the charge", "after the charge"]
)
def test_a_failing_end_leaves_neither_file_nor_charge_nor_state(state: State, key_id: str, refused: dict) -> None:
    submit(state, key_id)
    job = claim(state)
    with pytest.raises((AssertionError, StatementError, TypeError)):
        state.jobs.finish(job, files=[png()], **refused)
    assert state.jobs.get(job.id) == job
    assert state.files.of_job(job.id) == []
    assert [entry.kind for entry in state.ledger.entries(key_id)] == ["credit", "reserved"]


def test_claims_side_by_side_take_different_jobs(state: State, key_id: str) -> None:
    jobs = [submit(state, key_id, seed).id for seed in range(24)]
    taken: list[str] = []
    together = threading.Barrier(6)

    def take() -> None:
        for _ in range(4):
            together.wait()
            taken.append(claim(state).id)

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(jobs)


def test_the_count_of_waiting_and_unfinished_jobs_follows_them(state: State, key_id: str) -> None:
    for seed in range(3):
        submit(state, key_id, seed)
    state.jobs.finish(claim(state))
    claim(state)
    assert (state.jobs.waiting(), state.jobs.unfinished()) == (1, 2)
    assert {job.state in FINAL for job in state.jobs.page(key_id)} == {True, False}


class SlowStore(Objects):
    """A store whose second answer to whether it has something takes its time; the first comes with the upload."""

    def exists(self, key: str) -> bool:
        found = super().exists(key)
        self.answers += 1
        if self.answers == 2:
            self.asked.set()
            self.go.wait(10)
        return found


def test_a_store_that_is_slow_when_a_job_ends_holds_up_no_other_writer(state: State, key_id: str) -> None:
    submit(state, key_id)
    job, store, submitted = claim(state), SlowStore(state.settings.objects_url), threading.Event()
    store.answers, store.asked, store.go = 0, threading.Event(), threading.Event()
    files = StoredFiles(state.database, store, state.jobs.clock)
    jobs = Jobs(state.database, state.ledger, files, state.settings.limits, state.jobs.clock)
    ending = threading.Thread(target=lambda: jobs.finish(job, files=[png()]))
    ending.start()
    assert store.asked.wait(10)

    def write() -> None:
        submit(state, key_id, seed=2)
        submitted.set()

    writing = threading.Thread(target=write)
    writing.start()
    in_time = submitted.wait(5)
    store.go.set()
    ending.join()
    writing.join()
    assert in_time
    assert state.objects.get(state.files.of_job(job.id)[0].object_key) == b"picture"


class SlowlyListed(StoredFiles):
    """Files whose list takes its time: `listed` says that it was read, `go` lets it be used."""

    def of_job(self, job_id: str) -> list[StoredFile]:
        files = super().of_job(job_id)
        self.listed.set()
        self.go.wait(10)
        return files


def test_deleting_a_job_while_it_is_forgotten_waits_for_its_turn(state: State, key_id: str) -> None:
    submit(state, key_id)
    done = state.jobs.finish(claim(state), files=[png()])
    files = SlowlyListed(state.database, state.objects, state.jobs.clock)
    files.listed, files.go = threading.Event(), threading.Event()
    jobs, errors = Jobs(state.database, state.ledger, files, state.settings.limits, state.jobs.clock), []

    def delete() -> None:
        try:
            jobs.delete(done.id)
        except Exception as error:
            errors.append(type(error))

    deleting = threading.Thread(target=delete)
    deleting.start()
    files.listed.wait(10)
    with state.database.write() as connection:  # as purging does: the job first, and by it the rows of its files
        connection.execute(select(tables.jobs).where(tables.jobs.c.id == done.id).with_for_update())
        files.go.set()
        deleting.join(0.5)
        connection.execute(tables.jobs.delete().where(tables.jobs.c.id == done.id))
    deleting.join()
    assert errors == [NoSuchJob]


def test_a_job_that_finds_nobody_waiting_is_taken_by_the_worker_that_brings_it(
    state: State, clock: object, key_id: str
) -> None:
    job = state.jobs.submit(key_id, "image", "m", {}, ticks=5, job_id="mine", worker="w")
    assert (job.id, job.state, job.worker, job.attempts) == ("mine", "running", "w", 1)
    assert (job.started_at, job.lease_until) == (clock.now, clock.now + state.settings.limits.lease_s)
    assert state.jobs.claim("other") is None
    assert state.jobs.finish(job).state == "done"


def test_a_job_that_finds_another_waiting_waits_behind_it(state: State, key_id: str) -> None:
    first = state.jobs.submit(key_id, "image", "m", {}, ticks=5)
    second = state.jobs.submit(key_id, "image", "m", {}, ticks=5, worker="w")
    assert (second.state, second.worker, second.attempts) == ("queued", None, 0)
    assert [state.jobs.claim("w").id for _ in range(2)] == [first.id, second.id]


def test_a_job_taken_on_arrival_counts_as_its_keys_turn(state: State, clock: object, key_id: str) -> None:
    other = state.keys.create("other").key.id
    state.jobs.submit(key_id, "image", "m", {}, ticks=5, worker="w")
    clock.now += 1
    jobs = [state.jobs.submit(each, "image", "m", {}, ticks=5) for each in (key_id, other)]
    assert state.jobs.claim("w").id == jobs[1].id


def test_a_job_taken_on_arrival_goes_to_another_when_its_worker_dies(state: State, clock: object, key_id: str) -> None:
    job = state.jobs.submit(key_id, "image", "m", {}, ticks=5, worker="dead")
    clock.now += state.settings.limits.lease_s + 1
    again = state.jobs.claim("other")
    assert (again.id, again.worker, again.attempts) == (job.id, "other", 2)


def test_a_repeated_request_is_not_taken_a_second_time(state: State, key_id: str) -> None:
    given = {"ticks": 5, "idempotency_key": "once"}
    first = state.jobs.submit(key_id, "image", "m", {}, worker="w", job_id="a", **given)
    again = state.jobs.submit(key_id, "image", "m", {}, worker="v", job_id="b", **given)
    assert (again.id, again.worker, again.attempts) == (first.id, "w", 1)
