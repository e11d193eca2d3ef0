"""The shipped model as an engine: one seed one picture whoever else draws, previews, cancelling, mistakes."""

import asyncio
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from engines import OnePermit, run
from tiny import image_model, saved, upscaler_model, visual_tokenizer

from polarlight.base.errors import UserError
from polarlight.infer.engine import Cancelled, Done, Engine, ImageTask, Preview, UnsupportedTask, open_engine
from polarlight.infer.images import EditRequest, ImageGenerator, ImageRequest, VariationRequest
from polarlight.infer.shipped import ShippedEngine, preview_passes
from polarlight.infer.upscaling import Upscaler
from polarlight.models.weights import export

CARD = {"tasks": ["draw", "edit"], "sizes": [128], "hash": "0123abcd"}


@pytest.fixture(scope="module")
def generator() -> ImageGenerator:
    torch.manual_seed(12)
    return ImageGenerator(visual_tokenizer(), image_model(), CARD, torch.float32)


def photo(height: int = 128, width: int = 128) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def window(height: int, width: int) -> np.ndarray:
    mask = np.zeros((height, width), bool)
    mask[30:70, 20:60] = True
    return mask


def drawn_alone(generator: ImageGenerator, task: ImageTask) -> np.ndarray:
    """The same picture without an engine."""
    mode = task.mode or "speed"
    if task.task == "edit":
        edit = EditRequest(picture=task.pictures[0], instruction=task.prompt, mask=task.mask, seed=task.seed, mode=mode)
        return generator.edit([edit])[0].pixels
    aspect = "1:1" if task.size == "auto" else task.size
    return generator.draw([ImageRequest(prompt=task.prompt, seed=task.seed, aspect=aspect, mode=mode)])[0].pixels


SHORT = ImageTask(prompt="add a cat", seed=4, task="edit", pictures=(photo(),), mask=window(128, 128))
LONG = ImageTask(prompt="snow", seed=3, mode="quality")
TASKS = (
    ImageTask(prompt="a red cat", seed=1),
    ImageTask(prompt="two blue dogs on a green hill at night", seed=2, size="3:2"),
    SHORT,
    replace(SHORT, seed=5, mode="quality"),
    ImageTask(prompt="make it blue", seed=6, task="edit", pictures=(photo(108, 200),)),
    ImageTask(prompt="a sign that says 'OPEN'", seed=7, size="9:16"),
)


@pytest.fixture(scope="module")
def alone(generator: ImageGenerator) -> list[np.ndarray]:
    """The pictures of TASKS, each drawn by itself."""
    return [drawn_alone(generator, task) for task in TASKS]


@pytest.mark.parametrize("seed", [0, 1])
def test_one_seed_gives_one_picture_whatever_else_is_drawn_and_whenever(
    generator: ImageGenerator, alone: list[np.ndarray], seed: int
) -> None:
    moments = random.Random(seed)

    async def draw_all() -> list[np.ndarray]:
        engine = ShippedEngine(generator, slots=3)

        async def one(task: ImageTask) -> np.ndarray:
            await asyncio.sleep(moments.uniform(0, 0.15))
            return (await (await engine.submit(task, OnePermit())).result()).pixels

        pictures = await asyncio.gather(*map(one, TASKS))
        await engine.close()
        return pictures

    for pixels, same in zip(run(draw_all()), alone, strict=True):
        assert np.array_equal(pixels, same)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_is_the_same_under_load_alone_and_from_the_generator_in_any_precision(dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("the CPU has no bf16 matrix products")
    tasks = [ImageTask(prompt=prompt, seed=seed) for seed, prompt in enumerate(("a cat", "two blue dogs", "snow"))]

    async def draw(engine: ShippedEngine, together: bool) -> list[np.ndarray]:
        if together:
            tickets = [await engine.submit(task, OnePermit()) for task in tasks]
            return [(await ticket.result()).pixels for ticket in tickets]
        return [(await (await engine.submit(task, OnePermit())).result()).pixels for task in tasks]

    async def both() -> tuple[list[np.ndarray], list[np.ndarray]]:
        engine = ShippedEngine(model)
        drawn = await draw(engine, together=False), await draw(engine, together=True)
        await engine.close()
        return drawn

    model = ImageGenerator(visual_tokenizer(), image_model(), CARD, dtype)
    for task, one, other in zip(tasks, *run(both()), strict=True):
        assert np.array_equal(one, other)
        assert np.array_equal(one, drawn_alone(model, task))


def events_of(generator: ImageGenerator, task: ImageTask) -> list[Any]:
    """All events of one task by itself."""

    async def read() -> list[Any]:
        engine = ShippedEngine(generator)
        seen = [event async for event in await engine.submit(task, OnePermit())]
        await engine.close()
        return seen

    return run(read())


def test_previews_come_as_often_as_asked_and_grow_into_the_picture(generator: ImageGenerator) -> None:
    *previews, done = events_of(generator, replace(TASKS[0], previews=3))
    assert [(preview.number, preview.passes) for preview in previews] == [(4, 16), (8, 16), (12, 16)]
    assert all(isinstance(preview, Preview) and preview.picture.shape == (128, 128, 3) for preview in previews)
    far = [np.abs(preview.picture.astype(int) - done.result.pixels).mean() for preview in previews]
    assert far[0] > far[2] > 0


def test_who_asks_for_no_preview_gets_none(generator: ImageGenerator) -> None:
    (done,) = events_of(generator, TASKS[0])
    assert isinstance(done, Done)


@pytest.mark.parametrize(
    ("passes", "wanted", "after"), [(16, 1, {8}), (16, 0, set()), (4, 9, {1, 2, 3}), (1, 3, set())]
)
def test_previews_are_spread_and_never_more_than_asked(passes: int, wanted: int, after: set[int]) -> None:
    assert preview_passes(passes, wanted) == after


def test_metadata_is_that_of_the_generator(generator: ImageGenerator) -> None:
    result = events_of(generator, TASKS[1])[-1].result
    same = generator.draw([ImageRequest(prompt=TASKS[1].prompt, seed=2, aspect="3:2")])[0]
    assert result.metadata == same.metadata
    assert (result.seed, result.passes) == (2, 16)


def test_an_edits_metadata_names_its_parent(generator: ImageGenerator) -> None:
    result = events_of(generator, SHORT)[-1].result
    edit = EditRequest(picture=photo(), instruction="add a cat", mask=window(128, 128), seed=4)
    assert result.metadata == generator.edit([edit])[0].metadata


@pytest.mark.parametrize("prompt", ["", "a red cat"])
def test_a_variation_is_that_of_the_generator(generator: ImageGenerator, prompt: str) -> None:
    task = ImageTask(prompt=prompt, seed=4, task="variation", pictures=(photo(108, 200),), previews=1)
    preview, done = events_of(generator, task)
    same = generator.vary([VariationRequest(picture=photo(108, 200), prompt=prompt, seed=4)])[0]
    assert np.array_equal(done.result.pixels, same.pixels)
    assert done.result.metadata == same.metadata
    assert preview.picture.shape == same.pixels.shape


def test_a_preview_of_a_masked_edit_shows_the_picture_outside_the_mask(generator: ImageGenerator) -> None:
    preview = events_of(generator, replace(SHORT, previews=1))[0]
    outside = ~window(128, 128)
    assert np.array_equal(preview.picture[outside], photo()[outside])


def test_a_size_the_model_does_not_have_is_noted_with_the_picture(generator: ImageGenerator) -> None:
    result = events_of(generator, ImageTask(prompt="a cat", size="1920x1080", resolution="2k"))[-1].result
    assert result.pixels.shape == (96, 176, 3)
    assert "no resolution 2k" in result.metadata["note"]


def test_a_negative_prompt_changes_the_picture_and_is_kept_with_it(
    generator: ImageGenerator, alone: list[np.ndarray]
) -> None:
    result = events_of(generator, replace(TASKS[0], negative_prompt="a  blue dog"))[-1].result
    assert result.metadata["negative_prompt"] == "a blue dog"
    assert not np.array_equal(result.pixels, alone[0])


def test_cancelling_between_passes_frees_the_place_and_leaves_the_others_alone(
    generator: ImageGenerator, alone: list[np.ndarray]
) -> None:
    async def draw() -> np.ndarray:
        engine = ShippedEngine(generator, slots=2)
        gone = await engine.submit(replace(LONG, previews=50), OnePermit())
        kept = await engine.submit(TASKS[0], OnePermit())
        async for _ in gone:
            gone.cancel()
            break
        with pytest.raises(Cancelled, match="after pass"):
            await gone.result()
        pixels = (await kept.result()).pixels
        await engine.close()
        assert engine._batch.free == 2
        return pixels

    assert np.array_equal(run(draw()), alone[0])


def test_owners_take_turns_for_places(generator: ImageGenerator) -> None:
    async def draw() -> list[str]:
        engine, finished = ShippedEngine(generator, slots=1), list[str]()

        async def one(name: str, owner: str) -> None:
            await (await engine.submit(ImageTask(prompt=name), OnePermit(), owner)).result()
            finished.append(name)

        await asyncio.gather(one("a1", "a"), one("a2", "a"), one("a3", "a"), one("b1", "b"))
        await engine.close()
        return finished

    order = run(draw())
    assert order.index("b1") < order.index("a3")


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (ImageTask(prompt=" "), "empty"),
        (ImageTask(prompt="кот"), "unsupported script"),
        (ImageTask(prompt="a", negative_prompt="кот"), "unsupported script"),
        (ImageTask(prompt="a", mode="best"), "no mode"),
        (ImageTask(prompt="кот", task="variation", pictures=(photo(),)), "unsupported script"),
        (ImageTask(prompt="", task="variation"), "needs a picture"),
    ],
)
def test_a_mistake_is_answered_before_the_task_waits(generator: ImageGenerator, task: ImageTask, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        run(ShippedEngine(generator).submit(task, OnePermit()))


def test_a_task_that_cannot_be_prepared_hears_why_and_the_next_one_is_drawn(
    generator: ImageGenerator, alone: list[np.ndarray]
) -> None:
    async def draw() -> np.ndarray:
        engine = ShippedEngine(generator)
        empty = await engine.submit(replace(SHORT, mask=np.zeros((128, 128), bool)), OnePermit())
        with pytest.raises(UserError, match="mask is empty"):
            await empty.result()
        pixels = (await (await engine.submit(TASKS[0], OnePermit())).result()).pixels
        await engine.close()
        return pixels

    assert np.array_equal(run(draw()), alone[0])


def test_tasks_whose_plans_cannot_be_written_hear_why_and_the_next_one_is_drawn(
    generator: ImageGenerator, alone: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(requests: object) -> None:
        raise UserError("The planner is damaged.")

    async def draw() -> np.ndarray:
        engine = ShippedEngine(generator)
        with monkeypatch.context() as patch:
            patch.setattr(generator, "plans", damaged)
            tickets = [await engine.submit(TASKS[0], OnePermit()) for _ in range(2)]
            for ticket in tickets:
                with pytest.raises(UserError, match="planner is damaged"):
                    await ticket.result()
        pixels = (await (await engine.submit(TASKS[0], OnePermit())).result()).pixels
        await engine.close()
        return pixels

    assert np.array_equal(run(draw()), alone[0])


def test_a_pass_that_fails_is_heard_by_all_in_it_and_the_next_one_is_drawn(
    generator: ImageGenerator, alone: list[np.ndarray]
) -> None:
    async def draw() -> np.ndarray:
        engine = ShippedEngine(generator)
        broken = [await engine.submit(replace(LONG, seed=seed, previews=60), OnePermit()) for seed in range(2)]
        for ticket in broken:
            await anext(ticket)  # both are under way
        engine._batch.place = engine._batch.place[:0]  # no place for anybody: the next pass must fail
        for ticket in broken:
            with pytest.raises((IndexError, RuntimeError)):
                await ticket.result()
        pixels = (await (await engine.submit(TASKS[0], OnePermit())).result()).pixels
        await engine.close()
        return pixels

    assert np.array_equal(run(draw()), alone[0])


def test_a_model_without_edits_says_so() -> None:
    card = CARD | {"tasks": ["draw", "caption"]}
    engine = ShippedEngine(ImageGenerator(visual_tokenizer(), image_model(), card, torch.float32))
    assert (engine.info.tasks, engine.info.masks) == (("draw", "variation"), False)
    with pytest.raises(UnsupportedTask):
        run(engine.submit(SHORT, OnePermit()))


@pytest.fixture(scope="module")
def upscaler() -> Upscaler:
    return Upscaler(upscaler_model(), {"hash": "4567cdef"}, torch.float32, tile=64)


LARGER = ImageTask(prompt="", task="upscale", pictures=(photo(108, 200),), factor=4)


def test_without_an_upscaler_it_says_that_it_cannot(generator: ImageGenerator) -> None:
    engine = ShippedEngine(generator)
    assert "upscale" not in engine.info.tasks
    with pytest.raises(UnsupportedTask, match="cannot make pictures larger"):
        run(engine.submit(LARGER, OnePermit()))


def test_an_upscaled_picture_has_a_multiple_of_its_size_and_is_that_of_the_upscaler(
    generator: ImageGenerator, upscaler: Upscaler, alone: list[np.ndarray]
) -> None:
    async def make() -> list[Any]:
        engine = ShippedEngine(generator, slots=2, upscaler=upscaler)
        assert "upscale" in engine.info.tasks
        tasks = (LARGER, TASKS[0], replace(LARGER, factor=2, prompt="кот"))
        made = [(await engine.submit(task, OnePermit())) for task in tasks]
        results = [await ticket.result() for ticket in made]
        await engine.close()
        return results

    four, drawn, two = run(make())
    assert np.array_equal(drawn.pixels, alone[0])
    for result, factor in ((four, 4), (two, 2)):
        assert np.array_equal(result.pixels, upscaler.upscale(LARGER.pictures[0], factor))
        assert (result.metadata["task"], result.metadata["factor"]) == ("upscale", factor)
    assert (two.metadata["prompt"], two.metadata["model"]) == ("кот", "4567cdef")
    assert four.pixels.shape == (432, 800, 3)


def test_a_large_picture_keeps_no_small_one_waiting_and_can_be_cancelled(
    generator: ImageGenerator, upscaler: Upscaler
) -> None:
    async def make() -> None:
        engine = ShippedEngine(generator, upscaler=upscaler)
        large = await engine.submit(replace(LARGER, pictures=(photo(900, 900),)), OnePermit())
        small = await engine.submit(replace(LARGER, pictures=(photo(20, 20),)), OnePermit())
        assert (await small.result()).pixels.shape == (80, 80, 3)
        large.cancel()
        with pytest.raises(Cancelled, match="of 1066 tiles"):
            await large.result()
        await engine.close()

    run(make())


def test_a_picture_that_cannot_be_enlarged_hears_why_and_the_next_one_is_made(
    generator: ImageGenerator, upscaler: Upscaler
) -> None:
    async def make() -> None:
        broken = Upscaler(upscaler.model, {}, torch.float32)  # a card without a hash
        engine = ShippedEngine(generator, upscaler=broken)
        with pytest.raises(KeyError):
            await (await engine.submit(LARGER, OnePermit())).result()
        broken.card["hash"] = "0"
        assert await (await engine.submit(LARGER, OnePermit())).result()
        await engine.close()

    run(make())


def test_a_picture_too_large_to_enlarge_is_refused_before_it_waits(
    generator: ImageGenerator, upscaler: Upscaler
) -> None:
    huge = replace(LARGER, pictures=(np.zeros((1100, 1000, 3), np.uint8),))
    with pytest.raises(UserError, match="4000 x 4400 px"):
        run(ShippedEngine(generator, upscaler=upscaler).submit(huge, OnePermit()))


def test_a_folder_opens_as_an_engine_of_its_name(tmp_path: Any, generator: ImageGenerator) -> None:
    folder = saved(generator.tokenizer, generator.model, tmp_path / "mine")
    engine = open_engine(f"polarlight:{folder}")
    assert isinstance(engine, Engine)
    assert (engine.info.name, engine.info.modality) == ("polarlight-mine", "image")
    assert engine.info.native_size("16:9").width == 176
    assert engine.info.tasks == ("draw", "variation")
    export(upscaler_model(), folder / "upscaler.safetensors", {"config": {"channels": 8, "blocks": 2}})
    assert open_engine(f"polarlight:{folder}").info.tasks == ("draw", "variation", "upscale")
