"""Decoding pictures from the image model: one step for every mode.

A pass feeds the positions drawn in the pass before (their keys and values stay in the static cache) and asks for the next group.
The last fed token asks for the group's first position by itself; copies in its place, each asking for another position, ask for
the rest and leave nothing in the cache. Groups of one are sequential decoding; larger groups are parallel decoding with the same
weights. The passes themselves are those of `continuous`, with everybody joining at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import UInt8
from torch import Tensor

from ..models.image_ar import ImageAR
from .continuous import Drawing, RunningBatch
from .packed import PackedImageAR
from .sampling import Job, Sampling

__all__ = ["Job", "OnPass", "Sampling", "decode"]

OnPass = Callable[[int, int, UInt8[Tensor, "b n g"]], None]


@torch.inference_mode()
def decode(
    model: ImageAR | PackedImageAR,
    jobs: Sequence[Job],
    groups: Sequence[int],
    sampling: Sampling,
    dtype: torch.dtype,
    on_pass: OnPass | None = None,
) -> UInt8[Tensor, "b n g"]:
    """Draw jobs that share the picture's size, the number of given positions and the group sizes; returns digits by position.

    With guidance the rows of both sequences run as one batch. A model that is not packed is packed first, so who draws often packs
    it once.
    """
    model = PackedImageAR.of(model, dtype)
    drawings = [Drawing(job, groups, sampling) for job in jobs]
    batch = RunningBatch(model, len(jobs), max(len(job.order) for job in jobs), sides=2 if sampling.guided else 1)
    for number in range(len(groups)):
        batch.step(() if number else drawings)
        if on_pass:
            on_pass(number + 1, len(groups), torch.stack([drawing.digits for drawing in drawings]))
    return torch.stack([drawing.digits for drawing in drawings])
