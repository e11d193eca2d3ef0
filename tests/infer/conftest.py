"""What tests of engines share."""

from pathlib import Path

import pytest
import torch
from tiny import image_model, saved, visual_tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that nobody trained."""
    torch.manual_seed(12)
    return saved(visual_tokenizer(), image_model(), tmp_path_factory.mktemp("models") / "tiny")
