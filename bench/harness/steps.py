"""What the service adds to a picture, step by step: each step of one request, called by itself, without company.

The steps are those of `docs/architecture.md`, "From a request to an answer", with the default options: sign, watermark, one
SQLite file and one folder of objects. Their sum is processor and disk time that requests spend beside the engine.
"""

from __future__ import annotations

import base64
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from polarlight.infer.engine import Engines
from polarlight.infer.images import Picture
from polarlight.infer.policy import GateRequest
from polarlight.media.pictures import encode_picture
from polarlight.media.provenance import new_manifest, sign
from polarlight.media.sealing import mark_of
from polarlight.media.watermark import PUBLIC_KEY, embed
from polarlight.serve.jobs import Job
from polarlight.serve.service import Service
from polarlight.serve.settings import Settings
from polarlight.serve.stored_files import NewFile

PROMPT = "a red car left of a yellow house"
TICKS = 1000  # what the benchmark's job costs
Value = TypeVar("Value")


class Stopwatch:
    """Milliseconds of named steps, over many requests."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def __call__(self, name: str, work: Callable[[], Value]) -> Value:
        """Do one step and note its time."""
        start = time.perf_counter()
        value = work()
        self.times.setdefault(name, []).append(1e3 * (time.perf_counter() - start))
        return value

    def medians(self) -> dict[str, float]:
        """By step, in the order they came; the first time of each is left out as its warm-up."""
        return {name: statistics.median(times[1:]) for name, times in self.times.items()}


def price_of_steps(picture: Picture, rounds: int) -> dict[str, float]:
    """Median milliseconds of every step of a request that makes this picture, of `rounds` requests; no engine is asked."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as home:
        service = Service.open(Settings.at(Path(home)), Engines())
        secret = service.state.keys.create("benchmark").secret
        for _ in range(rounds + 1):
            request(service, secret, picture, watch)
        service.state.close()
    return watch.medians()


def request(service: Service, secret: str, picture: Picture, watch: Stopwatch) -> None:
    """Every step of one request but the engine's."""
    state = service.state
    key = watch("database: key", lambda: state.keys.authenticate(secret))
    assert key is not None
    asked = GateRequest(task="draw", prompt=PROMPT, entry_point="rest", key_id=key.id)
    watch("policy: the door's question", lambda: service.gate.check(asked))
    watch("database: room in the queue", service.in_queue)
    body = {"prompt": PROMPT, "n": 1, "seed": picture.seed}
    watch("database: accept the job", lambda: state.jobs.submit(key.id, "image", "polarlight", body, ticks=TICKS))
    job = watch("database: claim the job", lambda: state.jobs.claim("benchmark"))
    assert job is not None
    permit = watch("policy: the worker's permit", lambda: service.gate.check(asked))
    permit.spend(asked.task, PROMPT)
    mark = mark_of(job.id)
    pixels = watch("watermark", lambda: embed(picture.pixels, mark, PUBLIC_KEY))
    settings = {"served_as": "polarlight", **picture.metadata, "watermark": mark}
    content = watch("PNG encoding", lambda: encode_picture(pixels, settings, ".png"))
    identity = service.outputs.identity
    assert identity is not None
    manifest = new_manifest()
    content = watch("signature", lambda: sign(content, identity, settings, manifest=manifest))
    verdict = watch("policy: the output", lambda: service.gate.check_output(permit, pixels, manifest))
    file = NewFile(
        filename="output-1.png", content=content, content_type="image/png", purpose="output", pdq=verdict.pdq
    )
    ended = watch("database: file, charge and end of the job", lambda: state.jobs.finish(job, files=[file]))
    watch("answer: read the file, base64, JSON", lambda: answer(service, ended))


def answer(service: Service, job: Job) -> str:
    """The answer with the picture inside, as the door makes it."""
    assert job.result is not None
    ended = service.state.jobs.get(job.id)
    file = service.state.files.get(job.result["files"][0])
    content = service.state.objects.get(file.object_key)
    return json.dumps({"created": int(ended.created_at), "data": [{"b64_json": base64.b64encode(content).decode()}]})
