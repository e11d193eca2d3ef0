"""The kinds of columns and tables that both the tables and the migrations are written in.

What a name here means is part of the schema's history and stays as it is: another column gets another name.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Integer, Text
from sqlalchemy.types import TypeEngine

# SQLite counts up by itself only in a column declared INTEGER
NUMBER = BigInteger().with_variant(Integer, "sqlite")
# with this option of a table, SQLite uses no number twice, also after its row is deleted
COUNTED = {"sqlite_autoincrement": True}


def number() -> Column[Any]:
    """The primary key of a table whose rows have an order; the table is `COUNTED`."""
    return Column("number", NUMBER, primary_key=True)


def own_id() -> Column[Any]:
    """The name by which clients know a row."""
    return Column("id", Text, nullable=False, unique=True)


def key_id(**options: Any) -> Column[Any]:
    """Whose row it is; `options`: as of `Column`."""
    return Column("key_id", Text, ForeignKey("keys.id"), **{"nullable": False, **options})


def filled(kind: type[TypeEngine[Any]], *names: str) -> list[Column[Any]]:
    """Columns of one type that are never null."""
    return [Column(name, kind, nullable=False) for name in names]


def optional(kind: type[TypeEngine[Any]], *names: str) -> list[Column[Any]]:
    """Columns of one type that may be null."""
    return [Column(name, kind) for name in names]


def times(*names: str) -> list[Column[Any]]:
    """Times that are always known, in seconds since 1970 (UTC)."""
    return filled(Double, *names)
