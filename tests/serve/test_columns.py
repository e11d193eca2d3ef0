"""The kinds of columns: what the history of the schema is written in does not change."""

from sqlalchemy import MetaData, Table, Text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateTable

from polarlight.serve.columns import COUNTED, filled, key_id, number, optional, own_id, times


def made(dialect: object) -> list[str]:
    """The lines of the statement that makes a table with a column of every kind."""
    columns = [number(), own_id(), key_id(), *filled(Text, "name"), *optional(Text, "note"), *times("at")]
    metadata = MetaData()
    Table("keys", metadata, own_id())
    statement = str(CreateTable(Table("t", metadata, *columns, **COUNTED)).compile(dialect=dialect))
    return [line.strip(" \t,") for line in statement.splitlines()]


def test_the_columns_are_the_same_on_both_databases_but_for_the_number() -> None:
    shared = {"id TEXT NOT NULL", "key_id TEXT NOT NULL", "name TEXT NOT NULL", "note TEXT", "UNIQUE (id)"}
    lite, post = set(made(sqlite.dialect())), set(made(postgresql.dialect()))
    assert shared <= lite & post
    assert "number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT" in lite
    assert "number BIGSERIAL NOT NULL" in post
    assert "FOREIGN KEY(key_id) REFERENCES keys (id)" in lite & post


def test_times_keep_their_fractions() -> None:
    assert "at DOUBLE PRECISION NOT NULL" in made(postgresql.dialect())


def test_a_column_of_the_key_may_be_the_primary_one() -> None:
    assert key_id(primary_key=True).primary_key
    assert key_id(index=True).index
    assert not key_id().nullable
