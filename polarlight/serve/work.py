"""Workers: they claim jobs, run them on the engines, and end them, while whoever waits can watch.

A job may be taken up by any process on the same state that has its model. Previews are seen only by who watches in the same
process; how a job ended is seen by all.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy.exc import OperationalError

from polarlight.base.errors import UserError
from polarlight.infer.engine import Cancelled, EngineClosed, Ticket
from polarlight.infer.policy import Refused

from .job_rows import Job, LeaseLost, NoSuchJob
from .metrics import Metrics
from .objects import StoreUnavailable
from .options import Options
from .outputs import Sealed
from .state import State
from .stored_files import NewFile

log = logging.getLogger("polarlight.serve.work")
POLL_S = 0.5  # an idle worker asks this often; a job that this process accepted wakes it at once
TIDY_S = 60.0
SWEEP_S = 86_400.0  # a sweep lists the whole object store; the first follows a start, which may have followed a crash
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Shown:
    """A preview: of which picture of the job, after which pass, as a finished file."""

    picture: int
    number: int
    passes: int
    file: Sealed


@dataclass(frozen=True, kw_only=True)
class Finished:
    """What a job made: files to store, facts for the answer, what it costs."""

    files: list[NewFile]
    result: dict[str, Any]
    cost_ticks: int


class JobFailed(Exception):
    """The job ends badly for a known reason."""

    def __init__(self, code: str, message: str, cost_ticks: int = 0) -> None:
        super().__init__(message)
        self.code, self.message, self.cost_ticks = code, message, cost_ticks


@dataclass(eq=False)
class Work:
    """A job under way in this process."""

    job: Job
    tickets: list[Ticket] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    progress: int = 0
    task: asyncio.Task[None] | None = None
    stopped: bool = False

    def stop(self) -> None:
        """Cancel everything that runs for it."""
        self.stopped = True
        for ticket in self.tickets:
            ticket.cancel()
        if self.task is not None:
            self.task.cancel()


Maker = Callable[[Work, Callable[[Shown], None]], Awaitable[Finished]]


class Workers:
    """The workers of one process.

    `makers`: kind of job -> the function that does it; `models`: the names of the models there are, asked before each claim,
    None where the process has them all.
    """

    def __init__(
        self,
        state: State,
        makers: dict[str, Maker],
        metrics: Metrics,
        options: Options,
        models: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self.state, self.makers, self.metrics, self.options = state, makers, metrics, options
        self.models = models
        self.name = f"worker-{uuid.uuid4().hex[:12]}"
        self._works: dict[str, Work] = {}
        self._watchers: dict[str, list[asyncio.Queue[Shown | Job | None]]] = {}
        self._wake, self._stopping = asyncio.Event(), False
        self._loops: list[asyncio.Task[None]] = []
        self._errands: set[asyncio.Task[Any]] = set()
        self._entering: set[asyncio.Task[Job]] = set()

    def start(self) -> None:
        """Begin to claim jobs."""
        self._loops = [asyncio.create_task(self._claim_jobs()), asyncio.create_task(self._keep_tidy())]

    async def stop(self, limit_s: float) -> None:
        """Claim nothing more, let jobs under way end within `limit_s`, and give the others back to the queue."""
        self._stopping = True
        self._wake.set()
        if self._loops:
            claiming, tidying = self._loops
            tidying.cancel()
            # a claim or an order under way may bring one more job, which must not be lost
            await asyncio.wait([claiming, *self._entering], timeout=limit_s)
            claiming.cancel()
            await asyncio.gather(claiming, tidying, return_exceptions=True)
        running = [work.task for work in self._works.values() if work.task is not None]
        if running:
            await asyncio.wait(running, timeout=limit_s)
        for work in list(self._works.values()):
            work.stop()
        await asyncio.gather(*running, *self._errands, return_exceptions=True)

    async def enter(self, submit: Callable[[str, str | None], Job]) -> Job:
        """Have a job submitted; where none waits and this process has room for it, the work on it begins at once.

        submit: is given the job's id and the worker that takes it (None: it stays in the queue); it runs in a thread. What it
            raises goes on as it is. It is done to its end also where this is cancelled.
        """
        takes = bool(self._loops) and not self._stopping and self._room() > 0
        entering = asyncio.create_task(self._enter(submit, takes))
        self._entering.add(entering)
        entering.add_done_callback(self._entering.discard)
        return await asyncio.shield(entering)

    async def _enter(self, submit: Callable[[str, str | None], Job], takes: bool) -> Job:
        job_id = str(uuid.uuid4())
        job = await asyncio.to_thread(submit, job_id, self.name if takes else None)
        if job.id == job_id and job.worker == self.name:
            self._begin(job)
        else:
            self.wake()
        return job

    def _room(self) -> int:
        """How many more jobs this process would work on; those that are being submitted count."""
        return self.options.together - len(self._works) - len(self._entering)

    def wake(self) -> None:
        """Look for jobs now."""
        self._wake.set()

    def under_way(self) -> int:
        """How many jobs this process works on."""
        return len(self._works)

    async def follow(self, job: Job) -> AsyncIterator[Shown | Job]:
        """Previews as they come, and the ended job last.

        Raises:
            NoSuchJob: it was deleted meanwhile.
        """
        news: asyncio.Queue[Shown | Job | None] = asyncio.Queue()
        work = self._works.get(job.id)
        for shown in work.shown if work is not None else ():
            news.put_nowait(shown)
        self._watchers.setdefault(job.id, []).append(news)
        try:
            if work is None:  # it waits, runs elsewhere, or has ended
                self.wake()
                job = await asyncio.to_thread(self.state.jobs.get, job.id)
            while not job.ended:
                event = None
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_S):
                        event = await news.get()
                if isinstance(event, Shown):
                    yield event
                else:
                    job = event or await asyncio.to_thread(self.state.jobs.get, job.id)
            while not news.empty():
                if isinstance(late := news.get_nowait(), Shown):
                    yield late
            yield job
        finally:
            self._watchers[job.id].remove(news)
            if not self._watchers[job.id]:
                del self._watchers[job.id]

    def abandon(self, job: Job) -> None:
        """Cancel a job that nobody waits for any more; returns at once."""

        async def cancel() -> None:
            with suppress(NoSuchJob):
                await asyncio.to_thread(self.state.jobs.cancel, job.id)
            self.dismiss(job.id)

        errand = asyncio.create_task(cancel())
        self._errands.add(errand)
        errand.add_done_callback(self._errands.discard)

    def dismiss(self, job_id: str) -> None:
        """Stop working on a job that was cancelled or deleted."""
        if (work := self._works.get(job_id)) is not None:
            work.stop()

    def dismiss_batch(self, batch_id: str) -> None:
        """The same for every job of a batch."""
        for work in list(self._works.values()):
            if work.job.batch_id == batch_id:
                work.stop()

    async def _claim_jobs(self) -> None:
        while not self._stopping:
            job = None
            self._wake.clear()
            if self._room() > 0:
                able = {"kinds": tuple(self.makers), "models": self.models() if self.models else None}
                try:
                    job = await asyncio.to_thread(self.state.jobs.claim, self.name, **able)
                except Exception:  # the database is away for a moment; the queue is still there when it is back
                    log.exception("cannot claim a job")
            if job is None:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), POLL_S)
            else:
                self.dismiss(job.id)  # this process was silent too long, and takes its own lost job again
                self._begin(job)

    def _begin(self, job: Job) -> None:
        """Work on a job that this process holds."""
        work = Work(job=job)
        self._works[job.id] = work
        work.task = asyncio.create_task(self._run(work))

    async def _keep_tidy(self) -> None:
        next_sweep = time.monotonic()
        while True:
            await asyncio.sleep(TIDY_S)
            try:
                await asyncio.to_thread(self.state.tidy)
                if time.monotonic() >= next_sweep:
                    await asyncio.to_thread(self.state.files.contents.sweep, stopped=lambda: self._stopping)
                    next_sweep = time.monotonic() + SWEEP_S
            except Exception:
                log.exception("housekeeping failed")

    async def _run(self, work: Work) -> None:
        """Do one job to its end, whatever that is."""
        beats = asyncio.create_task(self._beat(work))
        jobs, outcome, ended = self.state.jobs, "lost", None
        try:
            finished = await self.makers[work.job.kind](work, lambda shown: self._show(work, shown))
            made = {"files": finished.files, "result": finished.result, "cost_ticks": finished.cost_ticks}
            ended = await to_its_end(asyncio.to_thread(jobs.finish, work.job, **made))
            self.metrics.charged(work.job.model, finished.cost_ticks)
            outcome = "done"
        except LeaseLost:
            log.info("the job %s was cancelled or lost", work.job.id)
        except OperationalError:  # when the lease ends, the job is done again; it is not the job that failed
            log.exception("the database was away when the job %s ended", work.job.id)
        except asyncio.CancelledError:
            outcome = await self._given_back(work)
        except Exception as error:
            stopped = work.stopped and isinstance(error, Cancelled | EngineClosed)
            outcome = await (self._given_back(work) if stopped else self._failed(work, error))
        finally:
            beats.cancel()
            for ticket in work.tickets:
                ticket.cancel()
            full = self._room() <= 0
            if self._works.get(work.job.id) is work:
                del self._works[work.job.id]
            self.metrics.ended(work.job.kind, outcome)
            self._tell(work.job.id, ended)
            if full:  # else whatever waited was taken already
                self.wake()

    async def _given_back(self, work: Work) -> str:
        """A job that was stopped: back to the queue, unless it was cancelled for good."""
        with suppress(LeaseLost):
            await asyncio.to_thread(self.state.jobs.give_back, work.job)
            return "given back"
        return "cancelled"

    async def _failed(self, work: Work, error: Exception) -> str:
        failure = failure_of(error)
        if failure.code == "internal_error":
            log.error("the job %s failed", work.job.id, exc_info=error)
        with suppress(LeaseLost):
            await asyncio.to_thread(
                self.state.jobs.fail, work.job, failure.code, failure.message, cost_ticks=failure.cost_ticks
            )
        return "failed"

    async def _beat(self, work: Work) -> None:
        """Keep the lease; a job that is no longer ours is stopped."""
        while True:
            await asyncio.sleep(min(self.state.settings.limits.lease_s / 4, 2.0))
            try:
                await asyncio.to_thread(self.state.jobs.beat, work.job, progress=work.progress)
            except LeaseLost:
                work.stop()
                return
            except Exception:
                log.exception("cannot renew the lease of %s", work.job.id)

    def _show(self, work: Work, shown: Shown) -> None:
        work.shown.append(shown)
        self._tell(work.job.id, shown)

    def _tell(self, job_id: str, news: Shown | Job | None) -> None:
        """Let those who watch a job know: a preview, how it ended, or that there is news in the database."""
        for queue in self._watchers.get(job_id, ()):
            queue.put_nowait(news)


async def to_its_end(transaction: Coroutine[Any, Any, Result]) -> Result:
    """Await something that a cancellation must not leave half-way: the transaction decides, not the moment."""
    task = asyncio.ensure_future(transaction)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        return await task


def failure_of(error: Exception) -> JobFailed:
    """Why a job failed, in words for whoever asked for it."""
    if isinstance(error, JobFailed):
        return error
    if isinstance(error, Refused):
        codes = {"content_policy": "content_policy", "permit": "permission_denied"}
        return JobFailed(codes.get(error.code, "service_unavailable"), str(error))
    if isinstance(error, EngineClosed):
        return JobFailed("service_unavailable", "The model is not running.")
    if isinstance(error, StoreUnavailable):
        return JobFailed("service_unavailable", str(error))
    if isinstance(error, UserError):
        return JobFailed("invalid_argument", str(error))
    return JobFailed("internal_error", "Something went wrong while the job was done.")
