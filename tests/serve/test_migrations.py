"""The schema: from nothing, from every older revision, by several processes at once, on every database at hand."""

import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import func, select, text

from polarlight.base.errors import UserError
from polarlight.serve import studio_tables, tables
from polarlight.serve.database import Database
from polarlight.serve.migrations import migrate

OLDER = ["0001", "0002", "0003", "0004"]


def revision_of(database: Database) -> str:
    with database.read() as connection:
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()


def test_the_schema_from_nothing_is_the_one_in_the_tables(empty: Database) -> None:
    migrate(empty)
    with empty.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), studio_tables.metadata) == []


@pytest.mark.parametrize("older", OLDER)
def test_an_older_schema_is_brought_up_and_keeps_its_rows(empty: Database, older: str) -> None:
    migrate(empty, older)
    assert revision_of(empty) == older
    row = {
        "id": "key-a", "name": "a", "secret_hash": "h", "redacted": "pl-...", "owner": True, "acls": ["*"],
        "prepaid": False, "blocked": False, "created_at": 1.0, "modified_at": 1.0, "modified_by": "test",
    }  # fmt: skip
    with empty.write() as connection:
        connection.execute(tables.keys.insert().values(row))
    migrate(empty)
    with empty.read() as connection:
        assert connection.execute(select(tables.keys.c.id)).scalars().all() == ["key-a"]
        assert compare_metadata(MigrationContext.configure(connection), studio_tables.metadata) == []


def test_the_list_of_older_revisions_is_whole() -> None:
    files = sorted(path.stem[:4] for path in (Path(tables.__file__).parent / "migrations/versions").glob("0*.py"))
    assert files[:-1] == OLDER


def test_several_processes_may_start_on_an_empty_database_at_once(empty: Database) -> None:
    url = empty.engine.url.render_as_string(hide_password=False)
    code = (
        "import sys; from polarlight.serve.database import Database; from polarlight.serve.migrations import migrate\n"
        "sys.stdin.readline(); migrate(Database(sys.argv[1])); print('ready')"
    )
    command = [sys.executable, "-c", code, url]
    pipe = subprocess.PIPE
    programs = [subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) for _ in range(4)]
    answers = [program.communicate("go\n")[0] for program in programs]
    assert answers == ["ready\n"] * 4
    assert revision_of(empty) == "0005"


def test_a_database_of_a_newer_program_is_refused(empty: Database) -> None:
    migrate(empty)
    with empty.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UserError, match="newer Polarlight"):
        migrate(empty)


def test_a_step_that_fails_leaves_the_database_as_it_was(empty: Database) -> None:
    with empty.write() as connection:
        connection.execute(text("CREATE TABLE ledger (number INTEGER)"))
    with pytest.raises(Exception, match="already exists"):
        migrate(empty)
    with empty.read() as connection:
        assert not empty.engine.dialect.has_table(connection, "keys")
        assert connection.execute(select(func.count()).select_from(text("ledger"))).scalar_one() == 0
