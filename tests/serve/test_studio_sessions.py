"""Who sits in front of the studio."""

import pytest

from polarlight.base.errors import UserError
from polarlight.serve.state import State
from polarlight.serve.studio_sessions import LASTS_S, Sessions, at_the_machine, same_origin

HERE = "http://127.0.0.1:8080"


@pytest.fixture
def sessions(state: State) -> Sessions:
    return Sessions(state.database, state.keys, state.files.clock)


def test_a_session_is_found_by_its_token_alone(state: State, sessions: Sessions) -> None:
    key = state.keys.create("a").key
    found = sessions.find(sessions.begin(key))
    assert found is not None
    assert found.key.id == key.id
    assert sessions.find("another") is None


def test_the_token_for_writes_belongs_to_one_session(state: State, sessions: Sessions) -> None:
    key = state.keys.create("a").key
    tokens = [sessions.begin(key) for _ in range(2)]
    assert len({sessions.find(token).csrf for token in tokens} | set(tokens)) == 4


@pytest.mark.parametrize("way", ["signed out", "over", "blocked", "revoked"])
def test_a_session_ends(state: State, sessions: Sessions, clock: object, way: str) -> None:
    key = state.keys.create("a").key
    token = sessions.begin(key)
    if way == "signed out":
        sessions.end(token)
    elif way == "over":
        clock.now += LASTS_S  # type: ignore[attr-defined]
    elif way == "blocked":
        state.keys.update(key.id, blocked=True)
    else:
        state.keys.revoke(key.id)
    assert sessions.find(token) is None


def test_a_pasted_key_may_have_spaces_around_it(state: State, sessions: Sessions) -> None:
    made = state.keys.create("a")
    assert sessions.key_of(f" {made.secret}\n").id == made.key.id
    with pytest.raises(UserError, match="not accepted"):
        sessions.key_of("pl-wrong")


def test_the_owner_is_the_key_of_the_first_run(state: State, sessions: Sessions) -> None:
    assert sessions.owner() is None
    made = state.keys.ensure_owner()
    assert made is not None
    assert sessions.owner() == made.key


@pytest.mark.parametrize(
    ("client", "headers", "public", "local"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:8080"}, HERE, True),
        ("::1", {"host": "localhost:8080"}, HERE, True),
        ("192.168.1.7", {"host": "127.0.0.1:8080"}, HERE, False),
        ("127.0.0.1", {"host": "127.0.0.1:8080", "x-forwarded-for": "8.8.8.8"}, HERE, False),
        ("127.0.0.1", {"host": "pictures.example"}, HERE, False),
        ("127.0.0.1", {"host": "127.0.0.1:8080"}, "https://pictures.example", False),
        ("127.0.0.1", {}, HERE, False),
        (None, {"host": "127.0.0.1"}, HERE, False),
    ],
    ids=["here", "IPv6", "another machine", "a proxy", "a rebound name", "a public server", "no host", "no address"],
)
def test_only_the_machine_itself_needs_no_key(
    client: str | None, headers: dict[str, str], public: str, local: bool
) -> None:
    assert at_the_machine(client, headers, public) is local


@pytest.mark.parametrize(
    ("headers", "same"),
    [
        ({"host": "a:1"}, True),
        ({"host": "a:1", "origin": "http://a:1"}, True),
        ({"host": "a:1", "origin": "http://b:1"}, False),
        ({"host": "a:1", "origin": "null"}, False),
        ({"host": "a:1", "sec-fetch-site": "cross-site"}, False),
    ],
)
def test_another_pages_requests_are_known(headers: dict[str, str], same: bool) -> None:
    assert same_origin(headers) is same
