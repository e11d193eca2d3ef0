"""The letterer: what it sketches and sees, what it leaves alone, and where it is found."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from tiny import image_model, letterer, visual_tokenizer

from polarlight.base.errors import UserError
from polarlight.models.letterer import BOARD, GROUND, INK, NAME, Letterer, LettererConfig, inked, look, paint
from polarlight.models.weights import export
from polarlight.text.lettering import BASELINE, CANVAS, CAP, PEN
from polarlight.text.typesetting import Letter, Setting


def block(face: str, letter: str) -> torch.Tensor:
    """A letter that is a full square."""
    glyph = torch.zeros(CANVAS)
    glyph[BASELINE - CAP : BASELINE, PEN : PEN + CAP] = 255
    return glyph


def test_letters_stand_on_their_baseline_on_boards_on_a_ground_that_says_nothing() -> None:
    one = Letter(face="mono", letter="O", x=16.0, baseline=24.0, cap=8.0, across=4.0)
    sketch = paint(Setting(letters=(one,), boards=((8.0, 8.0, 40.0, 32.0),)), (48, 64), block)
    assert (sketch[16:24, 16:20] == INK).all()
    assert int((sketch == INK).sum()) == 8 * 4
    assert int((sketch == BOARD).sum()) == 32 * 24 - 8 * 4
    assert int((sketch == GROUND).sum()) == 48 * 64 - 32 * 24
    assert (paint(Setting(), (16, 16), block) == GROUND).all()


def test_positions_with_something_within_their_margin_are_written_on() -> None:
    sketch = torch.full((1, 48, 64), GROUND, dtype=torch.uint8)
    sketch[0, 4, 20] = INK
    assert inked(sketch)[0].nonzero()[:, 0].tolist() == [0, 1]
    sketch[0, 23, 39] = INK
    assert inked(sketch)[0].nonzero()[:, 0].tolist() == [0, 1, 2, 5, 6]


def test_what_is_seen_of_a_sketch_is_its_own_and_zero_where_nothing_is() -> None:
    torch.manual_seed(0)
    encoder, sketches = visual_tokenizer().encoder, torch.full((2, 48, 64), GROUND, dtype=torch.uint8)
    sketches[0, 2:10, 2:10] = INK
    sketches[1, 40:46, 50:60] = INK
    seen = look(encoder, sketches, torch.float32)
    assert seen.shape == (2, 12, 48)
    assert torch.equal(seen.any(-1), inked(sketches))
    torch.testing.assert_close(seen[:1], look(encoder, sketches[:1], torch.float32))


def test_a_new_letterer_changes_nothing_and_a_trained_one_follows_the_strokes() -> None:
    torch.manual_seed(0)
    states, seen = torch.randn(5, 32), torch.randn(5, 48)
    new = Letterer(LettererConfig(width=32, seen=48, faces={}, strokes=8, hidden=16, blocks=2))
    assert torch.equal(new(states, new.strokes(seen)), states)
    made = letterer(image_model())
    one, other = (made(states, made.strokes(each)) for each in (seen, seen.flip(0)))
    assert not torch.allclose(one, states)
    assert not torch.allclose(one, other)


def test_a_letterer_is_found_beside_its_image_model_only(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert Letterer.find(tmp_path, "a") is None
    made = letterer(image_model())
    card = export(made, tmp_path / NAME, {"image": "a", "config": asdict(made.config)})
    assert Letterer.find(tmp_path, "b") is None
    found = Letterer.find(tmp_path, "a")
    assert found is not None
    assert found.config == made.config
    assert found.faces == made.faces
    place = (tmp_path / NAME).with_suffix(".json")
    place.write_text(json.dumps(card | {"config": {**asdict(made.config), "quill": 1}}))
    with pytest.raises(UserError, match="does not describe a letterer"):
        Letterer.find(tmp_path, "a")
    place.write_text(json.dumps(card))
    (tmp_path / NAME).write_bytes(b"no weights")
    with pytest.raises(UserError, match="damaged"):
        Letterer.find(tmp_path, "a")
