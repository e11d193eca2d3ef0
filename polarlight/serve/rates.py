"""Rate limits: a sliding window of accepted requests, exact across processes because it stands in the database."""

from __future__ import annotations

import time

from sqlalchemy import Connection, func, select

from polarlight.base.errors import UserError

from . import tables
from .accounts import Key
from .database import Clock, Database

SECOND_S, MINUTE_S = 1.0, 60.0


class TooManyRequests(UserError):
    """A limit is reached: 429. `retry_after_s` says when the next request would pass."""

    def __init__(self, key: Key, scope: str, in_second: int, in_minute: int, retry_after_s: float) -> None:
        def share(actual: int, limit: int | None) -> str:
            return f"{actual}/{'unlimited' if limit is None else limit}"

        super().__init__(
            f"Too many requests for team {key.id} and model {scope or '*'}. Your team's rate limit is — "
            f"Requests per Second (actual/limit): {share(in_second, key.requests_per_second)}, "
            f"Requests per Minute (actual/limit): {share(in_minute, key.requests_per_minute)}.",
            fix=f"Try again in {retry_after_s:.1f} seconds.",
        )
        self.retry_after_s = retry_after_s


class Rates:
    """Counts requests of each key and scope (a model's name, or nothing for all requests together)."""

    def __init__(self, database: Database, clock: Clock = time.time) -> None:
        self.database = database
        self.clock = clock

    def admit(self, key: Key, scope: str = "") -> None:
        """Let one request pass and count it.

        Raises:
            TooManyRequests: within the last second or the last minute the key's limit was used up.
        """
        if key.requests_per_second is None and key.requests_per_minute is None:
            return
        with self.database.write() as connection:
            self.database.lock_key(connection, key.id)
            now = self.clock()
            in_second, second_ends = _seen(connection, key.id, scope, now, SECOND_S, key.requests_per_second)
            in_minute, minute_ends = _seen(connection, key.id, scope, now, MINUTE_S, key.requests_per_minute)
            if retry_after_s := max(second_ends, minute_ends):
                raise TooManyRequests(key, scope, in_second, in_minute, retry_after_s)
            connection.execute(tables.accepted_requests.insert().values(key_id=key.id, scope=scope, at=now))

    def purge(self) -> int:
        """Forget what no window reaches any more; returns how many rows."""
        row = tables.accepted_requests
        with self.database.write() as connection:
            return connection.execute(row.delete().where(row.c.at <= self.clock() - MINUTE_S)).rowcount


def _seen(
    connection: Connection, key_id: str, scope: str, now: float, window_s: float, limit: int | None
) -> tuple[int, float]:
    """How many requests the window holds, and in how many seconds there is room again (0: there is room now)."""
    row = tables.accepted_requests.c
    inside = (row.key_id == key_id, row.scope == scope, row.at > now - window_s)
    count = connection.execute(select(func.count()).where(*inside)).scalar_one()
    if limit is None or count < limit:
        return count, 0.0
    leaves = select(row.at).where(*inside).order_by(row.at).offset(count - limit).limit(1)
    return count, connection.execute(leaves).scalar_one() + window_s - now
