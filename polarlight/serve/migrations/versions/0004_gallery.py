"""The studio: its tiles, folders, disliked seeds, page states and sessions."""

import sqlalchemy as sa
from alembic import op

from polarlight.serve.columns import COUNTED, filled, key_id, number, own_id, times

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table("studio_folders", number(), own_id(), key_id(index=True), *filled(sa.Text, "name"), **COUNTED)
    op.create_table(
        "studio_tiles",
        number(),
        own_id(),
        key_id(),
        sa.Column("file_id", sa.Text, sa.ForeignKey("files.id", ondelete="CASCADE"), nullable=False, index=True),
        *filled(sa.Text, "kind", "content_type", "model", "mode", "prompt", "negative_prompt"),
        sa.Column("seed", sa.BigInteger),
        *filled(sa.Text, "aspect"),
        *filled(sa.Integer, "width", "height", "passes"),
        sa.Column("parent_id", sa.Text, sa.ForeignKey("studio_tiles.id", ondelete="SET NULL"), index=True),
        sa.Column("folder_id", sa.Text, sa.ForeignKey("studio_folders.id", ondelete="SET NULL"), index=True),
        *filled(sa.Boolean, "favourite"),
        *times("created_at"),
        sa.Column("removed_at", sa.Double),
        sa.Index(None, "key_id", "number"),
        **COUNTED,
    )
    op.create_table(
        "studio_unwanted",
        key_id(primary_key=True),
        sa.Column("prompt", sa.Text, primary_key=True),
        sa.Column("seed", sa.BigInteger, primary_key=True),
    )
    op.create_table("studio_pages", key_id(primary_key=True), *filled(sa.JSON, "value"))
    op.create_table(
        "studio_sessions",
        sa.Column("token_hash", sa.Text, primary_key=True),
        key_id(index=True),
        sa.Column("expires_at", sa.Double, nullable=False, index=True),
    )
