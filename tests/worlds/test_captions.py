"""Captions, evaluation prompts and plans of hand-written scenes."""

from __future__ import annotations

import re
import statistics
from random import Random
from typing import Any

import pytest

from polarlight.base.errors import UserError
from polarlight.text.plan import format_plan, parse_plan
from polarlight.worlds.captions import CATEGORIES, STYLES, caption, captions, evaluation_prompt, plan_of
from polarlight.worlds.catalogue import catalogue
from polarlight.worlds.nouns import Group, noun_phrase, plural, singular, synonyms, with_article

LEFT, RIGHT, TOP = [0.05, 0.5, 0.35, 0.9], [0.6, 0.5, 0.95, 0.9], [0.1, 0.05, 0.9, 0.2]


def thing(name: str, box: list[float], colour: str | None = None, material: str | None = None) -> dict[str, Any]:
    return {"name": name, "box": box, "colour": colour, "material": material}


def written(text: str, kind: str = "sign", on: int | None = None, colour: str = "white") -> dict[str, Any]:
    return {"text": text, "box": TOP, "kind": kind, "script": "latin", "colour": colour, "on": on}


def scene(
    objects: list[dict],
    texts: list[dict] | None = None,
    relations: list[list] | None = None,
    world: str = "posters",
    **setting: Any,
) -> dict[str, Any]:
    return {
        "world": world,
        "aspect": "1:1",
        "setting": setting,
        "objects": objects,
        "texts": texts or [],
        "relations": relations or [],
    }


BEACH = scene(
    [thing("cat", LEFT), thing("dog", RIGHT)],
    [written("OPEN")],
    [[0, "left of", 1]],
    kind="beach",
    time="sunset",
    weather="clouds",
)
TABLE = scene(
    [thing("bottle", LEFT, "green", "glass"), thing("cube", RIGHT, "orange", "matte"), thing("mug", TOP, None, "wood")],
    [written("BROOKLYN CRAFT", "label", 0, "black")],
    [[1, "right of", 0]],
    world="tabletop",
    table="wooden",
    table_colour="white",
    wall="blue",
    light="warm",
    camera={"height": 1.2},
)
BALLOONS = scene(
    [thing("balloon", LEFT, "red"), thing("balloon", RIGHT, "red")], kind="flat", colour="yellow", pattern="dots"
)
SHOP = scene(
    [thing("apple", LEFT), thing("scissors", RIGHT), thing("unicorn", TOP)],
    [written("Mr. Fox's", "title"), written("$4.50", "price tag", 0), written("커피", "bubble", 2)],
    kind="flat",
    colour="orange",
)
ALONE = scene([], [written("왜?", "title")], kind="flat", colour="grey")
SCENES = (BEACH, TABLE, BALLOONS, SHOP, ALONE)


def many(spec: dict, style: str, count: int = 80) -> list[str]:
    return [caption(spec, Random(seed), style) for seed in range(count)]


@pytest.mark.parametrize("spec", SCENES)
@pytest.mark.parametrize("style", ["long", "structured"])
def test_every_text_stands_in_a_careful_caption_exactly_between_quotation_marks(spec: dict, style: str):
    for words in many(spec, style):
        for text in spec["texts"]:
            assert any(f"{left}{text['text']}{right}" in words for left, right in ("''", '""', "“”", "‘’")), words


@pytest.mark.parametrize("spec", [BEACH, TABLE, SHOP])
def test_a_short_caption_leaves_its_texts_out_in_about_one_of_twenty(spec: dict):
    said = [all(text["text"] in words for text in spec["texts"]) for words in many(spec, "short", 600)]
    assert 0.91 < sum(said) / len(said) < 0.99


@pytest.mark.parametrize("style", STYLES)
def test_every_object_is_named_with_its_number(style: str):
    for words in many(TABLE, style):
        assert re.search(r"\bbottle\b", words), words
        assert re.search(r"\bcube\b", words), words
        assert re.search(r"\b(?:mug|coffee cup|cup)\b", words), words
    for words in many(BALLOONS, style):
        assert re.search(r"\b(?:two|2)\b.*\bballoons\b", words, re.IGNORECASE), words


@pytest.mark.parametrize("style", ["long", "structured"])
def test_careful_captions_say_every_colour_and_material(style: str):
    for words in many(TABLE, style):
        assert re.search(r"green glass bottle|green bottle made of glass", words), words
        assert "matte orange cube" in words
        assert re.search(r"wooden mug|mug made of wood", words), words


def test_most_short_captions_say_every_colour():
    shorts = many(TABLE, "short", 400)
    assert sum("green" in words and "orange" in words for words in shorts) > 0.85 * len(shorts)


def test_captions_claim_no_colour_that_the_scene_does_not_have():
    for style in STYLES:
        for words in many(SHOP, style, 300):
            assert not re.search(r"\b(?:red|yellow|green|blue|purple|pink|brown|black)\b", words), words


def test_a_long_caption_tells_positions_light_and_lettering():
    for words in many(TABLE, "long"):
        assert re.search(r"bottle is (?:in|at|on|near) the", words), words
        assert "warm" in words
        assert re.search(r"in black|written in black", words), words
        assert "white wooden table" in words


@pytest.mark.parametrize("style", STYLES)
def test_a_relation_is_never_turned_round(style: str):
    for words in many(BEACH, style, 300):
        assert not re.search(r"\b(?:dog|hound|puppy)\b[^.,;]{0,20} left of (?:a|the) (?:cat|kitty|feline)", words), (
            words
        )
        assert not re.search(r"\b(?:cat|kitty|feline)\b[^.,;]{0,20} right of (?:a|the) (?:dog|hound|puppy)", words), (
            words
        )


def test_relations_and_settings_are_said_in_many_short_captions_but_not_in_all():
    shorts = many(BEACH, "short", 400)
    related = sum(bool(re.search(r"(?:left|right) of", words)) for words in shorts) / len(shorts)
    placed = sum(bool(re.search(r"beach|sunset|evening|cloud", words)) for words in shorts) / len(shorts)
    assert 0.35 < related < 0.7
    assert 0.45 < placed < 0.75


@pytest.mark.parametrize("style", STYLES)
def test_articles_follow_the_sound(style: str):
    for spec in SCENES:
        for words in many(spec, style):
            bare = re.sub(r"[“‘'\"].*?[”’'\"]", "", words)
            assert not re.search(r"\ba [aeio]\w", bare, re.IGNORECASE), words
            assert not re.search(r"\ban [b-df-hj-np-tv-z]", bare, re.IGNORECASE), words
            assert "an unicorn" not in words


def test_no_article_in_the_catalogue_is_wrong():
    for entry in catalogue():
        phrase = noun_phrase(Group(name=entry.name, colour=None, material=None, indices=(0,)), Random(0))
        assert not re.match(r"a [aeio]|an (?:uni|ufo)|an [b-df-hj-np-tv-z]", phrase) or phrase == "an suv", phrase
        for other in synonyms(entry.name):
            assert not with_article(other).startswith(("a a", "a e", "a i", "a o"))


@pytest.mark.parametrize(
    ("name", "one", "many_of_it"),
    [
        ("apple", ("apple", True), "apples"),
        ("bread", ("loaf of bread", True), "loaves of bread"),
        ("grapes", ("bunch of grapes", True), "bunches of grapes"),
        ("peanuts", ("peanuts", False), "peanuts"),
        ("sheep", ("sheep", True), "sheep"),
        ("bus", ("bus", True), "buses"),
        ("glass dish", ("glass dish", True), "glass dishes"),
        ("berry", ("berry", True), "berries"),
    ],
)
def test_one_and_many(name: str, one: tuple[str, bool], many_of_it: str):
    assert singular(name) == one
    assert plural(name) == many_of_it


def test_short_captions_are_concise_and_varied():
    shorts = many(BEACH, "short", 400) + many(BALLOONS, "short", 400)
    assert statistics.median(len(words.split()) for words in shorts) < 13
    assert len(set(many(BEACH, "short", 400))) > 250


def test_no_caption_is_longer_than_a_thousand_characters():
    crowd = scene(
        [thing("construction worker", [i / 40, 0.1, i / 40 + 0.1, 0.9], "yellow", "metal") for i in range(6)]
        + [thing(entry.name, LEFT, "red", "glass") for entry in catalogue()[:10]],
        [written("WWWWWW WWWWWW", "title") for _ in range(4)],
        [[i, "left of", i + 1] for i in range(14)],
        kind="snow field",
        time="night",
        weather="snow",
    )
    for style in STYLES:
        assert all(0 < len(words) <= 1000 for words in many(crowd, style, 20))
    assert all(words.count("WWWWWW WWWWWW") == 4 for words in many(crowd, "long", 20))


def test_captions_come_in_every_style_and_from_the_seed_alone():
    assert captions(BEACH, 7) == captions(BEACH, 7)
    assert captions(BEACH, 7) != captions(BEACH, 8)
    assert captions(BEACH, 7)[2].startswith("objects: ")
    assert len(captions(BEACH, 7)) > len(STYLES)


@pytest.mark.parametrize(
    ("spec", "category", "prompt"),
    [
        (BEACH, "single_object", "a cat"),
        (BEACH, "two_objects", "a cat and a dog"),
        (BALLOONS, "counting", "two balloons"),
        (BALLOONS, "colours", "a red balloon"),
        (TABLE, "colour_attribution", "a green bottle and an orange cube"),
        (TABLE, "materials", "a glass bottle"),
        (BEACH, "position", "a cat to the left of a dog"),
        (BEACH, "text", "a sign that says 'OPEN'"),
        (TABLE, "text", "a bottle with 'BROOKLYN CRAFT' on the label"),
        (SHOP, "text", 'the title "Mr. Fox\'s"'),
    ],
)
def test_an_evaluation_prompt_is_a_fixed_plain_sentence(spec: dict, category: str, prompt: str):
    assert category in CATEGORIES
    assert evaluation_prompt(spec, category) == prompt


def test_an_evaluation_prompt_that_cannot_be_says_so():
    with pytest.raises(UserError, match="no evaluation category"):
        evaluation_prompt(BEACH, "beauty")
    for category in ("colours", "colour_attribution", "materials"):
        with pytest.raises(UserError, match="holds nothing"):
            evaluation_prompt(BEACH, category)


@pytest.mark.parametrize("spec", SCENES)
def test_the_plan_of_a_scene_holds_its_objects_and_texts_and_can_be_written(spec: dict):
    plan = plan_of(spec)
    assert [(o.name, o.colour, o.material, list(o.box)) for o in plan.objects] == [
        (o["name"], o["colour"], o["material"], o["box"]) for o in spec["objects"]
    ]
    assert [(t.text, t.kind, t.colour) for t in plan.texts] == [
        (t["text"], t["kind"], t["colour"]) for t in spec["texts"]
    ]
    assert [o.name for o in parse_plan(format_plan(plan)).objects] == [o.name for o in plan.objects]
