"""Databases and a clock for the service's tests: SQLite always, PostgreSQL where its programs are installed."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from polarlight.serve.database import Database
from polarlight.serve.migrations import migrate
from polarlight.serve.settings import Settings
from polarlight.serve.state import State

NOON = 1_795_348_800.0  # 2026-11-22 12:00 UTC


class FakeClock:
    """Seconds since 1970 that pass only when a test says so."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


class PostgreSQL:
    """A throw-away cluster on a socket of its own; nothing of it survives the test session."""

    def __init__(self, programs: Path) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="polarlight-pg-"))
        self.programs = programs
        self.count = 0
        # the server refuses to run as root
        self.become = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self.become:
            shutil.chown(self.folder, "postgres")
        self.call("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "--no-sync")
        quick = f"-k {self.folder} -c listen_addresses='' -c fsync=off -c shared_buffers=16MB"
        self.call("pg_ctl", "-D", "data", "-l", "log", "-o", quick, "-w", "start")
        empty = Database(self.new("template1"))
        migrate(empty)
        empty.close()
        self.migrated = f"test{self.count}"

    def call(self, program: str, *arguments: str) -> None:
        # the server inherits what this process has open, so a pipe for its output would never end
        with open(self.folder / "output", "w+") as output:
            command = [*self.become, str(self.programs / program), *arguments]
            done = subprocess.run(command, cwd=self.folder, stdout=output, stderr=output, check=False)
            output.seek(0)
            assert done.returncode == 0, output.read()

    def new(self, template: str) -> str:
        """The URL of a fresh database."""
        import psycopg

        self.count += 1
        with psycopg.connect(host=str(self.folder), user="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE test{self.count} TEMPLATE {template}")
        return f"postgresql://postgres@/test{self.count}?host={self.folder}"

    def stop(self) -> None:
        with suppress(AssertionError):
            self.call("pg_ctl", "-D", "data", "-m", "immediate", "stop")
        shutil.rmtree(self.folder)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    pytest.importorskip("psycopg")
    found = shutil.which("initdb") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/initdb")), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    cluster = PostgreSQL(Path(found).parent)
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """A bucket server on a free port of this machine."""
    boto3 = pytest.importorskip("boto3")
    server_of = pytest.importorskip("moto.server")
    server = server_of.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    login = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=address, **login).create_bucket(Bucket="pictures")
    yield address
    server.stop()


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "state.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def empty(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database without a schema."""
    sqlite = backend == "sqlite"
    url = f"sqlite:///{tmp_path / 'state.db'}" if sqlite else request.getfixturevalue("postgresql").new("template1")
    database = Database(url)
    yield database
    database.close()


@pytest.fixture
def settings(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings over a database with the newest schema and an empty folder of objects."""
    made = Settings.at(tmp_path / "home")
    if backend == "sqlite":
        made.home.mkdir()
        shutil.copy(request.getfixturevalue("migrated_file"), made.home / "polarlight.db")
        return made
    cluster = request.getfixturevalue("postgresql")
    return replace(made, database_url=cluster.new(cluster.migrated))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def state(settings: Settings, clock: FakeClock) -> Iterator[State]:
    opened = State.open(settings, clock)
    yield opened
    opened.close()
