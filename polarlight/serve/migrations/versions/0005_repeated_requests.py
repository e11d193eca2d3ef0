"""Idempotency keys of batches and uploads."""

import sqlalchemy as sa
from alembic import op

from polarlight.serve.columns import optional

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    sent = sa.text("idempotency_key IS NOT NULL")
    for table in ("batches", "files"):
        for column in optional(sa.Text, "idempotency_key", "body_hash"):
            op.add_column(table, column)
        op.create_index(
            f"ix_{table}_key_id_idempotency_key", table, ["key_id", "idempotency_key"], unique=True,
            sqlite_where=sent, postgresql_where=sent,
        )  # fmt: skip
