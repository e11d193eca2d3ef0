"""The letterer: what it sees, what it leaves alone, and where it is found."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from tiny import image_model, letterer

from polarlight.base.errors import UserError
from polarlight.models.letterer import NAME, Letterer, LettererConfig, inked, windows
from polarlight.models.weights import export


def test_a_window_holds_a_position_and_its_margin() -> None:
    sketch = torch.arange(32 * 48).view(1, 32, 48).remainder(251).to(torch.uint8)
    seen = windows(sketch).view(2, 3, 32, 32)
    assert torch.equal(seen[1, 1, 8:24, 8:24], sketch[0, 16:32, 16:32])
    assert torch.equal(seen[0, 1, 8:, :], sketch[0, :24, 8:40])
    assert not seen[0, :, :8].any()
    dot = torch.zeros(1, 32, 48, dtype=torch.uint8)
    dot[0, 4, 20] = 1
    assert inked(windows(dot))[0].tolist() == [True, True, False, False, False, False]


def test_a_new_letterer_changes_nothing_and_a_trained_one_follows_the_strokes() -> None:
    torch.manual_seed(0)
    states, seen = torch.randn(5, 32), torch.randint(256, (5, 1024), dtype=torch.uint8)
    new = Letterer(LettererConfig(width=32, letters="", strokes=8, hidden=16, blocks=2))
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
    place = (tmp_path / NAME).with_suffix(".json")
    place.write_text(json.dumps(card | {"config": {**asdict(made.config), "quill": 1}}))
    with pytest.raises(UserError, match="does not describe a letterer"):
        Letterer.find(tmp_path, "a")
    place.write_text(json.dumps(card))
    (tmp_path / NAME).write_bytes(b"no weights")
    with pytest.raises(UserError, match="damaged"):
        Letterer.find(tmp_path, "a")
