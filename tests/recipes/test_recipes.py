"""The list of recipes."""

from importlib import import_module
from pathlib import Path

import pytest

from polarlight import recipes
from polarlight.base.errors import UserError


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_every_recipe_has_a_file_that_says_its_command(name: str) -> None:
    stem, _, size = name.rpartition("-")
    module = import_module(f"polarlight.recipes.{'image_export' if name == 'image-export' else f'{stem}_mini'}")
    assert callable(module.run)
    assert f"polarlight train {stem}-{'export' if size == 'export' else ''}" in module.__doc__


def test_an_unknown_recipe_is_refused_with_the_list(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nonsense") as raised:
        recipes.run("nonsense", folder=tmp_path)
    assert "image-mini" in raised.value.fix


def test_shipping_without_a_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no training state") as raised:
        recipes.run("image-export", folder=tmp_path / "image-export")
    assert "polarlight train image-mini" in raised.value.fix
