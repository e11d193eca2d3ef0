"""Two whole servers on one PostgreSQL, one object store and one home: whatever is said to one holds at the other."""

import base64
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from service_nursery import HELD, Nursery, Place, answers, free_ports
from service_waiting import wait_for

from polarlight.infer.policy_switches import Switches
from polarlight.serve.state import State

PRICE = 200_000_000  # ticks of one picture
PATIENCE_S = 60.0
Doors = Callable[[str], list[httpx.Client]]
IMAGES, CLIPS = "/v1/images/generations", "/v1/videos/generations"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The servers, `first` with room for one job at a time, and their state as the operator's programs open it."""

    place: Place
    state: State
    ports: tuple[int, int]

    def begun(self, server: int) -> list[str]:
        """The prompts that a server's engines began."""
        lines = self.place.begun.read_text().splitlines() if self.place.begun.exists() else []
        return [
            prompt for name, _, prompt in (line.partition(" ") for line in lines) if name == str(self.ports[server])
        ]

    @contextmanager
    def first_is_full(self, first: httpx.Client) -> Iterator[str]:
        """The first server has its hands full with a long clip, whose id comes; all else is made by the second."""
        self.place.hold.touch()
        try:
            clips = {}
            for number in range(20):
                prompt = f"{HELD} clip {number} {time.monotonic_ns()}"
                clips[prompt] = first.post(CLIPS, json={"prompt": prompt, "duration": 1}).json()["request_id"]
                wait_for(lambda prompt=prompt: prompt in self.begun(0) + self.begun(1), "a clip is begun")
                if prompt in self.begun(0):
                    break
            yield clips[prompt]
        finally:
            self.place.hold.unlink()


@pytest.fixture(scope="module")
def pair(postgresql: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("pair")
    url = postgresql.new(postgresql.migrated)
    place = Place(folder=str(folder), database_url=url, objects_url=(folder / "objects").as_uri())
    nursery, state, (first, second) = Nursery(place), State.open(place.settings()), free_ports(2)
    nursery.start("serve", port=first, most_s=0.1, together=1)
    nursery.start("serve", port=second, most_s=0.1)
    wait_for(lambda: answers(first) and answers(second), "both servers start")
    yield Pair(place=place, state=state, ports=(first, second))
    state.close()
    nursery.close()
    assert "Traceback" not in place.errors.read_text(), place.errors.read_text()[-3000:]


@pytest.fixture
def doors(pair: Pair) -> Iterator[Doors]:
    """Clients of both servers with one key's secret."""
    with ExitStack() as opened:

        def open_doors(secret: str) -> list[httpx.Client]:
            headers = {"authorization": f"Bearer {secret}"}
            bases = [f"http://127.0.0.1:{port}" for port in pair.ports]
            more = {"headers": headers, "timeout": PATIENCE_S, "trust_env": False}
            return [opened.enter_context(httpx.Client(base_url=base, **more)) for base in bases]

        yield open_doors


@pytest.fixture
def both(pair: Pair, doors: Doors) -> list[httpx.Client]:
    """Clients of both servers with one new key."""
    return doors(pair.state.keys.create("a").secret)


def done(door: httpx.Client, clip_id: str) -> dict[str, Any]:
    """The finished clip."""
    wait_for(lambda: door.get(f"/v1/videos/{clip_id}").status_code == 200, "the clip is made")
    return door.get(f"/v1/videos/{clip_id}").json()


def test_a_clip_ordered_at_one_is_seen_listed_fetched_and_deleted_at_the_other(both: list[httpx.Client]) -> None:
    first, second = both
    clip_id = first.post(CLIPS, json={"prompt": "a cat runs", "duration": 1}).json()["request_id"]
    assert done(second, clip_id)["status"] == "done"
    assert [each["id"] for each in second.get("/v1/videos").json()["data"]] == [f"video_{clip_id}"]
    contents = [door.get(f"/v1/videos/{clip_id}/content").content for door in (first, second)]
    assert contents[0] == contents[1]
    assert contents[0][4:8] == b"ftyp"
    assert second.delete(f"/v1/videos/{clip_id}").json()["deleted"]
    assert first.get(f"/v1/videos/{clip_id}").status_code == 404


def test_a_clip_deleted_at_one_is_given_up_by_the_other_that_makes_it_and_costs_nothing(
    pair: Pair, both: list[httpx.Client]
) -> None:
    first, second = both
    with pair.first_is_full(first) as clip_id:
        prompt = pair.state.jobs.get(clip_id).body["prompt"]
        assert second.delete(f"/v1/videos/{clip_id}").is_success
        wait_for(lambda: f"-{prompt}" in pair.begun(0), "the work is given up")
    entries = pair.state.ledger.entries(first.get("/v1/me").json()["user_id"])
    assert [entry.kind for entry in entries if entry.request_id == clip_id] == ["reserved", "released"]


def test_a_stream_brings_the_picture_that_the_other_server_draws_and_no_previews(
    pair: Pair, both: list[httpx.Client]
) -> None:
    first = both[0]
    body = {"prompt": "a streamed cat", "seed": 11, "stream": True, "partial_images": 2}
    with pair.first_is_full(first), first.stream("POST", IMAGES, json=body) as answer:
        events = [json.loads(line.removeprefix("data: ")) for line in answer.iter_lines() if line.startswith("data: ")]
    assert [event["type"] for event in events] == ["image_generation.completed"]
    assert "a streamed cat" in pair.begun(1)
    assert base64.b64decode(events[0]["b64_json"]).startswith(b"\x89PNG")


def test_orders_at_both_are_each_made_once(pair: Pair, both: list[httpx.Client]) -> None:
    prompts = [f"cat number {number} at once" for number in range(16)]
    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(lambda each: both[each[0] % 2].post(IMAGES, json={"prompt": each[1]}), enumerate(prompts))
        assert {answer.status_code for answer in asked} == {200}
    begun = [Counter(prompt for prompt in pair.begun(server) if prompt in prompts) for server in (0, 1)]
    assert begun[0] + begun[1] == Counter(prompts)


def test_one_idempotency_key_sent_to_both_at_once_is_one_picture_paid_once(both: list[httpx.Client]) -> None:
    first, second = both
    headers = {"idempotency-key": "once"}
    with ThreadPoolExecutor(4) as pool:
        posts = [
            pool.submit(door.post, IMAGES, json={"prompt": "one cat"}, headers=headers) for door in (first, second) * 2
        ]
    pictures = {post.result().json()["data"][0]["b64_json"] for post in posts}
    assert len(pictures) == 1
    assert second.get("/v1/me").json()["spent_ticks"] == PRICE


def test_a_batch_opened_at_one_takes_requests_at_the_other_and_has_its_results_at_both(
    both: list[httpx.Client],
) -> None:
    first, second = both
    path = f"/v1/batches/{first.post('/v1/batches', json={'name': 'cats'}).json()['batch_id']}"
    requests = [
        {"batch_request_id": str(number), "batch_request": {"image_generation": {"prompt": f"batch cat {number}"}}}
        for number in range(4)
    ]
    assert second.post(f"{path}/requests", json={"batch_requests": requests}).is_success
    wait_for(lambda: first.get(path).json()["state"]["num_pending"] == 0, "the batch is done")
    results = [door.get(f"{path}/results").json()["results"] for door in (first, second)]
    assert [[each["batch_request_id"] for each in page] for page in results] == [["0", "1", "2", "3"]] * 2


def test_a_file_brought_to_one_is_read_published_and_revoked_through_the_other(both: list[httpx.Client]) -> None:
    first, second = both
    content = hashlib.sha256(b"cat").digest()
    file_id = first.post("/v1/files", files={"file": ("cat.bin", content)}, data={"purpose": "vision"}).json()["id"]
    assert [each["id"] for each in second.get("/v1/files").json()["data"]] == [file_id]
    assert second.get(f"/v1/files/{file_id}/content").content == content
    address = httpx.URL(second.post(f"/v1/files/{file_id}/public-url").json()["public_url"]).path
    assert [door.get(address).content for door in (first, second)] == [content] * 2
    assert first.post(f"/v1/files/{file_id}/public-url/revoke").json()["revoked"]
    assert [door.get(address).status_code for door in (first, second)] == [404] * 2


def test_a_kill_switch_is_thrown_at_both_within_a_second(pair: Pair, both: list[httpx.Client]) -> None:
    switches = Switches(Path(pair.place.folder) / "home" / "policy" / "switches.json")
    assert [door.post(IMAGES, json={"prompt": "a cat"}).status_code for door in both] == [200] * 2
    switches.turn_off("draw", "a test")
    thrown = time.monotonic()
    try:
        while [door.post(IMAGES, json={"prompt": "a cat"}).status_code for door in both] != [503] * 2:
            assert time.monotonic() - thrown < 1
    finally:
        switches.turn_on("draw")
    assert [door.post(IMAGES, json={"prompt": "a cat"}).status_code for door in both] == [200] * 2


def test_a_rate_limit_counts_the_requests_of_both(pair: Pair, doors: Doors) -> None:
    limited = doors(pair.state.keys.create("a", requests_per_minute=5).secret)
    with ThreadPoolExecutor(4) as pool:
        asked = pool.map(lambda number: limited[number % 2].get("/v1/files").status_code, range(12))
    assert Counter(asked) == {200: 5, 429: 7}


@pytest.mark.parametrize("limit", ["credit", "month"])
def test_what_a_key_may_spend_is_spent_once_at_both_together(pair: Pair, doors: Doors, limit: str) -> None:
    limits = {"prepaid": True} if limit == "credit" else {"monthly_limit_ticks": 3 * PRICE}
    made = pair.state.keys.create(limit, **limits)
    pair.state.ledger.credit(made.key.id, 3 * PRICE, reference=made.key.id)
    clients = doors(made.secret)
    with ThreadPoolExecutor(8) as pool:
        asked = pool.map(
            lambda number: clients[number % 2].post(IMAGES, json={"prompt": "a cat"}).status_code, range(8)
        )
    assert Counter(asked) == {200: 3, 403: 5}
    assert pair.state.ledger.balance(made.key.id) == 0


def test_a_revoked_key_is_refused_by_both_at_once(pair: Pair, doors: Doors) -> None:
    made = pair.state.keys.create("a")
    clients = doors(made.secret)
    assert [door.get("/v1/me").status_code for door in clients] == [200] * 2
    pair.state.keys.revoke(made.key.id)
    assert [door.get("/v1/models").status_code for door in clients] == [401] * 2
