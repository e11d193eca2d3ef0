"""What a model says it can do decides which tasks reach it."""

from dataclasses import replace

import numpy as np
import pytest

from polarlight.base.errors import UserError
from polarlight.infer.policy_request import Contents
from polarlight.infer.tasks import ImageTask, ModelInfo, Task, UnsupportedTask, VideoTask

PHOTO = np.zeros((8, 12, 3), np.uint8)
MASK = np.ones((8, 12), bool)
IMAGES = ModelInfo(
    name="painter", owner="tests", modality="image", family="openai", tasks=("draw", "edit"), sizes={"1k": {"1:1": (64, 64)}},
    modes=("speed", "quality"), max_prompt=20, max_inputs=1, created=0, masks=True,
)  # fmt: skip
LARGER = replace(IMAGES, tasks=("draw", "upscale"))
CLIPS = replace(IMAGES, name="filmer", modality="video", tasks=("generate", "extend"), max_inputs=2, masks=False)


@pytest.mark.parametrize(
    "task",
    [
        ImageTask(prompt="a cat"),
        ImageTask(prompt="a cat", mode="quality", previews=3),
        ImageTask(prompt="a cat", task="edit", pictures=(PHOTO,), mask=MASK),
    ],
)
def test_what_the_model_can_do_passes(task: ImageTask) -> None:
    IMAGES.check(task)


@pytest.mark.parametrize("task", [VideoTask(prompt="a"), VideoTask(prompt="a", task="extend", source=b"mp4")])
def test_what_a_video_model_can_do_passes(task: VideoTask) -> None:
    CLIPS.check(task)


@pytest.mark.parametrize(
    ("info", "task", "sentence"),
    [
        (IMAGES, VideoTask(prompt="a"), "does not make video"),
        (CLIPS, ImageTask(prompt="a"), "does not make images"),
        (IMAGES, ImageTask(prompt="a", task="variation", pictures=(PHOTO,)), "cannot make variations of pictures"),
        (IMAGES, ImageTask(prompt="", task="upscale", pictures=(PHOTO,)), "cannot make pictures larger"),
        (LARGER, ImageTask(prompt="", task="upscale"), "needs a picture"),
        (LARGER, ImageTask(prompt="", task="upscale", pictures=(PHOTO,), mask=MASK), "no mask to make pictures larger"),
        (IMAGES, ImageTask(prompt="a" * 21), "21 characters; painter reads 20"),
        (IMAGES, ImageTask(prompt="a", task="edit", pictures=(PHOTO, PHOTO)), "2 pictures; painter takes 1"),
        (IMAGES, ImageTask(prompt="a", mode="best"), "no mode 'best'"),
        (IMAGES, ImageTask(prompt="a", negative_prompt="b"), "no negative prompt"),
        (IMAGES, ImageTask(prompt="a", plan="cat @ 1 2 3 4"), "takes no plan"),
        (replace(IMAGES, plans=True), ImageTask(prompt="a", plan="x", task="edit", pictures=(PHOTO,)), "takes no plan"),
        (IMAGES, ImageTask(prompt="a", task="edit"), "needs a picture"),
        (IMAGES, ImageTask(prompt="a", pictures=(PHOTO,)), "takes no picture"),
        (replace(IMAGES, masks=False), ImageTask(prompt="a", task="edit", pictures=(PHOTO,), mask=MASK), "no mask"),
        (CLIPS, VideoTask(prompt="a", task="extend"), "needs a source clip"),
        (CLIPS, VideoTask(prompt="a", source=b"mp4"), "takes no source clip"),
    ],
)
def test_what_it_cannot_do_is_said(info: ModelInfo, task: Task, sentence: str) -> None:
    with pytest.raises(UnsupportedTask, match=sentence):
        info.check(task)


@pytest.mark.parametrize("factor", [2, 4])
def test_an_upscaled_picture_has_its_sources_size_times_the_factor_whatever_is_asked(factor: int) -> None:
    task = ImageTask(prompt="", task="upscale", pictures=(PHOTO,), factor=factor, size="1:1", resolution="1k")
    LARGER.check(task)
    size = LARGER.size_of(task)
    assert (size.width, size.height, size.note) == (12 * factor, 8 * factor, "")


def test_a_factor_that_there_is_not_is_refused() -> None:
    with pytest.raises(UserError, match="cannot be made 3 times"):
        LARGER.check(ImageTask(prompt="", task="upscale", pictures=(PHOTO,), factor=3))


def test_the_gate_hears_of_an_upscaling_as_of_an_edit() -> None:
    assert ImageTask(prompt="", task="upscale", pictures=(PHOTO,)).gate_task == "edit"


def test_the_words_of_a_plan_are_words_of_the_task() -> None:
    task = ImageTask(prompt="a", plan='ice_cream red/glass @ 1 2 3 4; sign white "\\u0042\\nAD" @ 0 0 9 9')
    assert task.words == "a\nred glass ice cream\nwhite sign\nB AD"
    assert Contents.of(task).prompt == task.words
    with pytest.raises(UserError, match="cannot be read"):
        _ = replace(task, plan="what").words


def test_a_mask_of_another_size_is_refused() -> None:
    with pytest.raises(UserError, match="differ in size"):
        IMAGES.check(ImageTask(prompt="a", task="edit", pictures=(PHOTO,), mask=MASK[:4]))


def test_the_pictures_of_a_clip_are_all_that_were_given() -> None:
    task = VideoTask(prompt="a", first=PHOTO, last=PHOTO + 1, keyframes=((0.5, PHOTO + 2),), references=(PHOTO + 3,))
    assert [int(picture[0, 0, 0]) for picture in task.pictures] == [0, 1, 2, 3]
