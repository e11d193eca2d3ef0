"""What is read from the services of others, in every form they have."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest

from polarlight.infer.dialects import DIALECTS, complaint, data_url, from_base64, mask_png, pixels, server_events

SHADES = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)


def events(text: str) -> list[dict[str, Any]]:
    async def lines() -> AsyncIterator[str]:
        for line in text.split("\n"):
            yield line

    async def read() -> list[dict[str, Any]]:
        return [event async for event in server_events(lines())]

    return asyncio.run(read())


def test_events_are_read_with_names_comments_and_many_lines() -> None:
    text = 'event: a\ndata: {"x": 1}\n\n: still here\n\ndata: {"x":\ndata: 2}\n\ndata: [DONE]\n\n'
    assert events(text) == [{"x": 1}, {"x": 2}]


def test_an_event_that_was_cut_off_is_not_read() -> None:
    assert events('data: {"x": 1}\n\ndata: {"x"') == [{"x": 1}]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "no"}}, "no"),
        ({"error": "no"}, "no"),
        ({"detail": "no"}, "no"),
        ({"message": "no"}, "no"),
        ("no\n", "no"),
        ({}, "status 500"),
        ([], "status 500"),
        ("", "status 500"),
    ],
)
def test_a_complaint_is_found_in_every_shape(body: Any, said: str) -> None:
    assert complaint(500, body) == said


def test_a_picture_survives_the_way_there_and_back() -> None:
    assert np.array_equal(pixels(from_base64(data_url(SHADES))), SHADES)
    assert from_base64(base64.b64encode(b"x").decode()) == b"x"


def test_a_mask_is_white_or_transparent_where_the_picture_may_change() -> None:
    mask = np.array([[True, False]])
    assert pixels(mask_png(mask, clear=False))[0, :, 0].tolist() == [255, 0]
    assert len(mask_png(mask, clear=True)) > 0


@pytest.mark.parametrize("dialect", DIALECTS.values(), ids=DIALECTS)
def test_every_size_of_a_dialect_has_its_aspect(dialect: Any) -> None:
    for native in dialect.sizes.values():
        for aspect, (width, height) in native.items():
            across, down = map(int, aspect.split(":"))
            assert abs(width / height / (across / down) - 1) < 0.08  # xAI's own 4:3 is 7 % off
            assert not dialect.multiple or width % dialect.multiple == height % dialect.multiple == 0
