"""The command line in a folder and a home of its own, with a generator that paints one colour."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from polarlight.cli import app
from polarlight.infer.images import EditRequest, ImageGenerator, ImageRequest, Picture


class Painter:
    """A generator that paints each request in the one colour its seed names."""

    def __init__(self) -> None:
        self.batches: list[Sequence[Any]] = []
        self.failure: BaseException | None = None
        self.loads = 0
        self.paint: Callable[[int], np.ndarray] | None = None

    def draw(self, requests: Sequence[ImageRequest], on_pass: Callable[..., None] | None = None) -> list[Picture]:
        self.batches.append(requests)
        if self.failure:
            raise self.failure
        pictures = [
            Picture(
                pixels=self.pixels(request),
                seed=request.seed,
                passes=12,
                metadata={"prompt": request.prompt, "seed": request.seed},
            )
            for request in requests
        ]
        if on_pass:
            on_pass(12, 12, lambda: [picture.pixels for picture in pictures])
        return pictures

    def pixels(self, request: ImageRequest) -> np.ndarray:
        if self.paint:
            return self.paint(request.seed)
        return np.full((request.size, request.size, 3), request.seed % 256, np.uint8)

    def edit(self, requests: Sequence[EditRequest], on_pass: Callable[..., None] | None = None) -> list[Picture]:
        self.batches.append(requests)
        return self.draw([ImageRequest(prompt=r.instruction, seed=r.seed, mode=r.mode) for r in requests], on_pass)

    def caption(self, pictures: Sequence[np.ndarray]) -> list[str]:
        return [f"a picture {picture.shape[1]} wide" for picture in pictures]


@pytest.fixture
def painter(monkeypatch: pytest.MonkeyPatch) -> Painter:
    painter = Painter()

    def load(folder: Path | None = None) -> Painter:
        painter.loads += 1
        return painter

    monkeypatch.setattr(ImageGenerator, "load", staticmethod(load))
    return painter


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POLARLIGHT_HOME", str(tmp_path / "home"))
    return tmp_path


@pytest.fixture
def photo(here: Path) -> Path:
    Image.new("RGB", (48, 32), "red").save(here / "photo.png")
    return here / "photo.png"


@pytest.fixture
def polarlight(here: Path) -> Callable[..., Result]:
    """The program, called with arguments."""
    return lambda *arguments: CliRunner().invoke(app, [str(each) for each in arguments], prog_name="polarlight")


@pytest.fixture
def answer(polarlight: Callable[..., Result]) -> Callable[..., dict[str, Any]]:
    """The last line of what a call that succeeds prints."""

    def call(*arguments: object) -> dict[str, Any]:
        result = polarlight(*arguments)
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout.splitlines()[-1])

    return call
