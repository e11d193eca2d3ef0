"""Phrases for what is written in a scene, where things are in it, and its setting.

Every function says only what the spec says; `random` chooses among true wordings.
"""

from __future__ import annotations

from random import Random
from typing import Any

from .nouns import COLOUR_WORDS, Group, with_article
from .scene import Spec

QUOTES = (("'", "'"), ("'", "'"), ('"', '"'), ('"', '"'), ("“", "”"), ("‘", "’"))
PLACE_WORDS = {
    "meadow": ("in a meadow", "on a meadow", "on the grass", "in a field"),
    "hills": ("in the hills", "among hills", "on rolling hills"),
    "sea": ("by the sea", "at the sea", "at sea"),
    "beach": ("on a beach", "at the beach", "on the beach"),
    "street": ("on a street", "in the street", "on a city street"),
    "room": ("in a room", "inside a room", "indoors"),
    "desert": ("in the desert", "in a desert"),
    "snow field": ("in a snow field", "on a snowy field", "on snow"),
}
TIME_WORDS = {
    "day": ("by day", "in daylight", "during the day"),
    "night": ("at night", "at night", "by night"),
    "sunset": ("at sunset", "at sunset", "in the evening light"),
    "dawn": ("at dawn", "at sunrise"),
}
WEATHER_WORDS = {
    "clear": ("under a clear sky", "in clear weather"),
    "sun": ("in the sun", "in sunshine"),
    "rain": ("in the rain", "in rainy weather", "while it rains"),
    "snow": ("in falling snow", "while it snows", "in the snow"),
    "clouds": ("under clouds", "under a cloudy sky"),
}
WEATHER_TAGS = {"clear": "clear sky", "sun": "sunny", "rain": "rain", "snow": "snowing", "clouds": "cloudy"}
TIME_SENTENCES = {"day": "It is day.", "night": "It is night.", "sunset": "The sun is setting.", "dawn": "It is dawn."}
WEATHER_SENTENCES = {
    "clear": "The sky is clear.",
    "sun": "The sun shines.",
    "rain": "It is raining.",
    "snow": "It is snowing.",
    "clouds": "It is cloudy.",
}
PATTERN_WORDS = {"dots": "dotted", "stripes": "striped", "checks": "checked"}
LIGHT_WORDS = {"beam": ("with a beam of light", "in a beam of light")}
CARRIER_WORDS = {
    "bubble": ("speech bubble",),
    "hanging": ("sign", "hanging sign"),
    "billboard": ("sign", "billboard"),
    "banner": ("sign", "banner", "banner"),
    "neon": ("sign", "neon sign", "neon sign"),
}
RELATION_WORDS = {
    "left of": ("to the left of", "to the left of", "left of", "on the left of"),
    "right of": ("to the right of", "to the right of", "right of", "on the right of"),
    "above": ("above", "above", "over"),
    "below": ("below", "under", "beneath", "underneath"),
    "on": ("on", "on top of"),
    "in front of": ("in front of",),
    "behind": ("behind",),
}
OPPOSITES = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
}


def position(box: list[float], random: Random) -> str:
    """Where the centre of a box is, in thirds of the picture."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    column = "left" if x < 0.36 else "right" if x > 0.64 else ""
    row = "upper" if y < 0.36 else "lower" if y > 0.64 else ""
    if row and column:
        edge = "top" if row == "upper" else "bottom"
        return random.choice((f"in the {row} {column}", f"at the {edge} {column}"))
    if column:
        return random.choice((f"on the {column}", f"on the {column} side"))
    if row:
        return random.choice(("at the ", "near the ")) + ("top" if row == "upper" else "bottom")
    return random.choice(("in the middle", "in the centre", "in the center"))


def quoted(text: str, random: Random) -> str:
    """The text between quotation marks that do not occur in it."""
    fitting = [marks for marks in QUOTES if not set(text) & set(marks)]
    if "'" in text or not fitting:  # an apostrophe would be taken for a closing single mark of either shape
        fitting = [marks for marks in fitting if marks != ("‘", "’")] or [("“", "”")]
    left, right = random.choice(fitting)
    return f"{left}{text}{right}"


def lettering(text: dict[str, Any], random: Random, chance: float = 0.25) -> str:
    """ " in white letters", or nothing."""
    colour = text.get("colour")
    if not colour or random.random() >= chance:
        return ""
    colour = random.choice(COLOUR_WORDS.get(colour, (colour,)))
    return random.choice((f" in {colour} letters", f" in {colour}", f" written in {colour}", f" in {colour} lettering"))


def carried_text(text: dict[str, Any], carrier: str, random: Random, chance: float = 0.25) -> str:
    """What follows the noun of the object that carries the text: "with 'TEA' on the label", "that says 'OPEN'"."""
    q = quoted(text["text"], random)
    word = "word" if " " not in text["text"] else "words"
    kind = text["kind"]
    if kind == carrier or kind == "title":
        forms = [
            f"that says {q}",
            f"saying {q}",
            f"reading {q}",
            f"with {q} on it",
            f"that reads {q}",
            f"with the {word} {q}",
        ]
    elif kind == "label":
        forms = [f"with {q} on the label", f"with a label that says {q}", f"labelled {q}", f"with a label reading {q}"]
        forms += [f"with the {word} {q} on its label", f"labeled {q}"]
    elif kind == "bubble":
        forms = [f"saying {q}", f"that says {q}", f"with a speech bubble that says {q}", f"with the speech bubble {q}"]
    elif kind == "price tag":
        forms = [f"with a price tag of {q}", f"with a price tag that says {q}", f"with {q} on the price tag"]
    else:
        forms = [f"with a {kind} that says {q}", f"with a {kind} reading {q}", f"with {q} on the {kind}"]
    return random.choice(forms) + lettering(text, random, chance)


def free_text(text: dict[str, Any], random: Random, chance: float = 0.25) -> str:
    """A noun phrase for a text that no object carries: "a sign that says 'OPEN'", "the words 'BIG SALE'"."""
    q = quoted(text["text"], random)
    word = "word" if " " not in text["text"] else "words"
    kind = text["kind"]
    if kind == "title":
        forms = [
            f"the title {q}",
            f"the {word} {q}",
            f"the {word} {q}",
            f"{q}",
            f"the text {q}",
            f"a title that reads {q}",
        ]
    else:
        noun = random.choice(CARRIER_WORDS.get(text.get("carrier", kind), (kind,)))
        forms = [f"{with_article(noun)} that says {q}", f"{with_article(noun)} reading {q}"]
        forms += [f"{with_article(noun)} saying {q}", f"{with_article(noun)} with the {word} {q}", f"the {noun} {q}"]
    return random.choice(forms) + lettering(text, random, chance)


def known_setting(setting: dict[str, Any]) -> dict[str, str]:
    """What can be said of the setting of either world, in reading order.

        forms = [f"that says {q}", f"saying {q}", f"reading {q}", f"with {q} on it", f"that reads {q}"]
        forms.append(f"with the {word} {q}")
    Time and weather are left out indoors, where they are not seen.
    """
    flat = setting.get("kind") == "flat"
    found = {
        "place": setting.get("place", setting.get("kind")),
        "time": setting.get("time"),
        "weather": setting.get("weather"),
        "backdrop": setting.get("backdrop", setting.get("colour") if flat else None),
        "table": setting.get("table"),
        "wall": setting.get("wall"),
        "light": setting.get("light"),
    }
    for key, words in (("place", PLACE_WORDS), ("time", TIME_WORDS), ("weather", WEATHER_WORDS)):
        if found[key] not in words or (key != "place" and (flat or found["place"] == "room")):
            found[key] = None
    if found["backdrop"] and setting.get("pattern") in PATTERN_WORDS:
        found["backdrop"] = f"{PATTERN_WORDS[setting['pattern']]} {found['backdrop']}"
    if found["table"]:
        found["table"] = f"{setting.get('table_colour') or ''} {found['table']} table".strip()
    return {key: value for key, value in found.items() if value}


def setting_phrases(setting: dict[str, Any], random: Random) -> list[str]:
    """One prepositional phrase for each thing known of the setting, in reading order."""
    found = []
    for key, value in known_setting(setting).items():
        if key in ("place", "time", "weather"):
            words = {"place": PLACE_WORDS, "time": TIME_WORDS, "weather": WEATHER_WORDS}[key][value]
        elif key == "backdrop":
            colour = with_article(value if random.random() < 0.4 else value.split()[-1])
            words = (f"on {colour} background", f"against {colour} background", f"on {colour} backdrop")
        elif key == "table":
            words = (f"on {with_article(value)}", f"on {with_article(value)}", f"on top of {with_article(value)}")
        elif key == "wall":
            words = (f"against {with_article(value)} wall", f"in front of {with_article(value)} wall")
        else:
            words = LIGHT_WORDS.get(value, (f"in {value} light", f"under {value} light"))
        found.append(random.choice(words))
    return found


def setting_tags(setting: dict[str, Any]) -> list[str]:
    """The setting in single words, as they follow a comma: "beach", "night", "wooden table"."""
    tags = []
    for key, value in known_setting(setting).items():
        forms = {
            "weather": WEATHER_TAGS.get(value, value),
            "backdrop": f"{value} background",
            "wall": f"{value} wall",
            "light": "beam of light" if value == "beam" else f"{value} light",
        }
        tags.append(forms.get(key, value))
    return tags


def setting_sentences(setting: dict[str, Any], random: Random) -> list[str]:
    """The same as whole sentences."""
    sentences = []
    for key, value in known_setting(setting).items():
        forms = {
            "place": f"The scene is {random.choice(PLACE_WORDS.get(value, (value,)))}.",
            "time": TIME_SENTENCES.get(value),
            "weather": WEATHER_SENTENCES.get(value),
            "backdrop": f"The background is {value}.",
            "table": random.choice(("Below is ", "Everything stands on ")) + with_article(value) + ".",
            "wall": f"The wall behind is {value}.",
            "light": "A beam of light falls in." if value == "beam" else f"The light is {value}.",
        }
        sentences.append(forms[key])
    return sentences


def related(spec: Spec, named: list[Group]) -> list[tuple[int, str, int]]:
    """The relations that hold between every member of one group and every member of another, read both ways.

    Gives (index into `named`, relation, index into `named`).
    """
    known = {(a, relation, b) for a, relation, b in spec["relations"]}
    known |= {(b, OPPOSITES[relation], a) for a, relation, b in known if relation in OPPOSITES}
    found = []
    for a, first in enumerate(named):
        for b, second in enumerate(named):
            pairs = [(i, j) for i in first.indices for j in second.indices]
            if a != b:
                found += [(a, r, b) for r in RELATION_WORDS if all((i, r, j) in known for i, j in pairs)]
    return found
