"""Tickets, permits and models by name."""

import threading

import numpy as np
import pytest
from engines import FakeVideoEngine, OnePermit, run

from polarlight.base.errors import UserError
from polarlight.infer.engine import (
    Cancelled,
    Done,
    Engine,
    EngineClosed,
    Engines,
    ImageResult,
    ImageTask,
    Permit,
    Preview,
    Task,
    Ticket,
    VideoTask,
    open_engine,
    spend,
)

PIXELS = np.zeros((4, 4, 3), np.uint8)
TASK = ImageTask(prompt="a cat")
DONE = Done(result=ImageResult(pixels=PIXELS, seed=0, passes=2, metadata={}))


def preview(number: int) -> Preview:
    return Preview(number=number, passes=2, picture=PIXELS)


def test_a_ticket_gives_its_events_in_order_from_any_thread() -> None:
    async def read() -> list[object]:
        ticket = Ticket(TASK, lambda _: None)
        thread = threading.Thread(target=lambda: [ticket.post(event) for event in (preview(1), preview(2), DONE)])
        thread.start()
        seen = [event async for event in ticket]
        thread.join()
        return seen

    first, second, last = run(read())
    assert (first.number, second.number, last) == (1, 2, DONE)


def test_the_result_is_the_last_event_with_previews_left_out() -> None:
    async def read() -> object:
        ticket = Ticket(TASK, lambda _: None)
        for event in (preview(1), DONE):
            ticket.post(event)
        return await ticket.result()

    assert run(read()) is DONE.result


def test_an_error_is_raised_where_the_ticket_is_read_and_ends_it() -> None:
    async def read() -> list[object]:
        ticket = Ticket(TASK, lambda _: None)
        ticket.post(ValueError("no luck"))
        with pytest.raises(ValueError, match="no luck"):
            await ticket.result()
        return [event async for event in ticket]

    assert run(read()) == []


def test_cancelling_tells_the_engine_once() -> None:
    told: list[Ticket] = []

    async def cancel() -> Ticket:
        ticket = Ticket(TASK, told.append)
        ticket.cancel()
        ticket.cancel()
        return ticket

    assert told == [run(cancel())]


def test_a_ticket_left_before_its_end_is_cancelled() -> None:
    told: list[Ticket] = []

    async def leave() -> None:
        async with Ticket(TASK, told.append) as ticket:
            ticket.post(preview(1))
            async for _ in ticket:
                break

    run(leave())
    assert len(told) == 1


def test_a_ticket_read_to_its_end_is_not_cancelled() -> None:
    told: list[Ticket] = []

    async def read() -> None:
        async with Ticket(TASK, told.append) as ticket:
            ticket.post(DONE)
            await ticket.result()

    run(read())
    assert told == []


def test_a_ticket_whose_reader_is_gone_takes_events_in_silence() -> None:
    async def make() -> Ticket:
        return Ticket(TASK, lambda _: None)

    run(make()).post(DONE)


class Expired:
    def spend(self, task: str, prompt: str, pictures: object = ()) -> None:
        raise PermissionError("This permit has expired.")


@pytest.mark.parametrize(("permit", "sentence"), [(None, "no permit"), (Expired(), "expired")])
def test_without_a_valid_permit_nothing_is_made(permit: Permit | None, sentence: str) -> None:
    with pytest.raises(PermissionError, match=sentence):
        run(FakeVideoEngine().submit(VideoTask(prompt="a"), permit))


def test_a_permit_holds_once() -> None:
    permit = OnePermit()
    spend(permit, TASK)
    assert permit.spent_on == [("draw", "a cat", 0)]
    with pytest.raises(PermissionError, match="spent"):
        spend(permit, TASK)


@pytest.mark.parametrize(
    ("task", "seen"),
    [
        (ImageTask(prompt="a", task="edit", pictures=(PIXELS,)), ("edit", "a", 1)),
        (ImageTask(prompt="a", task="variation", pictures=(PIXELS,)), ("edit", "a", 1)),
        (VideoTask(prompt="a", first=PIXELS, references=(PIXELS,)), ("video", "a", 2)),
        (VideoTask(prompt="a", task="edit", source=b"mp4"), ("edit_video", "a", 0)),
        (VideoTask(prompt="a", task="extend", source=b"mp4"), ("extend", "a", 0)),
    ],
)
def test_the_gate_sees_what_a_task_is_by_its_own_names(task: Task, seen: tuple[str, str, int]) -> None:
    permit = OnePermit()
    spend(permit, task)
    assert permit.spent_on == [seen]


def test_an_engine_for_video_fits_the_protocol() -> None:
    async def film() -> list[object]:
        engine = FakeVideoEngine()
        assert isinstance(engine, Engine)
        ticket = await engine.submit(VideoTask(prompt="a cat", seconds=4, previews=2, resolution="480p"), OnePermit())
        return [event async for event in ticket]

    *previews, done = run(film())
    assert [event.number for event in previews] == [1, 2]
    assert (done.result.content, done.result.size) == (b"a clip of a cat", (848, 480))


def test_models_are_found_by_name_and_alias_in_their_order() -> None:
    engines, first, second = Engines(), FakeVideoEngine("one"), FakeVideoEngine("two")
    engines.add(first, "latest", "uno")
    engines.add(second)
    assert engines.get("one") is engines.get("latest") is engines.get("uno") is first
    assert engines.get("two") is second
    assert list(engines) == [first, second]
    assert engines.default("video") is first
    assert engines.names() == ["one", "two", "latest", "uno"]
    assert engines.aliases("one") == ["latest", "uno"]


def test_an_unknown_model_is_answered_with_the_known_ones() -> None:
    engines = Engines()
    engines.add(FakeVideoEngine("one"), "uno")
    with pytest.raises(UserError, match=r"no model 'three'.*one, uno"):
        engines.get("three")
    with pytest.raises(UserError, match="makes images"):
        engines.default("image")


@pytest.mark.parametrize("taken", ["one", "uno"])
def test_a_name_is_taken_once(taken: str) -> None:
    engines = Engines()
    engines.add(FakeVideoEngine("one"), "uno")
    with pytest.raises(UserError, match=f"two models named '{taken}'"):
        engines.add(FakeVideoEngine(taken))


def test_closing_all_engines_lets_none_take_more() -> None:
    async def close() -> None:
        engines, engine = Engines(), FakeVideoEngine()
        engines.add(engine)
        await engines.close()
        with pytest.raises(EngineClosed):
            await engine.submit(VideoTask(prompt="a"), OnePermit())

    run(close())


def test_a_cancelled_clip_says_so() -> None:
    async def film() -> None:
        ticket = await FakeVideoEngine().submit(VideoTask(prompt="a", previews=50), OnePermit())
        ticket.cancel()
        with pytest.raises(Cancelled):
            await ticket.result()

    run(film())


@pytest.mark.parametrize("spec", ["", "magic", "diffusers:", "remote:", "polarlite:x"])
def test_a_spec_of_no_kind_is_answered_with_the_kinds(spec: str) -> None:
    with pytest.raises(UserError, match="remote:URL"):
        open_engine(spec)
