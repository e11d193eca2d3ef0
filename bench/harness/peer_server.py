"""The peer as a server: FastAPI around Hugging Face's own batching, with the shipped image model's weights.

    python -m harness.peer_server --port 8100 --threads 2     (from the folder bench)

A request is one picture's worth of sequences, with the prompt and without it, as guidance needs them, and it is answered with
`count` greedy tokens of each, one position a pass. That is the backbone's share of a picture alone: the peer has no digit
head, mixes no guidance, decodes no pixels, and neither marks, signs nor stores anything.

`/continuous/EXPERTS` goes through transformers' continuous batching, `/gathered/EXPERTS` through one `generate` over all
requests that came within GATHER_S of the first, which is what a server written by hand does.
"""

from __future__ import annotations

import argparse
import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import ContinuousBatchingConfig, GenerationConfig, Glm4MoeForCausalLM
from transformers.generation.continuous_batching.requests import GenerationOutput

from harness.peer import new_peer
from polarlight.infer.images import ImageGenerator

GATHER_S = 0.01  # long enough for eight requests that are sent at once
LONGEST = 256  # tokens of a sequence; pages of this size make one block a sequence
TOGETHER = 64  # sequences that the cache holds
BATCH_TOKENS = 512
Rows = list[list[int]]


class Sequences(BaseModel):
    """Token ids, one list a sequence, and how many to add to each."""

    rows: Rows
    count: int


class Continuous:
    """transformers' continuous batching: rows join and leave a running batch. On CPUs it takes explicit sizes."""

    def __init__(self, peer: Glm4MoeForCausalLM) -> None:
        sizes = {"page_size": LONGEST, "num_blocks": TOGETHER, "max_batch_tokens": BATCH_TOKENS}
        self.manager = peer.init_continuous_batching(
            generation_config=GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
            continuous_batching_config=ContinuousBatchingConfig(
                **sizes, allow_block_sharing=False, use_async_batching=False
            ),
        )
        self.manager.start()

    async def draw(self, rows: Rows, count: int) -> Rows:
        """The next `count` tokens of each row."""
        return await asyncio.gather(*(self._row(row, count) for row in rows))

    async def _row(self, row: list[int], count: int) -> list[int]:
        name, ended = uuid.uuid4().hex, asyncio.get_running_loop().create_future()

        def hear(output: GenerationOutput) -> None:
            if output.is_finished() and not ended.done():
                ended.set_result(output)

        self.manager.register_result_handler(name, hear)
        self.manager.add_request(row, request_id=name, max_new_tokens=count)
        output = await ended
        assert output.error is None, output.error
        return output.generated_tokens

    async def close(self) -> None:
        """End its thread."""
        await asyncio.to_thread(self.manager.stop, block=True)


class Gathered:
    """One `generate` over everything that came within GATHER_S of the first; rows are padded on the left."""

    def __init__(self, peer: Glm4MoeForCausalLM) -> None:
        self.peer, self.waiting = peer, asyncio.Queue[tuple[Rows, int, asyncio.Future[Rows]]]()
        self.task = asyncio.create_task(self._work())

    async def draw(self, rows: Rows, count: int) -> Rows:
        """The next `count` tokens of each row."""
        ended = asyncio.get_running_loop().create_future()
        await self.waiting.put((rows, count, ended))
        return await ended

    async def _work(self) -> None:
        while True:
            together = [await self.waiting.get()]
            await asyncio.sleep(GATHER_S)
            while not self.waiting.empty():
                together.append(self.waiting.get_nowait())
            everything = [row for rows, _, _ in together for row in rows]
            drawn = await asyncio.to_thread(self._generate, everything, max(count for _, count, _ in together))
            for rows, count, ended in together:
                own, drawn = drawn[: len(rows)], drawn[len(rows) :]
                ended.set_result([row[:count] for row in own])

    def _generate(self, rows: Rows, count: int) -> Rows:
        length = max(map(len, rows))
        ids = torch.tensor([[0] * (length - len(row)) + row for row in rows])
        seen = torch.tensor([[0] * (length - len(row)) + [1] * len(row) for row in rows])
        out = self.peer.generate(
            ids, attention_mask=seen, max_new_tokens=count, min_new_tokens=count, do_sample=False, pad_token_id=0
        )
        return out[:, length:].tolist()

    async def close(self) -> None:
        """End its task."""
        self.task.cancel()


def make_app(peer: Glm4MoeForCausalLM) -> FastAPI:
    """The two ways of batching behind one path each."""
    ways: dict[str, Any] = {}

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        ways.update(continuous=Continuous(peer), gathered=Gathered(peer))
        yield
        for way in ways.values():
            await way.close()

    app = FastAPI(lifespan=life)

    @app.get("/health")
    async def health() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/{way}/{experts}")
    async def draw(way: str, experts: str, asked: Sequences) -> dict[str, Rows]:
        peer.set_experts_implementation(experts)
        return {"rows": await ways[way].draw(asked.rows, asked.count)}

    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    peer = new_peer(ImageGenerator.load(dtype=torch.float32).model, torch.bfloat16)
    uvicorn.run(make_app(peer), host="127.0.0.1", port=options.port, log_level="warning")


if __name__ == "__main__":
    main()
