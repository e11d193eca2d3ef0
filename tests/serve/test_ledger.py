"""The ledger: balances, limits, and rows that nobody can change."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError

from polarlight.base.errors import UserError
from polarlight.serve.ledger import CreditsUsedUp, Usage
from polarlight.serve.settings import Settings
from polarlight.serve.state import State

MONTH_S = 31 * 86_400.0


def prepaid(state: State, ticks: int, **values: object) -> str:
    key_id = state.keys.create("a", prepaid=True, **values).key.id
    if ticks:
        state.ledger.credit(key_id, ticks, reference=f"start/{key_id}")
    return key_id


def sum_of_rows(state: State, key_id: str) -> int:
    return sum(entry.ticks for entry in state.ledger.entries(key_id, limit=10_000))


def test_a_reservation_is_taken_off_and_a_charge_gives_the_rest_back(state: State) -> None:
    key_id = prepaid(state, 100)
    state.ledger.reserve(key_id, 60, request_id="r", model="m")
    assert state.ledger.balance(key_id) == 40
    assert state.ledger.charge("r", 25).cost_ticks == 25
    assert state.ledger.balance(key_id) == 75
    assert [entry.kind for entry in state.ledger.entries(key_id)] == ["credit", "reserved", "charged"]


def test_a_release_gives_everything_back(state: State) -> None:
    key_id = prepaid(state, 100)
    state.ledger.reserve(key_id, 60, request_id="r")
    state.ledger.release("r")
    assert state.ledger.balance(key_id) == 100


def test_each_step_counts_once_however_often_it_is_called(state: State) -> None:
    key_id = prepaid(state, 100)
    for _ in range(2):
        state.ledger.credit(key_id, 10, reference="gift")
        state.ledger.reserve(key_id, 60, request_id="r")
        state.ledger.reserve(key_id, 20, request_id="s")
    for _ in range(2):
        state.ledger.charge("r")
        state.ledger.release("s")
    assert state.ledger.balance(key_id) == 50


def test_a_request_is_either_charged_or_released(state: State) -> None:
    key_id = prepaid(state, 100)
    state.ledger.reserve(key_id, 60, request_id="r")
    state.ledger.charge("r", 30)
    for settle in (lambda: state.ledger.release("r"), lambda: state.ledger.charge("r", 31)):
        with pytest.raises(UserError, match="charged before, at 30 ticks"):
            settle()
    assert state.ledger.balance(key_id) == 70


def test_references_do_not_change_their_meaning(state: State) -> None:
    key_id = prepaid(state, 100)
    state.ledger.reserve(key_id, 60, request_id="r")
    with pytest.raises(UserError, match="another reservation"):
        state.ledger.reserve(key_id, 61, request_id="r")
    with pytest.raises(UserError, match="another credit"):
        state.ledger.credit(key_id, 99, reference=f"start/{key_id}")
    with pytest.raises(UserError, match="no reservation"):
        state.ledger.charge("unknown")


def test_a_prepaid_key_cannot_pass_its_balance_and_the_refusal_is_the_known_sentence(state: State) -> None:
    key_id = prepaid(state, 100)
    state.ledger.reserve(key_id, 100, request_id="r")
    with pytest.raises(CreditsUsedUp) as refused:
        state.ledger.reserve(key_id, 1, request_id="s")
    assert str(refused.value) == (
        f"Your team {key_id} has either used all available credits or reached its monthly spending limit. "
        "To continue making API requests, please purchase more credits or raise your spending limit."
    )
    assert state.ledger.balance(key_id) == 0


def test_what_is_free_passes_without_credit(state: State) -> None:
    key_id = prepaid(state, 0)
    state.ledger.reserve(key_id, 0, request_id="r")
    assert state.ledger.charge("r").cost_ticks == 0


def test_a_key_that_is_not_prepaid_only_writes_down(state: State) -> None:
    key_id = state.keys.create("a").key.id
    state.ledger.reserve(key_id, 60, request_id="r")
    assert state.ledger.balance(key_id) == -60


def test_the_monthly_limit_counts_reservations_and_starts_anew_each_month(state: State, clock: object) -> None:
    key_id = state.keys.create("a", monthly_limit_ticks=100).key.id
    state.ledger.reserve(key_id, 60, request_id="r")
    state.ledger.reserve(key_id, 40, request_id="s")
    with pytest.raises(CreditsUsedUp):
        state.ledger.reserve(key_id, 1, request_id="t")
    state.ledger.charge("r", 50)
    state.ledger.reserve(key_id, 10, request_id="u")
    clock.now += MONTH_S
    state.ledger.release("s")  # of the old month: it makes no room in the new one
    assert (state.ledger.spent(key_id), state.ledger.spent(key_id, "2026-11")) == (0, 60)
    state.ledger.reserve(key_id, 100, request_id="v")
    with pytest.raises(CreditsUsedUp):
        state.ledger.reserve(key_id, 1, request_id="w")


def test_keys_that_share_data_get_the_grant_once_a_month(settings: Settings, clock: object, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text("[credits]\nmonthly_shared = 1e-8", encoding="utf-8")  # 100 ticks
    state = State.open(replace(settings, prices_file=path), clock)
    key_id, other = prepaid(state, 0), prepaid(state, 0)
    state.keys.share_data(key_id, True)
    state.keys.share_data(key_id, False)
    state.keys.share_data(key_id, True)
    assert (state.ledger.balance(key_id), state.ledger.balance(other)) == (100, 0)
    clock.now += MONTH_S
    state.ledger.reserve(key_id, 150, request_id="r")  # the new month's grant is there in time
    assert state.ledger.balance(key_id) == 50
    clock.now += MONTH_S
    assert state.ledger.balance(key_id) == 150
    state.keys.share_data(key_id, False)
    clock.now += MONTH_S
    assert state.ledger.balance(key_id) == 150
    state.close()


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger SET ticks = 0", "DELETE FROM ledger", "UPDATE ledger SET note = 'x' WHERE number = 1"]
)
def test_the_database_itself_refuses_to_change_the_ledger(state: State, statement: str) -> None:
    key_id = prepaid(state, 100)
    with pytest.raises(DatabaseError, match="append-only"), state.database.write() as connection:
        connection.execute(text(statement))
    assert sum_of_rows(state, key_id) == 100


def test_usage_adds_up_by_key_model_and_day(state: State, clock: object) -> None:
    first, second = (state.keys.create(name).key.id for name in "ab")
    work = [(first, "m", 5), (first, "n", 7), (second, "m", 11)]
    for number, (key_id, model, ticks) in enumerate(work):
        state.ledger.reserve(key_id, ticks, request_id=f"r{number}", model=model)
    clock.now += 86_400
    state.ledger.reserve(first, 13, request_id="next day", model="m")
    state.ledger.reserve(first, 1000, request_id="still open", model="m")
    for request in ("r0", "r1", "r2", "next day"):
        state.ledger.charge(request)
    blank = {"key": None, "model": None, "day": None}
    assert state.ledger.usage(["model"]) == [
        Usage(**{**blank, "model": "m"}, requests=3, ticks=29),
        Usage(**{**blank, "model": "n"}, requests=1, ticks=7),
    ]
    assert [(line.day, line.ticks) for line in state.ledger.usage(["day"])] == [("2026-11-22", 23), ("2026-11-23", 13)]
    assert [line.ticks for line in state.ledger.usage([], key_id=first, until="2026-11-22")] == [12]
    assert {line.key: line.ticks for line in state.ledger.usage(["key"], since="2026-11-22")} == {first: 25, second: 11}
    assert state.ledger.usage([], since="2027-01-01") == []


def test_usage_by_something_else_is_refused(state: State) -> None:
    with pytest.raises(UserError, match="colour"):
        state.ledger.usage(["colour"])


def test_reservations_side_by_side_never_pass_the_balance(state: State) -> None:
    key_id = prepaid(state, 5)
    passed: list[int] = []

    def ask(number: int) -> None:
        try:
            state.ledger.reserve(key_id, 1, request_id=f"r{number}")
        except CreditsUsedUp:
            return
        passed.append(number)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(passed) == 5
    assert state.ledger.balance(key_id) == sum_of_rows(state, key_id) == 0


steps = st.lists(
    st.one_of(
        st.tuples(st.just("credit"), st.integers(0, 3), st.integers(1, 50)),
        st.tuples(st.just("reserve"), st.integers(0, 5), st.integers(0, 60)),
        st.tuples(st.just("charge"), st.integers(0, 5), st.floats(0, 1)),
        st.tuples(st.just("release"), st.integers(0, 5), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 40), st.none()),
    ),
    max_size=14,
)


@given(steps=steps, limit=st.none() | st.integers(1, 80))
@examples(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_steps_keeps_the_balance_and_the_limits(
    state: State, clock: object, steps: list, limit: int | None
) -> None:
    key_id = prepaid(state, 0, monthly_limit_ticks=limit)
    for step, number, value in steps:
        name = f"{key_id}/{number}"
        try:
            if step == "credit":
                state.ledger.credit(key_id, value, reference=name)
            elif step == "reserve":
                state.ledger.reserve(key_id, value, request_id=name, model="m")
            elif step == "charge":
                reserved = [entry for entry in state.ledger.entries(key_id) if entry.reference == f"reserve/{name}"]
                state.ledger.charge(name, round(-reserved[0].ticks * value) if reserved else 0)
            elif step == "release":
                state.ledger.release(name)
            else:
                clock.now += number * 86_400
        except UserError:  # a refusal changes nothing: the sums below say so
            pass
        entries = state.ledger.entries(key_id)
        balance = sum(entry.ticks for entry in entries)
        assert state.ledger.balance(key_id) == balance >= 0
        for month in {entry.month for entry in entries}:
            used = [-e.ticks for e in entries if e.month == month and e.kind not in ("credit", "grant")]
            assert state.ledger.spent(key_id, month) == sum(used)
            assert limit is None or sum(used) <= limit
    entries = state.ledger.entries(key_id)
    assert [entry.balance_after for entry in entries] == running([entry.ticks for entry in entries])
    settled = [entry.request_id for entry in entries if entry.kind in ("charged", "released")]
    assert len(settled) == len(set(settled))
    spent = sum(entry.cost_ticks for entry in entries)
    open_ticks = sum(-e.ticks for e in entries if e.kind == "reserved" and e.request_id not in settled)
    credit = sum(entry.ticks for entry in entries if entry.kind == "credit")
    assert state.ledger.balance(key_id) == credit - spent - open_ticks


def running(amounts: list[int]) -> list[int]:
    return [sum(amounts[: count + 1]) for count in range(len(amounts))]
