"""What went wrong, once for all doors: an HTTP status, a code, a sentence. Each dialect has its own body for it.

Sources: the error table of xAI's REST API (a flat body, plain text for 422) and the error classes of the OpenAI SDK.
"""

from __future__ import annotations

from typing import Any, Literal

from polarlight.base.errors import UserError
from polarlight.infer.engine import EngineClosed, EngineFull, UnsupportedTask
from polarlight.infer.policy import Refused

from .batches import NoSuchBatch
from .idempotency import IdempotencyConflict
from .job_rows import NoSuchJob
from .ledger import CreditsUsedUp
from .objects import ContentTooLarge, StoreUnavailable
from .rates import TooManyRequests
from .stored_files import NoSuchFile

Dialect = Literal["openai", "xai"]

# status -> (xAI's code, OpenAI's type, OpenAI's code)
CODES = {
    400: ("invalid-argument", "invalid_request_error", "invalid_request"),
    401: ("unauthenticated", "invalid_request_error", "invalid_api_key"),
    403: ("permission-denied", "permission_error", "permission_denied"),
    404: ("not-found", "invalid_request_error", "not_found"),
    405: ("method-not-allowed", "invalid_request_error", "method_not_allowed"),
    408: ("deadline-exceeded", "invalid_request_error", "request_timeout"),
    409: ("aborted", "invalid_request_error", "conflict"),
    413: ("payload-too-large", "invalid_request_error", "payload_too_large"),
    415: ("unsupported-media-type", "invalid_request_error", "unsupported_media_type"),
    416: ("out-of-range", "invalid_request_error", "range_not_satisfiable"),
    422: ("invalid-argument", "invalid_request_error", "invalid_request"),
    429: ("resource-exhausted", "rate_limit_error", "rate_limit_exceeded"),
    500: ("internal", "server_error", "internal_error"),
    503: ("unavailable", "server_error", "service_unavailable"),
}
# how the code of a failed job reads as a status
JOB_FAILURES = {
    "content_policy": 400,
    "invalid_argument": 400,
    "failed_precondition": 400,
    "permission_denied": 403,
    "service_unavailable": 503,
    "internal_error": 500,
}
STORE_WAIT_S = 10  # until a client may try again when its bytes could not be kept


class Problem(Exception):
    """An answer that is not a success. `code` takes the place of OpenAI's usual one; `cost_ticks` is billed all the same."""

    def __init__(
        self,
        status: int,
        sentence: str,
        *,
        code: str = "",
        param: str | None = None,
        retry_after_s: float | None = None,
        cost_ticks: int | None = None,
    ) -> None:
        super().__init__(sentence)
        assert status in CODES, f"no codes for status {status}"
        self.status, self.sentence, self.code, self.param = status, sentence, code, param
        self.retry_after_s, self.cost_ticks = retry_after_s, cost_ticks

    def body(self, dialect: Dialect) -> dict[str, Any] | str:
        """The body in a dialect; a string is sent as plain text."""
        xai, kind, code = CODES[self.status]
        if dialect == "openai":
            code = self.code or code
            return {"error": {"message": self.sentence, "type": kind, "param": self.param, "code": code}}
        if self.status == 422:
            return self.sentence
        usage = {} if self.cost_ticks is None else {"usage": {"cost_in_usd_ticks": self.cost_ticks}}
        return {"code": xai, "error": self.sentence, **usage}

    def headers(self) -> dict[str, str]:
        """What goes beside the body."""
        if self.retry_after_s is None:
            return {}
        return {"retry-after": str(max(1, -int(-self.retry_after_s // 1)))}


def problem_of(error: Exception) -> Problem:
    """How an error is answered; what is no user's mistake says nothing of itself."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Refused):
        refusals = {"content_policy": (400, "moderation_blocked"), "permit": (403, "permission_denied")}
        status, code = refusals.get(error.code, (503, error.code))
        return Problem(status, str(error), code=code)
    if isinstance(error, EngineFull):
        return Problem(429, str(error), code="queue_full", retry_after_s=error.retry_after_s)
    if isinstance(error, TooManyRequests):
        return Problem(429, error.sentence, retry_after_s=error.retry_after_s)
    if isinstance(error, EngineClosed):
        return Problem(503, "The server is shutting down.", retry_after_s=5)
    if isinstance(error, StoreUnavailable):
        return Problem(503, str(error), retry_after_s=STORE_WAIT_S)
    statuses: dict[type[UserError], tuple[int, str]] = {
        CreditsUsedUp: (403, "insufficient_quota"),
        IdempotencyConflict: (409, "idempotency_conflict"),
        ContentTooLarge: (413, ""),
        NoSuchJob: (404, ""),
        NoSuchFile: (404, ""),
        NoSuchBatch: (404, ""),
        UnsupportedTask: (400, "unsupported"),
        UserError: (400, ""),
    }
    for kind, (status, code) in statuses.items():
        if isinstance(error, kind):
            return Problem(status, str(error), code=code)
    return Problem(500, "Something went wrong on the server. Send the x-request-id with your report.")
