"""Candidates: the reader's best is kept, the same one from every door, and what cannot be chosen is said."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from engines import OnePermit
from tiny import LEVELS, image_model, reader_model, visual_tokenizer

from polarlight.base.errors import UserError
from polarlight.infer.choosing import NAME, Chooser, Sight
from polarlight.infer.engine import Cancelled, Done, ImageResult, ImageTask, Preview, UnsupportedTask
from polarlight.infer.images import EditRequest, ImageGenerator, ImageRequest
from polarlight.infer.planning import Planner
from polarlight.infer.shipped import ShippedEngine
from polarlight.models.image_grammar import frame
from polarlight.models.weights import export
from polarlight.text.plan import Plan, parse_plan

CARD = {"tasks": ["draw", "edit"], "sizes": [128], "hash": "0123abcd"}


CARD_OF_READER = {"nouns": {"cat": "cat", "cats": "cat", "dog": "dog", "dogs": "dog"}}


class Picky(Chooser):
    """Takes the candidate of a given number."""

    def __init__(self, chosen: int) -> None:
        self.chosen = chosen

    def best(self, prompt: str, candidates: object, others: object) -> tuple[int, dict[str, float]]:
        assert prompt == "a cat"
        assert len(candidates) == 4  # type: ignore[arg-type]
        return self.chosen, {"cat": 0.5}


def generator(chooser: Chooser | None) -> ImageGenerator:
    torch.manual_seed(12)
    return ImageGenerator(visual_tokenizer(), image_model(), CARD, torch.float32, chooser)


class Shown(Chooser):
    """Sees what it is told: for each candidate a row of positions, each with the name, colour and centre there."""

    def __init__(self, rows: list[list[tuple[str | None, str, bool]]]) -> None:
        super().__init__(reader_model(LEVELS), CARD_OF_READER)
        self.rows = rows

    def look(self, digits: object) -> Sight:
        config, shape = self.model.config, (len(self.rows), len(self.rows[0]))
        sight = Sight(
            names=torch.full((*shape, 3), 0.001), colours=torch.full((*shape, 2), 0.001),
            materials=torch.full((*shape, 2), 0.5), centres=torch.full((*shape, 1), 0.001),
            letters=torch.zeros(shape), places=frame(1, shape[1])[:, 2:],
        )  # fmt: skip
        for b, row in enumerate(self.rows):
            for n, (name, colour, centre) in enumerate(row):
                sight.names[b, n, config.names.index(name) if name else 2] = 0.99
                sight.colours[b, n, config.colours.index(colour)] = 0.99
                sight.centres[b, n, 0] = 0.99 if centre else 0.001
        return sight


NONE, CAT, MORE = (None, "red", False), ("cat", "red", True), ("cat", "red", False)
DOG, BLUE = ("dog", "red", True), ("cat", "blue", True)


@pytest.mark.parametrize(
    ("prompt", "rows", "best"),
    [
        ("a dog", [[CAT, MORE, NONE, NONE], [NONE, DOG, DOG, NONE]], 1),
        ("a cat and a dog", [[CAT, MORE, NONE, NONE], [CAT, MORE, DOG, DOG]], 1),
        ("a blue cat", [[CAT, MORE, NONE, NONE], [BLUE, BLUE, NONE, NONE]], 1),
        ("three cats", [[CAT, CAT, NONE, NONE], [CAT, CAT, CAT, NONE], [CAT, CAT, CAT, CAT]], 1),
        ("two cats", [[CAT, MORE, MORE, CAT], [CAT, CAT, CAT, NONE]], 0),
        ("a dog to the left of a cat", [[CAT, MORE, DOG, DOG], [DOG, DOG, CAT, MORE]], 1),
        ("a sign 'cat'", [[NONE, NONE], [CAT, CAT]], 0),
        ("a hill", [[NONE, NONE], [CAT, CAT]], 0),
    ],
)
def test_the_candidate_that_meets_most_claims_is_best(prompt: str, rows: list, best: int) -> None:
    candidates = [torch.zeros(2, 2, 2, dtype=torch.uint8)] * len(rows)
    assert Shown(rows).best(prompt, candidates, {})[0] == best


def test_the_claims_of_the_chosen_one_are_told() -> None:
    _, claims = Shown([[CAT, MORE, DOG, DOG]]).best(
        "two dogs to the left of a cat", [torch.zeros(2, 2, 2, dtype=torch.uint8)], {}
    )
    assert list(claims) == ["2 dog", "cat", "number of dog", "dog left of cat"]
    assert claims["2 dog"] > 0.9
    assert claims["dog left of cat"] < 0.1


def test_what_others_have_read_counts_as_much() -> None:
    candidates = [torch.zeros(2, 2, 2, dtype=torch.uint8)] * 2
    others = {"says NO": torch.tensor([-torch.inf, -0.1])}
    chosen, claims = Shown([[CAT, MORE], [CAT, MORE]]).best("a cat", candidates, others)
    assert chosen == 1
    assert claims["says NO"] == pytest.approx(0.905)
    assert Shown([[CAT, MORE], [NONE, NONE]]).best("a cat", candidates, {"says NO": torch.tensor([-0.2, -0.1])})[0] == 0


@pytest.fixture(scope="module")
def chooser() -> Chooser:
    torch.manual_seed(4)
    return Chooser(reader_model(LEVELS), CARD_OF_READER)


REQUEST = ImageRequest(prompt="a cat", seed=7, mode="quality")


def test_the_first_candidate_is_the_picture_without_a_choice_and_the_others_are_not() -> None:
    alone = generator(None).draw([REQUEST])[0]
    assert "candidates" not in alone.metadata
    drawn = [generator(Picky(number)).draw([REQUEST])[0] for number in range(4)]
    assert np.array_equal(drawn[0].pixels, alone.pixels)
    assert len({picture.pixels.tobytes() for picture in drawn}) == 4
    assert [picture.metadata["chosen"] for picture in drawn] == [0, 1, 2, 3]
    assert {picture.metadata["candidates"] for picture in drawn} == {4}
    assert drawn[0].metadata["claims"] == {"cat": 0.5}


class Written(Planner):
    """Has written two plans beforehand."""

    def write(self, asks: object) -> list[list[Plan]]:
        return [[parse_plan(text) for text in PLANS] for _ in asks]  # type: ignore[attr-defined]


PLANS = ["cat @ 0 0 15 31", "cat @ 8 8 31 31"]


def planning(chooser: Chooser) -> ImageGenerator:
    made = generator(chooser)
    made.card = CARD | {"tasks": ["draw", "layout", "plan"]}
    made.planner = Written(model=made.decoder, vocabulary=made.vocabulary)
    return made


def test_candidates_are_drawn_by_the_written_plans_in_turn() -> None:
    drawn = [planning(Picky(number)).draw([REQUEST])[0] for number in range(4)]
    assert [picture.metadata["plan"] for picture in drawn] == [*PLANS, *PLANS]
    assert len({picture.pixels.tobytes() for picture in drawn}) == 4
    alone = planning(Picky(0)).draw([replace(REQUEST, plan=PLANS[1], candidates=1)])[0]
    given = [planning(Picky(number)).draw([replace(REQUEST, plan=PLANS[1])])[0] for number in (0, 1)]
    assert np.array_equal(given[0].pixels, alone.pixels)
    assert np.array_equal(given[1].pixels, drawn[1].pixels)  # the same plan, the same noise


def test_the_engine_plans_as_the_generator_does(chooser: Chooser) -> None:
    model = planning(chooser)
    wanted = model.draw([REQUEST])[0]

    async def drawn() -> ImageResult:
        engine = ShippedEngine(model, slots=3)
        ticket = await engine.submit(ImageTask(prompt="a cat", seed=7, mode="quality"), OnePermit())
        result = await ticket.result()
        await engine.close()
        return result

    result = asyncio.run(asyncio.wait_for(drawn(), 60))
    assert np.array_equal(result.pixels, wanted.pixels)
    assert result.metadata == wanted.metadata
    assert result.metadata["plan"] in PLANS


def test_a_choice_depends_on_its_own_request_alone(chooser: Chooser) -> None:
    model = generator(chooser)
    others = [ImageRequest(prompt=words, seed=n, mode="quality") for n, words in enumerate(("a dog", "snow", "two"))]
    together = model.draw([*others, REQUEST, ImageRequest(prompt="a cat", seed=1)])
    alone = model.draw([REQUEST])[0]
    assert np.array_equal(together[3].pixels, alone.pixels)
    assert together[3].metadata == alone.metadata
    assert "candidates" not in together[4].metadata  # speed mode draws one


def test_the_engine_chooses_as_the_generator_does_with_fewer_slots_than_candidates(chooser: Chooser) -> None:
    model = generator(chooser)
    tasks = [
        ImageTask(prompt="a cat", seed=7, mode="quality", previews=2),
        ImageTask(prompt="a dog", seed=3),
        ImageTask(prompt="snow", seed=5, candidates=3),
    ]
    wanted = model.draw(
        [
            REQUEST,
            ImageRequest(prompt="a dog", seed=3),
            ImageRequest(prompt="snow", seed=5, candidates=3),
        ]
    )

    async def all_of() -> tuple[list[np.ndarray], int]:
        engine, previews = ShippedEngine(model, slots=3), 0
        tickets = [await engine.submit(task, OnePermit()) for task in tasks]
        pictures = []
        for ticket in tickets:
            async for event in ticket:
                previews += isinstance(event, Preview)
                if isinstance(event, Done):
                    pictures.append(event.result.pixels)
        await engine.close()
        return pictures, previews

    pictures, previews = asyncio.run(asyncio.wait_for(all_of(), 60))
    assert all(np.array_equal(one, other.pixels) for one, other in zip(pictures, wanted, strict=True))
    assert previews == 2


def test_a_cancelled_choice_leaves_room_for_the_next(chooser: Chooser) -> None:
    async def cancel() -> None:
        engine = ShippedEngine(generator(chooser), slots=2)
        ticket = await engine.submit(ImageTask(prompt="a cat", mode="quality", previews=20), OnePermit())
        async for _ in ticket:
            break
        ticket.cancel()
        with pytest.raises(Cancelled):
            await ticket.result()
        await (await engine.submit(ImageTask(prompt="a dog"), OnePermit())).result()
        await engine.close()

    asyncio.run(asyncio.wait_for(cancel(), 60))


def test_what_cannot_be_chosen_is_said(chooser: Chooser) -> None:
    with pytest.raises(UserError, match="no reader"):
        generator(None).draw([ImageRequest(prompt="a cat", candidates=2)])
    for count in (0, 17):
        with pytest.raises(UserError, match="not possible"):
            generator(chooser).draw([ImageRequest(prompt="a cat", candidates=count)])
    edit = EditRequest(picture=np.zeros((128, 128, 3), np.uint8), instruction="add a cat", mode="quality")
    assert len(generator(chooser).prepare(edit).jobs) == 1
    info = ShippedEngine(generator(chooser)).info
    info.check(ImageTask(prompt="a cat", candidates=16))
    with pytest.raises(UnsupportedTask, match="from 17 candidates"):
        info.check(ImageTask(prompt="a cat", candidates=17))
    with pytest.raises(UnsupportedTask, match="edit pictures from 2 candidates"):
        info.check(ImageTask(prompt="a", candidates=2, task="edit", pictures=(np.zeros((8, 8, 3), np.uint8),)))
    with pytest.raises(UnsupportedTask, match="Leave them out"):
        ShippedEngine(generator(None)).info.check(ImageTask(prompt="a cat", candidates=2))


def test_a_reader_is_found_beside_its_tokenizer_only(tmp_path: Path, chooser: Chooser) -> None:
    from dataclasses import asdict

    assert Chooser.find(tmp_path, "t") is None
    card = {"tokenizer": "t", "config": asdict(chooser.model.config), **CARD_OF_READER}
    export(chooser.model, tmp_path / NAME, card)
    assert Chooser.find(tmp_path, "another") is None
    found = Chooser.find(tmp_path, "t")
    assert found is not None
    assert found.model.config == chooser.model.config
    (tmp_path / NAME).with_suffix(".json").write_text('{"tokenizer": "t", "config": {"width": 3}}')
    with pytest.raises(UserError, match="does not describe a reader"):
        Chooser.find(tmp_path, "t")
