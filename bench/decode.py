"""Greedy decoding of text tokens: Polarlight's image model beside the same network and weights in Hugging Face transformers.

    python bench/decode.py              equality in fp32, then time in bf16 at 1 and at 8 rows
    python bench/decode.py --check      equality only
    python bench/decode.py --compile    with compiled contenders on both sides (minutes of compilation)
    python bench/decode.py --pictures   few-pass against full sequential drawing with the shipped weights

The peer runs `generate` with every experts implementation and with dynamic and static cache, and in a bare loop without
`generate`'s bookkeeping. A short screening picks its best setting; that one is then interleaved with Polarlight.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from harness.ledger import bandwidth, prepare, record
from harness.peer import EXPERTS, new_model, new_peer
from harness.text import greedy, logits
from harness.timing import Race, best, race
from torch import Tensor
from transformers import CompileConfig, DynamicCache, Glm4MoeForCausalLM, StaticCache

from polarlight.infer.packed import PackedImageAR
from polarlight.models.image_ar import ImageAR, ImageARConfig

VOCABULARY = 1328  # rounded up from the shipped one: its size is not what is measured
PROMPT = 32
SCREENING_TOKENS = 16
TOLERANCE = 1e-4  # on fp32 logits
BARS = {"eager": 2.0, "compiled": 1.3}

Decode = Callable[[Tensor, int], Tensor]


def generate(peer: Glm4MoeForCausalLM, experts: str, cache: str | None, ids: Tensor, tokens: int) -> Tensor:
    """The peer's own `generate`; cache "static", "compiled" (static too) or None for the dynamic one."""
    peer.set_experts_implementation(experts)
    settings: dict[str, Any] = {
        "cache_implementation": "static" if cache else None,
        "disable_compile": cache != "compiled",
    }
    if cache == "compiled":
        settings["compile_config"] = CompileConfig(fullgraph=True, mode="default")
        settings["compile_config"]._compile_all_devices = True
    out = peer.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
        pad_token_id=0, **settings,
    )  # fmt: skip
    return out[:, ids.shape[1] :]


@torch.inference_mode()
def bare(peer: Glm4MoeForCausalLM, experts: str, static: bool, ids: Tensor, tokens: int) -> Tensor:
    """The peer's forward pass in the shortest loop that decodes greedily."""
    peer.set_experts_implementation(experts)
    cache = (
        StaticCache(peer.config, max_cache_len=ids.shape[1] + tokens) if static else DynamicCache(config=peer.config)
    )
    drawn, word = [], ids
    for _ in range(tokens):
        word = peer(word, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1:].argmax(-1)
        drawn.append(word)
    return torch.cat(drawn, 1)


def peers(peer: Glm4MoeForCausalLM) -> dict[str, Decode]:
    """Every eager setting of the peer by name."""
    settings: dict[str, Decode] = {}
    for experts in EXPERTS:
        settings[f"generate {experts} dynamic"] = partial(generate, peer, experts, None)
        settings[f"generate {experts} static"] = partial(generate, peer, experts, "static")
        settings[f"loop {experts} dynamic"] = partial(bare, peer, experts, False)
    return settings


def compiled_peers(peer: Glm4MoeForCausalLM) -> dict[str, Decode]:
    """The peer's compiled settings: a static cache and one graph a step."""
    return {f"generate {e} compiled": partial(generate, peer, e, "compiled") for e in ("grouped_mm", "batched_mm")}


def check(config: ImageARConfig, rows: int, tokens: int = 48) -> dict[str, float]:
    """Equal logits and equal greedy tokens in fp32, or an AssertionError; returns the largest difference of logits."""
    model = new_model(config)
    peer = new_peer(model, torch.float32)
    ids = prompt(config, rows)
    with torch.inference_mode():
        expected = peer(ids).logits
    packed = PackedImageAR(model, torch.float32)
    difference = max(float((logits(own, ids, torch.float32) - expected).abs().max()) for own in (model, packed))
    assert difference <= TOLERANCE, f"logits differ by {difference}"
    drawn = greedy(packed, torch.float32, ids, tokens)
    assert torch.equal(drawn, greedy(model, torch.float32, ids, tokens)), "the packed model draws other tokens"
    for name, decode in peers(peer).items():
        assert torch.equal(drawn, decode(ids, tokens)), f"{name} draws other tokens"
    return {"rows": rows, "tokens": tokens, "largest_difference": difference}


def prompt(config: ImageARConfig, rows: int) -> Tensor:
    """Random words, other ones in every row."""
    return torch.randint(0, config.vocabulary, (rows, PROMPT), generator=torch.Generator().manual_seed(rows))


def screened(settings: dict[str, Decode], ids: Tensor, tokens: int, clock: str) -> dict[str, float]:
    """Seconds a token of every setting, in a short run, fastest first. One that fails is named and left out."""
    seconds = {}
    for name, decode in settings.items():
        try:
            seconds[name] = best(lambda decode=decode: decode(ids, tokens), 3, clock) / tokens
        except Exception as error:  # a peer's setting that does not run here is a finding, not our failure
            print(f"{name} does not run: {type(error).__name__}: {str(error).splitlines()[0]}")
    return dict(sorted(seconds.items(), key=lambda item: item[1]))


def compare(
    model: ImageAR, peer: Glm4MoeForCausalLM, rows: int, options: argparse.Namespace
) -> tuple[dict[str, Any], Race]:
    """Polarlight against the peer's best settings, at `rows` rows."""
    ids, tokens = prompt(model.config, rows), options.tokens
    eager = screened(peers(peer), ids, SCREENING_TOKENS, options.clock)
    ours: dict[str, Decode] = {
        "polarlight": partial(greedy, PackedImageAR(model, torch.bfloat16), torch.bfloat16),
        "polarlight unpacked": partial(greedy, model, torch.bfloat16),
    }
    chosen: dict[str, Decode] = {"eager": peers(peer)[next(name for name in eager if name.startswith("generate"))]}
    chosen["loop"] = peers(peer)[next(name for name in eager if name.startswith("loop"))]
    screening = eager
    if options.compile:
        fast = screened(compiled_peers(peer), ids, tokens, options.clock)
        screening = eager | fast
        if fast:
            chosen["compiled"] = compiled_peers(peer)[next(iter(fast))]
    contenders = {name: partial(decode, ids, tokens) for name, decode in {**ours, **chosen}.items()}
    for work in contenders.values():
        work()
    run = race(contenders, options.rounds, options.clock)
    cost = model.cost(1, 0, PROMPT + tokens // 2)
    batch_bytes = step_bytes(model, rows, PROMPT + tokens // 2)
    result: dict[str, Any] = {
        "rows": rows, "tokens": tokens, "clock": options.clock, "rounds": len(run.seconds["polarlight"]), "dropped": run.dropped,
        "peer_settings": {name: seconds * 1e3 for name, seconds in screening.items()},
        "milliseconds_a_step": {name: run.median(name) / tokens * 1e3 for name in contenders},
        "step_bytes": batch_bytes, "flops_a_row": cost.flops,
        "bandwidth_share": {
            name: batch_bytes / (run.median(name) / tokens) / bandwidth(batch_bytes) for name in contenders
        },
        "over_eager_generate": run.ratio("eager", "polarlight"),
        "over_bare_loop": run.ratio("loop", "polarlight"),
    }  # fmt: skip
    if "compiled" in chosen:
        result["over_compiled_generate"] = run.ratio("compiled", "polarlight")
    return result, run


def step_bytes(model: ImageAR, rows: int, context: int) -> float:
    """Bytes one step of `rows` rows reads: weights (experts as often as they are expected to be touched) and caches."""
    one, all_ = model.cost(1, 0, context), model.cost(rows, 0, context)
    head = model.active_parameters()[1] * model.tokens.weight.element_size()
    table = model.tokens.weight.numel() * model.tokens.weight.element_size()
    return all_.weight_bytes - head + table + rows * one.state_bytes


def in_bf16(model: ImageAR) -> ImageAR:
    """Matrices in bf16, as the image generator loads them."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(False)
        if parameter.ndim >= 2 and not name.endswith("router"):
            parameter.data = parameter.data.to(torch.bfloat16)
    return model


def pictures(options: argparse.Namespace) -> None:
    """Seconds and passes of every mode on the shipped model, one picture and a grid of four."""
    from polarlight.infer.images import MODES, SHIPPED, ImageGenerator, ImageRequest

    if not (SHIPPED / "image.safetensors").exists():
        print(
            "There are no shipped weights, so --pictures has nothing to draw with. Train and export the image model first."
        )
        return
    generator = ImageGenerator.load()
    passes: dict[str, int] = {}

    def draw(mode: str, count: int) -> None:
        requests = [
            ImageRequest(prompt="a red car left of a yellow house", seed=seed, mode=mode, candidates=1)
            for seed in range(count)
        ]
        passes[mode] = generator.draw(requests)[0].passes

    contenders = {f"{mode} x {count}": partial(draw, mode, count) for mode in MODES for count in (1, 4)}
    for work in contenders.values():
        work()
    run = race(contenders, options.rounds, options.clock)
    seconds = {name: run.median(name) for name in contenders}
    ratios = {f"x {count}": run.ratio(f"quality x {count}", f"speed x {count}") for count in (1, 4)}
    result = {"clock": options.clock, "seconds": seconds, "passes": passes, "speed_over_quality": ratios}
    record("pictures", result, run.others)


def main() -> None:
    flag = {"action": "store_true"}
    options = prepare(
        __doc__ or "", ("--check", flag), ("--compile", flag), ("--pictures", flag),
        ("--tokens", {"type": int, "default": 128}), ("--rounds", {"type": int, "default": 15}),
    )  # fmt: skip
    if options.pictures:
        pictures(options)
        return
    config = ImageARConfig(vocabulary=VOCABULARY)
    equal = [check(config, rows) for rows in (1, 8)]
    print(f"Equal in fp32: {equal}")
    if options.check:
        return
    model = new_model(config)
    peer = new_peer(model, torch.bfloat16)
    model = in_bf16(model)
    for rows in (1, 8):
        start = time.perf_counter()
        result, run = compare(model, peer, rows, options)
        record("decode", {"equality": equal, "bars": BARS, **result}, run.others)
        print(f"{rows} rows took {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
