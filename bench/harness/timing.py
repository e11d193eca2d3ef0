"""Side-by-side timing on a machine that is never quite still."""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

STEAL_LIMIT = 0.02  # share of a round's processor time taken by the host above which the round is dropped
LOAD_LIMIT = 0.05  # share of the machine that other programs used above which a measurement counts as taken under load
RESAMPLES = 4000

Work = Callable[[], object]

# wall: what a user waits for. cpu: processor time, the fairer of the two with one thread while other programs compete
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Processor seconds since boot, of all processors: in total, busy, stolen by the host, and by this process."""

    total: float
    busy: float
    steal: float
    own: float

    @classmethod
    def now(cls, servers: Sequence[int] = ()) -> Usage:
        """Read /proc/stat; all zero but `own` where there is none. servers: processes under measurement, which count as own, and
        so do those that they started."""
        times, stat = os.times(), Path("/proc/stat")
        own = times.user + times.system + times.children_user + times.children_system
        if not stat.exists():
            return cls(total=0, busy=0, steal=0, own=own)
        ticks = os.sysconf("SC_CLK_TCK")
        user, nice, system, idle, iowait, irq, softirq, steal = (
            int(field) / ticks for field in stat.read_text().split("\n")[0].split()[1:9]
        )
        for pid in [each for server in servers for each in family(server)]:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            own += (int(fields[11]) + int(fields[12])) / ticks  # user and system time
        busy = user + nice + system + irq + softirq
        return cls(total=busy + idle + iowait + steal, busy=busy, steal=steal, own=own)

    def since(self, start: Usage) -> tuple[float, float]:
        """(share of the machine stolen by the host, share used by other programs) since `start`."""
        total = max(1e-9, self.total - start.total)
        others = (self.busy - start.busy) - (self.own - start.own)
        return (self.steal - start.steal) / total, max(0.0, others / total)


@dataclass(frozen=True, kw_only=True)
class Race:
    """Seconds of every contender by round; rounds that the host disturbed are left out and counted in `dropped`."""

    seconds: dict[str, list[float]]
    dropped: int
    others: float

    def median(self, name: str) -> float:
        return statistics.median(self.seconds[name])

    def ratio(self, slow: str, fast: str) -> dict[str, float]:
        """How many times faster `fast` is: the ratio of medians and its 95 % bootstrap interval."""
        low, high = bootstrap(self.seconds[slow], self.seconds[fast])
        return {"ratio": self.median(slow) / self.median(fast), "low": low, "high": high}


def race(
    contenders: Mapping[str, Work], rounds: int, clock: str = "wall", usage: Callable[[], Usage] = Usage.now
) -> Race:
    """Run every contender once a round, in turning order, for `rounds` undisturbed rounds (at most twice as many in all).

    Where the host disturbs more than half of them, the disturbed rounds are kept: there is nothing better to report.
    clock: see CLOCKS.
    """
    names = list(contenders)
    kept: dict[str, list[float]] = {name: [] for name in names}
    spoilt: dict[str, list[float]] = {name: [] for name in names}
    begin = usage()
    for number in range(2 * rounds):
        start, taken = usage(), {}
        for name in names[number % len(names) :] + names[: number % len(names)]:
            taken[name] = timed(contenders[name], clock)
        steal, _ = usage().since(start)
        target = spoilt if steal > STEAL_LIMIT else kept
        for name, seconds in taken.items():
            target[name].append(seconds)
        if len(kept[names[0]]) == rounds:
            break
    _, others = usage().since(begin)
    if len(kept[names[0]]) < rounds // 2 + 1:
        kept, spoilt = {name: kept[name] + spoilt[name] for name in names}, {name: [] for name in names}
    return Race(seconds=kept, dropped=len(spoilt[names[0]]), others=others)


def bootstrap(slow: Sequence[float], fast: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """95 % interval of median(slow) / median(fast), whole rounds drawn with replacement."""
    random_ = random.Random(seed)
    ratios = []
    for _ in range(RESAMPLES):
        rounds = random_.choices(range(len(slow)), k=len(slow))
        ratios.append(statistics.median(slow[i] for i in rounds) / statistics.median(fast[i] for i in rounds))
    ratios.sort()
    return ratios[int(0.025 * RESAMPLES)], ratios[int(0.975 * RESAMPLES) - 1]


def family(pid: int) -> list[int]:
    """A process and those that it started, and so on."""
    started = [int(each) for path in Path(f"/proc/{pid}/task").glob("*/children") for each in path.read_text().split()]
    return [pid, *(each for child in started for each in family(child))]


def best(work: Work, runs: int = 2, clock: str = "wall") -> float:
    """The shortest of `runs` after one that warms up."""
    work()
    return min(timed(work, clock) for _ in range(runs))


def timed(work: Work, clock: str = "wall") -> float:
    """Seconds of one call."""
    start = CLOCKS[clock]()
    work()
    return CLOCKS[clock]() - start
