"""A process that forks a worker for each line it reads: starting one takes milliseconds, and each can be killed alone.

Arguments: the state's folder, its database's URL, a lease in seconds, a file to write down every job that is begun.
A worker takes jobs until none is left; it prints its process id when it starts.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import alembic.command  # noqa: F401  (imported before the fork, as is everything below)

from polarlight.serve.job_rows import Job, LeaseLost
from polarlight.serve.settings import Limits, Settings
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile


def work(state: State, job: Job, log: Path) -> None:
    with open(log, "a") as file:
        file.write(f"{job.id}\n")
    state.jobs.beat(job, progress=50)
    time.sleep(0.003)
    content = job.id.encode() * 4096
    made = NewFile(filename="picture.png", content=content, content_type="image/png")
    state.jobs.finish(job, files=[made], cost_ticks=job.reserved_ticks - 1)


def main() -> None:
    home, url, lease_s, log = sys.argv[1:]
    settings = Settings.at(home, database_url=url, limits=Limits(lease_s=float(lease_s), attempts=10_000))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        if child := os.fork():
            print(child, flush=True)
            continue
        state = State.open(settings)
        while state.jobs.unfinished():
            if (job := state.jobs.claim(f"worker {os.getpid()}")) is None:
                time.sleep(0.02)
                continue
            with suppress(LeaseLost):
                work(state, job, Path(log))
        os._exit(0)


main()
