"""A prompt's claims: things, numbers, colours, materials, relations and texts, and nothing that was not said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polarlight.text.claims import Claims, Lexicon, Relation, Thing, misses
from polarlight.text.plan import parse_plan

NOUNS = {"cat": "cat", "cats": "cat", "tree": "tree", "ice cream": "ice cream", "ice creams": "ice cream", "cream": "milk",
         "bottle": "bottle", "car": "car", "cars": "car", "mug": "mug", "orange": "tangerine", "kitty": "cat"}  # fmt: skip
LEXICON = Lexicon(
    nouns=NOUNS, colours=frozenset({"red", "blue", "grey", "orange"}), materials=frozenset({"glass", "wood", "metal"})
)


def things(prompt: str) -> list[str]:
    return [str(thing) for thing in LEXICON.read(prompt).things]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a cat", ["cat"]),
        ("A Cat.", ["cat"]),
        ("two red cars", ["2 red car"]),
        ("12 cats and 13 cats", ["12 cat", "cat"]),
        ("three gray ice creams", ["3 grey ice cream"]),
        ("a metallic blue car and the wooden bottle", ["blue metal car", "wood bottle"]),
        ("a red bottle made of glass beside a mug", ["red glass bottle", "mug"]),
        ("an orange mug, an orange", ["orange mug", "tangerine"]),
        ("a kitty on a red carpet", ["cat"]),
        ("a sign that says 'two cats'", []),
        ("고양이 한 마리", []),
        ("", []),
    ],
)
def test_things_are_read_with_what_is_said_of_them(prompt: str, said: list[str]) -> None:
    assert things(prompt) == said


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("a cat to the left of a red car", "left of"),
        ("a cat on the right of two cars", "right of"),
        ("two cats above the tree", "above"),
        ("a cat underneath a tree", "below"),
        ("a bottle made of glass in front of a mug", "in front of"),
        ("a bottle behind a wooden mug", "behind"),
    ],
)
def test_a_relation_stands_between_two_things(prompt: str, kind: str) -> None:
    assert LEXICON.read(prompt).relations == (Relation(first=0, kind=kind, second=1),)


@pytest.mark.parametrize(
    "prompt", ["a cat and a tree", "a cat, under a lamp, a tree", "a cat under a sign", "left of a cat"]
)
def test_no_relation_is_claimed_that_is_not_said_of_both(prompt: str) -> None:
    assert LEXICON.read(prompt).relations == ()


def test_what_is_quoted_is_no_claim_and_parts_what_stands_around_it() -> None:
    claims = LEXICON.read("a cat with 'two cars' on it and a car saying “CAT”")
    assert claims.things == (Thing(name="cat"), Thing(name="car"))
    assert LEXICON.read("a red 'OPEN' car").things == (Thing(name="car"),)


@given(st.text(max_size=200))
def test_any_prompt_can_be_read(prompt: str) -> None:
    claims = LEXICON.read(prompt)
    assert isinstance(claims, Claims)
    assert all(0 <= relation.first < relation.second < len(claims.things) for relation in claims.relations)


@pytest.mark.parametrize(
    ("prompt", "plan", "count"),
    [
        ("a cat", "cat @ 3 10 11 27", 0),
        ("a cat", "", 1),
        ("a cat", "cat @ 3 10 11 27; car red @ 20 10 29 27", 1),
        ("two red cars", "car red @ 3 10 11 27; car blue @ 20 10 29 27", 2),
        ("a car and a red car", "car red @ 3 10 11 27; car @ 20 10 29 27", 0),
        ("a glass bottle", "bottle blue/glass @ 3 10 11 27", 0),
        ("a glass bottle", "bottle blue/wood @ 3 10 11 27", 2),
        ("a cat to the left of a car", "cat @ 3 10 11 27; car @ 20 10 29 27", 0),
        ("a cat to the right of a car", "cat @ 3 10 11 27; car @ 20 10 29 27", 1),
        ("a cat above a car", "cat @ 3 1 11 8; car @ 3 20 11 27", 0),
        ("a cat above a car", "cat @ 3 1 11 8; car @ 28 20 31 27", 1),
        ("a cat to the left of a car", "car @ 20 10 29 27", 2),
        ("a mug in front of a bottle", "mug @ 8 18 15 30; bottle @ 8 2 15 28", 0),
        ("a mug behind a bottle", "mug @ 8 18 15 30; bottle @ 8 2 15 28", 1),
        ("a sign that says 'GO'", 'sign "GO" @ 3 3 20 9', 0),
        ("a sign that says 'GO'", 'sign "GO" @ 3 3 20 9; sign "GO" @ 3 13 20 19', 1),
        ("a sign that says 'GO'", 'sign "GO" @ 3 3 20 9; cat @ 3 13 20 19', 0),
        ("a cat", 'sign "GO" @ 3 3 20 9; cat @ 3 13 20 19', 1),
        ("a green hill", "cat @ 3 13 20 19", 0),
    ],
)
def test_a_plan_misses_what_is_not_in_it_and_what_nobody_asked_for(prompt: str, plan: str, count: int) -> None:
    assert misses(prompt, parse_plan(plan), LEXICON) == count
