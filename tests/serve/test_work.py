"""Workers: jobs of any process are taken up, watched, stopped, and ended once."""

import asyncio

import pytest
from service_doors import House, in_house

from polarlight.base.errors import UserError
from polarlight.infer.policy import Refused
from polarlight.serve.image_orders import ImageOrder, submit_images
from polarlight.serve.jobs import Job
from polarlight.serve.service import Caller
from polarlight.serve.settings import Limits
from polarlight.serve.work import JobFailed, Shown, failure_of


async def submitted(house: House, **fields: object) -> Job:
    caller = Caller(key=house.key, door="test")
    admission = await house.service.admit_model(caller, "image", None)
    return await submit_images(house.service, admission, ImageOrder(prompt="a cat", **fields))


@in_house()
async def test_following_a_job_shows_previews_and_then_its_end(house: House) -> None:
    job = await submitted(house, previews=2)
    events = [event async for event in house.service.workers.follow(job)]
    assert [type(event) for event in events] == [Shown, Shown, Job]
    assert [event.number for event in events[:2]] == [1, 2]
    assert events[2].state == "done"


@in_house()
async def test_who_comes_late_sees_the_previews_all_the_same(house: House) -> None:
    house.images.go.clear()
    job = await submitted(house, previews=2)
    while not house.service.workers._works.get(job.id, None) or len(house.service.workers._works[job.id].shown) < 2:
        await asyncio.sleep(0.01)
    house.images.go.set()
    events = [event async for event in house.service.workers.follow(job)]
    assert [type(event) for event in events] == [Shown, Shown, Job]


@in_house(limits=Limits(lease_s=1.0))
async def test_a_job_cancelled_elsewhere_is_noticed_and_stopped(house: House) -> None:
    house.images.go.clear()
    job = await submitted(house)
    while not house.images.tasks:
        await asyncio.sleep(0.01)
    house.state.jobs.cancel(job.id)  # as another process would
    while not house.images.cancelled:
        await asyncio.sleep(0.01)
    assert house.state.jobs.get(job.id).state == "cancelled"
    assert house.charged() == 0


@in_house()
async def test_a_job_waits_while_the_engine_is_full(house: House) -> None:
    house.images.full = True
    job = await submitted(house)
    await asyncio.sleep(0.2)
    house.images.full = False
    assert await house.settled(job.id) == "done"
    assert house.state.jobs.get(job.id).attempts == 1


@in_house()
async def test_a_job_for_an_engine_that_has_closed_fails_and_does_not_go_in_circles(house: House) -> None:
    await house.images.close()
    job = await submitted(house)
    assert await house.settled(job.id) == "failed"
    assert house.state.jobs.get(job.id).error_code == "service_unavailable"


@in_house()
async def test_a_failing_picture_stops_its_siblings_and_costs_nothing(house: House) -> None:
    house.images.error = UserError("This cannot be drawn.", fix="Draw something else.")
    job = await submitted(house, n=3)
    assert await house.settled(job.id) == "failed"
    ended = house.state.jobs.get(job.id)
    assert (ended.error_code, ended.error_message) == (
        "invalid_argument",
        "This cannot be drawn. Draw something else.",
    )
    assert house.charged() == 0


@in_house()
async def test_a_job_whose_input_was_taken_down_fails_with_a_reason(house: House) -> None:
    from service_doors import picture_file

    from polarlight.serve.inputs import GivenPicture

    house.service.workers.options = house.service.options
    house.images.go.clear()
    await submitted(house)  # keeps the only engine busy
    content = picture_file(grey=50)
    order = {"task": "edit", "pictures": (GivenPicture.read(content),)}
    await house.service.workers.stop(0.1)
    job = await submitted(house, **order)
    house.state.files.take_down(sha256=__import__("hashlib").sha256(content).hexdigest())
    house.service.workers._stopping = False
    house.images.go.set()
    house.service.workers.start()
    assert await house.settled(job.id) == "failed"
    assert house.state.jobs.get(job.id).error_code == "failed_precondition"


@in_house()
async def test_a_job_for_a_model_that_is_gone_fails_with_its_name(house: House) -> None:
    job = house.state.jobs.submit(house.key.id, "image", "yesterdays-model", {"prompt": "x"}, ticks=5)
    house.service.workers.wake()
    assert await house.settled(job.id) == "failed"
    assert "yesterdays-model" in house.state.jobs.get(job.id).error_message


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Refused("No.", category="hate", rule="x", code="content_policy"), "content_policy"),
        (Refused("Off.", category="switched_off", rule="x", code="switched_off"), "service_unavailable"),
        (UserError("Wrong."), "invalid_argument"),
        (JobFailed("failed_precondition", "Gone."), "failed_precondition"),
        (RuntimeError("details"), "internal_error"),
    ],
)
def test_errors_become_the_codes_that_clients_know(error: Exception, code: str) -> None:
    failure = failure_of(error)
    assert failure.code == code
    assert "details" not in failure.message
