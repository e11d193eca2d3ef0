"""The layout plan as text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polarlight.base.errors import UserError
from polarlight.text.plan import GRID, Plan, PlanObject, PlanText, format_plan, parse_plan

WORDS = st.lists(st.text(alphabet="abcxyzé커피-7", min_size=1, max_size=6), min_size=1, max_size=3).map(" ".join)
CORNERS = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)
BOXES = st.tuples(CORNERS, CORNERS).map(lambda xy: (xy[0][0], xy[1][0], xy[0][1], xy[1][1]))
CELLS = st.tuples(st.integers(0, GRID - 1), st.integers(0, GRID - 1)).map(sorted)
GRID_BOXES = st.tuples(CELLS, CELLS).map(
    lambda xy: (xy[0][0] / GRID, xy[1][0] / GRID, (xy[0][1] + 1) / GRID, (xy[1][1] + 1) / GRID)
)


def plans(boxes: st.SearchStrategy) -> st.SearchStrategy[Plan]:
    maybe = st.none() | WORDS
    objects = st.builds(PlanObject, name=WORDS, colour=maybe, material=maybe, box=boxes)
    texts = st.builds(PlanText, text=st.text(max_size=12), kind=WORDS, colour=maybe, box=boxes)
    few = st.lists(objects, max_size=3).map(tuple), st.lists(texts, max_size=3).map(tuple)
    return st.builds(Plan, objects=few[0], texts=few[1])


@settings(max_examples=60, deadline=None)
@given(plans(GRID_BOXES))
def test_a_plan_on_the_grid_survives_writing_and_reading_exactly(plan: Plan):
    assert parse_plan(format_plan(plan)) == plan


@settings(max_examples=60, deadline=None)
@given(plans(BOXES))
def test_a_plan_off_the_grid_moves_by_at_most_half_a_cell_or_grows_to_one_cell(plan: Plan):
    read = parse_plan(format_plan(plan))
    for before, after in zip((*plan.objects, *plan.texts), (*read.objects, *read.texts), strict=True):
        for side in range(2):
            low, high = before.box[side], before.box[side + 2]
            read_low, read_high = after.box[side], after.box[side + 2]
            slack = (0.5 if high - low >= 1 / GRID else 1.5) / GRID
            assert abs(read_low - low) <= slack + 1e-9
            assert abs(read_high - high) <= slack + 1e-9
            assert read_high - read_low >= 1 / GRID
    assert format_plan(read) == format_plan(plan)


def test_the_written_plan_is_the_documented_one():
    plan = Plan(
        objects=(
            PlanObject(name="cat", colour="red", box=(3 / 32, 10 / 32, 12 / 32, 28 / 32)),
            PlanObject(name="ice cream", material="glass", box=(0.0, 0.0, 1.0, 1.0)),
        ),
        texts=(PlanText(text='say "hi"; @', kind="price tag", colour="white", box=(4 / 32, 2 / 32, 20 / 32, 8 / 32)),),
    )
    written = format_plan(plan)
    assert written == (
        'cat red @ 3 10 11 27; ice_cream /glass @ 0 0 31 31; price_tag white "say \\"hi\\"; @" @ 4 2 19 7'
    )
    assert parse_plan(written) == plan


def test_the_empty_text_is_the_empty_plan():
    assert parse_plan("  ") == Plan()
    assert format_plan(Plan()) == ""


def test_a_last_semicolon_and_newlines_are_forgiven():
    assert parse_plan("cat @ 0 0 3 3;\n dog @ 4 4 5 5 ;\n") == parse_plan("cat @ 0 0 3 3; dog @ 4 4 5 5")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("cat red", "cannot be read"),
        ("cat @ 1 2 3", "four whole numbers"),
        ("cat @ 1 2 3 32", "four whole numbers"),
        ("cat @ 1 2 3 x", "four whole numbers"),
        ("cat @ 9 2 3 4", "ends before it begins"),
        ("big cat red @ 1 2 3 4", "not a name"),
        ("@ 1 2 3 4", "not a name"),
        ('"OPEN" @ 1 2 3 4', "what carries the text"),
        (r'sign "\q" @ 1 2 3 4', "not a JSON string"),
        ('sign "OPEN @ 1 2 3 4', "cannot be read"),
        ("cat @ 0 0 1 1;; dog @ 0 0 1 1", "cannot be read"),
    ],
)
def test_a_plan_that_cannot_be_read_says_what_is_wrong_and_how_to_write_it(text: str, says: str):
    with pytest.raises(UserError, match=says) as error:
        parse_plan(text)
    assert error.value.fix


@pytest.mark.parametrize("name", ["", "a@b", "a_b", "a/b", " a", "a;b", "a  b", "a\nb"])
def test_a_name_that_could_not_be_read_back_is_refused(name: str):
    with pytest.raises(UserError, match="cannot be a name"):
        format_plan(Plan(objects=(PlanObject(name=name, box=(0, 0, 1, 1)),)))
