"""The watermark's error-correcting code: a convolutional code of rate 1/4, memory 6, with a 16-bit checksum.

Generators 117, 127, 155 and 171 (octal), free distance 20 (Larsen 1973); decoded with Viterbi's algorithm on soft values.
"""

from __future__ import annotations

import binascii
from functools import cache

import numpy as np
from jaxtyping import Float

GENERATORS = (0o117, 0o127, 0o155, 0o171)
MEMORY = 6
STATES = 1 << MEMORY
CHECK_BITS = 16


def coded_length(bits: int) -> int:
    """Code symbols that a payload of `bits` bits takes."""
    return len(GENERATORS) * (bits + CHECK_BITS + MEMORY)


def encode_bits(payload: int, bits: int) -> Float[np.ndarray, " n"]:
    """The payload, its checksum and six closing zeros as code symbols +1 and -1."""
    message = _with_check(payload, bits)
    state, symbols = 0, []
    for place in reversed(range(bits + CHECK_BITS + MEMORY)):
        register = (message << MEMORY >> place & 1) << MEMORY | state
        symbols += [1.0 - 2.0 * ((register & generator).bit_count() & 1) for generator in GENERATORS]
        state = register >> 1
    return np.array(symbols)


def decode_bits(symbols: Float[np.ndarray, " n"], bits: int) -> int | None:
    """The payload that fits the soft symbols best (their sign is the bit, their size the trust); None where the checksum
    does not hold."""
    arrivals, outputs = _trellis()
    gains = symbols.reshape(-1, len(GENERATORS))
    metric = np.where(np.arange(STATES) == 0, 0.0, -np.inf)
    choices = []
    for gain in gains:
        paths = metric[arrivals] + outputs @ gain
        choice = paths.argmax(1)
        choices.append(choice)
        metric = paths[np.arange(STATES), choice]
    state, message = 0, 0
    for number, choice in enumerate(reversed(choices)):
        message |= (state >> (MEMORY - 1)) << number
        state = int(arrivals[state, choice[state]])
    message >>= MEMORY
    payload = message >> CHECK_BITS
    return payload if _with_check(payload, bits) == message else None


def _with_check(payload: int, bits: int) -> int:
    return payload << CHECK_BITS | binascii.crc_hqx(payload.to_bytes(-(-bits // 8)), 0xFFFF)


@cache
def _trellis() -> tuple[np.ndarray, np.ndarray]:
    """For every state the two states it is reached from, and the four symbols sent on each way."""
    state = np.arange(STATES)
    arrivals = np.stack([(state << 1 & (STATES - 1)) | low for low in (0, 1)], 1)
    registers = (state[:, None] >> (MEMORY - 1)) << MEMORY | arrivals
    parity = np.bitwise_count(registers[..., None] & np.array(GENERATORS)) & 1
    return arrivals, 1.0 - 2.0 * parity
