"""The service under load: `polarlight serve` in a process of its own, spoken to over HTTP on 127.0.0.1, with the shipped model.

    python bench/serve.py                                        everything, about five minutes
    python bench/serve.py --parts throughput --modes quality     eight requests at once, in one mode
    python bench/serve.py --parts latency steps                  waiting times at 1, 4 and 16 clients; the price of each step
    python bench/serve.py --parts sustained                      eight clients, each of whom asks again when it has its picture
    python bench/serve.py --parts product                        eight requests at once, candidates and all, as a user has it

First the proof: pictures from the server, asked for all at once, equal pixel for pixel those that the generator draws one at a
time, with the watermark that the file names laid over them, or the script stops (where the model runs in bf16 without tiled
products, nothing is promised and only the share is recorded).

`engine` is the engine called directly, in this process, with all threads. `processes` are as many processes of it as the server
has, called directly too: what the server adds to the drawing is what it loses against them.

Throughput races ways to the same eight pictures. `bare decode` is the passes of the packed model and nothing else (no pixels, no
queue, no thread): the ceiling. `peer` is a FastAPI server around Hugging Face transformers with the same weights in
`Glm4MoeForCausalLM`, in the best of its own ways to batch; it decodes the sequences of the same pictures, with and without the
prompt, a position a pass. That is the backbone's share alone (see `harness/peer_server.py`), and the work of quality mode, so the
peer runs beside quality mode.

In all parts but `product` the reader is left out, so that a request is one drawing in every way.

The servers start as a user starts them: without the allocator settings of the benchmark, which the peer does get.
"""

from __future__ import annotations

import asyncio
import base64
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from harness.latency import Wait, closed_loop, engine_wait, http_wait, summary
from harness.ledger import ceiling, prepare, record
from harness.peer_client import peer_difference, peer_process, peer_ways
from harness.processes import Client, Server, one_candidate, owner_key, polarlight_serve
from harness.steps import price_of_steps
from harness.timing import Race, Usage, best, race
from PIL import Image
from serve_engine import BARS, OpenGate, bare_decode, new_request, new_requests, one_by_one, served

from polarlight.base.machine import this_machine
from polarlight.infer.apart import EngineApart
from polarlight.infer.engine import Engine, ImageTask
from polarlight.infer.images import MODES, SHIPPED, ImageGenerator, ImageRequest
from polarlight.infer.pool import EnginePool, open_apart
from polarlight.infer.shipped import ShippedEngine
from polarlight.media.pictures import settings_inside
from polarlight.media.watermark import PUBLIC_KEY, embed

PARTS = ("throughput", "sustained", "latency", "steps", "product")
PEER_BAR, PEER_MODE = 1.3, "quality"
QUALITY = {"speed": "low", "quality": "high"}  # a mode by its name in the API
CLIENTS = {1: 10, 4: 4, 16: 2}  # how many at once: requests of each in a block
TURNS = 4  # requests of each client under sustained load
PREVIEWS = 3


@dataclass(kw_only=True)
class House:
    """The processes of a run and the model in this one."""

    generator: ImageGenerator
    processes: Engine
    client: Client
    peer: Client | None
    pids: tuple[int, ...]

    def usage(self) -> Usage:
        """Processor time so far; that of the servers is our own."""
        return Usage.now(self.pids)


@contextmanager
def opened(threads: int, with_peer: bool = False, whole: bool = False) -> Iterator[House]:
    """All servers, started and stopped; their state is a temporary folder. whole: with the reader."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="polarlight-bench-")))

        def connected(server: Server, secret: str = "") -> Client:
            client = Client(server.url, secret)
            stack.callback(client.close)
            return client

        weights = SHIPPED if whole else one_candidate(folder / "weights")
        servers = [stack.enter_context(polarlight_serve(folder / "home", threads, f"polarlight:{weights}"))]
        client = connected(servers[0], owner_key(servers[0]))
        peer = None
        if with_peer:
            servers.append(stack.enter_context(peer_process(folder, threads)))
            peer = connected(servers[-1])
        processes = stack.enter_context(called_directly(f"polarlight:{weights}", threads))
        yield House(
            generator=ImageGenerator.load(weights), processes=processes, client=client, peer=peer,
            pids=(*(server.pid for server in servers), *pids_of(processes)),
        )  # fmt: skip


@contextmanager
def called_directly(spec: str, threads: int) -> Iterator[Engine]:
    """An engine in the processes that a server has it in, all of them ready; the server, started before, is ready then too."""
    with patch.dict(os.environ, OMP_NUM_THREADS=str(threads)):
        engine = open_apart(spec)
    if isinstance(engine, EnginePool):
        engine.wait()
    yield engine
    asyncio.run(engine.close())


def pids_of(engine: Engine) -> list[int]:
    """The processes that an engine draws in."""
    members = engine.members if isinstance(engine, EnginePool) else [engine]
    return [member.process.pid for member in members if isinstance(member, EngineApart)]


def asked(request: ImageRequest, **more: Any) -> dict[str, Any]:
    """A request as the body of `POST /v1/images/generations`."""
    return {
        "prompt": request.prompt, "seed": request.seed, "aspect_ratio": request.aspect,
        "quality": QUALITY[request.mode], "response_format": "b64_json", **more,
    }  # fmt: skip


def fetched(client: Client, requests: Sequence[ImageRequest]) -> list[bytes]:
    """The picture files of requests that are sent at once."""

    async def one(request: ImageRequest) -> bytes:
        answer = await client.post("/v1/images/generations", asked(request))
        return base64.b64decode(answer["data"][0]["b64_json"])

    async def everyone() -> list[bytes]:
        return await asyncio.gather(*map(one, requests))

    return client.run(everyone())


def proven(house: House, mode: str, count: int) -> float:
    """Share of pictures from the server under load that equal those drawn alone, marked as the file says.

    Raises:
        AssertionError: some do not, though one seed promises one picture here.
    """
    requests, equal = new_requests(count, mode), []
    for content, request in zip(fetched(house.client, requests), requests, strict=True):
        with Image.open(io.BytesIO(content)) as file:
            pixels, mark = np.asarray(file.convert("RGB")), settings_inside(file, "the answer")["watermark"]
        alone = house.generator.draw([request])[0].pixels
        equal.append(np.array_equal(pixels, embed(alone, mark, PUBLIC_KEY)))
    share = float(np.mean(equal))
    promised = house.generator.dtype == torch.float32 or this_machine().amx_bf16
    assert not promised or share == 1.0, f"only {share:.0%} of the pictures in {mode} mode are those drawn alone"
    return share


def throughput(house: House, mode: str, count: int, rounds: int) -> tuple[dict[str, Any], Race]:
    """`count` pictures in every way, interleaved; with the peer in its best way, by a screening of all of them. The bare decode is
    that of all candidates, one batch after the other."""
    generator, requests = house.generator, new_requests(count, mode)
    engine, screening, share = ShippedEngine(generator), {}, proven(house, mode, count)
    jobs = [job for request in requests for job in generator.prepare(request).jobs]
    each = len(jobs) // count
    contenders: dict[str, Callable[[], object]] = {
        "bare decode": lambda: [
            bare_decode(generator, requests, jobs[start : start + count]) for start in range(0, count * each, count)
        ],
        "engine": partial(served, engine, requests),
        "processes": partial(served, house.processes, requests),
        "server": partial(fetched, house.client, requests),
        "one by one": partial(one_by_one, generator, requests),
    }
    if house.peer is not None and mode == PEER_MODE:
        differ = peer_difference()
        ways = peer_ways(house.peer, generator, requests)
        screening = {name: best(way, 2) for name, way in ways.items()}
        contenders["peer"] = ways[min(screening, key=lambda name: screening[name])]
    for work in contenders.values():
        work()
    run = race(contenders, rounds, usage=house.usage)
    asyncio.run(engine.close())
    result: dict[str, Any] = {
        "part": "product" if generator.chooser else "throughput", "mode": mode, "pictures": count,
        "rounds": len(run.seconds["server"]), "dropped": run.dropped, "dtype": str(generator.dtype).removeprefix("torch."),
        "bars": {**BARS, "over_peer": PEER_BAR}, "identical_to_alone": share,
        "pictures_per_second": {name: count / run.median(name) for name in contenders},
        "share_of_bare_decode": {name: run.median("bare decode") / run.median(name) for name in contenders},
        "over_direct": run.ratio("engine", "server"), "over_processes": run.ratio("processes", "server"),
        "over_one_by_one": run.ratio("one by one", "server"),
    }  # fmt: skip
    if screening:
        result |= {
            "peer_logits_differ": differ, "peer_seconds": screening, "over_peer": run.ratio("peer", "server"),
        }  # fmt: skip
    return result, run


def sustained(house: House, mode: str, count: int, rounds: int) -> tuple[dict[str, Any], Race]:
    """`count` clients who begin together, each of whom asks TURNS times, at once when it has its picture."""
    engine, share = ShippedEngine(house.generator), proven(house, mode, count)

    async def over_http(seed: int) -> None:
        await house.client.post("/v1/images/generations", asked(new_request(seed, mode)))

    async def direct(engine: Engine, seed: int) -> None:
        request = new_request(seed, mode)
        task = ImageTask(prompt=request.prompt, seed=seed, size=request.aspect, mode=mode)
        await (await engine.submit(task, OpenGate())).result()

    contenders: dict[str, Callable[[], object]] = {
        "server": lambda: house.client.run(closed_loop(over_http, count, TURNS, 0)),
        "engine": lambda: asyncio.run(closed_loop(partial(direct, engine), count, TURNS, 0)),
        "processes": lambda: asyncio.run(closed_loop(partial(direct, house.processes), count, TURNS, 0)),
    }
    for work in contenders.values():
        work()
    run = race(contenders, rounds, usage=house.usage)
    asyncio.run(engine.close())
    pictures = count * TURNS
    result = {
        "part": "sustained", "mode": mode, "clients": count, "pictures": pictures, "rounds": len(run.seconds["server"]),
        "dropped": run.dropped, "dtype": str(house.generator.dtype).removeprefix("torch."), "bars": BARS,
        "identical_to_alone": share, "pictures_per_second": {name: pictures / run.median(name) for name in contenders},
        "over_direct": run.ratio("engine", "server"), "over_processes": run.ratio("processes", "server"),
    }  # fmt: skip
    return result, run


def latency(house: House, mode: str, blocks: int) -> tuple[dict[str, Any], float]:
    """Waiting times at every number of clients, server and engine in turns; and the share of the machine that others used."""
    engine, start = ShippedEngine(house.generator), house.usage()

    async def over_http(seed: int) -> Wait:
        return await http_wait(house.client, asked(new_request(seed, mode), stream=True, partial_images=PREVIEWS))

    async def direct(seed: int) -> Wait:
        request = new_request(seed, mode)
        task = ImageTask(prompt=request.prompt, seed=seed, size=request.aspect, mode=mode, previews=PREVIEWS)
        return await engine_wait(engine, task, OpenGate())

    sides = [("server", over_http, house.client.run), ("engine", direct, asyncio.run)]
    waits: dict[str, dict[int, list[Wait]]] = {name: {clients: [] for clients in CLIENTS} for name, *_ in sides}
    for block in range(blocks + 1):
        for clients, each in CLIENTS.items():
            for name, ask, run in sides if block % 2 else reversed(sides):
                found = run(closed_loop(ask, clients, each, block * clients * each))
                waits[name][clients] += found if block else []  # the first block warms up
    asyncio.run(engine.close())
    result: dict[str, Any] = {"part": "latency", "mode": mode, "previews": PREVIEWS}
    result |= {name: {str(n): summary(found) for n, found in by.items()} for name, by in waits.items()}
    return result, house.usage().since(start)[1]


def steps(house: House, mode: str, rounds: int) -> tuple[dict[str, Any], Race]:
    """One picture at a time, from the server and from the engine, and the price of every step that lies between them."""
    engine, requests = ShippedEngine(house.generator), new_requests(1, mode)
    contenders: dict[str, Callable[[], object]] = {
        "server": partial(fetched, house.client, requests),
        "engine": partial(served, engine, requests),
        "an empty route": lambda: house.client.run(house.client.http.get("/health")),
    }
    for work in contenders.values():
        work()
    run = race(contenders, rounds, usage=house.usage)
    asyncio.run(engine.close())
    prices = price_of_steps(house.generator.draw(requests)[0], rounds)
    alone = {name: 1e3 * run.median(name) for name in contenders}
    result = {
        "part": "steps", "mode": mode, "rounds": len(run.seconds["server"]), "dropped": run.dropped,
        "milliseconds_alone": alone, "milliseconds": prices, "milliseconds_of_all_steps": sum(prices.values()),
        "milliseconds_over_engine": alone["server"] - alone["engine"],
    }  # fmt: skip
    return result, run


def main() -> None:
    options = prepare(
        __doc__ or "", ("--parts", {"nargs": "+", "choices": PARTS, "default": PARTS}),
        ("--modes", {"nargs": "+", "choices": list(MODES), "default": list(MODES), "help": "of the throughput"}),
        ("--count", {"type": int, "default": 8}), ("--rounds", {"type": int, "default": 15}),
        ("--blocks", {"type": int, "default": 3, "help": "of the latency; each has some 60 requests a side"}),
    )  # fmt: skip
    if options.clock != "wall":
        raise SystemExit("The work is done in other processes, so only the wall clock sees it. Leave --clock out.")
    ceiling()
    if "product" in options.parts:
        with opened(options.threads, whole=True) as house:
            result, run = throughput(house, "quality", options.count, options.rounds)
            record("serve", result, run.others)
    if set(options.parts) <= {"product"}:
        return
    with opened(options.threads, "throughput" in options.parts and PEER_MODE in options.modes) as house:
        if "throughput" in options.parts:
            for mode in options.modes:
                result, run = throughput(house, mode, options.count, options.rounds)
                record("serve", result, run.others)
        if "sustained" in options.parts:
            for mode in options.modes:
                result, run = sustained(house, mode, options.count, options.rounds)
                record("serve", result, run.others)
        if "latency" in options.parts:
            record("serve", *latency(house, "speed", options.blocks))
        if "steps" in options.parts:
            result, run = steps(house, "speed", options.rounds)
            record("serve", result, run.others)


if __name__ == "__main__":
    main()
