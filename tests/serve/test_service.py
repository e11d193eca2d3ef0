"""The service without doors: orders, prices, and the shipped kind of model behind it."""

import asyncio
from pathlib import Path

import pytest
import torch
from service_doors import House, in_house, made_home
from service_engines import FakeImages
from tiny import image_model, visual_tokenizer

from polarlight.infer.engine import Engines
from polarlight.infer.images import ImageGenerator
from polarlight.infer.shipped import ShippedEngine
from polarlight.media.provenance import read_provenance
from polarlight.serve.errors import Problem
from polarlight.serve.image_orders import ImageOrder, image_answer, mode_of, submit_images, tier_of
from polarlight.serve.image_work import numbered, seed_of
from polarlight.serve.job_rows import Job
from polarlight.serve.options import Options
from polarlight.serve.service import Caller, Service
from polarlight.serve.settings import Settings
from polarlight.serve.stored_files import NewFile


def test_a_model_of_the_shipped_kind_draws_through_the_gate_and_is_signed(tmp_path: Path, migrated_file: Path) -> None:
    card = {"tasks": ["draw"], "sizes": [128], "hash": "abc"}
    generator = ImageGenerator(visual_tokenizer(), image_model(), card, torch.float32)

    async def go() -> None:
        engines = Engines()
        engines.add(ShippedEngine(generator, slots=2), "grok-imagine-image")
        settings = Settings.at(made_home(tmp_path, migrated_file))
        service = Service.open(settings, engines, Options(drain_s=5))
        await service.start()
        key = service.state.keys.create("a").key
        admission = await service.admit_model(Caller(key=key, door="test"), "image", "grok-imagine-image")
        job = await submit_images(service, admission, ImageOrder(prompt="a red cat", n=2, seed=4))
        ended = [event async for event in service.workers.follow(job)][-1]
        assert isinstance(ended, Job)
        answer = await image_answer(service, ended)
        assert [(each.seed, each.width, each.height) for each in answer.pictures] == [(4, 128, 128), (5, 128, 128)]
        content = service.state.objects.get(answer.pictures[0].file.object_key)
        found = read_provenance(content, service.outputs.identity.anchor)
        assert (found.state, found.generation["seed"], found.generation["served_as"]) == (
            "trusted",
            4,
            "grok-imagine-image",
        )
        await service.stop()

    asyncio.run(go())


@in_house()
async def test_a_signed_picture_of_this_house_is_no_photograph_to_its_gate(house: House) -> None:
    assert house.service.gate.config.anchors == ""
    signing = Service.open(house.settings, house.service.engines, Options(), state=house.state)
    assert signing.gate.config.anchors == signing.outputs.identity.anchor != ""


@in_house()
async def test_a_stopped_service_takes_no_order(house: House) -> None:
    admission = await house.service.admit_model(Caller(key=house.key, door="test"), "image", None)
    house.service.draining = True
    with pytest.raises(Problem) as refused:
        await submit_images(house.service, admission, ImageOrder(prompt="x"))
    assert (refused.value.status, house.jobs()) == (503, [])


@pytest.mark.parametrize(
    ("quality", "mode"),
    [(None, "speed"), ("low", "speed"), ("medium", "quality"), ("hd", "quality"), ("max", "quality")],
)
def test_a_quality_is_one_of_the_models_modes(quality: str | None, mode: str) -> None:
    assert mode_of(FakeImages().info, quality) == mode


@pytest.mark.parametrize(
    ("size", "tier"), [((128, 128), "1k"), ((1024, 1024), "1k"), ((1536, 1536), "1.5k"), ((2048, 2048), "2k")]
)
def test_the_size_that_is_made_has_the_price_of_its_own_tier(size: tuple[int, int], tier: str) -> None:
    assert tier_of(*size) == tier


def test_a_job_without_a_seed_draws_the_same_again_and_another_job_does_not() -> None:
    seeds = {seed_of(f"job-{n}") for n in range(50)}
    assert seed_of("job-1") == seed_of("job-1")
    assert len(seeds) == 50
    assert max(seeds) < 1 << 32


def test_several_outputs_have_names_of_their_own() -> None:
    assert [numbered("cat.png", n) for n in (0, 1)] == ["cat.png", "cat-2.png"]
    assert [numbered("cat", n) for n in (0, 1)] == ["cat", "cat-2"]


@in_house()
async def test_a_file_keeps_its_public_address_also_for_who_read_it_before(house: House) -> None:
    key = house.state.keys.create("a").key
    file = house.state.files.add(key.id, NewFile(content=b"x", filename="x.png", content_type="image/png"))
    first = await house.service.public_url(file)
    assert await house.service.public_url(file) == first


@pytest.mark.parametrize("count", [1, 3])
@in_house()
async def test_the_gate_judges_an_order_once_for_each_picture_before_it_is_drawn(house: House, count: int) -> None:
    admission = await house.service.admit_model(Caller(key=house.key, door="test"), "image", None)
    job = await submit_images(house.service, admission, ImageOrder(prompt="x", n=count, seed=1))
    assert await house.settled(job.id) == "done"
    records = list(house.service.gate.audit.records())
    assert [record["event"] for record in records] == ["check"] * count + ["output"] * count
    assert (house.service.permits, len({record["permit"] for record in records[count:]})) == ({}, count)


@in_house()
async def test_a_capability_switched_off_after_the_door_stops_the_picture(house: House) -> None:
    house.images.full = True
    admission = await house.service.admit_model(Caller(key=house.key, door="test"), "image", None)
    job = await submit_images(house.service, admission, ImageOrder(prompt="x"))
    house.service.gate.turn_off("draw", "a test")
    house.images.full = False
    assert await house.settled(job.id) == "failed"
    assert (house.images.tasks, house.charged()) == ([], 0)


@in_house()
async def test_an_answer_names_no_file_that_was_deleted_since(house: House) -> None:
    admission = await house.service.admit_model(Caller(key=house.key, door="test"), "image", None)
    job = await submit_images(house.service, admission, ImageOrder(prompt="x", n=2, seed=1))
    assert await house.settled(job.id) == "done"
    first, second = house.state.files.of_job(job.id)
    house.state.files.delete(first.id)
    answer = await image_answer(house.service, house.state.jobs.get(job.id))
    assert [each.file and each.file.id for each in answer.pictures] == [None, second.id]
