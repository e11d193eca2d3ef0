"""The schema's history: `versions/` holds one file for each step, alembic runs those that a database lacks."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from polarlight.base.errors import UserError

from ..database import Database

ADVISORY_LOCK = 0x506F6C61726C6974  # any constant: the same for every process of this service


def migrate(database: Database, revision: str = "head") -> None:
    """Bring the schema to `revision` (default: the newest); does nothing where it is there already.

    Any number of processes may call this at once: one works, the others wait and find it done. All steps stand in
    one transaction, so a database is never left between two revisions.

    Raises:
        UserError: the database was made by a newer Polarlight.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.util.exc import CommandError

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    with database.write() as connection:
        if not database.sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, revision)
        except CommandError as error:
            if "Can't locate revision" not in str(error):
                raise
            raise UserError("The database was made by a newer Polarlight.", fix="Update Polarlight.") from error
