"""Batches: counters over jobs."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from polarlight.base.errors import UserError
from polarlight.serve.batches import BatchRequest, NoSuchBatch
from polarlight.serve.idempotency import IdempotencyConflict
from polarlight.serve.ledger import CreditsUsedUp
from polarlight.serve.state import State


@pytest.fixture
def key_id(state: State) -> str:
    key_id = state.keys.create("a", prepaid=True).key.id
    state.ledger.credit(key_id, 100, reference="start")
    return key_id


def request(name: str, seed: int = 1) -> BatchRequest:
    return BatchRequest(request_id=name, kind="image", model="m", body={"seed": seed}, ticks=10)


def test_the_counters_follow_the_jobs(state: State, key_id: str) -> None:
    batch = state.batches.create(key_id, "foxes")
    assert (batch.requests, batch.pending, batch.cost_ticks) == (0, 0, 0)
    state.batches.add(batch.id, [request(name) for name in "abcd"])
    for end in (lambda job: state.jobs.finish(job, cost_ticks=7), lambda job: state.jobs.fail(job, "x", "y")):
        job = state.jobs.claim("w")
        assert job is not None
        end(job)
    state.jobs.cancel(state.batches.requests(batch.id)[2].id)
    found = state.batches.get(batch.id, key_id)
    assert (found.requests, found.pending, found.successes, found.errors, found.cancelled) == (4, 1, 1, 1, 1)
    assert found.cost_ticks == 7


def test_requests_come_in_their_order_page_by_page(state: State, key_id: str) -> None:
    batch = state.batches.create(key_id, "foxes")
    state.batches.add(batch.id, [request("a"), request("b")])
    state.batches.add(batch.id, [request("c")])
    first = state.batches.requests(batch.id, limit=2)
    rest = state.batches.requests(batch.id, after=first[-1].id)
    assert [job.batch_request_id for job in first + rest] == ["a", "b", "c"]


def test_a_request_added_again_is_the_same_job_and_another_is_a_conflict(state: State, key_id: str) -> None:
    batch = state.batches.create(key_id, "foxes")
    first = state.batches.add(batch.id, [request("a")])
    assert state.batches.add(batch.id, [request("a")]) == first
    with pytest.raises(IdempotencyConflict):
        state.batches.add(batch.id, [request("a", seed=2)])
    again = state.batches.create(key_id, "more foxes")
    assert state.batches.add(again.id, [request("a", seed=2)]) != first


def test_requests_are_accepted_all_or_none(state: State, key_id: str) -> None:
    batch = state.batches.create(key_id, "foxes")
    with pytest.raises(CreditsUsedUp):
        state.batches.add(batch.id, [request(str(number)) for number in range(11)])
    assert state.batches.get(batch.id).requests == 0
    assert state.ledger.balance(key_id) == 100


def test_a_cancelled_batch_stops_its_jobs_and_takes_no_more(state: State, key_id: str) -> None:
    batch = state.batches.create(key_id, "foxes")
    state.batches.add(batch.id, [request("a"), request("b"), request("c")])
    done = state.jobs.claim("w")
    assert done is not None
    state.jobs.finish(done)
    state.jobs.claim("w")
    cancelled = state.batches.cancel(batch.id, key_id)
    assert (cancelled.successes, cancelled.cancelled, cancelled.pending) == (1, 2, 0)
    assert cancelled.cancelled_at is not None
    assert state.ledger.balance(key_id) == 90
    with pytest.raises(UserError, match="is cancelled"):
        state.batches.add(batch.id, [request("d")])


def test_a_batch_past_its_time_is_closed_and_forgotten_with_its_last_job(
    state: State, clock: object, key_id: str
) -> None:
    batch = state.batches.create(key_id, "foxes")
    state.batches.add(batch.id, [request("a")])
    clock.now = batch.expires_at
    with pytest.raises(UserError, match="is expired"):
        state.batches.add(batch.id, [request("b")])
    assert state.batches.purge() == 0
    state.tidy()  # the waiting job expires
    assert state.batches.get(batch.id).errors == 1
    clock.now += state.settings.limits.keep_s
    state.tidy()
    with pytest.raises(NoSuchBatch):
        state.batches.get(batch.id)


def test_another_key_sees_no_batch(state: State, key_id: str) -> None:
    batch, other = state.batches.create(key_id, "foxes"), state.keys.create("b").key.id
    for call in (state.batches.get, state.batches.cancel, state.batches.requests):
        with pytest.raises(NoSuchBatch):
            call(batch.id, other)
    assert state.batches.page(other) == []


def test_a_batch_sent_twice_under_one_idempotency_key_is_one_batch_with_its_requests_once(
    state: State, key_id: str
) -> None:
    sent = {"input_file_id": "file-a", "requests": [request("a"), request("b")], "idempotency_key": "once"}
    first = state.batches.create(key_id, "foxes", **sent)
    assert first.requests == 2
    assert state.batches.create(key_id, "foxes", **sent) == first
    assert state.batches.opened_before(key_id, "foxes", "file-a", "once") == first
    assert state.batches.opened_before(key_id, "foxes", "file-a", "another") is None
    other = state.keys.create("b").key.id
    assert state.batches.create(other, "foxes", idempotency_key="once").id != first.id
    assert (len(state.batches.page(key_id)), state.ledger.balance(key_id)) == (1, 80)


@pytest.mark.parametrize("changed", [{"name": "wolves"}, {"input_file_id": "file-b"}])
def test_another_batch_under_the_same_idempotency_key_is_a_conflict(state: State, key_id: str, changed: dict) -> None:
    sent = {"name": "foxes", "input_file_id": "file-a", "idempotency_key": "once"}
    state.batches.create(key_id, **sent)
    with pytest.raises(IdempotencyConflict):
        state.batches.create(key_id, **sent | changed)
    with pytest.raises(IdempotencyConflict):
        state.batches.opened_before(key_id, **sent | changed)


def test_a_batch_sent_many_times_at_once_is_one(state: State, key_id: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = pool.map(lambda _: state.batches.create(key_id, "foxes", idempotency_key="once").id, range(4))
    assert len(set(made)) == len(state.batches.page(key_id)) == 1


def test_a_batch_that_cannot_be_paid_for_is_not_opened_and_its_idempotency_key_stays_free(
    state: State, key_id: str
) -> None:
    with pytest.raises(CreditsUsedUp):
        state.batches.create(key_id, "dear", requests=[request(str(n)) for n in range(11)], idempotency_key="once")
    assert (state.batches.page(key_id), state.ledger.balance(key_id)) == ([], 100)
    assert state.batches.create(key_id, "cheap", idempotency_key="once").name == "cheap"


def test_batches_are_listed_newest_first(state: State, key_id: str) -> None:
    ids = [state.batches.create(key_id, name).id for name in "abc"]
    first = state.batches.page(key_id, limit=1)
    rest = state.batches.page(key_id, after=first[0].id)
    assert [batch.id for batch in first + rest] == ids[::-1]
