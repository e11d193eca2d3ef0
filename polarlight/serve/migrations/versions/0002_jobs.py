"""The queue of jobs, batches, and whose turn it is."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "batches",
        sa.Column("number", Number, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("input_file_id", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("cancelled_at", sa.Double),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "turns",
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), primary_key=True),
        sa.Column("started_at", sa.Double, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("number", Number, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("body", sa.JSON, nullable=False),
        sa.Column("body_hash", sa.Text, nullable=False),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("batch_id", sa.Text, sa.ForeignKey("batches.id")),
        sa.Column("batch_request_id", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("progress", sa.Integer, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("lease_until", sa.Double),
        sa.Column("result", sa.JSON),
        sa.Column("error_code", sa.Text),
        sa.Column("error_message", sa.Text),
        sa.Column("reserved_ticks", sa.BigInteger, nullable=False),
        sa.Column("cost_ticks", sa.BigInteger),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.CheckConstraint("state IN ('queued', 'running', 'done', 'failed', 'cancelled', 'expired')", name="state"),
        sa.UniqueConstraint("key_id", "idempotency_key"),
        sa.UniqueConstraint("batch_id", "batch_request_id"),
        sa.Index(None, "state", "key_id", "number"),
        sa.Index(None, "key_id", "number"),
        sqlite_autoincrement=True,
    )
