"""Who sits in front of the studio: a session cookie for a key, and a token that every write has to show.

The cookie is httponly and SameSite=Strict; the token is derived from it, so a page of another origin, which can neither read the
cookie nor the answer that carries the token, cannot write. On the machine itself the owner needs no key.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from sqlalchemy import select

from polarlight.base.errors import UserError

from . import tables
from .accounts import Key, Keys
from .database import Clock, Database
from .studio_tables import sessions

COOKIE = "polarlight_studio"
CSRF_HEADER = "x-polarlight-csrf"
LASTS_S = 30 * 86_400.0
FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")


@dataclass(frozen=True, kw_only=True)
class Session:
    """A signed-in browser; `csrf` is what its writes have to show."""

    key: Key
    csrf: str


class Sessions:
    """The sessions of all keys; only their tokens' hashes are stored."""

    def __init__(self, database: Database, keys: Keys, clock: Clock = time.time) -> None:
        self.database, self.keys, self.clock = database, keys, clock

    def begin(self, key: Key) -> str:
        """Sign a key in; returns the token for the cookie."""
        token = secrets.token_urlsafe(32)
        row = {"token_hash": _digest(token), "key_id": key.id, "expires_at": self.clock() + LASTS_S}
        with self.database.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.expires_at <= self.clock()))
            connection.execute(sessions.insert(), row)
        return token

    def find(self, token: str) -> Session | None:
        """The session of a token; None where it is unknown or over, or its key is blocked or revoked."""
        chosen = select(sessions.c.key_id).where(
            sessions.c.token_hash == _digest(token), sessions.c.expires_at > self.clock()
        )
        with self.database.read() as connection:
            key_id = connection.execute(chosen).scalar()
        key = None if key_id is None else self.keys.get(key_id)
        if key is None or key.blocked or key.revoked_at is not None:
            return None
        return Session(key=key, csrf=csrf_of(token))

    def end(self, token: str) -> None:
        """Sign out."""
        with self.database.write() as connection:
            connection.execute(sessions.delete().where(sessions.c.token_hash == _digest(token)))

    def key_of(self, secret: str) -> Key:
        """The key that somebody pasted.

        Raises:
            UserError: it is unknown, revoked or blocked.
        """
        key = self.keys.authenticate(secret.strip())
        if key is None or key.blocked:
            raise UserError("This key is not accepted.", fix="Paste the whole key, from pl- to its end.")
        return key

    def owner(self) -> Key | None:
        """The operator's own key, made on the first run; None before it."""
        chosen = select(tables.keys.c.id).where(tables.keys.c.owner)
        with self.database.read() as connection:
            key_id = connection.execute(chosen).scalar()
        return None if key_id is None else self.keys.get(key_id)


def csrf_of(token: str) -> str:
    """The token that writes show beside the cookie."""
    return hmac.new(token.encode(), b"studio csrf", hashlib.sha256).hexdigest()


def at_the_machine(client: str | None, headers: Mapping[str, str], public_url: str) -> bool:
    """Whether a request comes from this very machine, and not through a proxy on it or by a name that only looks so.

    A proxy makes everybody look local, and a page elsewhere can point its own name at 127.0.0.1: hence the headers, the public
    address and the Host.
    """
    if client is None or not _is_loopback(client) or any(name in headers for name in FORWARDED):
        return False
    return all(_is_loopback(urlsplit(address).hostname) for address in (public_url, f"//{headers.get('host', '')}"))


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request was sent by a page of this address, or by no page at all."""
    origin, site = headers.get("origin"), headers.get("sec-fetch-site", "none")
    return site in ("none", "same-origin") and (origin is None or urlsplit(origin).netloc == headers.get("host"))


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
