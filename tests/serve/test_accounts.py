"""Keys: secrets, access, consent."""

import hashlib
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from polarlight.base.errors import UserError
from polarlight.serve import tables
from polarlight.serve.settings import Settings
from polarlight.serve.state import State

DOLLAR = 10**10


def with_prices(settings: Settings, tmp_path: Path, text: str) -> State:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return State.open(replace(settings, prices_file=path), lambda: 1_795_348_800.0)


def test_a_secret_is_shown_once_and_only_its_hash_is_stored(state: State) -> None:
    made = state.keys.create("studio")
    assert len(made.secret) == 46
    assert made.secret.startswith("pl-")
    with state.database.read() as connection:
        row = connection.execute(select(tables.keys)).one()
    assert row.secret_hash == hashlib.sha256(made.secret.encode()).hexdigest()
    assert made.secret[3:] not in str(row)
    assert made.key.redacted == f"pl-...{made.secret[-4:]}"


def test_a_secret_finds_its_key_and_a_wrong_one_finds_nothing(state: State) -> None:
    made = state.keys.create("studio")
    assert state.keys.authenticate(made.secret) == made.key
    assert state.keys.authenticate(made.secret[:-1]) is None
    assert state.keys.authenticate("") is None


def test_rotating_ends_the_old_secret_and_keeps_the_key(state: State) -> None:
    made = state.keys.create("studio")
    state.ledger.credit(made.key.id, 5, reference="gift")
    rotated = state.keys.rotate(made.key.id, by="admin")
    assert state.keys.authenticate(made.secret) is None
    assert state.keys.authenticate(rotated.secret) == rotated.key
    assert (rotated.key.id, rotated.key.modified_by) == (made.key.id, "admin")
    assert state.ledger.balance(made.key.id) == 5


def test_a_revoked_key_opens_nothing_and_cannot_come_back(state: State) -> None:
    made = state.keys.create("studio")
    assert state.keys.revoke(made.key.id).revoked_at is not None
    assert state.keys.authenticate(made.secret) is None
    for change in (state.keys.rotate, state.keys.revoke, lambda key: state.keys.update(key, blocked=False)):
        with pytest.raises(UserError, match="is revoked"):
            change(made.key.id)


def test_a_blocked_key_is_still_known_by_its_secret(state: State) -> None:
    made = state.keys.create("studio")
    state.keys.update(made.key.id, blocked=True)
    found = state.keys.authenticate(made.secret)
    assert found is not None
    assert found.blocked


def test_the_owners_key_is_made_on_the_first_run_alone(state: State) -> None:
    made = state.keys.ensure_owner()
    assert made is not None
    assert made.key.owner
    assert state.keys.ensure_owner() is None
    with pytest.raises(UserError, match="owner's key"):
        state.keys.revoke(made.key.id)


def test_first_runs_side_by_side_make_one_owner(state: State) -> None:
    made: list[object] = []
    threads = [threading.Thread(target=lambda: made.append(state.keys.ensure_owner())) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(key is not None for key in made) == 1
    assert [key.owner for key in state.keys.all()] == [True]


def test_access_rules_name_endpoints_and_models(state: State) -> None:
    key = state.keys.create("pictures", acls=["api-key:endpoint:images", "api-key:model:polarlight-*"]).key
    assert key.may("images")
    assert key.may("images", "polarlight-image")
    assert not key.may("images", "grok-imagine-image")
    assert not key.may("videos", "polarlight-image")
    assert state.keys.create("all").key.may("videos", "any")


@pytest.mark.parametrize(
    "wrong",
    [{"name": " "}, {"name": "a", "acls": ["images"]}, {"name": "a", "acls": ["api-key:team:x"]},
     {"name": "a", "requests_per_minute": 0}],
)  # fmt: skip
def test_a_key_with_a_wrong_value_is_not_made(state: State, wrong: dict) -> None:
    with pytest.raises(UserError):
        state.keys.create(**wrong)
    assert state.keys.all() == []


def test_updating_changes_what_is_named_and_nothing_else(state: State) -> None:
    key = state.keys.create("a", requests_per_second=2).key
    changed = state.keys.update(key.id, name="b", monthly_limit_ticks=7, by="admin")
    expected = replace(key, name="b", monthly_limit_ticks=7, modified_by="admin", modified_at=changed.modified_at)
    assert changed == expected == state.keys.get(key.id)


def test_a_new_key_starts_with_the_operators_credit(settings: Settings, tmp_path: Path) -> None:
    state = with_prices(settings, tmp_path, "[credits]\nat_creation = 0.5")
    assert state.ledger.balance(state.keys.create("a").key.id) == DOLLAR // 2
    state.close()


def test_sharing_is_off_until_agreed_and_every_consent_is_written_down(state: State, clock: object) -> None:
    key = state.keys.create("a").key
    assert not key.shares_data
    assert state.keys.share_data(key.id, True).shares_data
    clock.now += 10  # type: ignore[attr-defined]
    assert not state.keys.share_data(key.id, False).shares_data
    assert state.keys.share_data(key.id, True).shares_data
    first, second = state.keys.consents(key.id)
    assert (first.withdrawn_at, second.withdrawn_at) == (first.granted_at + 10, None)


def test_agreeing_twice_is_one_consent(state: State) -> None:
    key = state.keys.create("a").key
    state.keys.share_data(key.id, True)
    state.keys.share_data(key.id, True)
    assert len(state.keys.consents(key.id)) == 1
