"""What this machine and this installation can do, as one JSON object."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from polarlight.base.files import PACKAGE
from polarlight.base.machine import missing_packages, this_machine
from polarlight.ops.peaks import copy_bandwidth, gemm_peak


def examine(weights: Path = PACKAGE / "weights") -> dict[str, Any]:
    """Measure the machine (about two seconds) and list what is installed.

    Rates are in 10^9 operations or bytes a second, sizes in bytes.
    """
    machine = this_machine()
    missing = missing_packages()
    return {
        "system": machine.system,
        "processor": machine.processor,
        "cores": machine.cores,
        "memory": machine.memory,
        "amx_bf16": machine.amx_bf16,
        "avx512_bf16": machine.avx512_bf16,
        "torch": torch.__version__,
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
        "dtype": "bfloat16" if machine.fast_bf16 else "float32",
        "bf16_gflops": round(gemm_peak(torch.bfloat16) / 1e9, 1),
        "fp32_gflops": round(gemm_peak(torch.float32) / 1e9, 1),
        "copy_gigabytes": round(copy_bandwidth() / 1e9, 1),
        "missing_packages": missing,
        "fix": f"apt-get install {' '.join(missing)}" if missing else None,
        "weights": shipped_weights(weights),
        "disk_free": shutil.disk_usage(Path.cwd()).free,
    }


def shipped_weights(folder: Path) -> list[dict[str, Any]]:
    """Every weights file in `folder` with its size and its card (None where the card is missing)."""
    found = []
    for path in sorted(folder.glob("*.safetensors")):
        card = path.with_suffix(".json")
        content = json.loads(card.read_text(encoding="utf-8")) if card.exists() else None
        found.append({"file": path.name, "bytes": path.stat().st_size, "card": content})
    return found
