"""A service with fake engines behind HTTP and gRPC in a thread, and xAI's own client pointed at it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from service_doors import made_home

from polarlight.serve.settings import Limits

xai_sdk = pytest.importorskip("xai_sdk")

from service_grpc import Served, serving  # noqa: E402  (it needs the package that is skipped for above)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory, migrated_file: Path) -> Iterator[Served]:
    with serving(made_home(tmp_path_factory.mktemp("grpc"), migrated_file)) as both:
        yield both


@pytest.fixture
def strict(tmp_path: Path, migrated_file: Path) -> Iterator[Served]:
    """A service that waits 0.3 s for the next part of a file and takes 1000 bytes of it."""
    with serving(made_home(tmp_path, migrated_file), body_s=0.3, limits=Limits(file_bytes=1000)) as both:
        yield both


@pytest.fixture
def client(served: Served) -> Iterator[xai_sdk.Client]:
    with served.client() as made:
        yield made
