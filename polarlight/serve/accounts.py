"""API keys: who may ask for what, how fast and for how much.

A key is its own team: credits, limits and files belong to it. Only the SHA-256 of its secret is stored; the secret is
256 random bits, so a plain hash cannot be searched through and needs no salt.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import Connection, bindparam, select
from sqlalchemy.exc import IntegrityError

from polarlight.base.errors import UserError

from . import tables
from .database import Clock, Database, Row
from .ledger import Ledger

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
EVERYTHING = ("api-key:endpoint:*", "api-key:model:*")
BY_SECRET = select(tables.keys).where(tables.keys.c.secret_hash == bindparam("wanted"))  # built once, see `ledger`
_consent = tables.consents.c
SHARES = select(_consent.number).where(_consent.key_id == bindparam("of_key"), _consent.withdrawn_at.is_(None))
CHANGEABLE = {
    "name", "acls", "requests_per_second", "requests_per_minute", "monthly_limit_ticks", "prepaid", "blocked"
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Key:
    """What is known of a key; its secret is not.

    Attributes:
        acls: what it may do: `api-key:endpoint:NAME` and `api-key:model:NAME`, with * for any.
        requests_per_second, requests_per_minute: None for no limit.
        monthly_limit_ticks: the most it may spend in a calendar month (UTC); None for no limit.
        prepaid: whether its balance must cover each request; other keys only write down what they use.
        blocked: set aside by the operator for a while. A revoked key (`revoked_at`) never comes back.
        shares_data: whether its owner agreed that its requests may be used for training.
    """

    id: str
    name: str
    redacted: str
    owner: bool
    acls: tuple[str, ...]
    requests_per_second: int | None
    requests_per_minute: int | None
    monthly_limit_ticks: int | None
    prepaid: bool
    blocked: bool
    shares_data: bool
    created_at: float
    modified_at: float
    modified_by: str
    revoked_at: float | None

    def may(self, endpoint: str, model: str | None = None) -> bool:
        """Whether the lists allow this endpoint (`images`, `videos`, `files`, ...) and, where given, this model."""
        asked = [f"api-key:endpoint:{endpoint}"] + ([] if model is None else [f"api-key:model:{model}"])
        return all(any(fnmatchcase(name, pattern) for pattern in self.acls) for name in asked)


@dataclass(frozen=True, kw_only=True)
class NewKey:
    """A key and its secret, which is shown this once."""

    key: Key
    secret: str


@dataclass(frozen=True, kw_only=True)
class Consent:
    """When a key's owner agreed to share data, and when that was taken back (None: it stands)."""

    granted_at: float
    withdrawn_at: float | None


class Keys:
    """The keys of one installation."""

    def __init__(self, database: Database, ledger: Ledger, clock: Clock = time.time) -> None:
        self.database = database
        self.ledger = ledger
        self.clock = clock

    def create(
        self,
        name: str,
        *,
        acls: Sequence[str] = EVERYTHING,
        requests_per_second: int | None = None,
        requests_per_minute: int | None = None,
        monthly_limit_ticks: int | None = None,
        prepaid: bool = False,
        by: str = "operator",
    ) -> NewKey:
        """Make a key; it starts with the credit that the price table gives to new keys.

        Raises:
            UserError: the name is empty, an access rule has the wrong form, or a limit is below one.
        """
        limits = {
            "requests_per_second": requests_per_second,
            "requests_per_minute": requests_per_minute,
            "monthly_limit_ticks": monthly_limit_ticks,
        }
        return self._create({"name": name, "acls": list(acls), "prepaid": prepaid, **limits}, by, owner=False)

    def ensure_owner(self) -> NewKey | None:
        """Make the operator's own key on the first run; None where there is one already."""
        chosen = select(tables.keys.c.id).where(tables.keys.c.owner)
        with self.database.read() as connection:
            if connection.execute(chosen).first() is not None:
                return None
        try:
            return self._create({"name": "owner", "acls": list(EVERYTHING), "prepaid": False}, "first run", owner=True)
        except IntegrityError:  # another process starting at the same moment was first
            return None

    def authenticate(self, secret: str) -> Key | None:
        """The key of a secret, also a blocked one; None for secrets that are unknown or revoked.

        The look-up goes by the secret's hash: how long it takes says nothing about any stored secret.
        """
        digest = _digest(secret)
        with self.database.read() as connection:
            row = connection.execute(BY_SECRET, {"wanted": digest}).first()
            if row is None or not hmac.compare_digest(row.secret_hash, digest) or row.revoked_at is not None:
                return None
            return _key(connection, row)

    def get(self, key_id: str) -> Key:
        """One key by its id.

        Raises:
            UserError: there is no such key.
        """
        with self.database.read() as connection:
            row = connection.execute(select(tables.keys).where(tables.keys.c.id == key_id)).first()
            if row is None:
                raise UserError(f"There is no key {key_id}.", fix="List the keys to see their ids.")
            return _key(connection, row)

    def all(self) -> list[Key]:
        """All keys, revoked ones too, oldest first."""
        chosen = select(tables.keys).order_by(tables.keys.c.created_at, tables.keys.c.id)
        with self.database.read() as connection:
            return [_key(connection, row) for row in connection.execute(chosen).all()]

    def update(self, key_id: str, *, by: str = "operator", **changes: Any) -> Key:
        """Change name, acls, requests_per_second, requests_per_minute, monthly_limit_ticks, prepaid or blocked.

        Raises:
            UserError: there is no such key, it is revoked, or a value is refused as in `create`.
        """
        assert changes.keys() <= CHANGEABLE, f"cannot be changed: {changes.keys() - CHANGEABLE}"
        return self._change(key_id, by, _checked(changes))

    def rotate(self, key_id: str, *, by: str = "operator") -> NewKey:
        """Give a key a new secret; the old one ends at once, balance and files stay.

        Raises:
            UserError: there is no such key, or it is revoked.
        """
        secret = _new_secret()
        key = self._change(key_id, by, {"secret_hash": _digest(secret), "redacted": _redact(secret)})
        return NewKey(key=key, secret=secret)

    def revoke(self, key_id: str, *, by: str = "operator") -> Key:
        """End a key for good.

        Raises:
            UserError: there is no such key, it is revoked already, or it is the owner's.
        """
        if self.get(key_id).owner:
            raise UserError("The owner's key cannot be revoked.", fix="Rotate it to end its secret.")
        return self._change(key_id, by, {"revoked_at": self.clock()})

    def share_data(self, key_id: str, shares: bool) -> Key:
        """Write down that a key's owner agrees to share data, or takes that back. Agreeing brings the month's grant.

        Raises:
            UserError: there is no such key.
        """
        consent = tables.consents
        now = self.clock()
        with self.database.write() as connection:
            row = self.database.lock_key(connection, key_id)
            standing = (consent.c.key_id == key_id, consent.c.withdrawn_at.is_(None))
            given = connection.execute(select(consent.c.number).where(*standing)).first()
            if shares and given is None:
                connection.execute(consent.insert().values(key_id=key_id, granted_at=now))
                self.ledger.grant_month(key_id, within=connection)
            elif not shares and given is not None:
                connection.execute(consent.update().where(*standing).values(withdrawn_at=now))
            return _key(connection, row)

    def consents(self, key_id: str) -> list[Consent]:
        """Every consent a key has given, oldest first."""
        row = tables.consents.c
        chosen = select(row.granted_at, row.withdrawn_at).where(row.key_id == key_id).order_by(row.number)
        with self.database.read() as connection:
            return [Consent(**found._mapping) for found in connection.execute(chosen)]

    def _create(self, values: dict[str, Any], by: str, owner: bool) -> NewKey:
        secret, now = _new_secret(), self.clock()
        row = _checked(values) | {"owner": owner, "blocked": False, "created_at": now, "modified_at": now}
        row |= {"id": f"key-{random_text(12)}", "modified_by": by}
        row |= {"secret_hash": _digest(secret), "redacted": _redact(secret)}
        with self.database.write() as connection:
            stored = connection.execute(tables.keys.insert().returning(tables.keys), row).one()
            if free := self.ledger.prices.credit_at_creation:
                self.ledger.credit(stored.id, free, reference=f"creation/{stored.id}", within=connection)
            return NewKey(key=_key(connection, stored), secret=secret)

    def _change(self, key_id: str, by: str, values: dict[str, Any]) -> Key:
        with self.database.write() as connection:
            if self.database.lock_key(connection, key_id).revoked_at is not None:
                raise UserError(f"The key {key_id} is revoked.", fix="Create a new key.")
            values = {**values, "modified_at": self.clock(), "modified_by": by}
            changed = tables.keys.update().where(tables.keys.c.id == key_id).values(values)
            return _key(connection, connection.execute(changed.returning(tables.keys)).one())


def random_text(length: int) -> str:
    """Letters and digits that nobody can guess: 5.95 bits each."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def _new_secret() -> str:
    """`pl-` and 32 random bytes in base 62 (43 characters)."""
    number, text = int.from_bytes(secrets.token_bytes(32)), ""
    for _ in range(43):
        number, digit = divmod(number, len(ALPHABET))
        text = ALPHABET[digit] + text
    return f"pl-{text}"


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def _redact(secret: str) -> str:
    return f"{secret[:3]}...{secret[-4:]}"


def _key(connection: Connection, row: Row) -> Key:
    values = {name: value for name, value in row._mapping.items() if name != "secret_hash"}
    values |= {
        "acls": tuple(row.acls),
        "shares_data": connection.execute(SHARES, {"of_key": row.id}).first() is not None,
    }
    return Key(**values)


def _checked(values: dict[str, Any]) -> dict[str, Any]:
    """The values as they are, with every one of them in its range."""
    if "name" in values and not values["name"].strip():
        raise UserError("A key needs a name.", fix="Say who will use it.")
    for rule in values.get("acls", ()):
        kind, _, name = rule.removeprefix("api-key:").partition(":")
        if not rule.startswith("api-key:") or kind not in ("endpoint", "model") or not name:
            raise UserError(
                f"{rule!r} is not an access rule.", fix="Write api-key:endpoint:NAME or api-key:model:NAME (* for any)."
            )
    for limit in ("requests_per_second", "requests_per_minute", "monthly_limit_ticks"):
        if values.get(limit) is not None and values[limit] < 1:
            raise UserError(f"{limit} must be at least 1, and it is {values[limit]}.", fix="Leave it out for no limit.")
    return {**values, "acls": list(values["acls"])} if "acls" in values else dict(values)
