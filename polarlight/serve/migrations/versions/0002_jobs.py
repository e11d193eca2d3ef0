"""The queue of jobs, batches, and whose turn it is."""

import sqlalchemy as sa
from alembic import op

from polarlight.serve.columns import COUNTED, filled, key_id, number, optional, own_id, times

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_table(
        "batches",
        number(),
        own_id(),
        key_id(index=True),
        *filled(sa.Text, "name"),
        sa.Column("input_file_id", sa.Text),
        *times("created_at", "expires_at"),
        sa.Column("cancelled_at", sa.Double),
        **COUNTED,
    )
    op.create_table("turns", key_id(primary_key=True), *times("started_at"))
    op.create_table(
        "jobs",
        number(),
        own_id(),
        key_id(),
        *filled(sa.Text, "kind", "model"),
        *filled(sa.JSON, "body"),
        *filled(sa.Text, "body_hash"),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("batch_id", sa.Text, sa.ForeignKey("batches.id")),
        sa.Column("batch_request_id", sa.Text),
        *filled(sa.Text, "state"),
        *filled(sa.Integer, "progress", "attempts"),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("result", sa.JSON),
        *optional(sa.Text, "error_code", "error_message"),
        *filled(sa.BigInteger, "reserved_ticks"),
        sa.Column("cost_ticks", sa.BigInteger),
        *times("created_at"),
        *optional(sa.Double, "started_at", "finished_at"),
        *times("expires_at"),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')", name="state"),
        sa.UniqueConstraint("key_id", "idempotency_key"),
        sa.UniqueConstraint("batch_id", "batch_request_id"),
        sa.Index(None, "state", "key_id", "number"),
        sa.Index(None, "key_id", "number"),
        **COUNTED,
    )
