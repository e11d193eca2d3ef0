from random import Random

import pytest
import torch

from polarlight.evals.judge import Detection, Judge
from polarlight.models.detector import Detector, DetectorConfig, Truth
from polarlight.recipes import judge_mini
from polarlight.recipes.judge_mini import augment, make_batch, mirrored, objective, score_picture
from polarlight.recipes.judge_scenes import (
    Labelled,
    crowded,
    draw_spec,
    join,
    judge_config,
    label,
    load_shard,
    world_of,
)
from polarlight.recipes.runs import Run
from polarlight.worlds.posters import Posters

CONFIG = judge_config()


def truth(boxes: list, names: list[int]) -> Truth:
    unknown = torch.full((1, len(names)), -1)
    return Truth(torch.tensor([boxes]), torch.tensor([names]), unknown, unknown, torch.zeros(1, 1, 4))


def test_the_judge_knows_every_name_once():
    assert len(set(CONFIG.classes)) == len(CONFIG.classes)
    assert {"cat", "bottle"} <= set(CONFIG.classes)


def test_a_crowd_is_a_function_of_its_seed():
    assert draw_spec("crowds", 3) == draw_spec("crowds", 3) != draw_spec("crowds", 4)


def test_the_boxes_of_a_crowd_are_where_its_things_are_drawn():
    spec = crowded(Random(5), Posters().sample(0, "train", "single").spec)
    ((indices, part),) = label(CONFIG, world_of("crowds"), [spec])
    assert indices == [0]
    inside = [all(0.03 < edge < 0.97 for edge in thing["box"]) for thing in spec["objects"]]
    drawn = part.truth.boxes[0][: len(inside)][torch.tensor(inside)]
    asked = torch.tensor([thing["box"] for thing in spec["objects"]])[torch.tensor(inside)]
    assert len(drawn) > 0
    torch.testing.assert_close(drawn, asked, rtol=0, atol=0.03)


def test_truth_names_objects_texts_and_attributes():
    spec = world_of("tabletop").sample(1, "train", "text").spec
    ((_, part),) = label(CONFIG, world_of("tabletop"), [spec])
    count = len(spec["objects"])
    names = [CONFIG.classes[index] for index in part.truth.names[0].tolist()]
    assert names == [thing["name"] for thing in spec["objects"]]
    assert part.truth.texts[0].tolist() == [pytest.approx(text["box"]) for text in spec["texts"]]
    materials = [CONFIG.materials[index] for index in part.truth.materials[0].tolist()[:count]]
    assert materials == [thing["material"] for thing in spec["objects"]]


def test_joined_truths_are_padded_with_no_name():
    pixels = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    box = [0.1, 0.1, 0.5, 0.5]
    batch = join([Labelled(pixels, truth([box], [3])), Labelled(pixels, truth([box, box], [4, 5]))])
    assert batch.truth.names.tolist() == [[3, -1], [4, 5]]
    assert batch.pixels.shape == (2, 8, 8, 3)


def test_mirroring_twice_changes_nothing():
    pixels = torch.randint(0, 256, (1, 8, 8, 3), dtype=torch.uint8)
    batch = Labelled(pixels, truth([[0.125, 0.25, 0.5, 0.75]], [3]))
    once = mirrored(batch)
    assert once.truth.boxes[0, 0].tolist() == [0.5, 0.25, 0.875, 0.75]
    twice = mirrored(once)
    assert torch.equal(twice.pixels, pixels)
    assert torch.equal(twice.truth.boxes, batch.truth.boxes)


def test_wear_is_mild_and_a_function_of_its_generator():
    pixels = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    one, again, other = (augment(pixels, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.abs().max() <= 1


def test_a_batch_is_a_function_of_its_number(tmp_path, monkeypatch):
    monkeypatch.setattr("polarlight.recipes.judge_scenes.SHARD", 12)
    monkeypatch.setattr(judge_mini, "MIXTURE", {"crowds": 2, "posters": 2})
    load_shard.cache_clear()
    run = Run(folder=tmp_path / "judge-mini")
    one, again = make_batch(run, 7), make_batch(run, 7)
    assert torch.equal(one.data.pixels, again.data.pixels)
    assert one.units == 4
    model = Detector(DetectorConfig(**{**vars(CONFIG), "fine_channels": 8, "coarse_channels": 8}))
    loss, _ = objective(model, one.data, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss)
    load_shard.cache_clear()


def one_cat(box: list[float]) -> Truth:
    """A red cat of no known material, and a text at the top."""
    cat, red = CONFIG.classes.index("cat"), CONFIG.colours.index("red")
    numbers = (torch.tensor([number]) for number in (cat, red, -1))
    return Truth(torch.tensor([box]), *numbers, torch.tensor([[0.0, 0.0, 1.0, 0.2]]))


def tally_of(seen: list[Detection], single: Truth) -> dict[str, list[bool]]:
    tally: dict[str, list[bool]] = {"recall": [], "precision": [], "colour": [], "material": [], "text_recall": []}
    score_picture(CONFIG, seen, single, tally)
    return tally


def test_scores_count_names_places_and_attributes():
    box = (0.1, 0.3, 0.5, 0.7)
    seen = [
        Detection(name="cat", score=0.9, box=box, colour="blue", material="glass"),
        Detection(name="dog", score=0.8, box=box, colour="red", material="glass"),
        Detection(name="text", score=0.8, box=(0.0, 0.02, 1.0, 0.2)),
    ]
    assert tally_of(seen, one_cat(list(box))) == {
        "recall": [True],
        "precision": [True, False],
        "colour": [False],
        "material": [],
        "text_recall": [True],
    }


def test_a_thing_in_the_wrong_place_is_not_found():
    tally = tally_of([Detection(name="cat", score=0.9, box=(0.6, 0.6, 0.9, 0.9))], one_cat([0.1, 0.3, 0.3, 0.5]))
    assert tally["recall"] == [False]
    assert tally["text_recall"] == [False]


def test_an_untrained_judge_finds_nothing():
    model = Detector(DetectorConfig(**{**vars(CONFIG), "fine_channels": 8, "coarse_channels": 8}))
    assert judge_mini.score(Judge(model), "posters", 4)["recall"] == pytest.approx(0)
