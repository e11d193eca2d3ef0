"""The code carries a number through noise, and says so when it cannot."""

import numpy as np
import pytest

from polarlight.media.watermark_code import coded_length, decode_bits, encode_bits


@pytest.mark.parametrize("payload", [0, 1, 2**31, 2**32 - 1, 0xDEADBEEF])
def test_a_number_comes_back(payload: int) -> None:
    symbols = encode_bits(payload, 32)
    assert len(symbols) == coded_length(32)
    assert decode_bits(symbols, 32) == payload


def test_a_number_survives_every_ninth_symbol_turned_round() -> None:
    symbols = encode_bits(0xCAFE1234, 32)
    symbols[::9] *= -1
    assert decode_bits(symbols, 32) == 0xCAFE1234


def test_a_number_survives_noise_of_its_own_strength() -> None:
    random = np.random.default_rng(0)
    right = 0
    for payload in range(40):
        noisy = encode_bits(payload, 32) + random.normal(0, 1.0, coded_length(32))
        right += decode_bits(noisy, 32) == payload
    assert right >= 38


def test_two_numbers_differ_in_at_least_twenty_symbols() -> None:
    one = encode_bits(12345, 32)
    assert all((one != encode_bits(12345 ^ (1 << bit), 32)).sum() >= 20 for bit in range(32))


def test_noise_alone_gives_no_number() -> None:
    random = np.random.default_rng(1)
    assert all(decode_bits(random.normal(0, 1, coded_length(32)), 32) is None for _ in range(100))
