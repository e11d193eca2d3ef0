"""The one training loop. A model, an objective and a function that makes batch number i go in; a trained model comes out.

Batches are a function of their number and randomness is drawn from named streams, so resume is exact: six steps equal three,
save, load, three, bit for bit. Under torchrun each rank makes its own batches and gradients are averaged (DDP); sharded
parameters and expert parallelism belong around `model` before it comes here.
"""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from ..nn.moe import MoE
from .checkpoint import EMA, load_state, save_state
from .optim import Schedule

Objective = Callable[[nn.Module, Any, torch.Generator], tuple[Tensor, dict[str, Tensor]]]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """minutes: stop (with a checkpoint) after this much wall-clock; flops and units are of one batch, for MFU and rate.

    forked: batches are made in a process of their own. On a CPU the interpreter is then left to the model (a step of the image
    model took a fifth longer beside a thread that makes batches); not where making them needs a GPU.
    """

    steps: int
    minutes: float | None = None
    ema: float = 0.999
    clip: float = 1.0
    balance_rate: float = 1e-3
    log_every: int = 10
    save_every: int = 200
    peak_flops: float | None = None
    unit: str = "samples"
    forked: bool = False


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What `make_batch(i)` returns: the objective's input, how many units it holds, and its training flops."""

    data: Any
    units: int
    flops: float = 0.0


def fit(
    model: nn.Module,
    objective: Objective,
    make_batch: Callable[[int], Batch],
    optimizers: list[Optimizer],
    schedule: Schedule,
    config: FitConfig,
    folder: Path,
    *,
    resume: bool = True,
    report: Callable[[dict[str, float]], None] = lambda metrics: None,
    every_save: Callable[[int], None] = lambda step: None,
) -> tuple[int, EMA]:
    """Train until `config.steps` or the minutes are over; returns (steps done, average).

    `folder` receives state.pt (resume) and metrics.jsonl. `report` gets each logged line, `every_save` runs after each save.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    ema, state, step = EMA(model, config.ema), folder / "state.pt", 0
    if resume and state.exists():
        step, _ = load_state(state, model, optimizers, ema)
    elif rank == 0:
        (folder / "metrics.jsonl").unlink(missing_ok=True)
    base_rates = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    if step and "initial_lr" in optimizers[0].param_groups[0]:
        base_rates = [[group["initial_lr"] for group in optimizer.param_groups] for optimizer in optimizers]
    moes = [module for module in model.modules() if isinstance(module, MoE)]
    started = last = time.perf_counter()
    units = flops = 0.0
    model.train()

    def save() -> None:
        if rank == 0:
            save_state(state, model, optimizers, ema, step, {})
            every_save(step)
        if world > 1:
            dist.barrier()

    numbers = range(step * world + rank, config.steps * world, world)
    for batch in (made_forked if config.forked else made_ahead)(make_batch, numbers):
        generator = torch.Generator().manual_seed(step * world + rank)
        loss, metrics = objective(model, batch.data, generator)
        loss.backward()
        if world > 1:
            average_gradients(model, world)
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if not torch.isfinite(norm):
            raise FloatingPointError(f"The gradient is not finite at step {step}; the last good state is {state}.")
        for optimizer, rates in zip(optimizers, base_rates, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["initial_lr"], group["lr"] = rate, rate * schedule(step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        worst_load = max((balance(moe, config.balance_rate, world) for moe in moes), default=0.0)
        ema.update(model, step)
        step, units, flops = step + 1, units + batch.units * world, flops + batch.flops * world
        if step == 1:
            gc.freeze()
        now = time.perf_counter()
        over = config.minutes is not None and first_rank_says(now - started > config.minutes * 60, world)
        if step % config.log_every == 0 or step == config.steps or over:
            line = {"step": step, **{k: float(v) for k, v in metrics.items()}, "grad_norm": float(norm)}
            line |= {f"{config.unit}_per_second": units / (now - last), "seconds": now - started}
            if moes:
                line["worst_load"] = worst_load
            if config.peak_flops and flops:
                line["mfu"] = flops / (now - last) / config.peak_flops
            if rank == 0:
                folder.mkdir(parents=True, exist_ok=True)
                with open(folder / "metrics.jsonl", "a", encoding="utf-8") as log:
                    log.write(json.dumps(line) + "\n")
                report(line)
            last, units, flops = now, 0.0, 0.0
        if over:
            break
        if step % config.save_every == 0 and step < config.steps:
            save()
    save()
    return step, ema


def made_ahead(make_batch: Callable[[int], Batch], numbers: range) -> Iterator[Batch]:
    """Batches by number, made by a thread, one ahead."""
    with ThreadPoolExecutor(1) as thread:
        coming = None
        for number in numbers:
            ready, coming = coming, thread.submit(make_batch, number)
            if ready:
                yield ready.result()
        if coming:
            yield coming.result()


class Numbered:
    """What `make_batch` returns for each of `numbers`, as a dataset."""

    def __init__(self, make_batch: Callable[[int], Batch], numbers: range) -> None:
        self.make_batch, self.numbers = make_batch, numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> Batch:
        return self.make_batch(self.numbers[index])


def made_forked(make_batch: Callable[[int], Batch], numbers: range) -> Iterator[Batch]:
    """Batches by number, made by a process on one thread, two ahead."""
    if not numbers:
        return iter(())
    loader = DataLoader(
        Numbered(make_batch, numbers), batch_size=None, num_workers=1, multiprocessing_context="fork", collate_fn=itself,
        generator=torch.Generator(),
    )  # fmt: skip
    return iter(loader)


def itself(batch: Batch) -> Batch:
    return batch


def first_rank_says(over: bool, world: int) -> bool:
    """The first rank's answer: clocks differ, and a rank that stops alone leaves the others waiting for its gradients."""
    if world == 1:
        return over
    answer = torch.tensor(int(over), device="cuda" if dist.get_backend() == "nccl" else "cpu")
    dist.broadcast(answer, 0)
    return bool(answer.item())


def balance(moe: MoE, rate: float, world: int) -> float:
    """Balance one layer by the load of all ranks; returns its worst expert's share."""
    if world > 1:
        dist.all_reduce(moe.load)
    return moe.balance(rate)


def average_gradients(model: nn.Module, world: int) -> None:
    """Mean of every gradient over ranks (a parameter no rank used stays without one on none of them)."""
    for parameter in model.parameters():
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        dist.all_reduce(parameter.grad)
        parameter.grad.div_(world)
