"""Proofreading: what candidates say is compared, and letters that are read wrong are drawn anew."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest
import torch
from engines import OnePermit
from tiny import LEVELS, image_model, letterer, proofreader, reader_model, visual_tokenizer
from torch import Tensor

from polarlight.infer.choosing import Chooser
from polarlight.infer.engine import ImageResult, ImageTask
from polarlight.infer.image_requests import touched
from polarlight.infer.images import MODES, EditRequest, ImageGenerator, ImageRequest, Picture, Prepared
from polarlight.infer.proofreading import Proofs
from polarlight.infer.shipped import ShippedEngine
from polarlight.models.proofreader import Proofreader
from polarlight.text.plan import parse_plan

CARD = {"tasks": ["draw", "edit"], "sizes": [128], "hash": "0123abcd"}
PLAN = 'sign "AB" @ 4 8 19 11'
REQUEST = ImageRequest(prompt="a sign that says 'AB'", seed=7, mode="quality", plan=PLAN)
BLANK = 2


class Literal(Proofreader):
    """Reads an A where a strip is red, a B where it is green, else none."""

    def __init__(self) -> None:
        super().__init__(proofreader().config)

    def forward(self, strips: Tensor) -> Tensor:
        red, green, _ = strips.mean(2)[:, :, ::2].unbind(1)
        said = torch.where(red > 0.7, 0, torch.where(green > 0.7, 1, BLANK))
        return torch.nn.functional.one_hot(said, 3).float().mul(0.97).add(0.01).log()


def painted(letters: str) -> Tensor:
    """A grey picture of 128 px with a bar of each letter's colour in the middle of where those of PLAN lie."""
    picture = torch.full((128, 128, 3), 128, dtype=torch.uint8)
    for number, letter in enumerate(letters):
        picture[24:60, 28 + 32 * number : 36 + 32 * number, "AB".index(letter)] = 255
    return picture


def proofs(*pictures: Tensor, plans: tuple[str, ...] = (PLAN,)) -> Proofs:
    return Proofs(reader=Literal(), pictures=pictures, plans=[parse_plan(one) for one in plans * len(pictures)])


def test_a_text_is_a_claim_where_each_plan_has_it() -> None:
    right, wrong = painted("AB"), painted("BB")
    claims = proofs(right, wrong).claims()
    assert list(claims) == ["says AB"]
    assert claims["says AB"][0] > -0.5
    assert claims["says AB"][1] < -1
    other = Proofs(reader=Literal(), pictures=(right, right), plans=[parse_plan(PLAN), parse_plan("")]).claims()
    assert other["says AB"][1] == -torch.inf
    assert proofs(right, plans=('sign "AX" @ 4 8 19 11',)).claims() == {}


def test_doubt_falls_on_the_wrong_letter_alone() -> None:
    assert not proofs(painted("AB")).doubtful(0).any()
    first, second = (proofs(painted(letters)).doubtful(0) for letters in ("BB", "AA"))
    assert first.nonzero()[:, 1].unique().tolist() == [1, 2]
    assert second.nonzero()[:, 1].unique().tolist() == [3, 4]
    assert first.nonzero()[:, 0].unique().tolist() == [2]
    assert not proofs(painted("AA"), plans=('sign "AX" @ 4 8 19 11',)).doubtful(0).any()


def generator(reader: Proofreader | None) -> ImageGenerator:
    torch.manual_seed(12)
    model = image_model()
    chooser = Chooser(reader_model(LEVELS), {"nouns": {"cat": "cat"}})
    return ImageGenerator(visual_tokenizer(), model, CARD, torch.float32, chooser, None, letterer(model), reader)


def test_letters_in_doubt_are_drawn_anew_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MODES, "quality", replace(MODES["quality"], corrections=0))
    plain = generator(Literal()).draw([REQUEST])[0]
    assert "corrections" not in plain.metadata
    monkeypatch.setitem(MODES, "quality", replace(MODES["quality"], corrections=1))
    seen: list[Prepared] = []
    made = generator(Literal())
    choose = made._choose

    def watched(prepared: Prepared, digits: Tensor) -> Picture | Prepared:
        seen.append(prepared)
        if prepared.so_far is not None:
            kept = prepared.job.order[: prepared.job.kept]
            assert 0 < len(kept) < len(prepared.job.order)
            assert (digits[:, kept] == prepared.so_far[kept]).all()
            assert not (digits == prepared.so_far).all()
            assert len({own.numpy().tobytes() for own in digits}) > 1
        return choose(prepared, digits)

    monkeypatch.setattr(made, "_choose", watched)
    corrected = made.draw([REQUEST])[0]
    assert len(seen) == 2
    assert corrected.metadata["corrections"] == 1
    assert corrected.metadata["plan"] == PLAN
    assert corrected.passes == sum(len(one.groups) for one in seen) > plain.passes
    assert corrected.metadata["claims"]["says AB"] >= plain.metadata["claims"]["says AB"]


def test_a_masked_edit_of_a_text_is_read_and_corrected_inside_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((128, 128), bool)
    mask[40:72, 16:100] = True
    source = np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8)
    words = "change 'BA' to 'AB'"
    request = EditRequest(picture=source, instruction=words, mask=mask, seed=7, mode="quality")
    made, choose, rounds = generator(Literal()), ImageGenerator._choose, list[Prepared]()

    def watched(self: ImageGenerator, prepared: Prepared, digits: Tensor) -> Picture | Prepared:
        rounds.append(prepared)
        return choose(self, prepared, digits)

    monkeypatch.setattr(ImageGenerator, "_choose", watched)
    drawn = made.edit([request])[0]
    assert np.array_equal(drawn.pixels[~mask], source[~mask])
    assert drawn.metadata["task"] == "edit"
    assert "says AB" in drawn.metadata["claims"]
    assert (len(rounds[0].jobs), drawn.metadata["candidates"]) == (4, 4)
    assert drawn.metadata["corrections"] == len(rounds) - 1 > 0
    outside = ~touched(mask)
    for one in rounds:
        assert one.job.conditional.ids.shape[1] > 2 * 64  # the source stands before what is drawn
        assert set(outside.nonzero()[:, 0].tolist()) <= set(one.job.order[: one.job.kept].tolist())
    alone = generator(None).edit([request])[0]
    assert "candidates" not in alone.metadata


def test_without_texts_or_with_one_candidate_nothing_is_read() -> None:
    reading, blind = generator(Literal()), generator(None)
    for request in (replace(REQUEST, plan=""), replace(REQUEST, candidates=1), replace(REQUEST, mode="speed")):
        one, other = (each.draw([request])[0] for each in (reading, blind))
        assert np.array_equal(one.pixels, other.pixels)
        assert one.metadata == other.metadata


def test_the_engine_corrects_as_the_generator_does_with_fewer_slots_than_candidates() -> None:
    model = generator(Literal())
    wanted = model.draw([REQUEST, ImageRequest(prompt="a cat", seed=3)])
    assert wanted[0].metadata["corrections"]

    async def drawn() -> list[ImageResult]:
        engine = ShippedEngine(model, slots=3)
        tasks = [
            ImageTask(prompt=REQUEST.prompt, seed=7, mode="quality", plan=PLAN, previews=3),
            ImageTask(prompt="a cat", seed=3),
        ]
        tickets = [await engine.submit(task, OnePermit()) for task in tasks]
        results = [await ticket.result() for ticket in tickets]
        await engine.close()
        return results

    results = asyncio.run(asyncio.wait_for(drawn(), 60))
    for result, picture in zip(results, wanted, strict=True):
        assert np.array_equal(result.pixels, picture.pixels)
        assert result.metadata == picture.metadata
