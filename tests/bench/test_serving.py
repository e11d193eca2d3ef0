"""The server's benchmark: its processes, its clocks, and the peer's two ways to batch."""

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import image_model

BENCH = str(Path(__file__).parents[2] / "bench")


@pytest.fixture(autouse=True)
def bench_importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts import `harness` from their own folder."""
    monkeypatch.syspath_prepend(BENCH)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] in ("harness", "table")]:
        del sys.modules[name]


def test_a_measured_servers_processor_time_counts_as_our_own() -> None:
    from harness.timing import Usage

    times, alone, with_server = os.times(), Usage.now(), Usage.now([os.getpid()])
    assert with_server.own - alone.own >= 0.9 * (times.user + times.system) > 0  # what ended children used counts once


def test_each_client_asks_in_turn_and_no_seed_comes_twice() -> None:
    from harness.latency import closed_loop

    under_way, most, seeds = 0, 0, list[int]()

    async def ask(seed: int) -> tuple[float, float]:
        nonlocal under_way, most
        under_way, seeds[:] = under_way + 1, [*seeds, seed]
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        return 0.1, 0.2

    waits = asyncio.run(closed_loop(ask, clients=3, each=2, begin=10))
    assert waits == [(0.1, 0.2)] * 6
    assert sorted(seeds) == list(range(10, 16))
    assert most == 3


def test_waiting_times_are_medians_and_95th_percentiles_in_milliseconds() -> None:
    from harness.latency import summary

    found = summary([(number / 1000, number / 100) for number in range(1, 102)])
    assert found["requests"] == 101
    assert found["first_partial_median"] == pytest.approx(51)
    assert found["first_partial_p95"] == pytest.approx(96)
    assert found["finished_median"] == pytest.approx(510)


def serving(port: int) -> Sequence[str]:
    return (sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1")


def test_a_server_runs_as_long_as_it_is_measured(tmp_path: Path) -> None:
    from harness.processes import listening

    with listening(serving, "/", tmp_path / "log", cwd=tmp_path) as server:
        os.kill(server.pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


def test_a_server_that_does_not_start_shows_its_last_words(tmp_path: Path) -> None:
    from harness.processes import listening

    def broken(port: int) -> Sequence[str]:
        return (sys.executable, "-c", f"raise SystemExit('no luck with {port}')")

    with pytest.raises(SystemExit, match="no luck with"), listening(broken, "/", tmp_path / "log"):
        pytest.fail("it started")


def test_the_owners_key_is_read_from_the_log(tmp_path: Path) -> None:
    from harness.processes import Server, owner_key

    log = tmp_path / "log"
    log.write_text("Starting.\nThe owner's key, shown this once: secret-1\n")
    assert owner_key(Server(pid=1, url="http://127.0.0.1:1", log=log)) == "secret-1"
    log.write_text("Starting.\n")
    with pytest.raises(SystemExit, match="no key"):
        owner_key(Server(pid=1, url="http://127.0.0.1:1", log=log))


def test_a_server_starts_without_the_benchmarks_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from harness.processes import as_users_start_it

    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setenv("POLARLIGHT_WATERMARK", "0")
    monkeypatch.setenv("UNRELATED", "kept")
    found = as_users_start_it(tmp_path, 2)
    assert "MALLOC_TOP_PAD_" not in found
    assert "POLARLIGHT_WATERMARK" not in found
    assert (found["UNRELATED"], found["POLARLIGHT_HOME"], found["OMP_NUM_THREADS"]) == ("kept", str(tmp_path), "2")


def test_every_step_of_a_request_has_a_price() -> None:
    from harness.steps import price_of_steps

    from polarlight.infer.images import Picture

    pixels = np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8)
    start = time.perf_counter()
    prices = price_of_steps(Picture(pixels=pixels, seed=1, passes=2, metadata={"prompt": "a cat"}), rounds=1)
    spent = 1e3 * (time.perf_counter() - start)
    kinds = {name.split(":")[0] for name in prices}
    assert kinds == {"database", "policy", "watermark", "PNG encoding", "signature", "answer"}
    assert all(price > 0 for price in prices.values())
    assert sum(prices.values()) < spent


def test_the_peer_draws_the_same_tokens_in_both_ways_to_batch() -> None:
    from harness.peer import new_peer
    from harness.peer_server import Continuous, Gathered

    torch.manual_seed(0)
    peer = new_peer(image_model(), torch.float32)
    rows = [[5, 6, 7, 8], [5, 6]]

    async def drawn() -> list[list[list[int]]]:
        ways = [Gathered(peer), Continuous(peer)]
        found = [await way.draw(rows, 5) for way in ways]
        for way in ways:
            await way.close()
        return found

    gathered, continuous = asyncio.run(drawn())
    assert [len(row) for row in gathered] == [5, 5]
    assert gathered == continuous


def test_requests_that_come_together_share_one_generate() -> None:
    from harness.peer_server import Gathered

    class Counting:
        """Answers each row with its own last token, over and over."""

        def __init__(self) -> None:
            self.shapes: list[tuple[int, ...]] = []

        def generate(self, ids: torch.Tensor, max_new_tokens: int, **_: object) -> torch.Tensor:
            self.shapes.append(tuple(ids.shape))
            return torch.cat((ids, ids[:, -1:].expand(-1, max_new_tokens)), 1)

    async def drawn(peer: Counting) -> list[list[list[int]]]:
        way = Gathered(peer)
        found = await asyncio.gather(way.draw([[1, 2], [3]], 2), way.draw([[4, 5, 6]], 3))
        await way.close()
        return found

    peer = Counting()
    assert asyncio.run(drawn(peer)) == [[[2, 2], [3, 3]], [[6, 6, 6]]]
    assert peer.shapes == [(3, 3)]
