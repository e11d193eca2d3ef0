"""What an edit wants written, and how words fill a place."""

import pytest

from polarlight.text.lettering import ACROSS, DOWN, fitted, parted, rise_and_fall, to_write


@pytest.mark.parametrize(
    ("instruction", "words"),
    [
        ("change 'OPEN' to 'CLOSED'", "CLOSED"),
        ("the sign should say 'SUNNY!'", "SUNNY!"),
        ("replace 'OLD' with 'NEW'", "NEW"),
        ("the text should read: 'HI'", "HI"),
        ("remove the sign 'OPEN'", None),
        ("remove the sign that says 'OPEN'", None),
        ("make the sign that says 'OPEN' bigger than 'TINY'", None),
        ("add a sign 'FRESH FISH'", "FRESH FISH"),
        ("write 'HI' on the wall", "HI"),
        ("make the cat blue", None),
        ("change the text to ' '", None),
    ],
)
def test_the_words_to_write_are_told_from_those_that_are_spoken_of(instruction: str, words: str | None) -> None:
    assert to_write(instruction) == words


def test_a_word_fills_its_place_as_wide_or_as_high_as_fits() -> None:
    wide = fitted("OPEN", (0.0, 0.0, 1.0, 0.25), (128, 128)).box
    assert wide[3] - wide[1] == pytest.approx(DOWN * 0.25)
    long = fitted("STRAWBERRIES", (0.25, 0.0, 0.75, 0.5), (128, 128)).box
    assert long[2] - long[0] == pytest.approx(ACROSS * 0.5)
    assert ((long[0] + long[2]) / 2, (long[1] + long[3]) / 2) == pytest.approx((0.5, 0.25))


def test_words_stand_in_lines_where_that_makes_them_larger() -> None:
    assert fitted("BROOKLYN CRAFT", (0.3, 0.3, 0.7, 0.7), (128, 128)).text == "BROOKLYN\nCRAFT"
    assert fitted("BROOKLYN CRAFT", (0.0, 0.4, 1.0, 0.5), (128, 128)).text == "BROOKLYN CRAFT"
    assert parted(["a", "good", "day", "for", "it"], 3) == ["a good", "day", "for it"]


def test_hangul_stands_higher() -> None:
    assert sum(rise_and_fall(["가"], "hangul")) > sum(rise_and_fall(["A"], "latin"))
    assert fitted("가게", (0.0, 0.0, 1.0, 0.25), (128, 128)).box[3] <= 0.25
