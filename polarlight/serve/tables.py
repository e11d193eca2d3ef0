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

from .columns import COUNTED, filled, key_id, number, optional, own_id, times

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMES)
# most rows have no idempotency key, and are not in its index
SENT = dict.fromkeys(("sqlite_where", "postgresql_where"), text("idempotency_key IS NOT NULL"))

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    *filled(Text, "name"),
    Column("secret_hash", Text, nullable=False, unique=True),
    *filled(Text, "redacted"),
    *filled(Boolean, "owner"),
    *filled(JSON, "acls"),
    *optional(Integer, "requests_per_second", "requests_per_minute"),
    Column("monthly_limit_ticks", BigInteger),
    *filled(Boolean, "prepaid", "blocked"),
    *times("created_at", "modified_at"),
    *filled(Text, "modified_by"),
    Column("revoked_at", Double),
)
Index("one_owner", keys.c.owner, unique=True, sqlite_where=text("owner"), postgresql_where=text("owner"))

consents = Table(
    "consents",
    metadata,
    number(),
    key_id(index=True),
    *times("granted_at"),
    Column("withdrawn_at", Double),
    **COUNTED,
)

accepted_requests = Table(
    "accepted_requests",
    metadata,
    number(),
    key_id(),
    *filled(Text, "scope"),
    *times("at"),
    Index(None, "key_id", "scope", "at"),
    Index(None, "at"),
    **COUNTED,
)

ledger = Table(
    "ledger",
    metadata,
    number(),
    *times("at"),
    *filled(Text, "day", "month"),
    key_id(),
    *filled(Text, "kind"),
    Column("reference", Text, nullable=False, unique=True),
    Column("request_id", Text),
    *filled(Text, "model"),
    *filled(BigInteger, "ticks", "cost_ticks", "balance_after", "spent_after"),
    *filled(Text, "note"),
    CheckConstraint("kind IN ('credit', 'grant', 'reserved', 'charged', 'released')", name="kind"),
    Index(None, "key_id", "number"),
    Index(None, "key_id", "month", "number"),
    Index(None, "day"),
    **COUNTED,
)

batches = Table(
    "batches",
    metadata,
    number(),
    own_id(),
    key_id(index=True),
    *filled(Text, "name"),
    Column("input_file_id", Text),
    *times("created_at", "expires_at"),
    Column("cancelled_at", Double),
    *optional(Text, "idempotency_key", "body_hash"),
    Index(None, "key_id", "idempotency_key", unique=True, **SENT),
    **COUNTED,
)

jobs = Table(
    "jobs",
    metadata,
    number(),
    own_id(),
    key_id(),
    *filled(Text, "kind", "model"),
    *filled(JSON, "body"),
    *filled(Text, "body_hash"),
    Column("idempotency_key", Text),
    Column("batch_id", ForeignKey("batches.id")),
    Column("batch_request_id", Text),
    *filled(Text, "state"),
    *filled(Integer, "progress", "attempts"),
    Column("worker", Text),
    Column("lease_until", Double),
    Column("result", JSON),
    *optional(Text, "error_code", "error_message"),
    *filled(BigInteger, "reserved_ticks"),
    Column("cost_ticks", BigInteger),
    *times("created_at"),
    *optional(Double, "started_at", "finished_at"),
    *times("expires_at"),
    CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')", name="state"),
    UniqueConstraint("key_id", "idempotency_key"),
    UniqueConstraint("batch_id", "batch_request_id"),
    Index(None, "state", "key_id", "number"),
    Index(None, "key_id", "number"),
    **COUNTED,
)

turns = Table("turns", metadata, key_id(primary_key=True), *times("started_at"))

contents = Table("contents", metadata, Column("object_key", Text, primary_key=True), *times("touched_at"))

files = Table(
    "files",
    metadata,
    number(),
    own_id(),
    key_id(),
    Column("job_id", ForeignKey("jobs.id", ondelete="SET NULL"), index=True),
    Column("object_key", ForeignKey("contents.object_key"), nullable=False, index=True),
    *filled(Text, "filename", "content_type"),
    *filled(BigInteger, "bytes"),
    *filled(Text, "purpose"),
    Column("sha256", Text, nullable=False, index=True),
    Column("pdq", Text),
    *times("created_at"),
    Column("expires_at", Double, index=True),
    Column("public_token", Text, unique=True),
    Column("public_until", Double),
    *optional(Text, "idempotency_key", "body_hash"),
    Index(None, "key_id", "number"),
    Index(None, "key_id", "idempotency_key", unique=True, **SENT),
    **COUNTED,
)
