"""The running batch against whole batches: who joins when, with which grid, mode and prompt, changes no picture."""

import random
from dataclasses import replace

import pytest
import torch
from tiny import PLAN, codes, drawing, image_model, letterer
from torch import Tensor

from polarlight.infer.continuous import BLOCK, USUAL, Drawing, RunningBatch, enough, visible
from polarlight.infer.decoding import Job, Sampling, decode
from polarlight.infer.packed import DENSE_UP_TO, PackedImageAR
from polarlight.models.image_ar import ImageAR
from polarlight.ops.orders import group_sizes
from polarlight.ops.streams import uniform

PROMPTS = ("a red cat", "two blue dogs on a green hill at night", "snow")
POSITIONS = 20
WAYS = (
    Sampling(guidance=3.0, guidance_start=3.0, temperature=0.8),
    Sampling(guidance=2.0, guidance_start=1.2, top_p=0.9),
    Sampling(guidance=1.0, guidance_start=1.0),
)


def lettering_model(dtype: torch.dtype) -> PackedImageAR:
    model = image_model()
    return PackedImageAR(model, dtype, letterer(model))


def new_job(model: ImageAR, number: int) -> Job:
    """A job with a grid, a prompt, an order, noise and a number of kept positions of its own; some have a plan."""
    rows, columns = ((3, 4), (4, 5), (2, 3))[number % 3]
    kept = (0, 2, 5)[number // 3 % 3]
    digits, order = codes(rows, columns, model), torch.randperm(rows * columns)
    plan = PLAN if number % 4 < 2 else None
    sides = [drawing(digits, order, kept, PROMPTS[number % 2], plan), drawing(digits, order, kept, "")]
    noise = uniform((rows * columns, model.config.digits), number, "draw")
    seen = uniform((rows * columns, 48), number, "sketch") - 0.5
    seen[3:] = 0
    return Job(
        conditional=sides[0], free=sides[1], order=order, kept=kept, noise=noise, rows=rows, columns=columns,
        seen=seen if number % 2 else None,
    )  # fmt: skip


def new_drawings(model: ImageAR, count: int) -> list[Drawing]:
    drawings = []
    for number in range(count):
        job = new_job(model, number)
        groups = group_sizes(len(job.order) - job.kept, (4, 100, 1)[number % 3])
        drawings.append(Drawing(job, groups, WAYS[number % len(WAYS)]))
    return drawings


def alone(model: PackedImageAR, one: Drawing) -> Tensor:
    return decode(model, [one.job], one.groups, one.sampling, model.dtype)[0]


def run(batch: RunningBatch, waiting: list[Drawing], arrivals: random.Random) -> int:
    """Draw everything, each joining at a random moment; returns the most that were under way at once."""
    waiting, most = list(waiting), 0
    while waiting or batch.drawings:
        joining = waiting[: min(batch.free, arrivals.choice((0, 1, 2)))]
        waiting = waiting[len(joining) :]
        if joining or batch.drawings:
            batch.step(joining)
        most = max(most, len(batch.drawings))
        leave(batch)
    return most


def leave(batch: RunningBatch) -> None:
    for one in [one for one in batch.drawings if one.finished]:
        batch.remove(one)


@pytest.mark.parametrize("seed", range(4))
def test_a_picture_does_not_depend_on_who_joins_when(seed: int) -> None:
    model = lettering_model(torch.float32)
    drawings = new_drawings(model.model, 9)
    most = run(RunningBatch(model, 4, POSITIONS), drawings, random.Random(seed))
    assert most > 1
    for one in drawings:
        assert torch.equal(one.digits, alone(model, one))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pictures_do_not_depend_on_their_company_in_any_precision(dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("the CPU has no bf16 matrix products")
    model = lettering_model(dtype)
    drawings = new_drawings(model.model, 12)
    run(RunningBatch(model, 4, POSITIONS), drawings, random.Random(0))
    for one in drawings:
        by_itself = Drawing(one.job, one.groups, one.sampling)
        run(RunningBatch(model, 4, POSITIONS), [by_itself], random.Random(0))
        assert torch.equal(by_itself.digits, one.digits)


def test_a_long_prompt_joins_in_a_pass_of_its_own() -> None:
    model = PackedImageAR(image_model(), torch.float32)
    drawings = new_drawings(model.model, 3)
    job = drawings[1].job
    words = " ".join(["two blue dogs"] * (DENSE_UP_TO // 6))
    tall = replace(job, conditional=drawing(codes(job.rows, job.columns, model.model), job.order, job.kept, words))
    drawings[1] = Drawing(tall, drawings[1].groups, drawings[1].sampling)
    passes = list(RunningBatch(model, 3, POSITIONS)._passes(drawings))
    assert passes == [[drawings[0]], [drawings[1]], [drawings[2]]]
    assert list(RunningBatch(model, 3, POSITIONS)._passes(drawings[:1] * 3)) == [drawings[:1] * 3]


def test_those_that_join_together_are_drawn_as_one_whole_batch() -> None:
    model = PackedImageAR(image_model(), torch.float32)
    jobs = [replace(new_job(model.model, 3 * number), kept=0) for number in range(3)]
    groups = group_sizes(12, 5)
    batch, drawings = RunningBatch(model, 3, POSITIONS), [Drawing(job, groups, WAYS[0]) for job in jobs]
    batch.step(drawings)
    for _ in groups[1:]:
        batch.step()
    whole = decode(model, jobs, groups, WAYS[0], torch.float32)
    assert torch.equal(torch.stack([one.digits for one in drawings]), whole)


def test_one_that_leaves_early_changes_nothing_for_the_others() -> None:
    model = PackedImageAR(image_model(), torch.float32)
    first, gone, last = new_drawings(model.model, 5)[1::1][:3]
    batch = RunningBatch(model, 3, POSITIONS)
    batch.step([gone, first, last])
    leave(batch)
    if gone in batch.drawings:
        batch.remove(gone)
    run(batch, [], random.Random(0))
    for one in (first, last):
        assert torch.equal(one.digits, alone(model, one))


def test_the_cache_grows_for_a_long_prompt_and_keeps_what_it_holds() -> None:
    model = PackedImageAR(image_model(), torch.float32)
    short, tall = new_drawings(model.model, 2)
    words = " ".join(["two blue dogs"] * 2 * BLOCK)
    conditional = drawing(codes(tall.job.rows, tall.job.columns, model.model), tall.job.order, tall.job.kept, words)
    tall = Drawing(replace(tall.job, conditional=conditional), tall.groups, tall.sampling)
    batch = RunningBatch(model, 2, POSITIONS)
    batch.step([short])
    batch.step()
    batch.step([tall])
    assert batch.capacity > USUAL
    leave(batch)
    run(batch, [], random.Random(0))
    for one in (short, tall):
        assert torch.equal(one.digits, alone(model, one))
    assert batch.capacity == batch.cache[0].key.shape[1] == BLOCK  # given back when nobody draws


def test_digits_under_way_are_those_drawn_so_far() -> None:
    model = PackedImageAR(image_model(), torch.float32)
    one = new_drawings(model.model, 4)[3]
    batch = RunningBatch(model, 1, POSITIONS)
    batch.step([one])
    batch.step()
    seen, done = one.digits, one.done
    assert one.job.kept < done < len(one.job.order)
    run(batch, [], random.Random(0))
    assert torch.equal(seen[one.job.order[:done]], one.digits[one.job.order[:done]])
    assert not seen[one.job.order[done:]].any()


def test_a_row_sees_its_own_past_what_is_fed_and_itself() -> None:
    mask = visible(torch.tensor([[3], [1]]), torch.tensor([[2], [3]]), 4, 7)[:, 0].int().tolist()
    assert mask[0] == [
        [1, 1, 1, 1, 0, 0, 0],  # fed, the first
        [1, 1, 1, 1, 1, 0, 0],  # fed, the last
        [1, 1, 1, 1, 0, 1, 0],  # a query stands in for the last and does not see it
        [1, 1, 1, 1, 0, 0, 1],
    ]
    assert mask[1] == [
        [1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0],
        [1, 1, 1, 0, 1, 0, 0],
    ]


def test_queries_that_are_missing_are_added_and_see_one_column() -> None:
    mask = torch.zeros(2, 1, 1, 4, dtype=torch.bool)
    assert enough(mask, 3)[1, 0].int().tolist() == [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0, 0, 0]]
    assert torch.equal(enough(mask, 1), mask)


def test_a_letterer_has_a_part_in_sketched_positions_alone() -> None:
    torch.manual_seed(3)
    model = image_model()
    jobs = [replace(new_job(model, number), kept=0) for number in (1, 3)]
    with_it, without = PackedImageAR(model, torch.float32, letterer(model)), PackedImageAR(model, torch.float32)
    unsketched = [replace(job, seen=None) for job in jobs]
    for job, plain in zip(jobs, unsketched, strict=True):
        drawn = [
            decode(packed, [each], [len(job.order)], WAYS[0], torch.float32)[0]
            for packed in (with_it, without)
            for each in (job, plain)
        ]  # in one pass none sees another
        ink = job.seen.any(-1)
        assert all(torch.equal(each, drawn[1]) for each in drawn[2:])
        assert torch.equal(drawn[0][~ink], drawn[1][~ink])
        assert not torch.equal(drawn[0][ink], drawn[1][ink])
