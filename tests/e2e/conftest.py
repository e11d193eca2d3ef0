"""A tiny system trained from nothing, once for all journeys."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from polarlight.recipes import image_export, image_mini, tokenizer_mini
from polarlight.recipes.runs import Run


@dataclass(frozen=True, kw_only=True)
class Handful(Run):
    """A smoke run on six scenes of each kind."""

    smoke: bool = True

    @property
    def shard_size(self) -> int:
        return 6


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the runs tokenizer-smoke and image-smoke, three steps each."""
    folder = tmp_path_factory.mktemp("runs")
    tokenizer_mini.run(Handful(folder=folder / "tokenizer-smoke", steps=3))
    image_mini.run(Handful(folder=folder / "image-smoke", steps=3))
    return folder


@pytest.fixture(scope="session")
def model(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the trained system, as --model takes it."""
    folder = tmp_path_factory.mktemp("model")
    image_export.write_release(Handful(folder=runs / "image-export"), runs / "image-smoke" / "state.pt", folder)
    return folder
