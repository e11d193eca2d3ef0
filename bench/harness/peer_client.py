"""The peer's server from outside: proven equal, started, and asked for the sequences of pictures."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from harness.peer import new_peer
from harness.processes import Client, Server, listening
from harness.text import greedy, logits
from polarlight.infer.images import GRIDS, ImageGenerator, ImageRequest

BENCH = Path(__file__).parents[1]
TOLERANCE = 1e-4  # of the largest logit, in fp32
BATCHINGS = ("continuous", "gathered")
EXPERTS = ("grouped_mm", "eager")  # "batched_mm" takes twice as long at eight rows, by bench/decode.py


@torch.inference_mode()
def peer_difference(rows: int = 4, length: int = 24, drawn: int = 16) -> float:
    """The largest difference of the peer's fp32 logits from the model's with the shipped weights, as a share of the largest logit.

    Raises:
        AssertionError: it is above TOLERANCE, or the greedy tokens differ.
    """
    model = ImageGenerator.load(dtype=torch.float32).model
    peer = new_peer(model, torch.float32)
    ids = torch.randint(0, model.config.vocabulary, (rows, length), generator=torch.Generator().manual_seed(0))
    expected = peer(ids).logits
    difference = float((logits(model, ids, torch.float32) - expected).abs().max() / expected.abs().max())
    assert difference <= TOLERANCE, f"the peer's logits differ by {difference} of the largest"
    out = peer.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=drawn, min_new_tokens=drawn, do_sample=False,
        pad_token_id=0,
    )  # fmt: skip
    assert torch.equal(out[:, length:], greedy(model, torch.float32, ids, drawn)), "the peer draws other tokens"
    return difference


def peer_process(folder: Path, threads: int) -> AbstractContextManager[Server]:
    """The peer's server, started; its log lies in `folder`."""

    def command(port: int) -> Sequence[str]:
        return (sys.executable, "-m", "harness.peer_server", "--port", str(port), "--threads", str(threads))

    return listening(command, "/health", folder / "peer.log", cwd=BENCH)


def peer_ways(
    client: Client, generator: ImageGenerator, requests: Sequence[ImageRequest]
) -> dict[str, Callable[[], None]]:
    """The sequences of pictures through every way of the peer to batch them; every way checks that it got them all."""
    words, (rows, columns) = generator.vocabulary, GRIDS["1:1"]
    opening, count = [words["<bos>"], words["<draw>"]], rows * columns
    bodies = [{"rows": [[*opening, *words.encode(r.prompt)], opening], "count": count} for r in requests]

    def decode(way: str) -> None:
        async def everyone() -> list[dict[str, Any]]:
            return await asyncio.gather(*(client.post(f"/{way}", body) for body in bodies))

        drawn = [row for answer in client.run(everyone()) for row in answer["rows"]]
        assert [len(row) for row in drawn] == [count] * (2 * len(bodies)), f"{way} drew sequences of another length"

    return {f"{kind}/{e}": partial(decode, f"{kind}/{e}") for kind in BATCHINGS for e in EXPERTS}
