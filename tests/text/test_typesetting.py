"""Setting type: sizes, rows, faces, and texts that no size fits."""

import pytest

from polarlight.text.plan import PlanText
from polarlight.text.typesetting import ADVANCES, CELL, EDGE, MONO, PAD, Setting, pitch, typeset

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 "
FACES = {MONO: dict.fromkeys(LETTERS, 0.8), "narrow": dict.fromkeys(LETTERS, 0.5), "other": {"문": 1.1, " ": 0.4}}
SIZE = (128, 128)


def one(text: str, box: tuple[float, ...], kind: str = "sign") -> Setting:
    """A text whose ink is to fill a box in px."""
    x0, y0, x1, y1 = (side / 128 for side in box)
    return typeset([PlanText(text=text, box=(x0, y0, x1, y1), kind=kind)], SIZE, FACES)


def test_a_text_of_about_a_size_takes_that_size_and_stands_on_a_row_of_cells_and_whole_pixels() -> None:
    # four letters of 12 px are 48 px wide and 15 px high; the box is a little wrong everywhere
    made = one("OPEN", (41, 34, 90, 50.5))
    assert {each.face for each in made.letters} == {MONO}
    assert {each.cap for each in made.letters} == {each.across for each in made.letters} == {12 / 0.8}
    assert {each.baseline for each in made.letters} == {48.0}
    assert [each.x for each in made.letters] == [40.0, 52.0, 64.0, 76.0]
    assert "".join(each.letter for each in made.letters) == "OPEN"


def test_a_board_lies_around_the_ink_and_titles_have_none() -> None:
    (board,) = one("OPEN", (41, 34, 90, 50.5)).boards
    assert board[0] == pytest.approx(65.5 - 24 - PAD[0])
    assert board[2] == pytest.approx(65.5 + 24 + PAD[0])
    assert board[1] == pytest.approx(48 - 15 * 1.02 - PAD[1])
    assert one("OPEN", (41, 34, 90, 50.5), kind="title").boards == ()


def test_a_box_that_is_too_narrow_takes_the_narrow_face_and_then_condensed_type() -> None:
    # 15 px high: 8 letters are 96 px wide, in the narrow face 60 px
    assert {each.face for each in one("KANGAROO", (16, 32, 112, 47.9)).letters} == {MONO}
    assert {each.face for each in one("KANGAROO", (34, 32, 94, 47.9)).letters} == {"narrow"}
    tight = one("KANGAROO", (44, 32, 84, 47.9)).letters
    assert {each.face for each in tight} == {"narrow"}
    assert all(each.across < each.cap for each in tight)
    last = max(tight, key=lambda each: each.x)
    assert last.x + 0.5 * last.across - min(each.x for each in tight) < 1.15 * 40 + 4


def test_lines_have_the_pitch_of_their_size_and_share_a_middle() -> None:
    made = one("OPEN\nUP", (40, 20, 88, 58)).letters
    first, second = (
        [each for each in made if each.baseline == row] for row in sorted({each.baseline for each in made})
    )
    assert second[0].baseline - first[0].baseline == pitch(first[0].cap)
    assert "".join(each.letter for each in second) == "UP"
    assert abs((first[0].x + first[-1].x) / 2 - (second[0].x + second[-1].x) / 2) <= 2


@pytest.mark.parametrize("size", [10, 70])
def test_letters_of_no_size_fill_their_box(size: float) -> None:
    made = one("HI", (30, 30, 30 + 1.6 * size, 30 + 1.06 * size)).letters
    assert [each.cap for each in made] == pytest.approx([size, size], abs=1e-6)
    assert all(each.cap * 0.8 not in ADVANCES for each in made)


def test_a_line_stays_in_the_picture() -> None:
    made = one("KANGAROO", (-30, 32, 66, 47.9)).letters
    assert min(each.x for each in made) == EDGE
    long = one("ABCDEFGHIJKLMNOPQRSTUVWXYZ", (0, 32, 128, 47.9)).letters
    assert min(each.x for each in long) >= 0
    assert max(each.x + 0.5 * each.across for each in long) <= 128 + CELL


@pytest.mark.parametrize(("text", "count"), [("문", 1), ("문 A", 0), ("Tω", 0), ("", 0), (" \n ", 0), ("A B", 2)])
def test_a_text_is_set_where_one_face_has_all_its_letters(text: str, count: int) -> None:
    made = one(text, (20, 20, 100, 60))
    assert (len(made.letters), len(made.boards)) == (count, int(count > 0))


def test_texts_are_set_one_by_one() -> None:
    left = PlanText(text="OPEN", box=(0.1, 0.1, 0.45, 0.2))
    right = PlanText(text="Tea", box=(0.5, 0.5, 0.95, 0.7), kind="title")
    both = typeset([left, right], SIZE, FACES)
    assert both.letters == typeset([left], SIZE, FACES).letters + typeset([right], SIZE, FACES).letters
    assert both.boards == typeset([left], SIZE, FACES).boards
