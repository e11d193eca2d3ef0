import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from polarlight.base.errors import UserError
from polarlight.evals import ocr
from polarlight.evals.ocr import (
    Reading,
    by_length,
    cut,
    join_words,
    prepare,
    read_crops,
    read_pictures,
    score_text,
    substring_errors,
    summarise,
)
from polarlight.worlds.posters import Posters


def drawn(text: str, ink=(20, 20, 20), paper=(240, 240, 240), size=(80, 26)) -> np.ndarray:
    image = Image.new("RGB", size, paper)
    ImageDraw.Draw(image).text((size[0] / 2, size[1] / 2), text, fill=ink, font=ImageFont.load_default(18), anchor="mm")
    return np.array(image)


@pytest.mark.parametrize(
    ("expected", "read", "errors"),
    [
        ("OPEN", "OPEN", 0),
        ("OPEN", "|OPEN] x", 0),
        ("OPEN", "OPFN", 1),
        ("OPEN", "OEN", 1),
        ("OPEN", "OPPEN", 1),
        ("OPEN", "", 4),
        ("OPEN", "xyz", 4),
        ("BUS STOP", "the BUSSTOP", 1),
    ],
)
def test_errors_are_counted_against_the_nearest_substring(expected, read, errors):
    assert substring_errors(expected, read) == errors


def test_upper_and_lower_case_are_told_apart_and_not():
    score = score_text("Open", [Reading(text="OPEN", confidence=90)])
    assert (score.errors, score.errors_any_case) == (3, 0)
    assert not score.exact


def test_the_nearest_of_several_readings_counts():
    score = score_text("CAFE", [Reading(text="zoo", confidence=99), Reading(text="CAFF", confidence=10)])
    assert (score.read, score.errors, score.error_rate) == ("CAFF", 1, 0.25)


def test_spaces_between_hangul_syllables_are_no_errors():
    assert score_text("주차", [Reading(text="주 차", confidence=90)]).exact
    assert not score_text("BUS", [Reading(text="B US", confidence=90)]).exact


def test_typographic_quotation_marks_are_no_errors():
    assert score_text("Joe's", [Reading(text="Joe’s", confidence=90)]).exact


def test_a_picture_without_writing_loses_every_character():
    assert score_text("CAFE", []).error_rate == 1


def test_summaries_weigh_every_character_alike():
    scores = [
        score_text("AB", [Reading(text="AB", confidence=1)]),
        score_text("ABCDEFGH", [Reading(text="ABCD", confidence=1)]),
    ]
    summary = summarise(scores)
    assert (summary["count"], summary["exact"], summary["cer"]) == (2, 0.5, 0.4)
    assert summarise([]) == {"count": 0}


def test_scores_are_grouped_by_length():
    texts = ("AB", "ABCD", "ABCDE")
    groups = by_length([score_text(text, [Reading(text=text, confidence=1)]) for text in texts])
    assert {name: group["count"] for name, group in groups.items()} == {"1-3": 1, "4-5": 2}


def test_a_reading_is_as_sure_as_its_words_by_length():
    assert join_words([("ABC", 90.0), ("D", 50.0)]) == Reading(text="ABC D", confidence=80.0)
    assert join_words([]) == Reading(text="", confidence=0.0)


def test_a_cut_stays_inside_the_picture_and_keeps_a_margin():
    picture = np.zeros((128, 128, 3), dtype=np.uint8)
    assert cut(picture, (0.25, 0.5, 0.5, 0.75), margin=2).shape == (36, 36, 3)
    assert cut(picture, (0.0, 0.0, 1.0, 1.0)).shape == picture.shape


def test_light_letters_become_dark_ones():
    image = np.array(prepare(drawn("ZOO", ink=(250, 250, 250), paper=(20, 60, 30))))
    assert image[0, 0] > 200
    assert image.min() < 40


def test_colours_of_equal_brightness_keep_their_contrast():
    image = np.array(prepare(drawn("ZOO", ink=(255, 0, 0), paper=(0, 130, 0))))
    assert image[0, 0] > 200
    assert image.min() < 40


def test_tesseract_reads_a_batch_of_crops_in_order():
    crops = [drawn("HELLO"), drawn("park 12", ink=(255, 240, 120), paper=(30, 60, 140)), drawn("ZOO")]
    assert [reading.text for reading in read_crops(crops, "latin")] == ["HELLO", "park 12", "ZOO"]


def test_tesseract_reads_hangul():
    text = {"text": "주차", "lines": ["주차"], "box": [0.36, 0.72, 0.73, 0.91], "kind": "title", "carrier": "title"}
    text |= {"script": "hangul", "font": "gothic", "cap": 0.1466, "colour": "white", "ink": "#ffffff", "on": None}
    setting = {"kind": "flat", "pattern": "solid", "palette": "brick", "colour": "red", "margin": 0.0, "variant": 1}
    spec = {"world": "posters", "aspect": "1:1", "setting": setting, "objects": [], "texts": [text], "relations": []}
    (pixels,) = Posters().render([spec], (128, 128)).pixels.numpy()
    assert score_text("주차", read_crops([cut(pixels, text["box"])], "hangul")).exact


def test_a_picture_is_read_inside_its_boxes_or_whole():
    picture = np.full((96, 96, 3), 225, dtype=np.uint8)
    picture[10:36, 8:88], picture[60:86, 8:88] = drawn("HELLO"), drawn("MARKET")
    boxes = [(8 / 96, 60 / 96, 88 / 96, 86 / 96)]
    inside, whole = read_pictures([picture, picture], [boxes, []], "latin")
    assert [reading.text for reading in inside] == ["MARKET"]
    assert score_text("HELLO", whole).exact
    assert score_text("MARKET", whole).exact


def test_a_missing_tesseract_is_said_clearly(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="tesseract is not on the PATH") as caught:
        read_crops([drawn("ZOO")], "latin")
    assert "apt install" in caught.value.fix


def test_missing_language_data_is_said_clearly(monkeypatch):
    monkeypatch.setitem(ocr.LANGUAGES, "latin", "nonesuch")
    with pytest.raises(UserError, match="'nonesuch'"):
        read_crops([drawn("ZOO")], "latin")
