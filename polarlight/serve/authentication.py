"""Who is asking: the key in the Authorization header."""

from __future__ import annotations

import asyncio

from fastapi import Request

from .dialects import dialect_of, known_dialect, set_dialect
from .errors import Problem
from .service import Caller, Service

LONGEST_IDEMPOTENCY_KEY = 255


def service_of(request: Request) -> Service:
    """The service behind the application."""
    return request.app.state.service


async def caller_of(request: Request) -> Caller:
    """The caller of a request; also finds out which dialect it speaks.

    Raises:
        Problem: 401 without a key; with a wrong one 401 in OpenAI's dialect and 400 in xAI's.
    """
    service = service_of(request)
    set_dialect(request, await dialect_of(request, service.engines))
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Problem(
            401, "No credentials presented. Send the header Authorization: Bearer YOUR_KEY.", code="no_api_key"
        )
    secret = secret.strip()
    key = await asyncio.to_thread(service.state.keys.authenticate, secret)
    if key is None:
        status = 400 if known_dialect(request) == "xai" else 401
        raise Problem(status, f"Incorrect API key provided: {shown(secret)}.", code="invalid_api_key")
    request.state.key_id = key.id
    idempotency_key = request.headers.get("idempotency-key") or None
    if idempotency_key is not None and len(idempotency_key) > LONGEST_IDEMPOTENCY_KEY:
        raise Problem(400, f"The idempotency key is longer than {LONGEST_IDEMPOTENCY_KEY} characters.")
    return Caller(
        key=key, door="rest", request_id=request.scope.get("request_id", ""), idempotency_key=idempotency_key
    )  # fmt: skip


def shown(secret: str) -> str:
    """As much of a wrong key as helps its owner to recognise it."""
    return f"{secret[:2]}***" if secret.isascii() and secret.isprintable() else "***"
