"""Decoding with the cache, one position or many a pass, against a reference that knows neither."""

from dataclasses import replace

import pytest
import torch
from tiny import codes, drawing, image_model
from torch import Tensor

from polarlight.infer.decoding import Job, Sampling, decode
from polarlight.models.image_ar import ImageAR, causal_mask
from polarlight.ops.sampling import draw, guide
from polarlight.ops.streams import uniform

ROWS, COLUMNS = 3, 4
N = ROWS * COLUMNS
PROMPTS = ("a red cat", "two blue dogs on a green hill")


def jobs(model: ImageAR, kept: int = 0) -> list[Job]:
    """One job a prompt, each with an order, noise and (where positions are kept) a picture of its own."""
    made = []
    for seed, words in enumerate(PROMPTS):
        digits, order = codes(ROWS, COLUMNS, model), torch.randperm(N)
        sides = [drawing(digits, order, kept, text) for text in (words, "")]
        noise = uniform((N, model.config.digits), seed, "draw")
        made.append(
            Job(conditional=sides[0], free=sides[1], order=order, kept=kept, noise=noise, rows=ROWS, columns=COLUMNS)
        )
    return made


def state_that_asks(model: ImageAR, words: str, digits: Tensor, order: Tensor, number: int) -> Tensor:
    """State [1 d] of the token that asks for order[number], in the whole sequence."""
    tokens = drawing(digits.view(ROWS, COLUMNS, -1), order, 0, words)
    hidden, _ = model.hidden(tokens, causal_mask(tokens), torch.float32)
    return hidden[:, hidden.shape[1] - N + number]


@torch.no_grad()
def reference(model: ImageAR, words: str, job: Job, given: Tensor, groups: list[int], sampling: Sampling) -> Tensor:
    """Draw one picture: each position asks as if it came right after the groups before its own; no cache, no batch."""
    canvas = torch.zeros(N, model.config.digits, dtype=torch.uint8)
    canvas[job.order[: job.kept]] = given[job.order[: job.kept]]
    done = job.kept
    for size in groups:
        scale = sampling.guidance_start + (sampling.guidance - sampling.guidance_start) * done / (N - 1)
        drawn = canvas.clone()
        for place in job.order[done : done + size].tolist():
            rest = job.order[done:]
            order = torch.cat((job.order[:done], torch.tensor([place]), rest[rest != place]))
            states = [state_that_asks(model, text, canvas, order, done) for text in (words, "")]
            for i in range(model.config.digits):
                conditional, free = (model.head(state, drawn[place][None])[:, i] for state in states)
                drawn[place, i] = draw(
                    guide(conditional, free, scale), job.noise[place, i][None], sampling.temperature, sampling.top_p
                )[0]
        canvas, done = drawn, done + size
    return canvas


@pytest.mark.parametrize("kept", [0, 4])
@pytest.mark.parametrize("groups", [[1] * N, [1, 2, 4, 5], [N]], ids=["one by one", "growing", "all at once"])
def test_decoding_equals_a_reference_that_recomputes_everything(kept: int, groups: list[int]) -> None:
    model = image_model()
    batch, sampling = jobs(model, kept), Sampling(guidance=2.0, guidance_start=1.5, temperature=0.9, top_p=0.95)
    while sum(groups) > N - kept:
        groups = [*groups[:-1], groups[-1] - 1] if groups[-1] > 1 else groups[:-1]
    given = [torch.zeros(N, model.config.digits, dtype=torch.uint8) for _ in batch]
    for job, picture in zip(batch, given, strict=True):
        picture[job.order[:-1]] = job.conditional.digits[0, -(N - 1) :]
    drawn = decode(model, batch, groups, sampling, torch.float32)
    for row, words in enumerate(PROMPTS):
        assert torch.equal(drawn[row], reference(model, words, batch[row], given[row], groups, sampling))
        if kept:
            assert torch.equal(drawn[row][batch[row].order[:kept]], given[row][batch[row].order[:kept]])


def test_what_the_picture_held_where_it_is_drawn_anew_does_not_show() -> None:
    model = image_model()
    batch = jobs(model, kept=4)
    drawn = decode(model, batch, [3, 5], Sampling(), torch.float32)
    for job in batch:
        for tokens in (job.conditional, job.free):
            tokens.digits[0, -(N - 1) + 4 :] = 0
    assert torch.equal(decode(model, batch, [3, 5], Sampling(), torch.float32), drawn)


def test_guidance_of_one_is_drawing_without_it() -> None:
    model = image_model()
    batch = jobs(model)
    plain = decode(model, batch, [4, 8], Sampling(guidance=1.0, guidance_start=1.0), torch.float32)
    nearly = decode(model, batch, [4, 8], Sampling(guidance=1 + 1e-6, guidance_start=1.0), torch.float32)
    assert torch.equal(plain, nearly)


def test_the_prompt_matters() -> None:
    model = image_model()
    one, _ = jobs(model)
    v = replace(one, conditional=drawing(codes(ROWS, COLUMNS, model), one.order, words=PROMPTS[1]))
    drawn = decode(model, [one, v], [1] * N, Sampling(), torch.float32)
    assert not torch.equal(drawn[0], drawn[1])


def test_every_digit_is_one_that_its_place_has() -> None:
    model = image_model()
    drawn = decode(model, jobs(model), [2, 4, 6], Sampling(guidance=9.0, guidance_start=9.0, top_p=0.9), torch.float32)
    assert (drawn < torch.tensor(model.config.position_levels)).all()


def test_every_pass_shows_the_picture_so_far() -> None:
    model, seen = image_model(), []
    batch = jobs(model, kept=2)
    drawn = decode(model, batch, [1, 3, 6], Sampling(), torch.float32, lambda *pass_: seen.append(pass_))
    assert [(number, passes) for number, passes, _ in seen] == [(1, 3), (2, 3), (3, 3)]
    assert torch.equal(seen[-1][2], drawn)
    for end, (_, _, picture) in zip((3, 6, 12), seen, strict=True):
        for row, job in enumerate(batch):
            assert torch.equal(picture[row][job.order[:end]], drawn[row][job.order[:end]])
            assert not picture[row][job.order[end:]].any()


def test_bf16_decodes_too() -> None:
    model = image_model()
    assert decode(model, jobs(model), [4, 8], Sampling(), torch.bfloat16).shape == (2, N, model.config.digits)
