"""Contact sheets and terminal pictures."""

import re

import numpy as np

from polarlight.media.grid import INK, MARGIN, PAPER, contact_sheet, half_blocks


def flat(colour: tuple[int, int, int], height: int = 20, width: int = 30) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def test_pictures_stand_in_rows_from_left_to_right() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (90, 90, 90)]
    sheet = contact_sheet([flat(colour) for colour in colours], columns=3)
    assert sheet.shape == (2 * (20 + MARGIN) + MARGIN, 3 * (30 + MARGIN) + MARGIN, 3)
    for i, colour in enumerate(colours):
        top, left = MARGIN + i // 3 * (20 + MARGIN), MARGIN + i % 3 * (30 + MARGIN)
        assert (sheet[top : top + 20, left : left + 30] == colour).all()


def test_a_smaller_picture_stands_on_the_floor_of_its_cell_right_above_its_label() -> None:
    sheet = contact_sheet([flat((0, 0, 0), 40, 40), flat((0, 0, 0), 20, 20)], columns=2)
    second = (sheet[:, MARGIN + 40 + MARGIN :] == 0).all(-1)
    assert np.argwhere(second).min(0).tolist() == [MARGIN + 20, 10]


def test_scale_repeats_every_pixel() -> None:
    picture = np.arange(27, dtype=np.uint8).reshape(3, 3, 3)
    sheet = contact_sheet([picture], scale=3)
    assert np.array_equal(sheet[MARGIN:-MARGIN, MARGIN:-MARGIN], picture.repeat(3, 0).repeat(3, 1))


def test_a_label_is_written_below_its_picture() -> None:
    sheet = contact_sheet([flat((0, 0, 0)), flat((0, 0, 0))], ["seed 1", ""], columns=2)
    below = sheet[MARGIN + 20 :]
    assert (below[:, : MARGIN + 30] < 128).any()
    assert (below[:, MARGIN + 30 :] == PAPER).all()


def test_a_long_label_never_runs_into_the_next_picture() -> None:
    sheet = contact_sheet([flat((9, 9, 9), 40, 64)] * 2, ["unbreakable" * 9 + " and words after it", ""], columns=2)
    gap = sheet[:, MARGIN + 64 : MARGIN + 64 + MARGIN]
    assert (gap == PAPER).all()
    assert (sheet[MARGIN + 40 :, : MARGIN + 64].min(axis=(0, 1)) <= np.array(INK) + 60).all()


def test_the_terminal_picture_has_two_rows_of_pixels_in_a_line() -> None:
    picture = flat((255, 0, 0), 32, 32)
    picture[16:] = (0, 0, 255)
    lines = half_blocks([picture, picture], columns=8).split("\n")
    assert len(lines) == 4
    assert all(line.count("▀") == 16 for line in lines)
    assert set(re.findall(r"38;2;(\d+;\d+;\d+)", lines[0])) == {"255;0;0"}
    assert set(re.findall(r"48;2;(\d+;\d+;\d+)", lines[3])) == {"0;0;255"}
