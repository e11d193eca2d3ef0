"""Stored files, and the contents that several of them may share."""

import sqlalchemy as sa
from alembic import op

from polarlight.serve.columns import COUNTED, filled, key_id, number, own_id, times

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table("contents", sa.Column("object_key", sa.Text, primary_key=True), *times("touched_at"))
    op.create_table(
        "files",
        number(),
        own_id(),
        key_id(),
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="SET NULL"), index=True),
        sa.Column("object_key", sa.Text, sa.ForeignKey("contents.object_key"), nullable=False, index=True),
        *filled(sa.Text, "filename", "content_type"),
        *filled(sa.BigInteger, "bytes"),
        *filled(sa.Text, "purpose"),
        sa.Column("sha256", sa.Text, nullable=False, index=True),
        sa.Column("pdq", sa.Text),
        *times("created_at"),
        sa.Column("expires_at", sa.Double, index=True),
        sa.Column("public_token", sa.Text, unique=True),
        sa.Column("public_until", sa.Double),
        sa.Index(None, "key_id", "number"),
        **COUNTED,
    )
