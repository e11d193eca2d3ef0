"""Which of several addresses gets the next task."""

import asyncio

import httpx
import pytest

from polarlight.infer import replicas
from polarlight.infer.replicas import Replica, Replicas


def two() -> Replicas:
    return Replicas([httpx.URL("http://a/v1/"), httpx.URL("http://b/v1/")], "/health")


def chosen(among: Replicas, *, well: bool = True, tried: tuple[Replica, ...] = ()) -> tuple[Replica, list[str]]:
    """The choice, and the addresses that were asked for their health."""
    asked: list[str] = []

    def respond(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200 if well else 500)

    async def choose() -> Replica:
        async with httpx.AsyncClient(transport=httpx.MockTransport(respond)) as client:
            return await among.least_busy(client, {}, set(tried))

    return asyncio.run(choose()), asked


def test_the_least_busy_is_chosen_without_asking_for_health() -> None:
    among = two()
    among.all[0].busy = 1
    assert chosen(among) == (among.all[1], [])


def test_one_that_was_tried_gives_way_to_one_that_was_not() -> None:
    among = two()
    among.all[1].busy = 5
    assert chosen(among, tried=(among.all[0],))[0] is among.all[1]


def test_when_all_were_tried_they_start_over() -> None:
    among = two()
    assert chosen(among, tried=tuple(among.all))[0] is among.all[0]


def test_one_that_rests_is_left_alone() -> None:
    among = two()
    among.all[0].rest()
    among.all[1].busy = 9
    assert chosen(among) == (among.all[1], [])


@pytest.mark.parametrize("well", [True, False])
def test_after_its_rest_it_is_asked_for_its_health_and_used_if_well(
    well: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    among = two()
    monkeypatch.setattr(replicas, "REST_S", 0.0)
    among.all[0].rest()
    monkeypatch.setattr(replicas, "REST_S", 60.0)
    among.all[1].busy = 1
    assert chosen(among, well=well) == (among.all[0 if well else 1], ["http://a/health"])
    assert among.all[0].doubtful is not well


def test_when_all_rest_the_one_that_wakes_first_is_tried() -> None:
    among = two()
    for replica in reversed(among.all):
        replica.rest()
    assert chosen(among)[0] is among.all[1]
