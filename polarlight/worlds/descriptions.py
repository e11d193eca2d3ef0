"""The two careful styles of caption: a few plain sentences that leave nothing out, and one line of fields."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from .nouns import Group, groups, listed, noun_phrase, takes_are
from .phrases import (
    RELATION_WORDS,
    lettering,
    position,
    quoted,
    related,
    setting_phrases,
    setting_sentences,
    setting_tags,
)
from .scene import Spec

LONGEST = 1000  # characters of a description


def describe(spec: Spec, random: Random) -> str:
    """Sentences in reading order; where they exceed LONGEST, positions go first, then relations, then the setting."""
    named = groups(spec)
    first, setting = _opening(spec, named, random)
    sentences = [(0, first)]
    sentences += [(0, _text_sentence(spec, text, random)) for text in spec["texts"]]
    sentences += [(3, _position_sentence(spec, group, named, random)) for group in named]
    sentences += [(2, sentence) for sentence in _relation_sentences(spec, named, random)]
    sentences += [(1, sentence) for sentence in setting]
    for worst in (4, 3, 2, 1):
        kept = " ".join(sentence for rank, sentence in sentences if rank < worst)
        if len(kept) <= LONGEST:
            return kept
    return kept[:LONGEST]


def _opening(spec: Spec, named: list[Group], random: Random) -> tuple[str, list[str]]:
    """The first sentence with all objects, and the sentences about the setting that it left unsaid."""
    shown = listed([noun_phrase(group, random) for group in named]) if named else "nothing but text"
    lead = random.choice(
        ("The picture shows", "This image shows", "The scene shows", "Here we see", "There is a scene with")
    )
    where = setting_phrases(spec["setting"], random)
    if where and random.random() < 0.5:
        return f"{lead} {shown} {' '.join(where)}.", []
    return f"{lead} {shown}.", setting_sentences(spec["setting"], random)


def _text_sentence(spec: Spec, text: dict, random: Random) -> str:
    q = quoted(text["text"], random)
    says = random.choice(("says", "reads"))
    kind = "speech bubble" if text["kind"] == "bubble" else text["kind"]
    letters = lettering(text, random, 1.0)
    place = position(text["box"], random)
    if text.get("on") is None:
        return random.choice(
            (f"The {kind} {place} {says} {q}{letters}.", f"{place.capitalize()}, a {kind} {says} {q}{letters}.")
        )
    carrier = spec["objects"][text["on"]]
    same = [o for o in spec["objects"] if o["name"] == carrier["name"]]
    owner = Group(name=carrier["name"], colour=None, material=None, indices=(0,))
    noun = noun_phrase(owner, random, determiner="the") if len(same) == 1 else noun_phrase(owner, random) + " " + place
    if kind == carrier["name"]:
        return f"{noun[0].upper()}{noun[1:]} {says} {q}{letters}."
    forms = [f"The {kind} on {noun} {says} {q}{letters}.", f"On {noun}, the {kind} {says} {q}{letters}."]
    if text["kind"] == "bubble":
        forms = [f"The {kind} of {noun} {says} {q}{letters}.", f"{noun[0].upper()}{noun[1:]} says {q}{letters}."]
    return random.choice(forms)


def _position_sentence(spec: Spec, group: Group, named: list[Group], random: Random) -> str:
    """ "The cat is on the left.", "One red balloon is in the upper left and one is on the right."."""
    places = [position(spec["objects"][index]["box"], random) for index in group.indices]
    if group.count == 1:
        return f"{_subject(group, named, random)} {'are' if takes_are(group) else 'is'} {places[0]}."
    if len(set(places)) == 1:
        return f"{_subject(group, named, random)} are {places[0]}."
    one = _subject(replace(group, indices=group.indices[:1]), named, random).removeprefix("The ")
    return f"One {one} is {listed([places[0], *(f'one is {place}' for place in places[1:])])}."


def _relation_sentences(spec: Spec, named: list[Group], random: Random) -> list[str]:
    """One sentence for each pair of groups that a relation of the spec joins."""
    sentences, seen = [], set()
    pairs = related(spec, named)
    for a, relation, b in random.sample(pairs, len(pairs)):
        pair = (min(a, b), max(a, b), relation in ("left of", "right of"))
        if pair not in seen:
            seen.add(pair)
            other = _subject(named[b], named, random)
            verb = "are" if takes_are(named[a]) else "is"
            words = f"{verb} {random.choice(RELATION_WORDS[relation])} {other[0].lower()}{other[1:]}"
            sentences.append(f"{_subject(named[a], named, random)} {words}.")
    return sentences


def _subject(group: Group, named: list[Group], random: Random) -> str:
    """ "The cat", with its colour and material only where the name alone does not single it out."""
    alone = sum(other.name == group.name for other in named) == 1
    group = replace(group, colour=None, material=None) if alone else group
    phrase = noun_phrase(group, random, determiner="the")
    return phrase[0].upper() + phrase[1:]


def fields_of(spec: Spec, random: Random) -> str:
    """ "objects: two cats, a red car; text: 'OPEN' on a sign; setting: street, night"; empty fields are left out."""
    named = groups(spec)
    fields = []
    if named:
        fields.append("objects: " + ", ".join(noun_phrase(group, random) for group in named))
    if spec["texts"]:
        fields.append("text: " + ", ".join(_text_field(spec, text, random) for text in spec["texts"]))
    pairs = related(spec, named)
    if pairs and random.random() < 0.5:
        a, relation, b = random.choice(pairs)
        fields.append(
            f"layout: {_subject(named[a], named, random)} {relation} {_subject(named[b], named, random)}".lower()
        )
    tags = setting_tags(spec["setting"])
    if tags:
        fields.append("setting: " + ", ".join(tags))
    return random.choice(("; ", "; ", "\n")).join(fields) or "setting: empty"


def _text_field(spec: Spec, text: dict, random: Random) -> str:
    kind = "speech bubble" if text["kind"] == "bubble" else text["kind"]
    where = f" as {kind}" if kind == "title" else f" on a {kind}"
    if text.get("on") is not None and spec["objects"][text["on"]]["name"] != kind:
        where += f" of the {spec['objects'][text['on']]['name']}"
    return f"{quoted(text['text'], random)}{where}{lettering(text, random, 0.7)}"
