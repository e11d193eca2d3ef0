"""The letterer's training: what is seen lies beside its positions, shards take turns, and a smoke run learns and resumes."""

from pathlib import Path
from random import Random

import pytest
import torch
from tiny import LEVELS, image_model, visual_tokenizer
from torch import Tensor

from polarlight.base.errors import UserError
from polarlight.models.image_grammar import pack
from polarlight.models.letterer import GROUND, Letterer, inked, look
from polarlight.recipes import letterer_mini
from polarlight.recipes import run as run_recipe
from polarlight.recipes.image_examples import Examples, Mixture
from polarlight.recipes.letterer_mini import Batches, Positions, Sketched, Source, positions
from polarlight.recipes.runs import Run
from polarlight.text.vocabulary import Vocabulary
from polarlight.worlds.lettering import lettering_scene


@pytest.mark.parametrize("order", ["raster", "spread", "hole"])
def test_what_is_seen_belongs_to_the_position_that_is_asked_for(order: str) -> None:
    torch.manual_seed(0)
    image, tokenizer = image_model(levels=LEVELS), visual_tokenizer()
    examples = Examples(Vocabulary.shipped(), Mixture(orders=((order, 1.0),)))
    pictures, expected = [], set[tuple[float, ...]]()
    for number, (high, wide) in enumerate(((3, 4), (5, 3), (4, 4))):
        digits = torch.randint(3, (2 * high, 2 * wide, 2), dtype=torch.uint8)
        text = torch.zeros(2 * high, 2 * wide, dtype=torch.uint8)
        sequence = examples.draw(lettering_scene(number), digits, text, "short", Random(number))
        sketch = torch.full((16 * high, 16 * wide), GROUND, dtype=torch.uint8)
        sketch[20:28, 20 + number : 44] = torch.randint(200, 255, (8, 24 - number), dtype=torch.uint8)
        pictures.append(Sketched(sequence=sequence, sketch=sketch))
        seen, near = look(tokenizer.encoder, sketch[None], torch.float32)[0], inked(sketch[None])[0]
        packed = pack(digits).flatten(0, 1)
        expected |= {key(seen[place], packed[place]) for place in near.nonzero()[:, 0].tolist()}
    made = positions(pictures, image, tokenizer, torch.float32)
    found = {key(seen, digits) for seen, digits in zip(made.seen, made.digits, strict=True)}
    assert found <= expected
    assert found == expected or order == "hole"
    assert len(found) == len(made.states) > 0


def key(seen: Tensor, digits: Tensor) -> tuple[float, ...]:
    """What is seen, up to rounding, and the digits."""
    return (*seen.mul(1e3).round().tolist(), *digits.tolist())


def test_shards_give_way_one_by_one_and_a_batch_depends_on_its_number_alone() -> None:
    asked: list[tuple[str, int, int]] = []

    def read(kind: str, index: int, visit: int) -> Positions:
        asked.append((kind, index, visit))
        mark = 100.0 * visit + index + torch.arange(5.0 + index)[:, None] / 100
        return Positions(states=mark, seen=mark, digits=mark.to(torch.uint8))

    sources = {
        "a": Source(share=0.75, first=7, shards=3, kept=2, every=4),
        "b": Source(share=0.25, first=0, shards=1, kept=1),
    }
    batches = Batches(sources=sources, read=read, size=40)
    made = [batches(number) for number in range(12)]
    assert [one for one in asked if one[0] == "a"] == [("a", 7, 0), ("a", 8, 1), ("a", 9, 2), ("a", 7, 3)]
    assert [one for one in asked if one[0] == "b"] == [("b", 0, 0)]
    assert all(batch.units == 40 for batch in made)
    assert set(made[5].data.states.floor().flatten().tolist()) == {108.0, 209.0, 0.0}
    again = Batches(sources=sources, read=read, size=40)(9)
    assert torch.equal(again.data.states, made[9].data.states)
    assert not torch.equal(made[8].data.states, made[9].data.states)


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
