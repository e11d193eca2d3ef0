"""Named random streams as torch generators."""

import torch

from polarlight.ops.streams import stream, uniform


def test_a_named_stream_repeats_itself() -> None:
    assert torch.equal(uniform((3, 4), 7, "draw", 2), uniform((3, 4), 7, "draw", 2))


def test_seed_purpose_and_index_each_name_another_stream() -> None:
    streams = [uniform((8,), *name) for name in ((1, "a", 0), (2, "a", 0), (1, "b", 0), (1, "a", 1))]
    assert len({tuple(values.tolist()) for values in streams}) == 4


def test_global_random_numbers_neither_change_nor_are_changed_by_a_stream() -> None:
    state = torch.get_rng_state()
    first = uniform((5,), 1, "draw")
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert torch.equal(uniform((5,), 1, "draw"), first)


def test_numbers_are_fp32_from_zero_up_to_one() -> None:
    values = uniform((10_000,), 0, "range")
    assert values.dtype == torch.float32
    assert values.min() >= 0
    assert values.max() < 1
    assert abs(values.mean() - 0.5) < 0.02


def test_streams_run_on_the_cpu() -> None:
    assert stream(0, "noise").device.type == "cpu"
