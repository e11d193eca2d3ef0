"""Stored files, and the contents that several of them may share."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "contents",
        sa.Column("object_key", sa.Text, primary_key=True),
        sa.Column("touched_at", sa.Double, nullable=False),
    )
    op.create_table(
        "files",
        sa.Column("number", Number, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id", ondelete="SET NULL"), index=True),
        sa.Column("object_key", sa.Text, sa.ForeignKey("contents.object_key"), nullable=False, index=True),
        sa.Column("filename", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("purpose", sa.Text, nullable=False),
        sa.Column("sha256", sa.Text, nullable=False, index=True),
        sa.Column("pdq", sa.Text),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("expires_at", sa.Double, index=True),
        sa.Column("public_token", sa.Text, unique=True),
        sa.Column("public_until", sa.Double),
        sa.Index(None, "key_id", "number"),
        sqlite_autoincrement=True,
    )
