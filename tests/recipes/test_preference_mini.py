"""Training by the reader's preference: which pairs are made, what the loss wants, and a smoke run that resumes."""

from copy import deepcopy
from pathlib import Path

import pytest
import torch
from tiny import LEVELS, image_model, reader_model

from polarlight.infer.choosing import Chooser
from polarlight.models.image_ar import ImageAR
from polarlight.recipes import preference_mini, tokenizer_mini
from polarlight.recipes.preference_mini import (
    Batches,
    Drawn,
    Pair,
    asked,
    log_probability,
    pairs_of,
    preference_loss,
)
from polarlight.recipes.runs import Run
from polarlight.text.vocabulary import Vocabulary

V = Vocabulary.shipped()
CHOOSER = Chooser(reader_model(LEVELS), {"nouns": {"cat": "cat", "bottle": "dog", "mug": "dog"}})


def cells(value: int) -> torch.Tensor:
    return torch.full((4, 4, len(LEVELS)), value, dtype=torch.uint8)


def test_prompts_are_a_function_of_their_number_and_claim_something() -> None:
    made = [asked(number, CHOOSER) for number in range(120)]
    assert made == [asked(number, CHOOSER) for number in range(120)]
    prompts = [one.prompt for one in made if one is not None]
    assert 0 < len(prompts) < len(made)
    assert all(CHOOSER.lexicon.read(prompt).things for prompt in prompts)
    assert not any("'" in prompt or '"' in prompt for prompt in prompts)


def test_the_best_are_paired_with_the_worst_where_they_are_apart() -> None:
    candidates = torch.stack([cells(value) for value in (0, 1, 2, 3)])
    pairs = pairs_of(Drawn(prompt="a cat", candidates=candidates, scores=torch.tensor([-4.0, -0.5, -2.0, -0.1])))
    assert [(int(pair.better.max()), int(pair.worse.max())) for pair in pairs] == [(3, 0), (1, 2)]
    alike = Drawn(prompt="a cat", candidates=candidates, scores=torch.tensor([-1.0, -0.5, -0.9, -0.1]))
    assert pairs_of(alike) == []
    bad = Drawn(prompt="a cat", candidates=candidates, scores=torch.tensor([-9.0, -8.0, -9.5, -3.0]))
    assert pairs_of(bad) == []


def preferring(steps: int) -> tuple[ImageAR, ImageAR, Batches]:
    """A model that was trained on one pair, and what it was."""
    torch.manual_seed(3)
    reference = image_model()
    model = deepcopy(reference)
    pair = Pair(prompt="a cat", better=cells(1), worse=cells(0))
    batches = Batches(pairs=[pair], vocabulary=V, size=2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for number in range(steps):
        loss, _ = preference_loss(model, reference, batches(number).data, torch.float32)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model, reference, batches


def test_what_is_preferred_becomes_likelier_than_what_is_not() -> None:
    model, reference, batches = preferring(12)
    tokens = batches(0).data
    gain = log_probability(model, tokens, torch.float32)[0] - log_probability(reference, tokens, torch.float32)[0]
    assert (gain[0::2] - gain[1::2] > 1).all()
    _, parts = preference_loss(model, reference, tokens, torch.float32)
    assert parts["prefers"] == 1
    _, before = preference_loss(reference, reference, tokens, torch.float32)
    assert [float(before[side]) for side in ("better", "worse")] == pytest.approx([0, 0], abs=1e-3)


def test_a_picture_is_as_likely_alone_as_beside_others() -> None:
    torch.manual_seed(4)
    model, batches = (
        image_model(),
        Batches(pairs=[Pair(prompt="a cat", better=cells(1), worse=cells(0))], vocabulary=V, size=1),
    )
    tokens = batches(0).data
    together, digits, _ = log_probability(model, tokens, torch.float32)
    alone, _, _ = log_probability(model, batches.sequence("a cat", cells(0), "raster"), torch.float32)
    assert digits.tolist() == [4 * 4 * len(LEVELS)] * 2
    if preference_mini.choose(preference_mini.stream_random(0, "preference batch"), preference_mini.ORDERS) == "raster":
        assert together[1].item() == pytest.approx(alone.item(), rel=1e-4)
    assert alone.item() < 0


def test_smoke_draws_trains_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reports: list[dict[str, float]] = []
    tokenizer_mini.run(Run(folder=tmp_path / "tokenizer-smoke", smoke=True, steps=1))
    folder = tmp_path / "preference-smoke"
    first = preference_mini.run(Run(folder=folder, smoke=True, steps=2, report=reports.append))
    assert first["steps"] == 2
    assert first["pairs"] > 0
    assert reports[0]["prompts"] > 0
    assert (folder / "image.safetensors").exists()
    kept = next(folder.glob("candidates-smoke-*.pt")).stat().st_mtime_ns
    again = preference_mini.run(Run(folder=folder, smoke=True, steps=4))
    assert next(folder.glob("candidates-smoke-*.pt")).stat().st_mtime_ns == kept
    assert again["steps"] == 4
    assert again["hash"] != first["hash"]
