"""What an error says at the doors."""

import errno

import pytest

from polarlight.serve.errors import problem_of
from polarlight.serve.idempotency import IdempotencyConflict
from polarlight.serve.objects import StoreUnavailable


@pytest.mark.parametrize(
    ("cause", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/srv/secret"), "The server's disk is full."),
        (ConnectionError("10.0.0.3 refused"), "The file store does not answer."),
        (None, "The file store does not answer."),
    ],
)
def test_a_store_that_cannot_be_used_is_no_mistake_of_the_clients(cause: Exception | None, sentence: str) -> None:
    problem = problem_of(StoreUnavailable(cause))
    assert (problem.status, problem.headers()) == (503, {"retry-after": "10"})
    said = f"{sentence} Try again later."
    assert problem.body("xai") == {"code": "unavailable", "error": said}
    assert problem.body("openai")["error"] == {
        "message": said, "type": "server_error", "param": None, "code": "service_unavailable",
    }  # fmt: skip


def test_a_conflict_of_idempotency_keys_is_409_in_both_dialects() -> None:
    problem = problem_of(IdempotencyConflict("once"))
    assert (problem.status, problem.body("xai")["code"]) == (409, "aborted")
    assert problem.body("openai")["error"]["code"] == "idempotency_conflict"
