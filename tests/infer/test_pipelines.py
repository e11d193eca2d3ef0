"""Diffusers pipelines as engines, on pipelines of a few kilobytes with random weights."""

import io
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines import OnePermit, run

from polarlight.base.errors import UserError
from polarlight.infer.engine import Cancelled, Engine, ImageTask, UnsupportedTask, VideoTask, open_engine

pytest.importorskip("diffusers", reason="the extra [diffusers] is not installed")
pytestmark = pytest.mark.filterwarnings("default")  # the libraries' own

from polarlight.infer.pipelines import PipelineEngine, sides  # noqa: E402

TASK = ImageTask(prompt="a red cat", seed=3)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def parts() -> dict[str, Any]:
    """Networks of one or two blocks, and a tokenizer that spells."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    spelled = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    words = CLIPTextConfig(
        bos_token_id=0, eos_token_id=1, pad_token_id=1, hidden_size=16, intermediate_size=32, num_attention_heads=2,
        num_hidden_layers=1, vocab_size=len(spelled), max_position_embeddings=16,
    )  # fmt: skip
    torch.manual_seed(5)
    return {
        "vae": AutoencoderKL(
            block_out_channels=(4, 8), norm_num_groups=2, down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
        ),
        "text_encoder": CLIPTextModel(words),
        "tokenizer": CLIPTokenizer(
            vocab={piece: number for number, piece in enumerate(spelled)}, merges=[], model_max_length=16
        ),
        "unet": UNet2DConditionModel(
            block_out_channels=(4, 8), layers_per_block=1, sample_size=16, norm_num_groups=2, cross_attention_dim=16,
            attention_head_dim=2, down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        ),
        "scheduler": DDIMScheduler(
            beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1
        ),
    }  # fmt: skip


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        **parts(), safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )


@pytest.fixture(scope="module")
def filmer() -> Any:
    from diffusers import AnimateDiffPipeline, MotionAdapter

    motion = MotionAdapter(
        block_out_channels=(4, 8), motion_layers_per_block=1, motion_norm_num_groups=2, motion_num_attention_heads=2
    )
    return AnimateDiffPipeline(**parts(), motion_adapter=motion)


def events(pipeline: Any, task: Any, **settings: Any) -> list[Any]:
    """All events of one task."""

    async def read() -> list[Any]:
        engine = PipelineEngine(pipeline, "tiny", **({"steps": 4} | settings))
        seen = [event async for event in await engine.submit(task, OnePermit())]
        await engine.close()
        return seen

    return run(read())


def result(pipeline: Any, task: Any, **settings: Any) -> Any:
    return events(pipeline, task, **settings)[-1].result


def photo(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)


def test_a_seed_gives_the_picture_that_diffusers_itself_gives(pipeline: Any) -> None:
    made = result(pipeline, TASK)
    own = pipeline("a red cat", num_inference_steps=4, generator=torch.Generator().manual_seed(3)).images[0]
    assert np.array_equal(made.pixels, np.asarray(own))
    assert not np.array_equal(made.pixels, result(pipeline, replace(TASK, seed=4)).pixels)
    assert (made.seed, made.passes, made.metadata["prompt"]) == (3, 4, "a red cat")


def test_what_it_can_do_is_read_from_the_pipeline(pipeline: Any) -> None:
    engine = PipelineEngine(pipeline, "tiny")
    assert isinstance(engine, Engine)
    assert (engine.info.modality, engine.info.tasks) == ("image", ("draw", "edit"))
    assert (engine.info.masks, engine.info.negative_prompt, engine.info.previews) == (True, True, True)
    assert engine.info.sizes["32px"]["16:9"] == (40, 24)


@pytest.mark.parametrize(
    ("size", "native", "noted"), [("auto", (32, 32), False), ("3:2", (40, 24), False), ("31x22", (32, 24), True)]
)
def test_sizes_are_those_the_pipeline_can_do(pipeline: Any, size: str, native: tuple[int, int], noted: bool) -> None:
    made = result(pipeline, replace(TASK, size=size), steps=1)
    assert made.pixels.shape == (native[1], native[0], 3)
    assert ("note" in made.metadata) == noted


def test_previews_come_as_often_as_asked(pipeline: Any) -> None:
    *previews, done = events(pipeline, replace(TASK, previews=2), steps=6)
    assert [(preview.number, preview.passes) for preview in previews] == [(2, 6), (4, 6)]
    assert all(preview.picture.shape == done.result.pixels.shape for preview in previews)


def test_a_mode_is_a_number_of_steps(pipeline: Any) -> None:
    assert [result(pipeline, replace(TASK, mode=mode)).passes for mode in ("quality", "speed")] == [4, 2]


def test_a_negative_prompt_reaches_the_pipeline(pipeline: Any) -> None:
    made = result(pipeline, replace(TASK, negative_prompt="blue dog"))
    assert not np.array_equal(made.pixels, result(pipeline, TASK).pixels)
    assert made.metadata["negative_prompt"] == "blue dog"


def test_a_masked_edit_leaves_every_pixel_outside_the_mask(pipeline: Any) -> None:
    picture, mask = photo(32, 40), np.zeros((32, 40), bool)
    mask[8:20, 10:30] = True
    made = result(pipeline, ImageTask(prompt="a cat", task="edit", pictures=(picture,), mask=mask))
    assert np.array_equal(made.pixels[~mask], picture[~mask])
    assert not np.array_equal(made.pixels[mask], picture[mask])


def test_an_edit_has_the_shape_of_its_picture(pipeline: Any) -> None:
    made = result(pipeline, ImageTask(prompt="a cat", task="edit", pictures=(photo(70, 35),)))
    assert made.pixels.shape == (48, 24, 3)
    assert "48" in made.metadata["note"]


def test_cancelling_stops_a_picture_between_two_steps(pipeline: Any) -> None:
    async def draw() -> None:
        engine = PipelineEngine(pipeline, "tiny", steps=200)
        ticket = await engine.submit(replace(TASK, previews=100), OnePermit())
        async for _ in ticket:
            ticket.cancel()
            break
        with pytest.raises(Cancelled, match="after pass"):
            await ticket.result()
        await engine.close()

    run(draw())


def test_a_pipeline_that_fails_says_so_and_draws_the_next(pipeline: Any) -> None:
    async def draw() -> Any:
        engine = PipelineEngine(pipeline, "tiny", steps=1)
        broken = await engine.submit(replace(TASK, seed=1 << 70), OnePermit())
        with pytest.raises((RuntimeError, OverflowError, ValueError)):
            await broken.result()
        made = await (await engine.submit(TASK, OnePermit())).result()
        await engine.close()
        return made

    assert run(draw()).pixels.shape == (32, 32, 3)


def test_a_clip_has_the_frames_and_the_seconds_asked_for(filmer: Any) -> None:
    import av

    made = result(filmer, VideoTask(prompt="a red cat", seconds=1.5, fps=4), steps=1)
    with av.open(io.BytesIO(made.content)) as container:
        frames = [frame.to_ndarray(format="rgb24").shape for frame in container.decode(video=0)]
    assert frames == [(32, 32, 3)] * 6
    assert (made.seconds, made.size) == (1.5, (32, 32))


@pytest.mark.parametrize(
    ("task", "sentence"),
    [
        (VideoTask(prompt="a", first=photo(8, 8)), "takes 0"),
        (VideoTask(prompt="a", task="extend", source=b"mp4"), "cannot extend clips"),
        (ImageTask(prompt="a"), "does not make images"),
    ],
)
def test_what_a_video_pipeline_cannot_do_is_said(filmer: Any, task: Any, sentence: str) -> None:
    with pytest.raises(UnsupportedTask, match=sentence):
        run(PipelineEngine(filmer, "tiny").submit(task, OnePermit()))


def test_an_empty_mask_is_refused(pipeline: Any) -> None:
    task = ImageTask(prompt="a", task="edit", pictures=(photo(8, 8),), mask=np.zeros((8, 8), bool))
    with pytest.raises(UserError, match="mask is empty"):
        run(PipelineEngine(pipeline, "tiny").submit(task, OnePermit()))


def test_a_saved_folder_opens_as_an_engine_with_its_options(pipeline: Any, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "mine")
    engine = open_engine(f"diffusers:{tmp_path / 'mine'}?steps=3&guidance=1")
    assert engine.info.name == "mine"

    async def draw() -> Any:
        made = await (await engine.submit(TASK, OnePermit())).result()
        await engine.close()
        return made

    made = run(draw())
    assert (made.passes, made.pixels.shape) == (3, (32, 32, 3))


@pytest.mark.parametrize("place", ["nowhere/at-all", "nowhere"])
def test_what_is_not_there_is_said_and_nothing_is_fetched(place: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no pipeline to load at nowhere") as raised:
        open_engine(f"diffusers:{place}")
    assert "download=1" in raised.value.fix


@pytest.mark.parametrize(
    ("option", "sentence"), [("stepz=3", "'stepz'"), ("steps=few", "numbers"), ("guidance=x", "numbers")]
)
def test_an_option_that_cannot_be_read_is_refused(option: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence) as raised:
        open_engine(f"diffusers:mine?{option}")
    assert raised.value.fix


@pytest.mark.parametrize("package", ["diffusers", "transformers"])
def test_a_missing_package_is_one_sentence_with_the_way_out(package: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match="need the packages") as raised:
        open_engine("diffusers:mine")
    assert "polarlight[diffusers]" in raised.value.fix


def test_an_aspect_keeps_the_area_in_whole_multiples() -> None:
    assert sides("16:9", 1024, 16) == (1360, 768)
    assert sides("1:1", 512, 16) == (512, 512)
