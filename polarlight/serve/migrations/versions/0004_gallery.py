"""The studio: its tiles, folders, disliked seeds, page states and sessions."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Number = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "studio_folders",
        sa.Column("number", Number, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False, index=True),
        sa.Column("name", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "studio_tiles",
        sa.Column("number", Number, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False),
        sa.Column("file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("content_type", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("mode", sa.Text, nullable=False),
        sa.Column("prompt", sa.Text, nullable=False),
        sa.Column("negative_prompt", sa.Text, nullable=False),
        sa.Column("seed", sa.BigInteger),
        sa.Column("aspect", sa.Text, nullable=False),
        sa.Column("width", sa.Integer, nullable=False),
        sa.Column("height", sa.Integer, nullable=False),
        sa.Column("passes", sa.Integer, nullable=False),
        sa.Column("parent_id", sa.Text, sa.ForeignKey("studio_tiles.id", ondelete="SET NULL"), index=True),
        sa.Column("folder_id", sa.Text, sa.ForeignKey("studio_folders.id", ondelete="SET NULL"), index=True),
        sa.Column("favourite", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("removed_at", sa.Double),
        sa.Index(None, "key_id", "number"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "studio_unwanted",
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), primary_key=True),
        sa.Column("prompt", sa.Text, primary_key=True),
        sa.Column("seed", sa.BigInteger, primary_key=True),
    )
    op.create_table(
        "studio_pages",
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )
    op.create_table(
        "studio_sessions",
        sa.Column("token_hash", sa.Text, primary_key=True),
        sa.Column("key_id", sa.Text, sa.ForeignKey("keys.id"), nullable=False, index=True),
        sa.Column("expires_at", sa.Double, nullable=False, index=True),
    )
