"""A problem as a gRPC status, with what REST puts beside the body as trailing metadata.

Source: the table of status codes in the README of xai-sdk-python.
"""

from __future__ import annotations

import grpc

from ..errors import Problem, problem_of

Code = grpc.StatusCode
CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    405: Code.UNIMPLEMENTED,
    408: Code.DEADLINE_EXCEEDED,
    409: Code.ABORTED,
    413: Code.INVALID_ARGUMENT,  # RESOURCE_EXHAUSTED would tell the client to wait
    415: Code.INVALID_ARGUMENT,
    416: Code.OUT_OF_RANGE,
    422: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    500: Code.INTERNAL,
    503: Code.UNAVAILABLE,
}
# xAI's SDK repeats calls that end as UNAVAILABLE: a job that was taken back must not be made again in silence
BY_CODE = {
    "failed_precondition": Code.FAILED_PRECONDITION,
    "cancelled": Code.CANCELLED,
    "expired": Code.DEADLINE_EXCEEDED,
}


def problem_in_call(error: Exception) -> Problem:
    """An error that a method raised; the generated classes raise NotImplementedError for methods that a service lacks."""
    if isinstance(error, NotImplementedError):
        return Problem(405, "This method is not served here.", code="unimplemented")
    return problem_of(error)


def code_of(problem: Problem) -> grpc.StatusCode:
    """The status code of a problem."""
    return BY_CODE.get(problem.code, CODES[problem.status])


def trailers(problem: Problem) -> tuple[tuple[str, str], ...]:
    """When to come back, and what was billed all the same (in ticks)."""
    found = list(problem.headers().items())
    if problem.cost_ticks is not None:
        found.append(("cost-in-usd-ticks", str(problem.cost_ticks)))
    return tuple(found)
