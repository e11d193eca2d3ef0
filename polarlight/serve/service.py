"""The service without its doors: what REST, gRPC and the studio share.

service = Service.open(settings, engines, options)
await service.start()
admission = await service.admit_model(caller, "image", "polarlight")
job = await submit_images(service, admission, ImageOrder(prompt="a red cat"))   # image_orders
async for event in service.workers.follow(job): ...
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import func, select

from polarlight.base.errors import UserError
from polarlight.infer.engine import Engine, Engines
from polarlight.infer.policy import Gate, GateConfig, Permit
from polarlight.media.signing_identity import SigningIdentity
from polarlight.media.watermark import PUBLIC_KEY

from . import tables
from .accounts import Key
from .errors import Problem
from .job_rows import Job
from .metrics import Metrics
from .options import Options
from .outputs import SUFFIXES, Outputs
from .settings import Settings
from .state import State
from .stored_files import StoredFile
from .work import Workers

log = logging.getLogger("polarlight.serve")
_job = tables.jobs.c
IN_QUEUE = select(func.count()).where(
    _job.state.in_(("queued", "running")), _job.batch_id.is_(None)
)  # built once, see `ledger`
LEAST_URL_S = 60.0  # an address with less time left than this is replaced


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Who asks, and through which door ("rest", "grpc", "studio"). A repeated `idempotency_key` returns the first job.

    `subject_consent`: the caller stated it for the whole call, where the dialect has no field for it.
    """

    key: Key
    door: str
    request_id: str = ""
    idempotency_key: str | None = None
    subject_consent: bool = False


@dataclass(frozen=True, kw_only=True)
class Admission:
    """A caller who may use this model now; an order is submitted with one."""

    caller: Caller
    model: str
    engine: Engine


@dataclass(kw_only=True)
class Service:
    """Everything behind the doors of one process.

    permits: by job, the permit that a door was given for a job whose work began at once; its first picture uses it.
    """

    state: State
    engines: Engines
    gate: Gate
    options: Options
    outputs: Outputs
    metrics: Metrics
    workers: Workers = field(init=False)
    permits: dict[str, Permit] = field(default_factory=dict)
    draining: bool = False

    def __post_init__(self) -> None:
        from .image_work import make_images  # they import this file
        from .video_work import make_video

        makers = {"image": partial(make_images, self), "video": partial(make_video, self)}
        self.workers = Workers(self.state, makers, self.metrics, self.options, models=self.engines.names)

    @classmethod
    def open(
        cls,
        settings: Settings,
        engines: Engines,
        options: Options | None = None,
        *,
        state: State | None = None,
        policy: GateConfig | None = None,
    ) -> Service:
        """Open the state (where it is not given), the gate and the signing identity in the settings' folder.

        policy: the operator's choices for the gate; None for those in its folder (see `Gate.at`).

        Raises:
            UserError: a setting is wrong, a package is missing, or a file in the folder is damaged.
        """
        options = options or Options()
        state = state or State.open(settings)
        identity = SigningIdentity.open(settings.home) if options.sign else None
        gate = Gate.at(settings.home, policy)
        key = PUBLIC_KEY if options.watermark else None
        outputs = Outputs(gate=gate, identity=identity, watermark_key=key)
        return cls(state=state, engines=engines, gate=gate, options=options, outputs=outputs, metrics=Metrics())

    async def start(self) -> None:
        """Begin to work on jobs, those that an earlier process left too."""
        self.workers.start()

    async def stop(self) -> None:
        """Take nothing more, let jobs under way end within the limit, give the rest back, close everything."""
        self.draining = True
        await self.workers.stop(self.options.drain_s)
        try:  # an engine that does not end in time must not keep the process
            await asyncio.wait_for(self.engines.close(), self.options.drain_s)
        except TimeoutError:
            log.warning("an engine did not stop within %s s", self.options.drain_s)
        await asyncio.to_thread(self.state.close)

    def engine(self, model: str | None, modality: str) -> tuple[str, Engine]:
        """The name that was asked for (None: the default's own), and its engine.

        Raises:
            Problem: there is none, or it makes something else.
        """
        try:
            engine = self.engines.get(model) if model else self.engines.default(modality)
        except UserError as error:
            if model is None or (modality == "video" and not self.has(modality)):
                raise Problem(404, f"No {modality} model is loaded.", code="no_model", param="model") from error
            raise unknown_model(model) from error
        if engine.info.modality != modality:
            raise Problem(400, f"The model {model} does not make {modality}s.", code="unsupported", param="model")
        return model or engine.info.name, engine

    def has(self, modality: str) -> bool:
        """Whether any engine makes this."""
        return any(engine.info.modality == modality for engine in self.engines)

    async def admit(self, caller: Caller, endpoint: str, model: str | None = None, *, counted: bool = True) -> None:
        """Whether the key may ask for this, and may ask now.

        Raises:
            Problem: the key is blocked, or its lists do not allow the endpoint (403) or the model (404).
            TooManyRequests: its rate limit is used up.
        """
        if caller.key.blocked:
            raise Problem(403, "This API key is blocked. Ask the operator.", code="key_blocked")
        if not caller.key.may(endpoint):
            raise Problem(403, f"This API key may not use the endpoint {endpoint}.", code="permission_denied")
        if model is not None and not caller.key.may(endpoint, model):
            raise unknown_model(model)
        limited = caller.key.requests_per_second is not None or caller.key.requests_per_minute is not None
        if counted and limited:
            await asyncio.to_thread(self.state.rates.admit, caller.key, model or "")

    async def admit_model(self, caller: Caller, modality: str, model: str | None, *, counted: bool = True) -> Admission:
        """Whether the key may use this model (None: the default) now; the requests of a batch are not counted.

        Raises:
            Problem: there is no such model, or the key may not use it.
            TooManyRequests: its rate limit is used up.
        """
        name, engine = self.engine(model, modality)
        await self.admit(caller, f"{modality}s", name, counted=counted)
        return Admission(caller=caller, model=name, engine=engine)

    def check_room(self) -> None:
        """Whether the queue takes one more job. Blocks: call it from a thread.

        Raises:
            Problem: it is full (429), or the server is stopping (503).
        """
        if self.draining:
            raise Problem(503, "The server is shutting down.", retry_after_s=5)
        if self.in_queue() >= self.options.queue:
            raise Problem(429, "The queue is full. Try again soon.", code="queue_full", retry_after_s=2)

    def in_queue(self) -> int:
        """How many jobs wait or run; those of batches, for which nobody waits, are not counted."""
        with self.state.database.read() as connection:
            return connection.execute(IN_QUEUE).scalar_one()

    async def enqueue(self, admission: Admission, kind: str, body: dict[str, Any], ticks: int) -> Job:
        """Reserve a price and put a job of `kind`, "image" or "video", into the queue.

        Raises:
            Problem: a full queue or a stopping server.
            CreditsUsedUp: the key cannot pay.
            IdempotencyConflict: the idempotency key came with another order.
        """
        job = await asyncio.to_thread(self.submit, admission, kind, body, ticks)
        self.workers.wake()
        return job

    def submit(
        self,
        admission: Admission,
        kind: str,
        body: dict[str, Any],
        ticks: int,
        *,
        job_id: str | None = None,
        worker: str | None = None,
    ) -> Job:
        """The same for who blocks in a thread and tells the workers itself; `job_id`, `worker`: as in `Jobs.submit`."""
        self.check_room()
        caller = admission.caller
        return self.state.jobs.submit(
            caller.key.id, kind, admission.model, body, ticks=ticks, idempotency_key=caller.idempotency_key,
            job_id=job_id, worker=worker,
        )  # fmt: skip

    async def public_url(self, file: StoredFile, seconds: float | None = None) -> tuple[str, float | None]:
        """A public address of a file and until when it is good (None: until revoked); one that it has is kept while it lasts."""
        return await asyncio.to_thread(self.publish, file, seconds)

    def publish(self, file: StoredFile, seconds: float | None = None) -> tuple[str, float | None]:
        """The same for who blocks in a thread."""
        file = self.state.files.get(file.id)  # it may have been published since it was read
        until = file.public_until
        if file.public_token is None or (until is not None and until < time.time() + LEAST_URL_S):
            file = self.state.files.publish(file.id, seconds or self.options.url_s)
        return self.address(file), file.public_until

    def address(self, file: StoredFile) -> str:
        """The public address of a published file; its suffix tells programs what it is."""
        kind = file.content_type.rpartition("/")[2]
        return f"{self.state.settings.public_url}/public/{file.public_token}{SUFFIXES.get(kind, f'.{kind}')}"


def unknown_model(model: str) -> Problem:
    """The same words for a model that does not exist and one that the key may not use."""
    sentence = f"The model {model} does not exist or your team does not have access to it."
    return Problem(404, sentence, code="model_not_found", param="model")
