"""Requests made ready: sequences, noise and settings."""

import numpy as np
import torch
from tiny import codes, image_model

from polarlight.infer.image_jobs import Prepared, new_job, request_settings, told
from polarlight.infer.image_requests import EditRequest, ImageRequest, VariationRequest
from polarlight.infer.sampling import Sampling
from polarlight.models.image_grammar import PROMPTS, Picture
from polarlight.text.plan import parse_plan
from polarlight.text.vocabulary import Vocabulary

ORDER = torch.tensor([3, 1, 0, 2, 5, 4])


def new_prepared(kept: int, groups: list[int]) -> Prepared:
    target = Picture(digits=codes(2, 3, image_model()), order=ORDER, kept=kept)
    job = new_job(Vocabulary.shipped(), "draw", ("a cat", ""), [target], 7)
    return Prepared(jobs=(job,), groups=groups, sampling=Sampling(), seed=7, about={})


def test_a_job_has_the_words_on_one_side_and_what_is_unwanted_on_the_other() -> None:
    v, target = Vocabulary.shipped(), Picture(digits=codes(2, 3, image_model()), order=ORDER)
    job = new_job(v, "draw", ("a cat", "a dog"), [target], 7)
    wanted, unwanted = v.encode("a cat"), v.encode("a dog")
    assert job.conditional.ids[0, 1 : 2 + len(wanted)].tolist() == [v["<draw>"], *wanted]
    assert job.free.ids[0, 1 : 2 + len(unwanted)].tolist() == [v["<draw>"], *unwanted]


def test_things_of_a_plan_that_the_prompt_does_not_name_are_told_with_it() -> None:
    v, target = Vocabulary.shipped(), Picture(digits=codes(2, 3, image_model()), order=ORDER)
    plan = parse_plan("cat red @ 3 10 11 27; orange @ 20 10 28 27")
    assert told("a Cat at night", plan) == "a Cat at night, an orange"
    job = new_job(v, "draw", ("a Cat at night", ""), [target], 7, plan)
    words = job.conditional.ids[job.conditional.whose == PROMPTS]
    assert words.tolist() == v.encode("a Cat at night, an orange")
    assert not (job.free.whose == PROMPTS).any()


def test_noise_is_the_seeds_own() -> None:
    target = Picture(digits=codes(2, 3, image_model()), order=ORDER)
    noises = [new_job(Vocabulary.shipped(), "draw", ("a", ""), [target], seed).noise for seed in (1, 1, 2)]
    assert torch.equal(noises[0], noises[1])
    assert not torch.equal(noises[0], noises[2])


def test_what_is_drawn_after_some_passes_starts_with_what_is_given() -> None:
    prepared = new_prepared(2, [1, 3])
    assert [prepared.drawn(passes).flatten().nonzero().flatten().tolist() for passes in range(3)] == [
        [1, 3],
        [0, 1, 3],
        [0, 1, 2, 3, 4, 5],
    ]


def test_settings_say_what_was_done_to_which_picture() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    assert request_settings(ImageRequest(prompt="x"), "a cat", "") == {"prompt": "a cat", "mode": "speed"}
    edit = request_settings(EditRequest(picture=picture, instruction="x", mode="quality"), "a cat", "a dog")
    assert (edit["task"], edit["negative_prompt"], edit["mode"]) == ("edit", "a dog", "quality")
    other = request_settings(VariationRequest(picture=picture + 1, strength=0.4), "", "")
    assert (other["task"], other["strength"], other["prompt"]) == ("variation", 0.4, "")
    assert edit["parent"] != other["parent"]
