"""Named random streams: (seed, purpose, index) -> one 63-bit number, the same on every machine.

Noise and sampling never share a generator: a picture's stream depends on its own seed alone, so neither the batch
around it, the worker count nor the resume point can change it.
"""

from __future__ import annotations

import hashlib
import random


def stream_seed(seed: int, purpose: str, index: int = 0) -> int:
    """Hash (seed, purpose, index) to an integer in [0, 2**63)."""
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def stream_random(seed: int, purpose: str, index: int = 0) -> random.Random:
    """A standard-library generator for the named stream."""
    return random.Random(stream_seed(seed, purpose, index))
