"""A permit opens one request, once, for as long as it holds, and nothing else."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from infer.policy_clock import Clock
from service_engines import FakeClips, FakeImages

from polarlight.infer.engine import EngineFull, ImageTask, Task, VideoTask
from polarlight.infer.policy import Gate, GateConfig
from polarlight.infer.policy_request import Contents, Refused, task_request


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gate(tmp_path: Path, clock: Clock) -> Gate:
    return Gate(tmp_path / "gate", GateConfig(permit_seconds=60.0), clock=clock)


def picture(grey: int) -> np.ndarray:
    return np.full((32, 48, 3), grey, np.uint8)


MASK = np.zeros((32, 48), bool)
MASK[:8] = True
EDIT = ImageTask(prompt="make it winter", task="edit", pictures=(picture(9),), mask=MASK, negative_prompt="snow")
CLIP = VideoTask(
    prompt="it moves", task="extend", source=b"one clip", first=picture(1), keyframes=((1.5, picture(2)),),
    references=(picture(3),), negative_prompt="noise",
)  # fmt: skip
CHANGES: list[tuple[Task, dict[str, Any]]] = [
    (EDIT, {"prompt": "make it summer"}),
    (EDIT, {"negative_prompt": None}),
    (EDIT, {"negative_prompt": "rain"}),
    (EDIT, {"pictures": (picture(8),)}),
    (EDIT, {"pictures": (picture(9), picture(9))}),
    (EDIT, {"pictures": (np.zeros((48, 32, 3), np.uint8) + 9,), "mask": MASK.T.copy()}),
    (EDIT, {"mask": None}),
    (EDIT, {"mask": ~MASK}),
    (CLIP, {"source": b"another clip"}),
    (CLIP, {"source": None, "task": "generate"}),
    (CLIP, {"task": "edit"}),
    (CLIP, {"negative_prompt": "silence"}),
    (CLIP, {"first": None, "last": picture(1)}),
    (CLIP, {"keyframes": ((2.5, picture(2)),)}),
    (CLIP, {"keyframes": ((1.5, picture(7)),)}),
    (CLIP, {"references": ()}),
    (CLIP, {"keyframes": (), "references": (picture(2), picture(3))}),
]


def submitted(gate: Gate, allowed: Task, asked: Task) -> Task:
    """What an engine did with the permit for another task, or the same."""
    engine = FakeClips() if isinstance(asked, VideoTask) else FakeImages()

    async def go() -> None:
        permit = gate.check(task_request(allowed, entry_point="test"))
        await (await permit.submit(engine, asked)).result()

    engine.info = replace(engine.info, negative_prompt=True)
    asyncio.run(go())
    return engine.tasks[0]


@pytest.mark.parametrize(
    ("task", "change"), CHANGES, ids=lambda value: ",".join(value) if isinstance(value, dict) else ""
)
def test_a_permit_for_one_request_does_not_open_another(gate: Gate, task: Task, change: dict[str, Any]) -> None:
    other = replace(task, **change)
    with pytest.raises(Refused, match="another request"):
        submitted(gate, task, other)
    with pytest.raises(Refused, match="another request"):
        submitted(gate, other, task)


@pytest.mark.parametrize("task", [EDIT, CLIP], ids=["edit", "clip"])
def test_a_permit_opens_its_own_request(gate: Gate, task: Task) -> None:
    assert submitted(gate, task, replace(task)).prompt == task.prompt


@pytest.mark.parametrize("change", [{"seed": 5}, {"size": "16:9"}, {"previews": 2}, {"mode": "quality"}])
def test_what_changes_nothing_about_what_may_be_made_is_not_bound(gate: Gate, change: dict[str, Any]) -> None:
    assert submitted(gate, EDIT, replace(EDIT, **change)).prompt == EDIT.prompt


def test_an_engine_takes_no_bare_permit(gate: Gate) -> None:
    async def go() -> None:
        await FakeImages().submit(EDIT, gate.check(task_request(EDIT, entry_point="test")))

    with pytest.raises(TypeError, match="positional"):
        asyncio.run(go())


def test_a_full_engine_leaves_the_permit_good(gate: Gate) -> None:
    async def go() -> None:
        engine, permit = FakeImages(), gate.check(task_request(EDIT, entry_point="test"))
        engine.full = True
        with pytest.raises(EngineFull):
            await permit.submit(engine, EDIT)
        engine.full = False
        await (await permit.submit(engine, EDIT)).result()

    asyncio.run(go())


DRAW = ImageTask(prompt="a cat")


def test_a_permit_is_spent_once(gate: Gate) -> None:
    permit = gate.check(task_request(DRAW, entry_point="test"))
    permit.spend("draw", "a cat")
    with pytest.raises(Refused, match="used before"):
        permit.spend("draw", "a cat")


def test_a_permit_tried_on_something_else_is_gone(gate: Gate) -> None:
    permit = gate.check(task_request(DRAW, entry_point="test"))
    with pytest.raises(Refused, match="another request"):
        permit.spend("draw", "a dog")
    with pytest.raises(Refused, match="used before"):
        permit.spend("draw", "a cat")
    with pytest.raises(Refused, match="without a spent permit"):
        gate.check_output(permit, picture(0))


def test_a_permit_expires(gate: Gate, clock: Clock) -> None:
    permit = gate.check(task_request(DRAW, entry_point="test"))
    clock.now += 61
    with pytest.raises(Refused, match="expired"):
        permit.spend("draw", "a cat")


def test_a_forged_permit_is_worth_nothing(gate: Gate) -> None:
    permit = replace(gate.check(task_request(DRAW, entry_point="test")), id="0" * 32)
    with pytest.raises(Refused, match="unknown"):
        permit.spend("draw", "a cat")
    with pytest.raises(Refused, match="without a spent permit"):
        gate.check_output(permit, picture(0))


def test_two_threads_cannot_spend_one_permit(gate: Gate) -> None:
    permit, spent = gate.check(task_request(DRAW, entry_point="test")), []

    def spend() -> None:
        try:
            permit.spend("draw", "a cat")
            spent.append(True)
        except Refused:
            spent.append(False)

    threads = [threading.Thread(target=spend) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(spent) == [False] * 7 + [True]


def test_no_pictures_are_held_for_outputs_that_come_later(gate: Gate) -> None:
    request = task_request(CLIP, entry_point="test", frames=(picture(4),))
    permit = gate.check(request)
    gate.spend(permit, request.contents)
    kept = gate.permits.spent(permit)
    assert (kept.pictures, kept.frames, kept.source, kept.prompt) == ((), (), None, "it moves")


@pytest.mark.parametrize(
    "change", [lambda c: replace(c, prompt="ab", negative_prompt=""), lambda c: replace(c, prompt="")]
)
def test_contents_that_read_alike_when_joined_differ(change: Callable[[Contents], Contents]) -> None:
    contents = Contents(task="draw", prompt="a", negative_prompt="b")
    assert change(contents).digest() != contents.digest()
