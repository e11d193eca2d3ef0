"""What makes two requests the same."""

import pytest
from sqlalchemy import select

from polarlight.serve import tables
from polarlight.serve.idempotency import IdempotencyConflict, digest_of, made_before
from polarlight.serve.state import State


def test_equal_requests_have_one_digest_whatever_the_order_of_their_names() -> None:
    assert digest_of("image", {"a": 1, "b": [2]}) == digest_of("image", {"b": [2], "a": 1})
    assert len({digest_of("image", {"a": 1}), digest_of("image", {"a": 2}), digest_of("video", {"a": 1})}) == 3


def test_jobs_that_were_accepted_before_keep_their_digest() -> None:
    known = "486ce5fe0"
    assert digest_of("image", "m", {"prompt": "a fox", "seed": 1}).startswith(known)


def test_a_request_is_found_by_its_key_and_a_different_one_is_a_conflict(state: State) -> None:
    key_id = state.keys.create("a").key.id
    job = state.jobs.submit(key_id, "image", "m", {"seed": 1}, ticks=0, idempotency_key="once")

    def found(idempotency_key: str | None, seed: int) -> str | None:
        with state.database.read() as connection:
            digest = digest_of("image", "m", {"seed": seed})
            row = made_before(connection, tables.jobs, key_id, idempotency_key, digest)
            assert connection.execute(select(tables.jobs.c.id)).scalars().all() == [job.id]
            return None if row is None else row.id

    assert [found("once", 1), found("never", 1), found(None, 1)] == [job.id, None, None]
    with pytest.raises(IdempotencyConflict):
        found("once", 2)
