"""Drawing values from logits."""

import torch

from polarlight.ops.sampling import draw, guide, nucleus


def evenly(count: int) -> torch.Tensor:
    return (torch.arange(count) + 0.5) / count


def test_even_noise_gives_each_value_its_probability() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.4, 0.3])
    values = draw(probabilities.log().expand(1000, -1), evenly(1000))
    assert torch.bincount(values).tolist() == [100, 200, 400, 300]


def test_temperature_sharpens() -> None:
    logits = torch.tensor([0.5, 0.25, 0.25]).log().expand(600, -1)
    sharp = torch.bincount(draw(logits, evenly(600), temperature=0.5), minlength=3)
    assert sharp.tolist() == [400, 100, 100]  # squares: 4 to 1 to 1


def test_temperature_zero_takes_the_most_likely_value() -> None:
    logits = torch.randn(50, 7)
    assert torch.equal(draw(logits, torch.rand(50), temperature=0), logits.argmax(-1))


def test_top_p_never_draws_from_the_tail() -> None:
    logits = torch.tensor([0.1, 0.5, 0.15, 0.25]).log().expand(300, -1)
    counts = torch.bincount(draw(logits, evenly(300), top_p=0.7), minlength=4)
    assert counts.tolist() == [0, 200, 0, 100]


def test_a_nucleus_always_keeps_the_most_likely_value() -> None:
    probabilities = torch.rand(20, 6).softmax(-1)
    kept = nucleus(probabilities, 1e-6)
    torch.testing.assert_close(kept.sum(-1), torch.ones(20))
    assert torch.equal(kept.argmax(-1), probabilities.argmax(-1))
    assert ((kept > 0).sum(-1) == 1).all()


def test_an_impossible_value_is_never_drawn() -> None:
    logits = torch.tensor([-torch.inf, 0.0, -torch.inf]).expand(3, -1)
    assert draw(logits, torch.tensor([0.0, 0.5, 1 - 2**-24])).tolist() == [1, 1, 1]


def test_the_highest_noise_still_gives_a_possible_value() -> None:
    logits = torch.cat((torch.randn(1000, 8), torch.full((1000, 2), -torch.inf)), -1)
    assert (draw(logits, torch.full((1000,), 1 - 2**-24)) < 8).all()


def test_a_value_does_not_depend_on_the_rows_beside_it() -> None:
    logits, noise = torch.randn(9, 5), torch.rand(9)
    assert draw(logits, noise, 0.8, 0.9)[4] == draw(logits[4:5], noise[4:5], 0.8, 0.9)[0]


def test_guidance_one_is_the_conditional_and_zero_the_free() -> None:
    conditional, free = torch.randn(2, 10)
    torch.testing.assert_close(guide(conditional, free, 1.0), conditional)
    assert torch.equal(guide(conditional, free, 0.0), free)


def test_guidance_keeps_impossible_values_impossible() -> None:
    conditional, free = torch.tensor([0.0, 1.0, -torch.inf]), torch.tensor([0.5, 0.0, -torch.inf])
    assert draw(guide(conditional, free, 3.0)[None], torch.tensor([0.999])).item() == 1
