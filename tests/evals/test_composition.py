import pytest

from polarlight.evals.composition import RULES, holds, interval
from polarlight.evals.judge import Detection
from polarlight.worlds.captions import CATEGORIES


def thing(name: str, x: float = 0.5, y: float = 0.5, size: float = 0.2, **attributes) -> Detection:
    box = (x - size / 2, y - size / 2, x + size / 2, y + size / 2)
    return Detection(name=name, score=0.9, box=box, **attributes)


def scene(*objects: dict | str, relations=()) -> dict:
    return {"objects": [{"name": o} if isinstance(o, str) else o for o in objects], "relations": list(relations)}


def passes(category: str, seen: list[Detection], spec: dict) -> bool:
    return RULES[category](seen, spec).passed


def test_every_category_but_text_has_a_rule():
    assert set(RULES) == set(CATEGORIES) - {"text"}


def test_a_single_object_must_be_there():
    assert passes("single_object", [thing("dog"), thing("cat")], scene("cat"))
    assert not passes("single_object", [thing("dog")], scene("cat"))


def test_two_objects_must_both_be_there():
    spec = scene("cat", "cat", "dog")
    assert passes("two_objects", [thing("cat"), thing("dog")], spec)
    assert not passes("two_objects", [thing("cat"), thing("cat")], spec)


@pytest.mark.parametrize(("seen", "right"), [(2, False), (3, True), (4, False)])
def test_counts_must_be_exact(seen, right):
    assert passes("counting", [thing("cup")] * seen + [thing("dog")], scene("cup", "cup", "cup")) == right


def test_a_colour_must_be_on_the_thing_that_was_asked_for():
    spec = scene({"name": "car", "colour": "red"})
    assert passes("colours", [thing("car", colour="red")], spec)
    assert not passes("colours", [thing("car", colour="blue"), thing("ball", colour="red")], spec)


def test_colour_rules_skip_objects_without_a_colour():
    spec = scene({"name": "cat", "colour": None}, {"name": "car", "colour": "red"})
    assert passes("colours", [thing("car", colour="red")], spec)


def test_attributes_must_not_be_swapped():
    spec = scene({"name": "car", "colour": "red"}, {"name": "ball", "colour": "blue"})
    assert passes("colour_attribution", [thing("car", colour="red"), thing("ball", colour="blue")], spec)
    assert not passes("colour_attribution", [thing("car", colour="blue"), thing("ball", colour="red")], spec)


def test_two_things_of_one_name_need_two_detections():
    spec = scene({"name": "cone", "colour": "red"}, {"name": "cone", "colour": "blue"})
    assert passes("colour_attribution", [thing("cone", colour="blue"), thing("cone", colour="red")], spec)
    assert not passes("colour_attribution", [thing("cone", colour="red")], spec)


def test_a_material_must_be_on_the_thing_that_was_asked_for():
    spec = scene({"name": "vase", "colour": "red", "material": "glass"})
    assert passes("materials", [thing("vase", colour="blue", material="glass")], spec)
    assert not passes("materials", [thing("vase", colour="red", material="wood")], spec)


def test_a_verdict_says_what_is_wrong():
    assert RULES["two_objects"]([thing("cat")], scene("cat", "dog")).reason == "no dog"
    assert RULES["counting"]([thing("cat")] * 2, scene("cat", "cat", "cat")).reason == "2 cat, not 3"
    wrong = RULES["colours"]([thing("car", colour="blue")], scene({"name": "car", "colour": "red"}))
    assert wrong.reason == "car blue, not red"


@pytest.mark.parametrize(
    ("relation", "x", "y"), [("left of", 0.2, 0.5), ("right of", 0.8, 0.5), ("above", 0.5, 0.2), ("below", 0.5, 0.8)]
)
def test_a_direction_holds_one_way_only(relation, x, y):
    a, b = thing("a", x, y), thing("b")
    assert holds(a, relation, b)
    assert not holds(b, relation, a)


def test_centres_within_the_margin_stand_on_no_side():
    assert not holds(thing("a", 0.47), "left of", thing("b"))


def test_what_is_far_above_and_a_little_left_is_only_above():
    a, b = thing("a", 0.4, 0.1), thing("b", 0.5, 0.8)
    assert holds(a, "above", b)
    assert not holds(a, "left of", b)


def test_what_is_on_a_thing_touches_its_top():
    book = Detection(name="book", score=1, box=(0.2, 0.6, 0.8, 0.8))
    assert holds(thing("cup", 0.5, 0.52), "on", book)
    assert not holds(thing("cup", 0.5, 0.2), "on", book)
    assert not holds(thing("cup", 0.95, 0.52), "on", book)


def test_the_nearer_of_two_things_stands_lower():
    near, far = thing("a", 0.4, 0.7), thing("b", 0.5, 0.5)
    assert holds(near, "in front of", far)
    assert holds(far, "behind", near)
    assert not holds(near, "behind", far)


def test_a_relation_between_equal_names_needs_two_of_them():
    spec = scene("cat", "cat", relations=[[0, "left of", 1]])
    assert not passes("position", [thing("cat")], spec)
    assert passes("position", [thing("cat", 0.2), thing("cat", 0.8)], spec)


def test_a_position_is_judged_on_the_named_things():
    spec = scene("cat", "tree", relations=[[0, "left of", 1]])
    assert passes("position", [thing("dog", 0.5), thing("tree", 0.8), thing("cat", 0.2)], spec)
    assert not passes("position", [thing("tree", 0.2), thing("cat", 0.8)], spec)
    assert not passes("position", [thing("cat", 0.2)], spec)


def test_intervals_are_wilsons():
    low, high = interval(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.49, 0.943)
    assert interval(0, 0) == (0.0, 1.0)
    assert interval(10, 10)[1] == 1.0
