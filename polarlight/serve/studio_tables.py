"""The tables of the studio, beside those of the service (`tables`); times are seconds since 1970 (UTC)."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, ForeignKey, Index, Integer, Table, Text

from .columns import COUNTED, filled, key_id, number, own_id, times
from .tables import metadata

folders = Table(
    "studio_folders",
    metadata,
    number(),
    own_id(),
    key_id(index=True),
    *filled(Text, "name"),
    **COUNTED,
)

tiles = Table(
    "studio_tiles",
    metadata,
    number(),
    own_id(),
    key_id(),
    Column("file_id", ForeignKey("files.id", ondelete="CASCADE"), nullable=False, index=True),
    *filled(Text, "kind", "content_type", "model", "mode", "prompt", "negative_prompt"),
    Column("seed", BigInteger),
    *filled(Text, "aspect"),
    *filled(Integer, "width", "height", "passes"),
    Column("parent_id", ForeignKey("studio_tiles.id", ondelete="SET NULL"), index=True),
    Column("folder_id", ForeignKey("studio_folders.id", ondelete="SET NULL"), index=True),
    *filled(Boolean, "favourite"),
    *times("created_at"),
    Column("removed_at", Double),
    Index(None, "key_id", "number"),
    **COUNTED,
)

unwanted = Table(
    "studio_unwanted",
    metadata,
    key_id(primary_key=True),
    Column("prompt", Text, primary_key=True),
    Column("seed", BigInteger, primary_key=True),
)

pages = Table("studio_pages", metadata, key_id(primary_key=True), *filled(JSON, "value"))

sessions = Table(
    "studio_sessions",
    metadata,
    Column("token_hash", Text, primary_key=True),
    key_id(index=True),
    Column("expires_at", Double, nullable=False, index=True),
)
