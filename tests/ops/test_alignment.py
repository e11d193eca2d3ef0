"""Alignments: the likeliest path and what of it is agreed on."""

from itertools import product

import pytest
import torch

from polarlight.ops.alignment import accepted, best_path, with_blanks

BLANK = 3


def saying(*outputs: int, sure: float = 0.97) -> torch.Tensor:
    """Log-probabilities of one output a step, what is left shared by the others."""
    says = torch.full((len(outputs), BLANK + 1), (1 - sure) / BLANK)
    says[range(len(outputs)), list(outputs)] = sure
    return says.log()


def spelt(path: tuple[int, ...]) -> list[int]:
    """What a path of outputs spells: repeats are one, blanks are none."""
    merged = [one for number, one in enumerate(path) if number == 0 or path[number - 1] != one]
    return [one for one in merged if one != BLANK]


@pytest.mark.parametrize("target", [[0], [1, 2], [0, 0], [2, 1, 2]])
def test_no_path_that_spells_the_target_is_likelier(target: list[int]) -> None:
    torch.manual_seed(len(target))
    says = torch.randn(5, BLANK + 1).log_softmax(-1)
    wanted = torch.tensor(target)
    found = with_blanks(wanted, BLANK)[best_path(says, wanted)]
    assert spelt(tuple(found.tolist())) == target
    score = float(says.gather(1, found[:, None]).sum())
    paths = (path for path in product(range(BLANK + 1), repeat=5) if spelt(path) == target)
    assert score == pytest.approx(max(float(says[range(5), list(path)].sum()) for path in paths), abs=1e-5)


def test_a_wrong_a_missing_and_a_superfluous_letter_are_not_accepted() -> None:
    word = torch.tensor([0, 1, 2])
    assert (accepted(saying(3, 0, 0, 3, 1, 3, 2, 3), word) > 0.95).all()
    assert (accepted(saying(3, 0, 0, 3, 1, 3, 1, 3), word) < 0.1).nonzero()[:, 0].tolist() == [6]
    assert (accepted(saying(3, 0, 0, 3, 3, 3, 2, 3), word) < 0.1).any()
    assert (accepted(saying(3, 0, 1, 1, 3, 0, 3, 2), word) < 0.1).nonzero()[:, 0].tolist() == [5]


def test_where_a_letter_ends_is_nobodys_mistake() -> None:
    says = saying(3, 0, 3, 1, 3)
    says[2] = torch.tensor([0.49, 0.01, 0.01, 0.49]).log()
    assert (accepted(says, torch.tensor([0, 1])) > 0.9).all()
