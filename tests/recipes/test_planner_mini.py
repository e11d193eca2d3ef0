"""The recipe of the planner."""

import json
from pathlib import Path

import pytest
import torch

from polarlight.base.errors import UserError
from polarlight.infer.planning import Ask, Planner
from polarlight.recipes import planner_mini
from polarlight.recipes import run as run_recipe
from polarlight.recipes.planner_mini import POOL, batch
from polarlight.recipes.runs import Run
from polarlight.text.plan_tokens import decode_plan
from polarlight.text.vocabulary import Vocabulary

V = Vocabulary.shipped()


def test_a_batch_holds_captions_and_the_plans_to_learn_of_like_lengths() -> None:
    parts = [batch(number, 6) for number in range(POOL)]
    assert torch.equal(batch(1, 6).data.ids, parts[1].data.ids)
    lengths = [part.data.valid.sum(1).tolist() for part in parts]
    flat = [length for each in lengths for length in each]
    assert flat == sorted(flat)
    assert [part.units for part in parts] == [sum(each) for each in lengths]
    for row in range(6):
        learned = parts[0].data.text_target[row]
        plan = decode_plan(learned[learned >= 0].tolist()[:-1], V)
        assert plan.objects or plan.texts


def test_smoke_trains_a_planner_that_is_found_and_resumes(tmp_path: Path) -> None:
    run = Run(folder=tmp_path / "planner-smoke", smoke=True, steps=3)
    first = planner_mini.run(run)
    assert (first["steps"], first["tasks"]) == (3, ["plan"])
    planner = Planner.find(run.folder, V, torch.float32)
    assert planner is not None
    assert len(planner.write([Ask(prompt="a cat", rows=8, columns=8, seed=1)])) == 1
    again = planner_mini.run(Run(folder=run.folder, smoke=True, steps=5))
    assert again["steps"] == 5
    assert again["hash"] != first["hash"]
    with pytest.raises(UserError, match="no planner"):
        run_recipe("planner-export", folder=tmp_path / "planner-export")


def test_a_planner_of_another_vocabulary_is_none_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    assert Planner.find(tmp_path, V, torch.float32) is None
    planner_mini.run(Run(folder=tmp_path, smoke=True, steps=1))
    card = json.loads((tmp_path / "planner.json").read_text())
    (tmp_path / "planner.json").write_text(json.dumps(card | {"config": card["config"] | {"vocabulary": 9}}))
    assert Planner.find(tmp_path, V, torch.float32) is None
    (tmp_path / "planner.json").write_text(json.dumps(card | {"config": card["config"] | {"wings": 2}}))
    with pytest.raises(UserError, match="does not describe a planner"):
        Planner.find(tmp_path, V, torch.float32)
    (tmp_path / "planner.json").write_text(json.dumps(card))
    (tmp_path / "planner.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="damaged"):
        Planner.find(tmp_path, V, torch.float32)
