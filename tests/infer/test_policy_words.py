"""Terms are found by their words, with stars for endings and gaps, exactly as regular expressions would find them."""

import json
import random
import re

import pytest
from infer.policy_suite import cases

from polarlight.infer.policy_readings import folded, readings
from polarlight.infer.policy_rules import SHIPPED
from polarlight.infer.policy_words import UNSPACED, WordSets, check_term, follows, without


def names(text: str, patterns: tuple[str, ...] = (), **terms: list[str]) -> set[str]:
    return WordSets(terms, {"pattern": patterns}).names(text.split(" "))


@pytest.mark.parametrize(
    ("term", "hits", "misses"),
    [
        ("nude", ["a nude", "nude"], ["nudes", "denude", "a n ude"]),
        ("porn*", ["porn", "pornography it is"], ["por", "a popcorn"]),
        ("little girl*", ["little girl", "two little girls"], ["little", "little a girl", "girls little"]),
        ("remove * clothes", ["remove clothes", "remove all of her clothes"], ["remove a b c d clothes", "remove"]),
        ("gas the *", ["gas the them", "now gas the x y"], ["gas the", "gas them"]),
        ("nude* of my *", ["nudes of my ex", "nude of my x y"], ["nudes of my", "of my ex"]),
        ("裸体", ["裸体", "一个裸体女孩", "a裸体b"], ["裸 体", "裸"]),
        ("사람*", ["사람이 걷는다", "사람"], ["그사람"]),
    ],
)
def test_a_term_is_found_where_it_stands_and_nowhere_else(term: str, hits: list[str], misses: list[str]) -> None:
    assert [hit for hit in hits if names(hit, x=[term]) != {"x"}] == []
    assert [miss for miss in misses if names(miss, x=[term])] == []


def test_sets_are_found_by_name_and_patterns_match_whole_words() -> None:
    assert names("two blue cats", x=["cat*"], y=["blue", "red"], z=["dog"]) == {"x", "y"}
    assert names("aged 12", ("aged? [0-9]+",)) == {"pattern"}
    assert names("managed 12", ("aged? [0-9]+",)) == set()


def test_an_exception_parts_what_stands_beside_it() -> None:
    exceptions = {"naked": [["mole", "rat"], ["eye"]]}
    assert without(["a", "naked", "mole", "rat", "naked"], exceptions) == ["a", "", "naked"]
    assert without(["naked", "mole"], exceptions) == ["naked", "mole"]
    assert names("remove  clothes", x=["remove * clothes", "remove clothes"]) == set()


def test_a_phrase_at_the_end_of_the_text_is_not_looked_for_behind_it() -> None:
    assert not follows(["a", "b"], 2, ["c"])
    assert not follows(["a", "b"], 1, ["b", "c*"])


@pytest.mark.parametrize("term", ["(", "ni[nn]a", "", " a", "a  b", "*"])
def test_a_term_that_could_never_be_found_is_refused(term: str) -> None:
    with pytest.raises(ValueError, match="is not a word or phrase"):
        check_term(term)


def test_known_words_are_those_of_three_letters_and_more() -> None:
    sets = WordSets({"x": ["nude", "porn*", "ab", "two words", "12 x", "gas the *"]}, {})
    assert sets.known == {"nude", "porn"}


def by_expressions(terms: dict[str, list[str]], patterns: dict[str, list[str]]) -> dict[str, re.Pattern[str]]:
    """The slow truth: one regular expression a set."""
    made = {}
    for name in {*terms, *patterns}:
        some = list(patterns.get(name, ()))
        for term in map(folded, terms.get(name, ())):
            each = term.replace(" * ", r" (?:\w+ ){0,3}").replace(" *", r" \w+").replace("*", r"\w*")
            some.append(rf"\w*{each}\w*" if UNSPACED.search(each) else each)
        made[name] = re.compile(rf"(?<!\w)(?:{'|'.join(some)})(?!\w)")
    return made


def test_the_shipped_sets_are_found_as_by_expressions() -> None:
    data = json.loads(SHIPPED.read_text(encoding="utf-8"))
    sets, slow = WordSets(data["words"], data["patterns"]), by_expressions(data["words"], data["patterns"])
    draw = random.Random(1)
    vocabulary = [word for some in data["words"].values() for term in some for word in term.replace("*", "x").split()]
    vocabulary += ["of", "my", "the", "her", "clothes", "off", "12", "years", "old", "a", ""] * 20
    texts = [" ".join(draw.choices([folded(word) for word in vocabulary], k=draw.randint(1, 9))) for _ in range(400)]
    texts += [text for case in cases()[::10] for text in readings(case.prompt, sets.known)]
    found = [sets.names(text.split(" ")) for text in texts]
    assert found == [{name for name, pattern in slow.items() if pattern.search(text)} for text in texts]
    assert sum(map(bool, found)) > 200
