"""Named streams of random numbers."""

from polarlight.base.seeds import stream_random, stream_seed


def test_a_stream_is_the_same_on_every_machine() -> None:
    assert stream_seed(7, "noise") == 7960752411214500041


def test_streams_differ_by_seed_purpose_and_index() -> None:
    streams = {stream_seed(seed, purpose, i) for seed in (0, 1) for purpose in ("noise", "order") for i in range(50)}
    assert len(streams) == 200


def test_seeds_fit_a_signed_64_bit_integer() -> None:
    assert all(0 <= stream_seed(seed, "noise") < 2**63 for seed in range(200))


def test_two_generators_of_one_stream_agree() -> None:
    assert stream_random(3, "layout", 5).random() == stream_random(3, "layout", 5).random()
