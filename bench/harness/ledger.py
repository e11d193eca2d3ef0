"""The ledger: what was measured, when, on what, with which versions. One JSON list a benchmark, newest last."""

from __future__ import annotations

import argparse
import json
import os
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from harness.timing import CLOCKS, LOAD_LIMIT
from polarlight.base.files import atomic_write
from polarlight.base.machine import ALLOCATOR, this_machine, tune_allocator

RESULTS = Path(__file__).parents[1] / "results"
FLAGS = ("amx_bf16", "amx_int8", "amx_tile", "avx512_bf16", "avx512_fp16", "avx512_vnni", "avx2")


def prepare(about: str, *options: tuple[str, dict[str, Any]]) -> argparse.Namespace:
    """What every benchmark starts with: the tuned allocator and the threads (both for both sides), and its options."""
    tune_allocator()
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=this_machine().cores, help="default: one a core")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time, for a busy machine")
    for name, settings in options:
        parser.add_argument(name, **settings)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    return chosen


def record(name: str, result: dict[str, Any], others: float, folder: Path = RESULTS) -> None:
    """Append a result with its circumstances, and print it. `others`: share of the machine that other programs used."""
    entry = {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "loaded": others > LOAD_LIMIT,
        "others": round(others, 3),
        "machine": machine(),
        "versions": {package: installed(package) for package in ("polarlight", "torch", "transformers", "diffusers")},
        "result": rounded(result),
    }
    entries = [*read(name, folder), entry]
    folder.mkdir(parents=True, exist_ok=True)
    atomic_write(folder / f"{name}.json", json.dumps(entries, indent=1) + "\n")
    print(json.dumps(entry["result"]))


def read(name: str, folder: Path = RESULTS) -> list[dict[str, Any]]:
    """All entries of a benchmark, oldest first."""
    path = folder / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def ceiling(folder: Path = RESULTS) -> dict[str, Any]:
    """What this machine can do, by the last `bench/ceiling.py` on it.

    Raises:
        SystemExit: it has not been measured here.
    """
    here = [entry for entry in read("ceiling", folder) if entry["machine"] == machine()]
    if not here:
        raise SystemExit("The ceiling of this machine has not been measured. Run bench/ceiling.py first.")
    return here[-1]["result"]


def bandwidth(size: float, folder: Path = RESULTS) -> float:
    """Measured bytes a second for reading a working set of about `size` bytes."""
    sets = ceiling(folder)["read"]
    return min(sets, key=lambda row: abs(row["bytes"] - size))["bytes_per_second"]


def machine() -> dict[str, Any]:
    """The processor, its matrix units, the threads in use, and whether the allocator is tuned."""
    here = this_machine()
    return {
        "processor": here.processor,
        "flags": [flag for flag in FLAGS if flag in here.flags],
        "threads": torch.get_num_threads(),
        "tuned_allocator": all(name in os.environ for name in ALLOCATOR),
    }


def installed(package: str) -> str | None:
    """Version of an installed package."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def rounded(value: Any) -> Any:
    """Floats to four significant digits, everywhere."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, (list, tuple)) else value
