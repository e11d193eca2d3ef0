"""Whether a picture shows what its prompt asked for: GenEval's six rules, and materials, on a judge's detections.

Ghosh et al., "GenEval" (arXiv:2310.11513), applied to the worlds' own held-out scenes. Each rule takes what was seen and the
scene that the prompt was written from (it looks at what `worlds.captions.evaluation_prompt` speaks of and at nothing else), and
answers with a verdict that says why.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..worlds.scene import Spec
from .judge import Detection

MARGIN = (
    0.1  # of the summed sizes: centres closer than this along an axis stand neither left nor right, above nor below
)
TOUCH = (
    0.08  # of the picture's height: how far a thing's foot may float above or sink below the top of what it stands on
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether a rule holds, and if not the first reason, in a few words."""

    passed: bool
    reason: str = ""


PASSED = Verdict(passed=True)


def failed(reason: str) -> Verdict:
    return Verdict(passed=False, reason=reason)


def single_object(seen: Sequence[Detection], spec: Spec) -> Verdict:
    """The first object is there, at least once."""
    return _present(seen, [spec["objects"][0]["name"]])


def two_objects(seen: Sequence[Detection], spec: Spec) -> Verdict:
    """The first object and the first of another name are there, each at least once."""
    names = list(dict.fromkeys(thing["name"] for thing in spec["objects"]))
    return _present(seen, names[:2])


def counting(seen: Sequence[Detection], spec: Spec) -> Verdict:
    """The first object's name is there exactly as often as in the scene."""
    names = [thing["name"] for thing in spec["objects"]]
    wanted, got = names.count(names[0]), sum(thing.name == names[0] for thing in seen)
    return PASSED if got == wanted else failed(f"{got} {names[0]}, not {wanted}")


def colours(seen: Sequence[Detection], spec: Spec) -> Verdict:
    """The first object that has a colour is there in it."""
    return _bound(seen, _with(spec, "colour")[:1], "colour")


def materials(seen: Sequence[Detection], spec: Spec) -> Verdict:
    """The first object that has a material is there in it."""
    return _bound(seen, _with(spec, "material")[:1], "material")


def colour_attribution(seen: Sequence[Detection], spec: Spec) -> Verdict:
    """The first two objects that have a colour are there, each in its own."""
    return _bound(seen, _with(spec, "colour")[:2], "colour")


def position(seen: Sequence[Detection], spec: Spec) -> Verdict:
    """The first relation holds between the surest detections of its two names."""
    first, relation, second = spec["relations"][0]
    names = [spec["objects"][index]["name"] for index in (first, second)]
    present = _present(seen, names)
    if not present.passed:
        return present
    a = next(thing for thing in seen if thing.name == names[0])
    b = next(thing for thing in seen if thing.name == names[1] and thing is not a)
    return PASSED if holds(a, relation, b) else failed(f"{names[0]} not {relation} {names[1]}")


# the names are those of worlds.captions.CATEGORIES; "text", the one that is missing here, is read and not detected
RULES: dict[str, Callable[[Sequence[Detection], Spec], Verdict]] = {
    "single_object": single_object,
    "two_objects": two_objects,
    "counting": counting,
    "colours": colours,
    "position": position,
    "colour_attribution": colour_attribution,
    "materials": materials,
}


def holds(a: Detection, relation: str, b: Detection) -> bool:
    """Whether `a` stands in `relation` (one of scene.RELATIONS) to `b`, by their boxes.

    Directions follow GenEval: the offset of the centres, less MARGIN of the summed sizes, must point mostly that way. "on":
    the foot of `a` meets `b` below its top edge and over its width. "in front of", "behind": on one table under one camera,
    what is nearer stands lower in the picture.
    """
    if relation == "on":
        over = b.box[0] <= a.centre[0] <= b.box[2]
        return over and a.centre[1] < b.centre[1] and b.box[1] - TOUCH <= a.box[3] <= b.box[3]
    if relation in ("in front of", "behind"):
        return (a.box[3] > b.box[3]) == (relation == "in front of")
    offset = [there - here for here, there in zip(b.centre, a.centre, strict=True)]
    spare = [MARGIN * (one + other) for one, other in zip(a.size, b.size, strict=True)]
    x, y = (math.copysign(max(abs(o) - s, 0.0), o) for o, s in zip(offset, spare, strict=True))
    length = math.hypot(x, y) or 1.0
    along = {"left of": -x, "right of": x, "above": -y, "below": y}[relation]
    return along / length > 0.5


def interval(passed: int, count: int) -> tuple[float, float]:
    """The 95 % confidence interval of a share, 0..1 (Wilson's score interval, right for small counts and for 0 and 1)."""
    if count == 0:
        return 0.0, 1.0
    z, share = 1.96, passed / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, middle - spread), min(1.0, middle + spread)


def _with(spec: Spec, attribute: str) -> list[Spec]:
    """The objects that have the attribute, in their order."""
    return [thing for thing in spec["objects"] if thing.get(attribute)]


def _present(seen: Sequence[Detection], names: Iterable[str]) -> Verdict:
    """Each name at least as often as it is given."""
    missing = Counter(names) - Counter(thing.name for thing in seen)
    return failed("no " + ", no ".join(missing)) if missing else PASSED


def _bound(seen: Sequence[Detection], things: Sequence[Spec], attribute: str) -> Verdict:
    """Each thing by a detection of its own that has its name and its attribute."""
    free = list(seen)
    for thing in things:
        named = [detection for detection in free if detection.name == thing["name"]]
        right = [detection for detection in named if getattr(detection, attribute) == thing[attribute]]
        if not named:
            return failed(f"no {thing['name']}")
        if not right:
            return failed(f"{thing['name']} {getattr(named[0], attribute)}, not {thing[attribute]}")
        free.remove(right[0])
    return PASSED
