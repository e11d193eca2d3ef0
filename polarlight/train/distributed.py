"""Joining the other processes of a torchrun."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist


@contextmanager
def joined() -> Iterator[int]:
    """Join the process group that torchrun's environment describes (gloo on CPU, nccl on GPUs); yields this process's rank.

    Outside torchrun nothing is joined and the rank is 0.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield 0
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield dist.get_rank()
    finally:
        dist.destroy_process_group()
