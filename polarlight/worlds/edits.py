"""Edits with exact truth: two specs that differ in one thing, and what a user would say to get from one to the other.

Both specs can be rendered. Nothing changes but what the instruction says (a thing that goes takes along what is written
on it and its relations). An addition is a removal read backwards, so that what is added stands where its world would
put it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from random import Random

from ..base.errors import UserError
from ..base.seeds import stream_random
from ..text.lettering import rise_and_fall
from ..text.typesetting import pitch
from .atlas import text_width
from .catalogue import by_name
from .holdout import held_out_colour
from .nouns import Group, groups, noun_phrase
from .phrases import RELATION_WORDS, position, quoted, related
from .scene import COLOURS, Scene, Spec, picture_size
from .tabletop import NO_COLOUR
from .tabletop_layout import text_box
from .tabletop_text import INKS
from .words import draw_text

KINDS = ("recolour", "remove", "add", "retext")
MARGIN = 0.03  # of width and height, around what changes: soft edges and contact shadows
Box = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Edit:
    """One edit. `box` holds the changed thing before and after: x0, y0, x1, y1 in fractions, y down."""

    kind: str
    instruction: str
    before: Spec
    after: Spec
    box: Box


def draw_edit(scene: Scene, seed: int, *, split: str = "train", kind: str | None = None) -> Edit:
    """Draw an edit of a scene, of one of KINDS or of any that the scene allows.

    "train" brings no held-out colour and no held-out word into the scene; "heldout" writes only held-out words.

    Raises:
        UserError: the scene allows no edit of the kind, or none at all.
    """
    assert kind is None or kind in KINDS, kind
    random = stream_random(seed, f"edit/{split}/{kind}")
    makers = {"recolour": _recolour, "remove": _remove, "add": _add, "retext": _retext}
    for name in [kind] if kind else random.sample(KINDS, len(KINDS)):
        edit = makers[name](scene.spec, random, split)
        if edit is not None:
            return edit
    raise UserError(f"The scene allows no {kind or 'edit'}.", fix="Take a scene with objects or with a text.")


def without(spec: Spec, gone: int) -> Spec:
    """The spec without one object, what is written on it and its relations."""
    spec = deepcopy(spec)

    def moved(index: int) -> int:
        return index - (index > gone)

    spec["objects"].pop(gone)
    spec["texts"] = [text for text in spec["texts"] if text.get("on") != gone]
    for text in spec["texts"]:
        if text.get("on") is not None:
            text["on"] = moved(text["on"])
    spec["relations"] = [[moved(a), relation, moved(b)] for a, relation, b in spec["relations"] if gone not in (a, b)]
    return spec


# ---- the four kinds


def _recolour(spec: Spec, random: Random, split: str) -> Edit | None:
    """Another colour for one object or for all of a kind."""
    for index in random.sample(range(len(spec["objects"])), len(spec["objects"])):
        group = next(group for group in groups(spec) if index in group.indices)
        targets = group.indices if random.random() < 0.5 else (index,)
        colours = set.intersection(*(_paints(spec, target, split) for target in targets))
        if not colours:
            continue
        colour = random.choice(sorted(colours))
        after = deepcopy(spec)
        for target in targets:
            after["objects"][target]["colour"] = colour
        whole = len(targets) == group.count
        what = _all_of(spec, group, random) if whole else _one_of(spec, index, random)
        forms = [f"make {what} {colour}", f"paint {what} {colour}", f"change the colour of {what} to {colour}"]
        forms += [f"turn {what} {colour}", f"{what} should be {colour}", f"recolor {what} {colour}"]
        box = _union(spec["objects"][target]["box"] for target in targets)
        return _edit("recolour", random.choice(forms), spec, after, box, random)
    return None


def _paints(spec: Spec, index: int, split: str) -> set[str]:
    """The colours that an object could have instead of its own and still be told from what is around it."""
    thing, setting = spec["objects"][index], spec["setting"]
    fixed = {setting.get(key) for key in ("backdrop", "colour", "table_colour", "wall")} | {thing.get("colour")}
    if spec["world"] == "posters":
        entry = by_name()[thing["name"]]
        if not entry.paintable:
            return set()
        fixed.add(entry.colour)
    fixed.update(NO_COLOUR.get(thing.get("material"), ()))
    colours = {colour for colour in COLOURS if colour not in fixed}
    if split == "train":
        colours = {colour for colour in colours if not held_out_colour(thing["name"], colour)}
    for text in spec["texts"]:
        if text.get("on") == index and spec["world"] == "tabletop":
            background = text.get("background")
            if background and thing["name"] == "sign":  # the board hides all that the colour would show on
                return set()
            colours = {c for c in colours if (c != background if background else text["colour"] in INKS[c])}
    return colours


def _remove(spec: Spec, random: Random, split: str) -> Edit | None:
    """Take one object away."""
    if not spec["objects"]:
        return None
    index = random.randrange(len(spec["objects"]))
    what = _one_of(spec, index, random)
    forms = [f"remove {what}", f"delete {what}", f"take away {what}", f"get rid of {what}", f"erase {what}"]
    box = _union([spec["objects"][index]["box"], *_carried_boxes(spec, index)])
    return _edit("remove", random.choice(forms), spec, without(spec, index), box, random)


def _add(spec: Spec, random: Random, split: str) -> Edit | None:
    """Put in one object that carries no text; the scene itself is what comes out."""
    carriers = {text.get("on") for text in spec["texts"]}
    free = [index for index in range(len(spec["objects"])) if index not in carriers]
    if not free:
        return None
    index = random.choice(free)
    before, thing = without(spec, index), spec["objects"][index]
    group = Group(name=thing["name"], colour=thing.get("colour"), material=thing.get("material"), indices=(0,))
    same = [other for other in groups(before) if replace(other, indices=(0,)) == group]
    what = noun_phrase(group, random)
    if same and what.startswith(("a ", "an ")):
        what = f"another {what.split(' ', 1)[1]}"
    where = _where_to(spec, index, random)
    verb = random.choice(("add", "add", "put", "place", "draw"))
    if verb in ("put", "place") and not where:
        where = f" {position(thing['box'], random)}"
    return _edit("add", f"{verb} {what}{where}", before, deepcopy(spec), tuple(thing["box"]), random)


def _where_to(spec: Spec, index: int, random: Random) -> str:
    """ " to the left of the dog", " on the right", or nothing."""
    named = groups(spec)
    own = next(number for number, group in enumerate(named) if index in group.indices)
    around = [(relation, named[b]) for a, relation, b in related(spec, named) if a == own and named[own].count == 1]
    if around and random.random() < 0.6:
        relation, other = random.choice(around)
        return f" {random.choice(RELATION_WORDS[relation])} {_all_of(spec, other, random)}"
    return f" {position(spec['objects'][index]['box'], random)}" if random.random() < 0.6 else ""


def _retext(spec: Spec, random: Random, split: str) -> Edit | None:
    """Other words of the same lengths and cases, set as the old ones were, a little smaller where they are wider."""
    for index in random.sample(range(len(spec["texts"])), len(spec["texts"])):
        old = spec["texts"][index]
        lines = _lines_like(old["lines"], old["script"], old["font"], random, split)
        if lines is None:
            continue
        after = deepcopy(spec)
        new = after["texts"][index]
        new.update(text=" ".join(lines), lines=lines)
        new["cap"] = round(old["cap"] * min(1.0, _width(old["lines"], old["font"]) / _width(lines, old["font"])), 5)
        new["box"] = text_box(after, new) if spec["world"] == "tabletop" else _centred_box(old, new, spec["aspect"])
        was, wanted = quoted(old["text"], random), quoted(new["text"], random)
        what = _carrier(spec, old, random)
        forms = [f"replace {was} with {wanted}", f"change {was} to {wanted}", f"change the text from {was} to {wanted}"]
        forms += [f"change {what} to say {wanted}", f"make {what} say {wanted}", f"{what} should say {wanted}"]
        if len(spec["texts"]) == 1:
            forms += [f"change the text to {wanted}", f"the text should read {wanted}"]
        box = _union([old.get("board", old["box"]), old["box"], new["box"]])
        return _edit("retext", random.choice(forms), spec, after, box, random)
    return None


# ---- names for what changes


def _all_of(spec: Spec, group: Group, random: Random) -> str:
    """ "the cat", "the two red balloons", with as much as singles the group out."""
    rivals = [other for other in groups(spec) if other.name == group.name and other.indices != group.indices]
    short = replace(group, colour=None, material=None)
    if not rivals and random.random() < 0.8:
        return noun_phrase(short, random, determiner="the")
    by_colour = replace(group, material=None)
    if group.colour and all(other.colour != group.colour for other in rivals) and random.random() < 0.8:
        return noun_phrase(by_colour, random, determiner="the")
    return noun_phrase(group, random, determiner="the")


def _one_of(spec: Spec, index: int, random: Random) -> str:
    """ "the cat", or of several alike "the balloon on the left", else "one of the balloons"."""
    group = next(group for group in groups(spec) if index in group.indices)
    if group.count == 1:
        return _all_of(spec, group, random)
    middles = {i: (spec["objects"][i]["box"][0] + spec["objects"][i]["box"][2]) / 2 for i in group.indices}
    others = [middle for i, middle in middles.items() if i != index]
    one = _all_of(spec, replace(group, indices=(index,)), random)
    side = "left" if middles[index] < min(others) - 0.1 else "right" if middles[index] > max(others) + 0.1 else ""
    if side:
        return random.choice((f"{one} on the {side}", f"the {side}most {one.removeprefix('the ')}"))
    several = noun_phrase(replace(group, colour=None, material=None), random, determiner="the")
    return f"one of {several}" if len(groups(spec)) == 1 else f"one of {_all_of(spec, group, random)}"


def _carrier(spec: Spec, text: dict, random: Random) -> str:
    """ "the sign", "the label on the bottle", "what the cat says"."""
    kind = "speech bubble" if text["kind"] == "bubble" else text["kind"]
    alone = sum(other["kind"] == text["kind"] for other in spec["texts"]) == 1
    if text.get("on") is None:
        return f"the {kind}" if alone else f"the {kind} that says {quoted(text['text'], random)}"
    owner = _one_of(spec, text["on"], random)
    if spec["objects"][text["on"]]["name"] == kind:
        return owner
    return f"the {kind}" if alone and random.random() < 0.6 else f"the {kind} of {owner}"


# ---- words that fit


def _lines_like(lines: Sequence[str], script: str, font: str, random: Random, split: str) -> list[str] | None:
    """Other lines, word for word of the same length; of a few draws the first that is no wider, else the narrowest."""
    widest, best, text = _width(lines, font), None, " ".join(lines)
    case = "upper" if text == text.upper() else "lower" if text == text.lower() else "title"
    for _ in range(8):
        drawn = [[_word_like(word, case, script, random, split) for word in line.split()] for line in lines]
        if any(word is None for line in drawn for word in line):
            return None
        new = [" ".join(line) for line in drawn]  # type: ignore[arg-type]
        if new != list(lines) and (best is None or _width(new, font) < _width(best, font)):
            best = new
        if best is not None and _width(best, font) <= widest:
            break
    return best


def _word_like(word: str, case: str, script: str, random: Random, split: str) -> str | None:
    """A word of the same length, or None if none was found; a lone sign like "&" stays as it is."""
    if not any(letter.isalnum() for letter in word):
        return word
    for _ in range(3000):
        drawn = draw_text(random, split=split, script=script, longest=max(2, len(word)), case=case)
        if len(drawn) == len(word) and " " not in drawn:
            return drawn
    return None


def _width(lines: Sequence[str], font: str) -> float:
    """Of the widest line, in cap heights."""
    return max(text_width(line, font) for line in lines)


def _centred_box(old: dict, new: dict, aspect: str) -> list[float]:
    """Where the new lines of a poster's text have their ink: same middle, same first baseline."""
    high, wide = picture_size(aspect)
    baseline = old["box"][1] + rise_and_fall(old["lines"], old["script"])[0] * old["cap"]
    rise, fall = rise_and_fall(new["lines"], new["script"])
    half = _width(new["lines"], new["font"]) * new["cap"] * high / wide / 2
    middle = (old["box"][0] + old["box"][2]) / 2
    bottom = baseline + fall * new["cap"] + pitch(new["cap"] * high) * (len(new["lines"]) - 1) / high
    return [round(side, 4) for side in (middle - half, baseline - rise * new["cap"], middle + half, bottom)]


# ---- boxes and sentences


def _carried_boxes(spec: Spec, index: int) -> list[list[float]]:
    return [
        box
        for text in spec["texts"]
        if text.get("on") == index
        for box in (text["box"], text.get("board", text["box"]))
    ]


def _union(boxes: Iterable[Sequence[float]]) -> Box:
    x0, y0, x1, y1 = zip(*boxes, strict=True)
    return min(x0), min(y0), max(x1), max(y1)


def _edit(kind: str, instruction: str, before: Spec, after: Spec, box: Box, random: Random) -> Edit:
    """The region gets its margin; a tenth of the instructions are written as sentences."""
    if random.random() < 0.1:
        instruction = instruction[0].upper() + instruction[1:] + random.choice((".", "", "!"))
    elif random.random() < 0.06 and " should " not in instruction:
        instruction = f"please {instruction}"
    x0, y0, x1, y1 = box
    grown = (max(0.0, x0 - MARGIN), max(0.0, y0 - MARGIN), min(1.0, x1 + MARGIN), min(1.0, y1 + MARGIN))
    return Edit(kind=kind, instruction=instruction, before=deepcopy(before), after=after, box=grown)
