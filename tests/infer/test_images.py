"""The image generator: one request one picture, exact edits, and mistakes with a way out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import image_model, letterer, visual_tokenizer

from polarlight.base.errors import UserError
from polarlight.infer.images import (
    CELL,
    GRIDS,
    MODES,
    SOURCE_SHARE,
    EditRequest,
    ImageGenerator,
    ImageRequest,
    Prepared,
    VariationRequest,
)
from polarlight.infer.planning import Ask, Planner
from polarlight.models.image_grammar import Role, pack
from polarlight.models.weights import export
from polarlight.recipes import planner_mini
from polarlight.recipes.runs import Run
from polarlight.text.plan import Plan, parse_plan
from polarlight.text.vocabulary import Vocabulary
from polarlight.worlds.scene import ASPECTS, picture_size

TASKS = ["draw", "edit", "caption"]
PLAN = 'cat red @ 3 10 11 27; sign white "OPEN" @ 4 2 19 7'


def new_generator(tasks: list[str] = TASKS) -> ImageGenerator:
    card = {"tasks": tasks, "sizes": [128], "hash": "0123abcd"}
    return ImageGenerator(visual_tokenizer(), image_model(), card, torch.float32)


@pytest.fixture(scope="module")
def generator() -> ImageGenerator:
    torch.manual_seed(11)
    return new_generator()


def photo(height: int = 128, width: int = 128) -> np.ndarray:
    return np.random.default_rng(height + width).integers(0, 256, (height, width, 3), np.uint8)


def window(height: int, width: int, top: int, left: int) -> np.ndarray:
    """A mask of 40 x 30 px."""
    mask = np.zeros((height, width), bool)
    mask[top : top + 40, left : left + 30] = True
    return mask


def test_grids_are_those_of_the_worlds() -> None:
    assert {name: (rows * CELL, columns * CELL) for name, (rows, columns) in GRIDS.items()} == {
        name: picture_size(name) for name in ASPECTS
    }


def test_one_request_gives_one_picture_whatever_the_batch(generator: ImageGenerator) -> None:
    request = ImageRequest(prompt="a red cat", seed=3)
    others = [
        ImageRequest(prompt="two blue dogs on a green hill at night", seed=4),
        ImageRequest(prompt="snow", seed=5),
    ]
    alone = generator.draw([request])[0]
    assert np.array_equal(generator.draw([*others, request])[2].pixels, alone.pixels)
    assert np.array_equal(generator.draw([request, *others])[0].pixels, alone.pixels)
    assert not np.array_equal(generator.draw([replace(request, seed=4)])[0].pixels, alone.pixels)
    assert not np.array_equal(generator.draw([replace(request, prompt="a blue cat")])[0].pixels, alone.pixels)


def test_shapes_and_modes_mix_in_one_call_and_come_back_in_order(generator: ImageGenerator) -> None:
    mixed = [("3:2", "speed"), ("9:16", "quality"), ("3:2", "quality"), ("9:16", "speed"), ("3:2", "speed")]
    requests = [
        ImageRequest(prompt="a red cat", seed=seed, aspect=aspect, mode=mode)
        for seed, (aspect, mode) in enumerate(mixed)
    ]
    pictures = generator.draw(requests)
    assert [picture.pixels.shape[:2] for picture in pictures] == [picture_size(aspect) for aspect, _ in mixed]
    assert [picture.passes for picture in pictures] == [16, 66, 54, 16, 16]
    assert [picture.seed for picture in pictures] == [0, 1, 2, 3, 4]
    assert np.array_equal(pictures[4].pixels, generator.draw(requests[4:])[0].pixels)


def test_metadata_says_how_to_draw_it_again(generator: ImageGenerator) -> None:
    first = generator.draw([ImageRequest(prompt=" a  red\ncat", seed=9, aspect="2:3")])[0]
    about = first.metadata
    assert (about["prompt"], about["seed"], about["mode"], about["model"]) == ("a red cat", 9, "speed", "0123abcd")
    assert (about["width"], about["height"], about["task"]) == (96, 144, "draw")
    again = generator.draw(
        [ImageRequest(prompt=about["prompt"], seed=about["seed"], aspect="2:3", mode=about["mode"])]
    )[0]
    assert np.array_equal(again.pixels, first.pixels)


def test_a_preview_follows_every_pass(generator: ImageGenerator) -> None:
    seen: list[tuple[int, int, list[np.ndarray]]] = []
    picture = generator.draw(
        [ImageRequest(prompt="a cat")], lambda number, passes, look: seen.append((number, passes, look()))
    )[0]
    assert [number for number, _, _ in seen] == list(range(1, 17))
    assert {passes for _, passes, _ in seen} == {16}
    assert np.array_equal(seen[-1][2][0], picture.pixels)


@pytest.mark.parametrize("mode", MODES)
def test_a_masked_edit_leaves_every_pixel_outside_the_mask(generator: ImageGenerator, mode: str) -> None:
    picture, mask = photo(), window(128, 128, 30, 50)
    edited = generator.edit([EditRequest(picture=picture, instruction="add a cat", mask=mask, mode=mode)])[0]
    assert np.array_equal(edited.pixels[~mask], picture[~mask])
    assert not np.array_equal(edited.pixels[mask], picture[mask])
    assert edited.passes < MODES[mode].passes
    assert (edited.metadata["task"], len(edited.metadata["parent"])) == ("edit", 16)


def test_what_the_mask_covers_does_not_reach_the_model_through_the_picture_to_draw(generator: ImageGenerator) -> None:
    job = generator.prepare(EditRequest(picture=photo(), instruction="a", mask=window(128, 128, 30, 50))).job
    rows, columns = slice(30 // CELL, 69 // CELL + 1), slice(50 // CELL, 79 // CELL + 1)
    free = np.zeros((8, 8), bool)
    free[rows, columns] = True
    assert sorted(job.order[job.kept :].tolist()) == np.flatnonzero(free).tolist()


def test_an_edit_does_not_depend_on_the_batch(generator: ImageGenerator) -> None:
    one = EditRequest(picture=photo(), instruction="make the cat red", mask=window(128, 128, 0, 0), seed=2)
    wide = EditRequest(picture=photo(108, 200), instruction="remove the dog", seed=3)
    free = replace(one, mask=None, seed=4)
    alone, together = generator.edit([one])[0], generator.edit([wide, one, free])
    assert np.array_equal(together[1].pixels, alone.pixels)
    assert together[0].pixels.shape == (*picture_size("16:9"), 3)


def varied(generator: ImageGenerator, **changes: object) -> Prepared:
    return generator.prepare(VariationRequest(**({"picture": photo()} | changes)))  # type: ignore[arg-type]


@pytest.mark.parametrize(("strength", "kept"), [(0.7, 19), (0.5, 32), (1.0, 0), (0.001, 63)])
def test_a_variation_takes_over_the_share_of_the_picture_that_its_strength_leaves(
    generator: ImageGenerator, strength: float, kept: int
) -> None:
    job = varied(generator, strength=strength).job
    picture = torch.from_numpy(photo())[None]
    codes = pack(generator.tokenizer.encode(picture))[0].flatten(0, 1)
    given = job.conditional.digits[0, -63:]
    assert job.kept == kept
    assert torch.equal(given[:kept], codes[job.order[:kept]])


def test_variations_of_one_picture_differ_by_seed_and_each_stays_the_same(generator: ImageGenerator) -> None:
    asked = [VariationRequest(picture=photo(96, 144), seed=seed) for seed in (1, 2)]
    first, second = generator.vary(asked)
    assert first.pixels.shape == (*picture_size("3:2"), 3)
    assert not np.array_equal(first.pixels, second.pixels)
    assert np.array_equal(generator.vary(asked[1:])[0].pixels, second.pixels)
    about = first.metadata
    assert (about["task"], about["prompt"], about["strength"], len(about["parent"])) == ("variation", "", 0.7, 16)


def test_a_variation_with_words_is_guided_by_them(generator: ImageGenerator) -> None:
    assert varied(generator, prompt="a cat").sampling == MODES["speed"].sampling
    assert varied(generator, negative_prompt="a cat").sampling == MODES["speed"].sampling


def test_a_variation_without_words_lies_between_a_copy_and_a_new_picture(generator: ImageGenerator) -> None:
    prepared = varied(generator)
    assert prepared.sampling.guidance == prepared.sampling.guidance_start == SOURCE_SHARE
    roles = [(side.role == int(Role.SOURCE)).sum() for side in (prepared.job.conditional, prepared.job.free)]
    assert roles == [64, 0]


def test_a_model_that_cannot_edit_varies_without_seeing_the_picture() -> None:
    prepared = varied(new_generator(["draw"]))
    assert not prepared.sampling.guided
    assert not (prepared.job.conditional.role == int(Role.SOURCE)).any()


def test_a_negative_prompt_changes_the_picture_and_is_kept_with_it(generator: ImageGenerator) -> None:
    plain = ImageRequest(prompt="a red cat", seed=3)
    first, other = generator.draw([plain, replace(plain, negative_prompt=" a blue  dog")])
    assert not np.array_equal(first.pixels, other.pixels)
    assert other.metadata == first.metadata | {"negative_prompt": "a blue dog"}


@pytest.fixture(scope="module")
def planner() -> ImageGenerator:
    """A generator with random weights that plans, and is made to like to end what it has begun."""
    torch.manual_seed(12)
    made, v = new_generator([*TASKS, "layout", "plan"]), Vocabulary.shipped()
    bias = torch.zeros(len(v))
    bias[[v["</plan>"], v["<quote>"], v["</quote>"], *range(v["<h:1>"], v["<w:32>"] + 1)]] = 6.0
    words = made.decoder.words
    made.decoder.words = lambda hidden: words(hidden) + bias
    return made


def test_a_plan_decides_what_is_drawn_and_is_kept_with_the_picture(planner: ImageGenerator) -> None:
    request = ImageRequest(prompt="snow at night", seed=3, plan=PLAN)
    drawn = planner.draw([request])[0]
    assert drawn.metadata["plan"] == PLAN
    moved = planner.draw([replace(request, plan=PLAN.replace("@ 3 10 11", "@ 20 10 28"))])[0]
    without = planner.draw([replace(request, plan="")])[0]
    assert not np.array_equal(drawn.pixels, moved.pixels)
    assert not np.array_equal(drawn.pixels, without.pixels)


def test_the_models_own_plan_draws_the_same_picture_again(planner: ImageGenerator) -> None:
    requests = [ImageRequest(prompt="a red cat by a sign that says 'NO'", seed=seed) for seed in range(6)]
    drawn = planner.draw(requests)
    plans = [picture.metadata["plan"] for picture in drawn]
    assert any(plans)
    assert all('"NO"' in plan for plan in plans if plan)
    again = planner.draw([replace(request, plan=plan) for request, plan in zip(requests, plans, strict=True)])
    assert all(np.array_equal(one.pixels, two.pixels) for one, two in zip(drawn, again, strict=True))
    alone = planner.draw([requests[4]])[0]
    assert np.array_equal(alone.pixels, drawn[4].pixels)


def test_a_model_that_cannot_plan_draws_without_and_refuses_a_plan(generator: ImageGenerator) -> None:
    request = ImageRequest(prompt="a red cat", seed=3)
    assert "plan" not in generator.draw([request])[0].metadata
    with pytest.raises(UserError, match="draws without plans"):
        generator.draw([replace(request, plan=PLAN)])
    with pytest.raises(UserError, match="writes no plans"):
        generator.draw([replace(request, plan="auto")])


def test_a_plan_is_written_where_it_is_asked_for(tmp_path: Path) -> None:
    planner_mini.run(Run(folder=tmp_path, smoke=True, steps=2))
    made = new_generator(["draw", "layout"])
    follower = ImageGenerator(made.tokenizer, made.model, made.card, torch.float32, folder=tmp_path)
    request = ImageRequest(prompt="a red cat", seed=3)
    follower.check_plan("auto")
    assert "plan" in follower.draw([replace(request, plan="auto")])[0].metadata
    assert "plan" not in follower.draw([request])[0].metadata
    with pytest.raises(UserError, match="cannot be read"):
        follower.check_plan("a cat")


def test_a_letterer_writes_the_texts_of_plans_and_nothing_else() -> None:
    torch.manual_seed(12)
    plain = new_generator(["draw", "layout"])
    writing = ImageGenerator(plain.tokenizer, plain.model, plain.card, torch.float32, letterer=letterer(plain.model))
    request = ImageRequest(prompt="snow at night", seed=3, plan="cat red @ 3 10 11 27")
    assert np.array_equal(plain.draw([request])[0].pixels, writing.draw([request])[0].pixels)
    drawn = [writing.draw([replace(request, plan=f'sign "{word}" @ 4 2 19 7')])[0].pixels for word in ("OPEN", "SHUT")]
    assert not np.array_equal(*drawn)
    unwritten = plain.draw([replace(request, plan='sign "OPEN" @ 4 2 19 7')])[0].pixels
    assert not np.array_equal(unwritten, drawn[0])


def test_a_masked_edit_of_a_text_is_written_inside_the_mask() -> None:
    torch.manual_seed(14)
    plain = new_generator(["draw", "edit"])
    writing = ImageGenerator(plain.tokenizer, plain.model, plain.card, torch.float32, letterer=letterer(plain.model))
    mask = np.zeros((128, 128), bool)
    mask[32:80, 16:112] = True
    request = EditRequest(picture=photo(128, 128), instruction="change 'SHUT' to 'OPEN'", mask=mask, seed=3)
    drawn, unwritten = writing.edit([request])[0], plain.edit([request])[0]
    assert drawn.metadata["plan"].startswith('sign "OPEN" @')
    assert "plan" not in unwritten.metadata
    assert np.array_equal(drawn.pixels[~mask], unwritten.pixels[~mask])
    assert not np.array_equal(drawn.pixels, unwritten.pixels)
    for words in ("remove the sign 'OPEN'", "make the cat blue"):
        assert "plan" not in writing.edit([replace(request, instruction=words)])[0].metadata
    assert "plan" not in writing.edit([replace(request, mask=None)])[0].metadata


def test_a_model_without_regions_has_texts_placed_where_a_prompt_quotes_any(tmp_path: Path) -> None:
    torch.manual_seed(13)
    planner_mini.run(Run(folder=tmp_path, smoke=True, steps=2))
    made = new_generator(["draw"])
    writer = ImageGenerator(
        made.tokenizer, made.model, made.card, torch.float32, folder=tmp_path, letterer=letterer(made.model)
    )
    quoting, other = (ImageRequest(prompt=words, seed=3) for words in ("a sign that says 'NOTE'", "a red cat"))
    assert writer.planner is not None
    for found in ([parse_plan('cat red @ 3 10 11 27; sign "NOTE" @ 4 2 19 7')], []):
        writer.planner = Written(model=made.decoder, vocabulary=made.vocabulary, found=found)
        expected = ('sign "NOTE" @ 4 2 19 7',) if found else ("",)
        assert writer.plans([quoting, other, replace(other, plan="auto")]) == [expected, None, expected]
    with pytest.raises(UserError, match="places texts, and no things"):
        writer.check_plan("cat red @ 3 10 11 27")
    writer.check_plan('sign "NOTE" @ 4 2 19 7')
    assert writer.draw([replace(quoting, plan='sign "NOTE" @ 4 2 19 7')])[0].metadata["plan"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Written(Planner):
    """A planner that has found its plans."""

    found: list[Plan]

    def write(self, asks: Sequence[Ask]) -> list[list[Plan]]:
        return [self.found for _ in asks]


def test_a_picture_of_any_size_is_edited_at_the_nearest_aspect(generator: ImageGenerator) -> None:
    mask = window(400, 600, 100, 300)
    edited = generator.edit([EditRequest(picture=photo(400, 600), instruction="add a cat", mask=mask)])[0]
    assert edited.pixels.shape == (*picture_size("3:2"), 3)


def test_a_mask_thinner_than_a_pixel_of_the_model_still_counts(generator: ImageGenerator) -> None:
    mask = np.zeros((900, 900), bool)
    mask[451] = True
    edited = generator.edit([EditRequest(picture=photo(900, 900), instruction="add a line", mask=mask)])[0]
    assert edited.passes == 8  # the eight positions of one row


def test_a_picture_goes_through_the_tokenizer_and_back(generator: ImageGenerator) -> None:
    pixels = torch.from_numpy(photo())[None]
    assert generator.reconstruct(pixels).shape == pixels.shape


def drawn_at_random(generator: ImageGenerator, positions: int, seed: int = 0) -> torch.Tensor:
    """Digits of a picture that nobody drew."""
    random = torch.Generator().manual_seed(seed)
    shape = (positions, generator.model.config.digits)
    return torch.randint(0, 3, shape, generator=random, dtype=torch.uint8)


def test_a_draft_before_the_first_pass_is_grey_and_after_the_last_is_the_picture(generator: ImageGenerator) -> None:
    prepared, digits = generator.prepare(ImageRequest(prompt="a cat")), drawn_at_random(generator, 64)
    before, after = generator.drafts([(prepared, digits, 0), (prepared, digits, 16)])
    assert (before == 128).all()
    assert np.array_equal(after, generator.pixels([(prepared, digits)])[0])


def test_a_draft_of_a_masked_edit_shows_the_picture_outside_the_mask(generator: ImageGenerator) -> None:
    picture, mask = photo(), window(128, 128, 30, 50)
    prepared = generator.prepare(EditRequest(picture=picture, instruction="a", mask=mask))
    blank = torch.zeros(64, generator.model.config.digits, dtype=torch.uint8)
    draft = generator.drafts([(prepared, blank, 1)])[0]
    assert np.array_equal(draft[~mask], picture[~mask])
    assert not np.array_equal(draft[mask], picture[mask])


@pytest.mark.parametrize("count", [2, 3, 8, 11])
def test_pixels_decoded_together_are_those_decoded_alone(generator: ImageGenerator, count: int) -> None:
    aspects = ["1:1", "3:2", "1:1"]
    prepared = [generator.prepare(ImageRequest(prompt="a cat", aspect=aspects[n % 3])) for n in range(count)]
    shown = [(each, drawn_at_random(generator, len(each.job.order), n)) for n, each in enumerate(prepared)]
    for together, own in zip(generator.pixels(shown), shown, strict=True):
        assert np.array_equal(together, generator.pixels([own])[0])


def test_captions_are_words_of_each_picture_by_itself(generator: ImageGenerator) -> None:
    pictures = [photo(), photo(96, 144)]
    words = generator.caption(pictures, longest=4)
    assert words == [generator.caption([picture], longest=4)[0] for picture in pictures]


def request(**changes: object) -> Callable[[ImageGenerator], object]:
    return lambda generator: generator.draw([ImageRequest(**({"prompt": "a cat"} | changes))])  # type: ignore[arg-type]


def change(**changes: object) -> Callable[[ImageGenerator], object]:
    about = {"picture": photo(), "instruction": "add a cat"} | changes
    return lambda generator: generator.edit([EditRequest(**about)])  # type: ignore[arg-type]


def another(**changes: object) -> Callable[[ImageGenerator], object]:
    about = {"picture": photo()} | changes
    return lambda generator: generator.vary([VariationRequest(**about)])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (request(size=256), "size 128, not 256"),
        (request(aspect="7:1"), "no aspect '7:1'"),
        (request(mode="best"), "no mode 'best'"),
        (request(prompt=" "), "prompt is empty"),
        (request(prompt="кот"), "unsupported script"),
        (request(negative_prompt="кот"), "unsupported script"),
        (change(mode="best"), "no mode 'best'"),
        (another(mode="best"), "no mode 'best'"),
        (another(prompt="кот"), "unsupported script"),
        (another(strength=0.0), "strength of 0"),
        (another(strength=1.5), "strength of 1.5"),
        (change(instruction=""), "empty"),
        (change(mask=np.zeros((128, 128), bool)), "mask is empty"),
        (change(mask=np.ones((64, 128), bool)), "128 x 64 px, the picture 128 x 128"),
    ],
)
def test_a_users_mistake_is_a_sentence_with_a_way_out(
    generator: ImageGenerator, mistake: Callable[[ImageGenerator], object], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        mistake(generator)
    assert raised.value.fix


@pytest.mark.parametrize("task", TASKS)
def test_a_model_says_what_it_was_not_trained_to(task: str) -> None:
    generator = new_generator([other for other in TASKS if other != task])
    with pytest.raises(UserError, match=f"not trained to {task}"):
        {"draw": request(), "edit": change(), "caption": lambda g: g.caption([photo()])}[task](generator)


def write_release(folder: Path, **card: object) -> ImageGenerator:
    """Write a tiny model and its tokenizer to a folder."""
    made = new_generator()
    name = export(made.tokenizer, folder / "tokenizer.safetensors", {"config": vars(made.tokenizer.config)})["hash"]
    about = {"tokenizer": name, "config": vars(made.model.config), "tasks": TASKS, "sizes": [128]}
    export(made.model, folder / "image.safetensors", about | card)
    return made


def test_a_loaded_model_draws_what_it_drew_before_it_was_written(tmp_path: Path) -> None:
    write_release(tmp_path)
    loaded, again = ImageGenerator.load(tmp_path, torch.float32), ImageGenerator.load(tmp_path, torch.float32)
    wanted = [ImageRequest(prompt="a red cat", seed=1)]
    assert np.array_equal(loaded.draw(wanted)[0].pixels, again.draw(wanted)[0].pixels)
    assert loaded.card["hash"] == loaded.draw(wanted)[0].metadata["model"]
    assert not any(parameter.is_meta for parameter in [*loaded.model.parameters(), *loaded.model.buffers()])


@pytest.mark.parametrize("file", ["image.safetensors", "image.json", "tokenizer.safetensors", "tokenizer.json"])
def test_a_missing_file_of_a_model_is_named(tmp_path: Path, file: str) -> None:
    write_release(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(UserError, match=file.replace(".", r"\.")) as raised:
        ImageGenerator.load(tmp_path)
    assert raised.value.fix


@pytest.mark.parametrize(
    ("card", "sentence"), [({"tokenizer": "another"}, "another tokenizer"), ({"config": {"colour": 3}}, "card")]
)
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, card: dict, sentence: str) -> None:
    write_release(tmp_path, **card)
    with pytest.raises(UserError, match=sentence) as raised:
        ImageGenerator.load(tmp_path)
    assert raised.value.fix


def test_a_missing_folder_is_named() -> None:
    with pytest.raises(UserError, match="nowhere") as raised:
        ImageGenerator.load(Path("nowhere"))
    assert raised.value.fix


@settings(max_examples=12, deadline=None)
@given(
    prompt=st.one_of(st.text(max_size=30), st.sampled_from(["a cat", "'열림' 고양이", "x" * 1001])),
    aspect=st.sampled_from([*GRIDS, "1:3"]),
    seed=st.integers(-(2**40), 2**63),
)
def test_any_request_gives_a_whole_picture_or_a_sentence(
    generator: ImageGenerator, prompt: str, aspect: str, seed: int
) -> None:
    wanted, mistake = ImageRequest(prompt=prompt, aspect=aspect, seed=seed), None
    try:
        picture = generator.draw([wanted])[0]
    except UserError as error:
        mistake = error
    if mistake is not None:
        assert mistake.sentence
        assert mistake.fix
        return
    assert picture.pixels.shape == (*picture_size(aspect), 3)
    assert picture.pixels.dtype == np.uint8
    assert picture.metadata["seed"] == picture.seed == seed
