"""The letterer's training: windows lie beside their positions, and a smoke run learns and resumes."""

from pathlib import Path
from random import Random

import pytest
import torch

from polarlight.base.errors import UserError
from polarlight.models.image_grammar import collate, pack
from polarlight.models.letterer import Letterer, windows
from polarlight.recipes import letterer_mini
from polarlight.recipes import run as run_recipe
from polarlight.recipes.image_examples import Examples, Mixture
from polarlight.recipes.letterer_mini import Sketched, lettering
from polarlight.recipes.runs import Run
from polarlight.text.vocabulary import Vocabulary
from polarlight.worlds.lettering import lettering_scene


@pytest.mark.parametrize("order", ["raster", "spread", "hole"])
def test_every_window_is_that_of_the_position_that_is_asked_for(order: str) -> None:
    torch.manual_seed(0)
    examples = Examples(Vocabulary.shipped(), Mixture(orders=((order, 1.0),)))
    rows, expected = [], []
    for number, (high, wide) in enumerate(((3, 4), (5, 3), (4, 4))):
        digits = torch.randint(4, (2 * high, 2 * wide, 2), dtype=torch.uint8)
        digits[..., 0] = torch.arange(high * wide).view(high, wide).repeat_interleave(2, 0).repeat_interleave(2, 1)
        text = torch.zeros(2 * high, 2 * wide, dtype=torch.uint8)
        sequence = examples.draw(lettering_scene(number), digits, text, "short", Random(number))
        sketch = torch.arange(high * wide).view(high, wide).repeat_interleave(16, 0).repeat_interleave(16, 1)
        sketch = sketch.to(torch.uint8)  # the first position has no ink, but its neighbours' is in its margin
        rows.append(Sketched(sequence=sequence, windows=windows(sketch[None])[0], shape=(high, wide)))
        expected.append(pack(digits).flatten(0, 1))
    made = lettering(rows)
    assert len(made.asks) == int((made.tokens.cell_weight > 0).sum()) > 0
    middle = made.windows.view(-1, 32, 32)[:, 16, 16]
    row, column = made.asks.unbind(-1)
    assert torch.equal(made.tokens.cell_target[row, column, 0], middle)
    assert torch.equal(collate([each.sequence for each in rows], multiple=8).ids, made.tokens.ids)


def test_smoke_trains_a_letterer_that_is_found_and_resumes(tmp_path: Path) -> None:
    run = Run(folder=tmp_path / "letterer-smoke", smoke=True, steps=3)
    first = letterer_mini.run(run)
    assert first["steps"] == 3
    (tmp_path / "letterer-smoke" / "letterer.json").read_text()
    assert Letterer.find(run.folder, "none") is None
    again = letterer_mini.run(Run(folder=run.folder, smoke=True, steps=5))
    assert again["steps"] == 5
    assert again["hash"] != first["hash"]
    with pytest.raises(UserError, match="no letterer"):
        run_recipe("letterer-export", folder=tmp_path / "letterer-export")
