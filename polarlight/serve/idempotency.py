"""Requests that may come twice: with the same idempotency key, the same request makes one thing, and is answered with it.

A table that takes such requests has the columns `idempotency_key`, of which an API key uses each once, and `body_hash`.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import Connection, Table, select

from polarlight.base.errors import UserError

from .database import Row


class IdempotencyConflict(UserError):
    """The idempotency key came before with another request: 409."""

    def __init__(self, idempotency_key: str) -> None:
        sentence = f"The idempotency key {idempotency_key!r} was used before with another request."
        super().__init__(sentence, fix="Use a new idempotency key for a new request.")


def digest_of(*request: Any) -> str:
    """What makes two requests the same: SHA-256 over their JSON with sorted names."""
    text = json.dumps(request, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def made_before(
    connection: Connection, table: Table, key_id: str, idempotency_key: str | None, digest: str
) -> Row | None:
    """The row that this request made when it came first; None where it did not, or has no idempotency key.

    Who goes on to make it holds the lock of the API key (`Database.lock_key`), so that two at once make one.

    Raises:
        IdempotencyConflict: the idempotency key came with another request.
    """
    if idempotency_key is None:
        return None
    chosen = select(table).where(table.c.key_id == key_id, table.c.idempotency_key == idempotency_key)
    found = connection.execute(chosen).first()
    if found is not None and found.body_hash != digest:
        raise IdempotencyConflict(idempotency_key)
    return found
