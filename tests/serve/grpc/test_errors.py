"""Problems as statuses."""

from service_grpc import Code

from polarlight.serve import errors
from polarlight.serve.errors import Problem
from polarlight.serve.grpc.errors import CODES, code_of, problem_in_call, trailers


def test_every_problem_of_rest_has_a_status() -> None:
    assert CODES.keys() == errors.CODES.keys()


def test_only_a_server_that_is_away_makes_the_client_try_again() -> None:
    assert code_of(Problem(503, "x")) is Code.UNAVAILABLE
    assert code_of(Problem(503, "x", code="cancelled")) is Code.CANCELLED
    assert code_of(Problem(503, "x", code="expired")) is Code.DEADLINE_EXCEEDED


def test_what_was_billed_and_when_to_come_back_stand_beside_the_status() -> None:
    problem = Problem(429, "x", retry_after_s=1.5, cost_ticks=7)
    assert trailers(problem) == (("retry-after", "2"), ("cost-in-usd-ticks", "7"))
    assert trailers(Problem(404, "x")) == ()


def test_an_unknown_error_tells_nothing_and_a_missing_method_says_so() -> None:
    assert "path" not in problem_in_call(RuntimeError("a secret path")).sentence
    assert code_of(problem_in_call(NotImplementedError())) is Code.UNIMPLEMENTED
