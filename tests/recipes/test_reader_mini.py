"""What the reader learns from says what its codes show, and its batches are a function of their number."""

from pathlib import Path
from random import Random

import pytest
import torch

from polarlight.models.image_grammar import IGNORE
from polarlight.models.reader import ReaderConfig
from polarlight.recipes import reader_mini
from polarlight.recipes.reader_mini import LETTERS, SHARDS, Batches, reader_config
from polarlight.recipes.reader_scenes import LARGEST, Canvas, agreed, area, cells_of, collage, nouns
from polarlight.recipes.runs import Run
from polarlight.recipes.scenes import CodedGroup
from polarlight.worlds.posters import Posters
from polarlight.worlds.scene import Scene

CONFIG = ReaderConfig(
    levels=(5,), names=("cat", "dog", "sign"), colours=("red",), materials=("glass",), letters=LETTERS
)
NOTHING = len(CONFIG.names)


def thing(name: str, box: tuple[float, float, float, float], colour: str | None = None) -> dict:
    return {"name": name, "box": list(box), "colour": colour, "material": None}


def scene(*objects: dict, texts: tuple[dict, ...] = ()) -> Scene:
    return Scene(seed=0, spec={"objects": list(objects), "texts": list(texts)})


def test_positions_say_what_they_show() -> None:
    text = {"text": "AB", "lines": ["AB"], "box": [0.5, 0.0, 1.0, 0.25], "kind": "sign", "on": None}
    small = thing("dog", (0.25, 0.25, 0.5, 0.5))
    base = scene(small, thing("cat", (0.0, 0.0, 0.5, 1.0), "red"), texts=(text,))
    shown = Canvas(CONFIG, (base, torch.zeros(8, 8, 1, dtype=torch.uint8))).shown()
    rows = [[0, 0, NOTHING, NOTHING] for _ in range(4)]
    rows[1][1] = 1
    assert shown.names.view(4, 4).tolist() == rows
    assert shown.colours.view(4, 4).tolist() == [[0, 0 if row != 1 else IGNORE, IGNORE, IGNORE] for row in range(4)]
    assert (shown.materials == IGNORE).all()
    assert shown.centres.nonzero().flatten().tolist() == [4, 5]
    assert [LETTERS[i] for i in shown.letters.nonzero()[:, 1].tolist()] == ["A", "B"]
    assert shown.letters.nonzero()[:, 0].tolist() == [2, 3]


def test_a_collage_shows_what_was_pasted_and_hides_what_lay_under_it() -> None:
    text = {"text": "ABCDEFGH", "lines": ["ABCDEFGH"], "box": [0.0, 0.0, 1.0, 1.0], "kind": "sign", "on": None}
    base, codes = torch.zeros(16, 16, 1, dtype=torch.uint8), torch.ones(16, 16, 1, dtype=torch.uint8)
    dog, large = scene(thing("dog", (0.0, 0.0, 0.5, 0.5))), scene(thing("cat", (0.0, 0.0, 1.0, 1.0)))
    assert LARGEST < 16
    digits, shown = collage(
        CONFIG, (scene(texts=(text,)), base), [(dog, codes), (large, codes), (scene(), codes)], Random(1)
    )
    assert digits.sum() == 64
    assert base.sum() == 0
    pasted = digits[..., 0].view(8, 2, 8, 2).float().sum((1, 3)).flatten()
    assert (shown.names[pasted >= 3] == 1).all()
    assert (shown.names[pasted <= 1] == NOTHING).all()
    assert (shown.names[pasted == 2] == IGNORE).all()
    assert not shown.letters[pasted > 0].any()
    assert shown.letters.any()
    assert shown.centres.sum() == 1


def test_nothing_is_pasted_where_something_stands() -> None:
    full = scene(thing("cat", (0.0, 0.0, 1.0, 1.0)))
    codes = torch.ones(16, 16, 1, dtype=torch.uint8)
    others = [(scene(thing("dog", (0.0, 0.0, 0.3, 0.3))), codes)] * 8
    digits, shown = collage(CONFIG, (full, torch.zeros(16, 16, 1, dtype=torch.uint8)), others, Random(1))
    assert digits.sum() == 0
    assert (shown.names == 0).all()


def test_three_of_four_cells_decide() -> None:
    cells = torch.tensor([[1, 1, 1, 2, 5, 5], [1, 2, 1, 2, 5, 5]])
    assert agreed(cells).tolist() == [1, IGNORE, 5]


def test_a_box_has_at_least_one_cell_inside_the_picture() -> None:
    assert cells_of((0.99, 0.5, 1.2, 0.51), 8, 8) == (slice(4, 5), slice(7, 8))
    assert cells_of((-0.2, -0.1, 0.01, 0.02), 8, 8) == (slice(0, 1), slice(0, 1))
    assert area((0.0, 0.0, 0.5, 1.0)) == 0.5


def test_every_form_of_a_name_leads_to_it() -> None:
    forms = nouns(reader_config((5,), smoke=True))
    assert (forms["cat"], forms["cats"], forms["fallen leaves"], forms["loaves of bread"]) == (
        "cat",
        "cat",
        "fallen leaf",
        "bread",
    )
    assert "sign" not in forms
    assert "signs" not in forms


@pytest.mark.parametrize("number", [0, 5])
def test_a_batch_is_the_same_whenever_it_is_made(number: int) -> None:
    scenes = [each for each in map(Posters().sample, range(60)) if each.spec["aspect"] == "1:1"][:8]
    digits = torch.randint(0, 5, (len(scenes), 16, 16, 8), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    group = CodedGroup(digits=digits, text=digits[..., 0], scenes=scenes)

    config = reader_config((5,) * 8, smoke=True)
    shards = dict.fromkeys(SHARDS, 1)
    one, two = (
        Batches(load=lambda kind, index: {"1:1": group}, config=config, shards=shards, size=4)(number).data
        for _ in range(2)
    )
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1].names, two[1].names)


def test_a_thing_that_hides_the_middle_of_another_leaves_one_centre() -> None:
    base = scene(thing("cat", (0.0, 0.0, 1.0, 1.0)), thing("dog", (0.25, 0.25, 0.75, 0.75)))
    assert Canvas(CONFIG, (base, torch.zeros(8, 8, 1, dtype=torch.uint8))).shown().centres.sum() == 1


def test_smoke_trains_ships_a_card_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenes = [each for each in map(Posters().sample, range(40)) if each.spec["aspect"] == "1:1"]
    digits = torch.randint(0, 5, (len(scenes), 16, 16, 8), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    group = CodedGroup(digits=digits, text=digits[..., 0], scenes=scenes)
    monkeypatch.setattr(reader_mini, "load_codes", lambda *shard: {"1:1": group})  # rendering a shard takes a minute
    first = reader_mini.run(Run(folder=tmp_path / "reader-smoke", smoke=True, steps=3))
    assert first["steps"] == 3
    assert first["nouns"]["cats"] == "cat"
    assert (tmp_path / "reader-smoke" / "reader.safetensors").exists()
    again = reader_mini.run(Run(folder=tmp_path / "reader-smoke", smoke=True, steps=5))
    assert again["steps"] == 5
    assert again["hash"] != first["hash"]
