"""The tables of the service's state, for SQLite and PostgreSQL alike.

Times are seconds since 1970 (UTC), amounts are ticks ($1 = 10^10), sizes are bytes. The schema in a database is made by
the migrations; a test holds it against these tables.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)

# SQLite counts up by itself only in a column declared INTEGER; with sqlite_autoincrement no number is used twice,
# also after its row is deleted
Number = BigInteger().with_variant(Integer, "sqlite")

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", Text, nullable=False, unique=True),
    Column("redacted", Text, nullable=False),
    Column("owner", Boolean, nullable=False),
    Column("acls", JSON, nullable=False),
    Column("requests_per_second", Integer),
    Column("requests_per_minute", Integer),
    Column("monthly_limit_ticks", BigInteger),
    Column("prepaid", Boolean, nullable=False),
    Column("blocked", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("modified_at", Double, nullable=False),
    Column("modified_by", Text, nullable=False),
    Column("revoked_at", Double),
)
Index("one_owner", keys.c.owner, unique=True, sqlite_where=text("owner"), postgresql_where=text("owner"))

consents = Table(
    "consents",
    metadata,
    Column("number", Number, primary_key=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False, index=True),
    Column("granted_at", Double, nullable=False),
    Column("withdrawn_at", Double),
    sqlite_autoincrement=True,
)

accepted_requests = Table(
    "accepted_requests",
    metadata,
    Column("number", Number, primary_key=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False),
    Column("scope", Text, nullable=False),
    Column("at", Double, nullable=False),
    Index(None, "key_id", "scope", "at"),
    Index(None, "at"),
    sqlite_autoincrement=True,
)

ledger = Table(
    "ledger",
    metadata,
    Column("number", Number, primary_key=True),
    Column("at", Double, nullable=False),
    Column("day", Text, nullable=False),
    Column("month", Text, nullable=False),
    Column("key_id", ForeignKey("keys.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("reference", Text, nullable=False, unique=True),
    Column("request_id", Text),
    Column("model", Text, nullable=False),
    Column("ticks", BigInteger, nullable=False),
    Column("cost_ticks", BigInteger, nullable=False),
    Column("balance_after", BigInteger, nullable=False),
    Column("spent_after", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    CheckConstraint("kind IN ('credit', 'grant', 'reserved', 'charged', 'released')", name="kind"),
    Index(None, "key_id", "number"),
    Index(None, "key_id", "month", "number"),
    Index(None, "day"),
    sqlite_autoincrement=True,
)

batches = Table(
    "batches",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("input_file_id", Text),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("cancelled_at", Double),
    sqlite_autoincrement=True,
)

jobs = Table(
    "jobs",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("body", JSON, nullable=False),
    Column("body_hash", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("batch_id", ForeignKey("batches.id")),
    Column("batch_request_id", Text),
    Column("state", Text, nullable=False),
    Column("progress", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("worker", Text),
    Column("lease_until", Double),
    Column("result", JSON),
    Column("error_code", Text),
    Column("error_message", Text),
    Column("reserved_ticks", BigInteger, nullable=False),
    Column("cost_ticks", BigInteger),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("expires_at", Double, nullable=False),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')", name="state"),
    UniqueConstraint("key_id", "idempotency_key"),
    UniqueConstraint("batch_id", "batch_request_id"),
    Index(None, "state", "key_id", "number"),
    Index(None, "key_id", "number"),
    sqlite_autoincrement=True,
)

turns = Table(
    "turns",
    metadata,
    Column("key_id", ForeignKey("keys.id"), primary_key=True),
    Column("started_at", Double, nullable=False),
)

contents = Table(
    "contents",
    metadata,
    Column("object_key", Text, primary_key=True),
    Column("touched_at", Double, nullable=False),
)

files = Table(
    "files",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False),
    Column("job_id", ForeignKey("jobs.id", ondelete="SET NULL"), index=True),
    Column("object_key", ForeignKey("contents.object_key"), nullable=False, index=True),
    Column("filename", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("sha256", Text, nullable=False, index=True),
    Column("pdq", Text),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, index=True),
    Column("public_token", Text, unique=True),
    Column("public_until", Double),
    Index(None, "key_id", "number"),
    sqlite_autoincrement=True,
)
