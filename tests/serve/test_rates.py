"""Rate limits over a sliding window."""

import threading
from dataclasses import replace

import pytest

from polarlight.serve.rates import TooManyRequests
from polarlight.serve.state import State


def test_a_second_admits_its_limit_and_the_window_slides(state: State, clock: object) -> None:
    key = state.keys.create("a", requests_per_second=2).key
    state.rates.admit(key)
    clock.now += 0.6
    state.rates.admit(key)
    with pytest.raises(TooManyRequests) as refused:
        state.rates.admit(key)
    assert refused.value.retry_after_s == pytest.approx(0.4)
    clock.now += 0.41  # the first of the two has left the window, the second has not
    state.rates.admit(key)
    with pytest.raises(TooManyRequests):
        state.rates.admit(key)


def test_a_minute_has_a_limit_of_its_own_and_the_refusal_says_both(state: State, clock: object) -> None:
    key = state.keys.create("a", requests_per_second=2, requests_per_minute=3).key
    for _ in range(3):
        state.rates.admit(key, "polarlight-image")
        clock.now += 1.5
    with pytest.raises(TooManyRequests) as refused:
        state.rates.admit(key, "polarlight-image")
    assert refused.value.sentence == (
        f"Too many requests for team {key.id} and model polarlight-image. Your team's rate limit is — "
        "Requests per Second (actual/limit): 0/2, Requests per Minute (actual/limit): 3/3."
    )
    assert refused.value.retry_after_s == pytest.approx(60 - 4.5)


def test_models_and_keys_are_counted_apart(state: State) -> None:
    first, second = (state.keys.create(name, requests_per_second=1).key for name in "ab")
    state.rates.admit(first, "one")
    state.rates.admit(first, "two")
    state.rates.admit(second, "one")
    with pytest.raises(TooManyRequests):
        state.rates.admit(first, "one")


def test_a_refused_request_does_not_count(state: State, clock: object) -> None:
    key = state.keys.create("a", requests_per_second=1).key
    state.rates.admit(key)
    for _ in range(5):
        clock.now += 0.15
        with pytest.raises(TooManyRequests):
            state.rates.admit(key)
    clock.now += 0.3
    state.rates.admit(key)


def test_a_key_without_limits_is_never_refused(state: State) -> None:
    key = state.keys.create("a").key
    for _ in range(20):
        state.rates.admit(key)


def test_requests_side_by_side_pass_no_more_than_the_limit(state: State) -> None:
    key = state.keys.create("a", requests_per_minute=5).key
    other = State.open(state.settings, state.rates.clock)  # another process's connections
    passed: list[int] = []

    def ask(door: State) -> None:
        try:
            door.rates.admit(replace(key))
        except TooManyRequests:
            return
        passed.append(1)

    threads = [threading.Thread(target=ask, args=(door,)) for door in (state, other) * 6]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert len(passed) == 5


def test_purging_forgets_only_what_no_window_reaches(state: State, clock: object) -> None:
    key = state.keys.create("a", requests_per_minute=2).key
    state.rates.admit(key)
    clock.now += 59
    state.rates.admit(key)
    clock.now += 1
    assert state.rates.purge() == 1
    state.rates.admit(key)
    with pytest.raises(TooManyRequests):
        state.rates.admit(key)
