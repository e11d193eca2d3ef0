"""Which dialect a request speaks, and how each says that something is wrong."""

import pytest
from service_engines import FakeImages

from polarlight.infer.engine import Engines
from polarlight.serve.dialects import XAI_PATHS, dialect_of_body
from polarlight.serve.errors import CODES, Problem
from polarlight.serve.families import family_of


def engines(family: str = "polarlight") -> Engines:
    made = Engines()
    made.add(FakeImages(family=family))
    return made


@pytest.mark.parametrize(
    ("body", "dialect"),
    [
        ({"model": "grok-imagine-image"}, "xai"),
        ({"model": "gpt-image-1"}, "openai"),
        ({"model": "fake-image"}, "openai"),
        ({"model": "gpt-image-1", "image": {"url": "x"}}, "openai"),
        ({"image": {"url": "x"}}, "xai"),
        ({"video": {"file_id": "x"}}, "xai"),
        ({"video": {"id": "video_x"}}, "openai"),
        ({}, "openai"),
    ],
)
def test_the_model_decides_and_without_one_the_bodys_form(body: dict, dialect: str) -> None:
    assert dialect_of_body(body, engines()) == dialect


def test_without_a_name_the_default_models_family_decides() -> None:
    assert dialect_of_body({}, engines("grok")) == "xai"
    assert family_of(None, Engines()) == "openai"
    assert family_of("dall-e-3", engines("grok")) == "openai"


@pytest.mark.parametrize(
    ("path", "only_xai"),
    [
        ("/v1/me", True), ("/v1/api-key", True), ("/v1/batches", True), ("/v1/batches/b:cancel", True),
        ("/v1/videos/generations", True), ("/v1/image-generation-models/x", True), ("/v1/files/f/public-url", True),
        ("/v1/videos/0c9b7a34-58a5-4b8e-9a39-2f6d6a3c9d11", True), ("/v1/videos/video_1", False), ("/v1/files", False),
        ("/v1/images/generations", False), ("/v1/models", False), ("/v1/menu", False),
    ],
)  # fmt: skip
def test_paths_that_only_one_dialect_has_decide(path: str, only_xai: bool) -> None:
    assert bool(XAI_PATHS.match(path)) is only_xai


@pytest.mark.parametrize("status", sorted(CODES))
def test_every_status_has_a_body_in_both_dialects(status: int) -> None:
    problem = Problem(status, "Something is wrong.", param="prompt")
    ours = problem.body("openai")["error"]
    assert (ours["message"], ours["param"]) == ("Something is wrong.", "prompt")
    assert ours["type"]
    theirs = problem.body("xai")
    assert theirs == "Something is wrong." if status == 422 else theirs["error"] == "Something is wrong."


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (1.0, "1"), (1.2, "2"), (60, "60")])
def test_the_time_to_wait_is_in_whole_seconds_rounded_up(seconds: float, header: str) -> None:
    assert Problem(429, "Too many.", retry_after_s=seconds).headers() == {"retry-after": header}
