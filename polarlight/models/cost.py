"""What one call of a model costs, for MFU and bandwidth shares."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Forward cost: multiply-adds counted as two operations; bytes as stored in the weights' own dtype."""

    flops: float
    weight_bytes: float
    state_bytes: float = 0.0
