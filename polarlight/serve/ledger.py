"""Money: an append-only ledger in ticks ($1 = 10^10). Nothing is updated in place; a balance is the sum of its rows.

A request is reserved before it runs (`reserved`, minus its price), then either charged (`charged`, plus what was
reserved too much) or released (`released`, plus all of it). Credits and grants are rows above zero. Each row carries
the balance and the month's spending after it, so both are one look-up; triggers in the database refuse changes and
deletions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, bindparam, func, select

from polarlight.base.errors import UserError

from . import tables
from .database import Clock, Database, Row
from .prices import Prices

SPENDING = ("reserved", "charged", "released")
USAGE_COLUMNS = {"key": "key_id", "model": "model", "day": "day"}

# statements are built once: building one takes as long as running it
_row = tables.ledger.c
ENTRY = select(tables.ledger).where(_row.reference == bindparam("wanted"))
BALANCE = select(_row.balance_after).where(_row.key_id == bindparam("of_key")).order_by(_row.number.desc()).limit(1)
SPENT = select(_row.spent_after).where(_row.key_id == bindparam("of_key"), _row.month == bindparam("of_month"))
SPENT = SPENT.order_by(_row.number.desc()).limit(1)
NEW_ENTRY = tables.ledger.insert().returning(tables.ledger)
NEW_ENTRY = NEW_ENTRY.values(
    balance_after=func.coalesce(BALANCE.scalar_subquery(), 0) + bindparam("earned"),
    spent_after=func.coalesce(SPENT.scalar_subquery(), 0) + bindparam("spending"),
    **{name: bindparam(f"new_{name}") for name in (
        "at", "day", "month", "key_id", "kind", "reference", "request_id", "model", "ticks", "cost_ticks", "note"
    )},
)  # fmt: skip


class CreditsUsedUp(UserError):
    """The balance or the month's limit would be passed: 403."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"Your team {key_id} has either used all available credits or reached its monthly spending limit.",
            fix="To continue making API requests, please purchase more credits or raise your spending limit.",
        )


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One row.

    Attributes:
        at: when it was written. `day` and `month` are those of the request's reservation, so that the rows of a day
            and of a month add up to what their requests cost.
        ticks: what it does to the balance.
        cost_ticks: what a charged request cost in the end; 0 in other rows.
        balance_after: the sum of `ticks` over the key's rows up to this one.
        spent_after: what was reserved or charged in this row's month, up to this one.
    """

    number: int
    at: float
    day: str
    month: str
    key_id: str
    kind: str
    reference: str
    request_id: str | None
    model: str
    ticks: int
    cost_ticks: int
    balance_after: int
    spent_after: int
    note: str


@dataclass(frozen=True, kw_only=True)
class Usage:
    """A line of totals; a column that was not asked for is None."""

    key: str | None
    model: str | None
    day: str | None
    requests: int
    ticks: int


class Ledger:
    """The rows of all keys. A method that writes takes `within`, an open writing transaction, to become part of it."""

    def __init__(self, database: Database, prices: Prices, clock: Clock = time.time) -> None:
        self.database = database
        self.prices = prices
        self.clock = clock

    def credit(
        self, key_id: str, ticks: int, *, reference: str, note: str = "", within: Connection | None = None
    ) -> Entry:
        """Add credit once: the same reference again returns the first row.

        Raises:
            UserError: the amount is not above zero, the key is unknown, or the reference stands for another credit.
        """
        if ticks <= 0:
            raise UserError(f"A credit must be above zero, and it is {ticks} ticks.", fix="Give a larger amount.")
        with self.database.write(within) as connection:
            self.database.lock_key(connection, key_id)
            entry = _find(connection, f"credit/{reference}")
            if entry is None:
                return self._append(connection, key_id, "credit", f"credit/{reference}", ticks=ticks, note=note)
            if (entry.key_id, entry.ticks) != (key_id, ticks):
                raise UserError(f"The reference {reference} stands for another credit.", fix="Choose a new one.")
            return entry

    def grant_month(self, key_id: str, *, within: Connection | None = None) -> Entry | None:
        """Give a key that shares its data this month's grant, once a month; None where nothing is due."""
        with self.database.write(within) as connection:
            self.database.lock_key(connection, key_id)
            month = day_of(self.clock())[:7]
            reference = f"grant/{key_id}/{month}"
            if not self._grant_is_due(connection, key_id, reference):
                return None
            return self._append(connection, key_id, "grant", reference, ticks=self.prices.monthly_grant)

    def reserve(
        self, key_id: str, ticks: int, *, request_id: str, model: str = "", within: Connection | None = None
    ) -> Entry:
        """Set `ticks` aside for a request before it runs; the same request again returns the first row.

        Raises:
            CreditsUsedUp: a prepaid key's balance, or the key's limit for this month, would be passed.
            UserError: the key is unknown, or the request stands in the ledger with another key or amount.
        """
        assert ticks >= 0, "a price is never below zero"
        with self.database.write(within) as connection:
            key = self.database.lock_key(connection, key_id)
            if (entry := _find(connection, f"reserve/{request_id}")) is not None:
                if (entry.key_id, entry.ticks) != (key_id, -ticks):
                    raise UserError(f"The request {request_id} has another reservation.", fix="Use a new request id.")
                return entry
            if self.prices.monthly_grant:
                self.grant_month(key_id, within=connection)
            short = key.prepaid and _balance(connection, key_id) < ticks
            limit, month = key.monthly_limit_ticks, day_of(self.clock())[:7]
            if ticks and (short or (limit is not None and _spent(connection, key_id, month) + ticks > limit)):
                raise CreditsUsedUp(key_id)
            return self._append(
                connection, key_id, "reserved", f"reserve/{request_id}",
                ticks=-ticks, request_id=request_id, model=model,
            )  # fmt: skip

    def charge(self, request_id: str, ticks: int | None = None, *, within: Connection | None = None) -> Entry:
        """Turn a reservation into a cost of `ticks` (default: all of it); once, however often it is called.

        Raises:
            UserError: there is no such reservation, it was released before, or it was charged another amount.
        """
        return self._settle(request_id, "charged", ticks, within)

    def release(self, request_id: str, *, within: Connection | None = None) -> Entry:
        """Give a reservation back whole; once, however often it is called.

        Raises:
            UserError: there is no such reservation, or it was charged before.
        """
        return self._settle(request_id, "released", 0, within)

    def balance(self, key_id: str) -> int:
        """Ticks left, open reservations taken off; below zero only for keys that are not prepaid."""
        with self.database.read() as connection:
            due = self._grant_is_due(connection, key_id, f"grant/{key_id}/{day_of(self.clock())[:7]}")
            balance = _balance(connection, key_id)
        entry = self.grant_month(key_id) if due else None
        return balance if entry is None else entry.balance_after

    def spent(self, key_id: str, month: str | None = None) -> int:
        """Ticks charged or reserved in a month (`2026-11`; default: this one)."""
        with self.database.read() as connection:
            return _spent(connection, key_id, month or day_of(self.clock())[:7])

    def usage(
        self,
        by: Sequence[str] = ("key", "model", "day"),
        *,
        key_id: str | None = None,
        since: str = "",
        until: str = "9999",
    ) -> list[Usage]:
        """Totals of charged requests for each combination of `by` (of key, model, day), days from `since` to `until`.

        Raises:
            UserError: `by` names something else.
        """
        if unknown := [name for name in by if name not in USAGE_COLUMNS]:
            raise UserError(f"Usage has no column {unknown[0]}.", fix=f"Choose from {', '.join(USAGE_COLUMNS)}.")
        row = tables.ledger.c
        columns = [row[USAGE_COLUMNS[name]].label(name) for name in by]
        totals = [func.count().label("requests"), func.sum(row.cost_ticks).label("ticks")]
        chosen = select(*columns, *totals).where(row.kind == "charged", row.day >= since, row.day <= until)
        if key_id is not None:
            chosen = chosen.where(row.key_id == key_id)
        with self.database.read() as connection:
            found = connection.execute(chosen.group_by(*columns).order_by(*columns)).mappings().all()
        empty = dict.fromkeys(USAGE_COLUMNS)
        return [Usage(**{**empty, **line, "ticks": int(line["ticks"])}) for line in found if line["requests"]]

    def entries(self, key_id: str, *, after: int = 0, limit: int = 100) -> list[Entry]:
        """A key's rows in order, from the one after number `after`."""
        row = tables.ledger.c
        chosen = select(tables.ledger).where(row.key_id == key_id, row.number > after)
        with self.database.read() as connection:
            return [_entry(found) for found in connection.execute(chosen.order_by(row.number).limit(limit))]

    def _settle(self, request_id: str, kind: str, cost: int | None, within: Connection | None) -> Entry:
        with self.database.write(within) as connection:
            reserved = _find(connection, f"reserve/{request_id}")
            if reserved is None:
                raise UserError(f"The ledger has no reservation for {request_id}.", fix="Reserve before settling.")
            self.database.lock_key(connection, reserved.key_id)
            cost = -reserved.ticks if cost is None else cost
            assert 0 <= cost <= -reserved.ticks, "a request costs what was reserved for it at most"
            if (before := _find(connection, f"settle/{request_id}")) is not None:
                if (before.kind, before.cost_ticks) != (kind, cost):
                    sentence = f"The request {request_id} was {before.kind} before, at {before.cost_ticks} ticks."
                    raise UserError(sentence, fix="A request is settled once.")
                return before
            return self._append(
                connection, reserved.key_id, kind, f"settle/{request_id}",
                ticks=-reserved.ticks - cost, cost_ticks=cost, request_id=request_id, model=reserved.model,
                day=reserved.day,
            )  # fmt: skip

    def _grant_is_due(self, connection: Connection, key_id: str, reference: str) -> bool:
        if self.prices.monthly_grant == 0:
            return False
        consent = tables.consents.c
        shares = select(consent.number).where(consent.key_id == key_id, consent.withdrawn_at.is_(None))
        return connection.execute(shares).first() is not None and _find(connection, reference) is None

    def _append(self, connection: Connection, key_id: str, kind: str, reference: str, **values: Any) -> Entry:
        """Write a row; the caller holds the key's lock."""
        now = self.clock()
        row = {"request_id": None, "model": "", "cost_ticks": 0, "note": "", "day": day_of(now), **values}
        row |= {"at": now, "month": row["day"][:7], "key_id": key_id, "kind": kind, "reference": reference}
        sums = {"of_key": key_id, "of_month": row["month"], "earned": row["ticks"]}
        sums["spending"] = -row["ticks"] if kind in SPENDING else 0
        new = {f"new_{name}": value for name, value in row.items()}
        return _entry(connection.execute(NEW_ENTRY, new | sums).one())


def day_of(seconds: float) -> str:
    """The day (UTC) of a time, as 2026-11-22."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _entry(row: Row) -> Entry:
    return Entry(**row._mapping)


def _find(connection: Connection, reference: str) -> Entry | None:
    row = connection.execute(ENTRY, {"wanted": reference}).first()
    return None if row is None else _entry(row)


def _balance(connection: Connection, key_id: str) -> int:
    return connection.execute(BALANCE, {"of_key": key_id}).scalar() or 0


def _spent(connection: Connection, key_id: str, month: str) -> int:
    return connection.execute(SPENT, {"of_key": key_id, "of_month": month}).scalar() or 0
