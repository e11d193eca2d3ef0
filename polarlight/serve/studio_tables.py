"""The tables of the studio, beside those of the service (`tables`); times are seconds since 1970 (UTC)."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, Table, Text

from .tables import Number, metadata

folders = Table(
    "studio_folders",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    sqlite_autoincrement=True,
)

tiles = Table(
    "studio_tiles",
    metadata,
    Column("number", Number, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False),
    Column("file_id", ForeignKey("files.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("kind", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("prompt", Text, nullable=False),
    Column("negative_prompt", Text, nullable=False),
    Column("seed", BigInteger),
    Column("aspect", Text, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("passes", Integer, nullable=False),
    Column("parent_id", ForeignKey("studio_tiles.id", ondelete="SET NULL"), index=True),
    Column("folder_id", ForeignKey("studio_folders.id", ondelete="SET NULL"), index=True),
    Column("favourite", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("removed_at", Double),
    Index(None, "key_id", "number"),
    sqlite_autoincrement=True,
)

unwanted = Table(
    "studio_unwanted",
    metadata,
    Column("key_id", ForeignKey("keys.id"), primary_key=True),
    Column("prompt", Text, primary_key=True),
    Column("seed", BigInteger, primary_key=True),
)

pages = Table(
    "studio_pages",
    metadata,
    Column("key_id", ForeignKey("keys.id"), primary_key=True),
    Column("value", JSON, nullable=False),
)

sessions = Table(
    "studio_sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),
    Column("key_id", ForeignKey("keys.id"), nullable=False, index=True),
    Column("expires_at", Double, nullable=False, index=True),
)
