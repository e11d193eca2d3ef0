"""What people would write to ask for a scene, and what a careful describer would write of it.

Three styles: "short" is a prompt as users type it, "long" is a few plain sentences that leave nothing out, "structured"
is one line of fields. All three say only what the spec says, and every written text stands in them letter by letter
between quotation marks.
"""

from __future__ import annotations

from random import Random

from ..base.errors import UserError
from ..base.seeds import stream_random
from ..text.plan import Plan, PlanObject, PlanText
from .descriptions import describe, fields_of
from .nouns import Group, groups, listed, noun_phrase
from .phrases import (
    RELATION_WORDS,
    carried_text,
    free_text,
    lettering,
    position,
    quoted,
    related,
    setting_phrases,
    setting_tags,
)
from .scene import Spec

STYLES = ("short", "long", "structured")
CATEGORIES = (
    *("single_object", "two_objects", "counting", "colours", "position", "colour_attribution"),
    *("text", "materials"),
)
LEADS = {
    "posters": ("a picture of", "an image of", "a poster of", "an illustration of", "draw", "show me"),
    "tabletop": ("a picture of", "an image of", "a still life with", "a scene with", "draw", "show me"),
}


def caption(spec: Spec, random: Random, style: str) -> str:
    """One caption in one of STYLES, of at most 1,000 characters."""
    assert style in STYLES, style
    return {"short": _short, "long": describe, "structured": fields_of}[style](spec, random)


def captions(spec: Spec, seed: int) -> list[str]:
    """One of each style in the order of STYLES, then two more short ones and one more long one, drawn from `seed`."""
    styles = (*STYLES, "short", "short", "long")
    return [caption(spec, stream_random(seed, "caption", index), style) for index, style in enumerate(styles)]


def plan_of(spec: Spec) -> Plan:
    """The layout plan that a scene fulfils; boxes stay in fractions."""
    objects = [
        PlanObject(
            name=thing["name"], box=tuple(thing["box"]), colour=thing.get("colour"), material=thing.get("material")
        )
        for thing in spec["objects"]
    ]
    texts = [
        PlanText(
            text="\n".join(text.get("lines", [text["text"]])),
            box=tuple(text["box"]),
            kind=text["kind"],
            colour=text.get("colour"),
        )
        for text in spec["texts"]
    ]
    return Plan(objects=tuple(objects), texts=tuple(texts))


def _short(spec: Spec, random: Random) -> str:
    spec = _loosened(spec, random)
    if random.random() < 0.16:
        return _tags(spec, random)
    texts = spec["texts"] if random.random() >= 0.05 or not spec["objects"] else []
    named = groups(spec)
    where = ""
    if random.random() < 0.6 or not (named or texts):
        where = _some(setting_phrases(spec["setting"], random), random)
    between = bool(where) and len(spec["objects"]) == 1 and random.random() < 0.4
    body = _objects(spec, named, texts, random, where if between else "")
    sentence = _with_free_texts(spec, body, [text for text in texts if text.get("on") is None], random)
    sentence = sentence or "an empty scene"
    if where and not between:
        sentence = f"{where}, {sentence}" if random.random() < 0.15 else f"{sentence} {where}"
    elif random.random() < 0.12 and sentence[0].isalnum():
        sentence = f"{random.choice(LEADS.get(spec['world'], ('a picture of',)))} {sentence}"
    return _finished(sentence, random) if random.random() < 0.12 else sentence


def _loosened(spec: Spec, random: Random) -> Spec:
    """The spec without some of what users leave open: often "matte", seldom every material or every colour."""
    no_material, no_matte, no_colour = random.random() < 0.12, random.random() < 0.4, random.random() < 0.06
    if not (no_material or no_matte or no_colour):
        return spec
    objects = []
    for thing in spec["objects"]:
        material = thing.get("material")
        if no_material or (no_matte and material == "matte"):
            material = None
        objects.append({**thing, "material": material, "colour": None if no_colour else thing.get("colour")})
    return {**spec, "objects": objects}


def _objects(spec: Spec, named: list[Group], texts: list[dict], random: Random, where: str) -> str:
    """All objects, with the texts they carry, and with a relation or their places where these can be said.

    `where` goes between a lone object and its text: "a bottle on a wooden table with 'TEA' on the label".
    """
    if not named:
        return ""
    phrases = [_with_carried(group, texts, random, where) for group in named]
    order = random.sample(range(len(named)), len(named))
    pairs = related(spec, named)
    if pairs and random.random() < 0.6:
        return _joined_by(random.choice(pairs), phrases, order, random)
    placed = len(spec["objects"]) == len(named) <= 3 and all(text.get("on") is None for text in texts)
    if placed and random.random() < 0.12:
        places = [position(spec["objects"][group.indices[0]]["box"], random) for group in named]
        return listed([f"{phrases[index]} {places[index]}" for index in order])
    if len(named) == 2 and random.random() < 0.12:
        return f"{phrases[order[0]]} with {phrases[order[1]]}"
    return listed([phrases[index] for index in order])


def _joined_by(pair: tuple[int, str, int], phrases: list[str], order: list[int], random: Random) -> str:
    """ "a cat to the left of a dog, with a tree"."""
    a, relation, b = pair
    core = f"{phrases[a]} {random.choice(RELATION_WORDS[relation])} {phrases[b]}"
    rest = [phrases[index] for index in order if index not in (a, b)]
    if not rest:
        return core
    return random.choice((f"{core}, with {listed(rest)}", f"{core}, and {listed(rest)}", f"{listed(rest)}, and {core}"))


def _with_carried(group: Group, texts: list[dict], random: Random, where: str) -> str:
    """ "a bottle labelled 'TEA'", "two bottles, one labelled 'TEA'"."""
    phrase = noun_phrase(group, random, synonym=0.12)
    said = [carried_text(text, group.name, random) for text in texts if text.get("on") in group.indices]
    if group.count == 1:
        written = listed(said) if said else ""
        words = (phrase, where, written) if written.startswith("with ") else (phrase, written, where)
        return " ".join(word for word in words if word)
    if not said:
        return phrase
    return f"{phrase}, {listed([f'one {words}' for words in said])}"


def _with_free_texts(spec: Spec, body: str, free: list[dict], random: Random) -> str:
    """Join the texts that no object carries to the objects, above or below them where that is true of all."""
    if not free:
        return body
    phrases = listed([free_text(text, random) for text in free])
    if not body:
        return phrases
    top, bottom = min(o["box"][1] for o in spec["objects"]), max(o["box"][3] for o in spec["objects"])
    forms = [f"{body} and {phrases}", f"{body} with {phrases}", f"{body}, {phrases}", f"{phrases} and {body}"]
    if all(text["box"][3] <= top + 0.02 for text in free):
        forms += [f"{body} {under} {phrases}" for under in ("under", "below", "under", "beneath")]
        forms += [f"{phrases} above {body}", f"{phrases} over {body}"]
    elif all(text["box"][1] >= bottom - 0.02 for text in free):
        forms += [f"{body} above {phrases}", f"{phrases} below {body}", f"{phrases} under {body}"]
    return random.choice(forms)


def _tags(spec: Spec, random: Random) -> str:
    """ "blue car, sign 'OPEN', street, night"."""
    parts = [noun_phrase(group, random, determiner="", synonym=0.1) for group in groups(spec)]
    for text in spec["texts"]:
        kind = random.choice(("text", text["kind"]))
        parts.append(f"{kind} {quoted(text['text'], random)}{lettering(text, random, 0.3)}")
    if random.random() < 0.7 or not parts:
        tags = setting_tags(spec["setting"])
        parts += random.sample(tags, min(len(tags), random.choice((1, 2, 2, 3))))
    return ", ".join(parts) or "an empty scene"


def _some(phrases: list[str], random: Random) -> str:
    count = min(len(phrases), random.choices((1, 2, 4), (75, 18, 7))[0])
    return " ".join(phrases[index] for index in sorted(random.sample(range(len(phrases)), count)))


def _finished(sentence: str, random: Random) -> str:
    """With a capital and sometimes a full stop; a quotation at the start keeps its own case."""
    return sentence[0].upper() + sentence[1:] + random.choice((".", ".", ""))


class _Plain(Random):
    """Takes the first wording and adds nothing, so that an evaluation prompt is always the same sentence."""

    def random(self) -> float:
        return 1.0 - 2**-53

    def choice(self, seq):  # type: ignore[no-untyped-def]
        return seq[0]


def evaluation_prompt(spec: Spec, category: str) -> str:
    """A fixed plain sentence that asks for what a category of CATEGORIES checks and for nothing else.

    It speaks of the first objects, relation or text of the spec that suit: "single_object" a cat; "two_objects" a cat
    and a dog; "counting" three cats; "colours" a red car; "position" a dog to the left of a tree; "colour_attribution"
    a red car and a blue ball; "text" a sign that says 'OPEN'; "materials" a glass bottle.

    Raises:
        UserError: the category is unknown, or the scene lacks what it asks for.
    """
    if category not in CATEGORIES:
        raise UserError(f"There is no evaluation category {category!r}.", fix=f"Choose one of {', '.join(CATEGORIES)}.")
    try:
        return _evaluation(spec, category)
    except (IndexError, ValueError) as error:
        raise UserError(f"The scene holds nothing that the category {category!r} could ask for.") from error


def _evaluation(spec: Spec, category: str) -> str:
    """See `evaluation_prompt`; IndexError or ValueError where the scene lacks what the category asks for."""
    things, plain = spec["objects"], _Plain()

    def phrase(index: int, *keys: str, count: int = 1) -> str:
        said = {key: things[index].get(key) if key in keys else None for key in ("colour", "material")}
        return noun_phrase(Group(name=things[index]["name"], indices=tuple(range(count)), **said), plain)

    if category == "single_object":
        return phrase(0)
    if category == "two_objects":
        return f"{phrase(0)} and {phrase([thing['name'] != things[0]['name'] for thing in things].index(True))}"
    if category == "counting":
        return phrase(0, count=[thing["name"] for thing in things].count(things[0]["name"]))
    if category == "position":
        a, relation, b = spec["relations"][0]
        keys = ("colour",) if things[a]["name"] == things[b]["name"] else ()
        return f"{phrase(a, *keys)} {RELATION_WORDS[relation][0]} {phrase(b, *keys)}"
    if category == "text":
        text = spec["texts"][0]
        carrier = text.get("on")
        if carrier is None:
            return free_text(text, plain, 0)
        return f"{phrase(carrier)} {carried_text(text, things[carrier]['name'], plain, 0)}"
    key = "material" if category == "materials" else "colour"
    said = [phrase(index, key) for index, thing in enumerate(things) if thing.get(key)]
    if category == "colour_attribution":
        return f"{said[0]} and {said[[other != said[0] for other in said].index(True)]}"
    return said[0]
