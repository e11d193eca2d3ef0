"""One training step of the image model's backbone beside the same network and weights in Hugging Face transformers.

    python bench/train.py              equality of loss and gradient norm in fp32, then eager steps
    python bench/train.py --compile    with compiled steps on both sides too (minutes of compilation)

Forward, cross-entropy over text tokens, backward and a fused AdamW step on about 4,000 tokens. Polarlight computes in bf16 from
fp32 weights by its own dtype path, the peer under bf16 autocast.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from harness.ledger import ceiling, prepare, record
from harness.peer import EXPERTS, new_model, new_peer
from harness.text import written
from harness.timing import best, race
from torch import Tensor, nn
from torch.optim import AdamW

from polarlight.models.image_ar import ImageAR, ImageARConfig, causal_mask
from polarlight.train.fuse import can_compile, fused

VOCABULARY = 1328
ROWS, LENGTH = 36, 112  # 4,032 tokens in sequences of a picture's length
RATE = 1e-4
TOLERANCE = 1e-4
BAR = 1.25

Step = Callable[[], Tensor]


def batch(config: ImageARConfig) -> Tensor:
    """Random words [rows, length + 1]."""
    return torch.randint(0, config.vocabulary, (ROWS, LENGTH + 1), generator=torch.Generator().manual_seed(0))


def own_loss(model: ImageAR, words: Tensor, dtype: torch.dtype) -> Tensor:
    """Mean next-token cross-entropy of the image model, without router terms."""
    tokens = written(model, words[:, :-1])
    hidden, _ = model.hidden(tokens, causal_mask(tokens), dtype)
    return F.cross_entropy(model.text_logits(hidden).flatten(0, 1), words[:, 1:].flatten())


def peer_loss(peer: nn.Module, words: Tensor, dtype: torch.dtype) -> Tensor:
    """The same of the peer, under autocast where `dtype` is not fp32."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        logits = peer(words[:, :-1], use_cache=False).logits
    return F.cross_entropy(logits.float().flatten(0, 1), words[:, 1:].flatten())


def step(loss: Callable[[], Tensor], optimizer: AdamW) -> Tensor:
    """One whole training step."""
    value = loss()
    value.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return value.detach()


def adam(module: nn.Module) -> AdamW:
    """The optimizer of both sides."""
    return AdamW([p for p in module.parameters() if p.requires_grad], lr=RATE, fused=True)


def check() -> dict[str, float]:
    """Equal losses and equal gradients of one shared matrix in fp32, or an AssertionError; returns the differences."""
    config = ImageARConfig(vocabulary=VOCABULARY, layers=3, width=128, heads=2, dense_hidden=256)
    model = new_model(config).train()
    peer = new_peer(model, torch.float32).train()
    words = batch(config)[:4, :33]
    ours, theirs = own_loss(model, words, torch.float32), peer_loss(peer, words, torch.float32)
    ours.backward()
    theirs.backward()
    loss = abs(float(ours.detach() - theirs.detach()))
    experts, same = model.blocks[1].mlp.up.grad, peer.model.layers[1].mlp.experts.gate_up_proj.grad
    gradient = float((experts - same).abs().max() / same.abs().max())
    assert loss <= TOLERANCE, f"losses differ by {loss}"
    assert gradient <= TOLERANCE, f"gradients differ by {gradient} of the largest"
    return {"loss_difference": loss, "gradient_difference": gradient}


def contenders(compiled: bool, stack: ExitStack) -> dict[str, Step]:
    """Every side and setting as one step, each with its own copy of the weights."""
    config = ImageARConfig(vocabulary=VOCABULARY)
    words, source = batch(config), new_model(config)
    steps: dict[str, Step] = {}

    def own(name: str, fuse: bool) -> None:
        model = copy.deepcopy(source).train()
        if fuse:
            stack.enter_context(fused(model))
        steps[name] = partial(step, partial(own_loss, model, words, torch.bfloat16), adam(model))

    def peer(name: str, experts: str, compile_: bool) -> None:
        module: Any = new_peer(source, torch.float32, experts).train()
        optimizer = adam(module)
        module = torch.compile(module) if compile_ else module
        steps[name] = partial(step, partial(peer_loss, module, words, torch.bfloat16), optimizer)

    own("polarlight", fuse=False)
    for experts in EXPERTS[:2]:  # batched_mm copies a weight matrix for every token: gigabytes here
        peer(f"peer {experts}", experts, compile_=False)
    if compiled and can_compile():
        own("polarlight fused", fuse=True)
        peer("peer grouped_mm compiled", "grouped_mm", compile_=True)
    return steps


def main() -> None:
    options = prepare(
        __doc__ or "",
        ("--compile", {"action": "store_true"}),
        ("--rounds", {"type": int, "default": 15}),
    )
    peak = ceiling()["gemm_peak"]["bfloat16"]
    equal = check()
    print(f"Equal in fp32: {equal}")
    with ExitStack() as stack:
        steps = contenders(options.compile, stack)
        screening = {}
        for name, work in list(steps.items()):
            try:
                screening[name] = best(work, 1, options.clock)
            except Exception as error:  # a peer's setting that does not run here is a finding, not our failure
                print(f"{name} does not run: {type(error).__name__}: {str(error).splitlines()[0]}")
                del steps[name]
        eager = min((n for n in screening if n.startswith("peer") and "compiled" not in n), key=lambda n: screening[n])
        chosen = {n: work for n, work in steps.items() if not n.startswith("peer") or "compiled" in n or n == eager}
        run = race(chosen, options.rounds, options.clock)
    tokens = ROWS * LENGTH
    model = new_model(ImageARConfig(vocabulary=VOCABULARY))
    row = model.cost(LENGTH, 0)
    table = 2 * model.tokens.weight.numel() * LENGTH
    flops = 3 * ROWS * (row.flops + table)
    peers = [name for name in chosen if name.startswith("peer")]
    result = {
        "tokens": tokens, "clock": options.clock, "rounds": len(run.seconds["polarlight"]), "dropped": run.dropped,
        "equality": equal, "bar": BAR, "peer_settings": {name: tokens / seconds for name, seconds in screening.items()},
        "tokens_a_second": {name: tokens / run.median(name) for name in chosen},
        "mfu": {name: flops / run.median(name) / peak for name in chosen},
        "ratios": {
            f"{own} over {peer}": run.ratio(peer, own) for own in chosen if own not in peers for peer in peers
        },
    }  # fmt: skip
    record("train", result, run.others)


if __name__ == "__main__":
    main()
