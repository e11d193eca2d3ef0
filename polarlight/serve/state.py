"""The whole state of the service behind one name."""

from __future__ import annotations

import time
from dataclasses import dataclass

from .accounts import Keys
from .batches import Batches
from .database import Clock, Database
from .jobs import Jobs
from .ledger import Ledger
from .migrations import migrate
from .objects import Objects
from .prices import Prices
from .rates import Rates
from .settings import Settings
from .stored_files import StoredFiles


@dataclass(frozen=True, kw_only=True)
class State:
    """Everything that outlives a request. Safe to use from many threads, and from many processes on one database.

    Every method blocks for about a millisecond; asynchronous code calls it through `asyncio.to_thread`.
    """

    settings: Settings
    database: Database
    prices: Prices
    ledger: Ledger
    keys: Keys
    rates: Rates
    objects: Objects
    files: StoredFiles
    jobs: Jobs
    batches: Batches

    @classmethod
    def open(cls, settings: Settings, clock: Clock = time.time) -> State:
        """Open the state and bring its schema up to date.

        Raises:
            UserError: a setting is wrong, a package is missing, or the database is newer than this program.
        """
        database = Database(settings.database_url)
        migrate(database)
        prices, objects = Prices(settings.prices_file), Objects(settings.objects_url)
        ledger = Ledger(database, prices, clock)
        files = StoredFiles(database, objects, clock)
        jobs = Jobs(database, ledger, files, settings.limits, clock)
        return cls(
            settings=settings,
            database=database,
            prices=prices,
            ledger=ledger,
            keys=Keys(database, ledger, clock),
            rates=Rates(database, clock),
            objects=objects,
            files=files,
            jobs=jobs,
            batches=Batches(database, jobs, clock),
        )

    def tidy(self) -> None:
        """Housekeeping, to be called every minute or so by any process: lost leases, expired jobs and files, old rows.

        `files.contents.sweep`, which lists the whole object store, is a matter of once a day (`work.Workers` does both).
        """
        self.jobs.recover()
        self.jobs.purge()
        self.batches.purge()
        self.files.purge()
        self.rates.purge()

    def close(self) -> None:
        """Close the database's connections."""
        self.database.close()
