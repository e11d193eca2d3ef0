"""The benchmarks' own arithmetic: turns, dropped rounds, intervals."""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

BENCH = str(Path(__file__).parents[2] / "bench")


@pytest.fixture(autouse=True)
def bench_importable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts import `harness` from their own folder."""
    monkeypatch.syspath_prepend(BENCH)
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "harness"]:
        del sys.modules[name]


def clock(steals: list[float]) -> Callable[[], object]:
    """A usage clock: before the race, then before and after each round; round i loses steals[i] of its time to the host."""
    from harness.timing import Usage

    now = itertools.count()
    stolen = 0.0

    def usage() -> Usage:
        nonlocal stolen
        tick = next(now)
        if tick and tick % 2 == 0:
            stolen += steals[tick // 2 - 1]
        return Usage(total=float(tick), busy=0.0, steal=stolen, own=0.0)

    return usage


def test_contenders_take_turns_in_rotating_order() -> None:
    from harness.timing import race

    calls: list[str] = []
    race({name: lambda name=name: calls.append(name) for name in "abc"}, 3, usage=clock([0.0] * 6))
    assert "".join(calls) == "abcbcacab"


def test_rounds_that_the_host_disturbed_are_dropped_and_repeated() -> None:
    from harness.timing import race

    run = race({"a": lambda: None}, 3, usage=clock([0.0, 0.5, 0.0, 0.0, 0.0, 0.0]))
    assert len(run.seconds["a"]) == 3
    assert run.dropped == 1


def test_where_the_host_disturbs_most_rounds_all_are_kept() -> None:
    from harness.timing import race

    run = race({"a": lambda: None}, 3, usage=clock([0.5] * 6))
    assert len(run.seconds["a"]) == 6
    assert run.dropped == 0


def test_the_ratio_is_that_of_medians_and_lies_in_its_interval() -> None:
    from harness.timing import Race

    run = Race(seconds={"slow": [4.0, 4.2, 3.8, 40.0], "fast": [2.0, 2.1, 1.9, 2.0]}, dropped=0, others=0.0)
    ratio = run.ratio("slow", "fast")
    assert ratio["ratio"] == pytest.approx(4.1 / 2.0)
    assert ratio["low"] <= ratio["ratio"] <= ratio["high"]


def test_equal_rounds_have_an_interval_of_no_width() -> None:
    from harness.timing import bootstrap

    assert bootstrap([3.0] * 5, [2.0] * 5) == (1.5, 1.5)


def test_the_cpu_clock_does_not_count_waiting() -> None:
    from harness.timing import timed

    assert timed(lambda: time.sleep(0.05), "cpu") < 0.02 < timed(lambda: time.sleep(0.05), "wall")


def test_the_ledger_keeps_every_entry(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from harness.ledger import read, record

    record("work", {"speed": 1.23456}, others=0.0, folder=tmp_path)
    record("work", {"speed": 2.0}, others=0.5, folder=tmp_path)
    assert [entry["result"]["speed"] for entry in read("work", tmp_path)] == [1.235, 2.0]
    assert [entry["loaded"] for entry in read("work", tmp_path)] == [False, True]
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"speed": 2.0}


def test_without_a_measured_ceiling_a_benchmark_says_what_to_run(tmp_path: Path) -> None:
    from harness.ledger import ceiling

    with pytest.raises(SystemExit, match=r"bench/ceiling\.py"):
        ceiling(tmp_path)
