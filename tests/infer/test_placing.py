"""Where an instruction changes a picture."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import LEVELS, image_model, reader_model, visual_tokenizer
from torch import Tensor

from polarlight.infer.choosing import Chooser, Sight
from polarlight.infer.images import EditRequest, ImageGenerator
from polarlight.infer.placing import REACH, around, patched, place_of, widened
from polarlight.models.image_grammar import frame

NOUNS = {"cat": "cat", "cats": "cat", "dog": "dog"}
GRID = """
. c c . . .
. c c . . c
. . . . . .
d . w w w .
"""


class Shown(Chooser):
    """Sees cats, a dog and words where a grid has them; a cat in the last column is blue, others red."""

    def __init__(self, grid: str = GRID) -> None:
        super().__init__(reader_model(LEVELS), {"nouns": NOUNS})
        self.rows = [row.split() for row in grid.strip().split("\n")]

    def look(self, digits: Tensor) -> Sight:
        cells = [mark for row in self.rows for mark in row]
        count, wide = len(cells), len(self.rows[0])
        sight = Sight(
            names=torch.zeros(1, count, 3), colours=torch.zeros(1, count, 2), materials=torch.ones(1, count, 2),
            centres=torch.zeros(1, count, 1), letters=torch.zeros(1, count), places=frame(len(self.rows), wide)[:, 2:],
        )  # fmt: skip
        for place, mark in enumerate(cells):
            if mark in "cd":
                sight.names[0, place, "cd".index(mark)] = 0.9
                sight.colours[0, place, int(place % wide == wide - 1)] = 0.95
            sight.letters[0, place] = 0.05 * (mark == "w")
        return sight


DIGITS = torch.zeros(8, 12, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("instruction", "box"),
    [
        ("remove the cat", (0, 1, 2, 3)),  # the one of which more is seen
        ("Please delete the blue cat.", (1, 5, 2, 6)),
        ("make the two cats blue", (0, 1, 2, 6)),
        ("turn the dog red", (3, 0, 4, 1)),
        ("change the text to 'AB'", (3, 2, 4, 5)),
        ("the sign should say 'dog'", (3, 2, 4, 5)),
    ],
)
def test_the_place_is_that_of_what_is_named(instruction: str, box: tuple[int, int, int, int]) -> None:
    place = place_of(instruction, DIGITS, Shown())
    assert place is not None
    assert place.shape == (64, 96)
    rows, columns = place.any(1).nonzero()[0] / 16, place.any(0).nonzero()[0] / 16
    assert (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1) == box


@pytest.mark.parametrize(
    "instruction",
    ["add a dog", "please put a cat on the left", "make it snow", "remove the elephant", "", "turn it red"],
)
def test_what_comes_anew_or_is_not_seen_has_no_place(instruction: str) -> None:
    assert place_of(instruction, DIGITS, Shown()) is None


def test_what_is_not_seen_clearly_has_no_place() -> None:
    shares = torch.tensor([[0.2, 0.3, 0.0], [0.0, 0.0, 0.6]])
    for seen, marked in (
        (0.25, [[False, True, True], [False, True, True]]),
        (0.4, [[False] * 3, [False, False, True]]),
    ):
        found = around(shares, seen, 0.5, 1)
        assert found is not None
        assert found.tolist() == marked
    assert around(shares, 0.1, 0.7, 1) is None


def test_patches_are_connected_by_corners_too() -> None:
    flags = torch.tensor([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0]]).bool()
    assert patched(flags).tolist() == [[1, 0, 0, 2], [0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 0]]


def test_a_place_reaches_a_little_further() -> None:
    flags = np.zeros((40, 60), bool)
    flags[16:20, 30:31] = True
    rows, columns = (widened(flags).any(axis).nonzero()[0] for axis in (1, 0))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (16 - REACH, 19 + REACH, 30 - REACH, 30 + REACH)


def test_an_edit_keeps_what_lies_elsewhere() -> None:
    torch.manual_seed(4)
    model = image_model()
    card = {"tasks": ["draw", "edit"], "sizes": [128], "hash": "0" * 16}
    square = "\n".join(" ".join("c" if (row, column) == (2, 3) else "." for column in range(8)) for row in range(8))
    editor = ImageGenerator(visual_tokenizer(), model, card, torch.float32, Shown(square))
    source = np.random.default_rng(3).integers(0, 256, (128, 128, 3), np.uint8)
    request = EditRequest(picture=source, instruction="remove the cat", seed=1)
    edited, other = (editor.edit([replace(request, instruction=words)])[0] for words in ("remove the cat", "add a cat"))
    place = np.zeros((128, 128), bool)
    place[32 - REACH : 48 + REACH, 48 - REACH : 64 + REACH] = True
    assert edited.metadata["place"] == [40 / 128, 24 / 128, 72 / 128, 56 / 128]
    assert np.array_equal(edited.pixels[~place], source[~place])
    assert not np.array_equal(edited.pixels[place], source[place])
    assert "place" not in other.metadata
    masked = editor.edit([replace(request, mask=np.ones((128, 128), bool))])[0]
    assert "place" not in masked.metadata
    assert not np.array_equal(masked.pixels[~place], source[~place])
