"""The watermark in clips: one mark at one place in every frame, looked for in many frames at once.

Frames that bear one mark at one place are flattened and averaged: the mark adds up, what moves does not. The mean of all
frames is looked at first, then that of each group of neighbouring frames, which vote on the number: a film of several clips
has several. A clip that bears the mark throughout is found at every size, a marked part of an unmarked film at its own and at
half, three quarters and twice that. The means know no key, so that `watermark`'s bound on false positives holds for each look;
the threshold allows for all of them.

The sound and the colours are not touched: the mark lies in the luma alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .clips import rewrite_clip, sample_luma
from .watermark import COMMON, PUBLIC_KEY, Detection, flatten, luma_change, search

FRAMES = 48  # that are looked at
GROUPS = 6
LEAST_GROUP = 4  # frames


@dataclass(frozen=True, kw_only=True)
class ClipDetection(Detection):
    """What the detector found in a clip: `score` and `scale` are those of its best look.

    `payload`: the number that most frames bear; `frames`: how many were looked at; `votes`: each number with the frames of
    the groups in which it was read, most first. It is empty where the number was read from all frames together only.
    """

    frames: int
    votes: tuple[tuple[int, int], ...] = ()


def mark_clip(
    content: bytes, payload: int, key: bytes = PUBLIC_KEY, metadata: Mapping[str, Any] | None = None
) -> bytes:
    """The clip with a number of 0 .. 2^32 - 1 in every frame, and new settings in its container.

    Raises:
        UserError: a side under 96 px, a payload that does not fit, or as `rewrite_clip`.
    """
    return rewrite_clip(content, lambda luma: luma + luma_change(luma, payload, key), metadata)


def detect_clip(content: bytes, key: bytes = PUBLIC_KEY) -> ClipDetection:
    """Look for the mark of a key in up to 48 frames, spread evenly over the clip.

    Raises:
        UserError: as `sample_luma`.
    """
    flats = [flatten(luma) for luma in sample_luma(content, FRAMES)]
    count = max(1, min(GROUPS, len(flats) // LEAST_GROUP))
    groups = [flats[len(flats) * number // count : len(flats) * (number + 1) // count] for number in range(count)]
    whole = search(np.mean(flats, 0), key, looks=1 + GROUPS)
    scales = (whole.scale,) if whole.found else (1.0, *COMMON)
    found = [search(np.mean(group, 0), key, looks=1 + GROUPS, scales=scales) for group in groups]
    votes = Counter[int]()
    for group, one in zip(groups, found, strict=True):
        if one.payload is not None:
            votes[one.payload] += len(group)
    best = max([whole, *found], key=lambda one: one.score)
    payload = votes.most_common(1)[0][0] if votes else whole.payload
    return ClipDetection(
        found=best.found, score=best.score, payload=payload, scale=best.scale,
        frames=len(flats), votes=tuple(votes.most_common()),
    )  # fmt: skip
