"""Plans as a model writes them."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polarlight.base.errors import UserError
from polarlight.text.plan import Plan, PlanObject, PlanText, letters, snapped
from polarlight.text.plan_tokens import allowed_next, decode_plan, encode_plan
from polarlight.text.vocabulary import Vocabulary

V = Vocabulary.shipped()
WORDS = st.sampled_from(["cat", "ice cream", "red", "xylograph", "tropical fish"])
CORNERS = st.tuples(st.integers(0, 31), st.integers(0, 31)).map(sorted)
BOXES = st.tuples(CORNERS, CORNERS).map(
    lambda xy: (xy[0][0] / 32, xy[1][0] / 32, (xy[0][1] + 1) / 32, (xy[1][1] + 1) / 32)
)
OBJECTS = st.builds(PlanObject, name=WORDS, colour=st.none() | WORDS, material=st.none() | WORDS, box=BOXES)
LETTERS = st.text(alphabet="aZ9 '\"\\n가각,/@", min_size=1, max_size=9)
TEXTS = st.builds(PlanText, text=LETTERS, kind=WORDS, colour=st.none() | WORDS, box=BOXES)
PLANS = st.builds(Plan, objects=st.lists(OBJECTS, max_size=3).map(tuple), texts=st.lists(TEXTS, max_size=3).map(tuple))


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_a_plan_survives_its_tokens(plan: Plan) -> None:
    assert decode_plan(encode_plan(plan, V), V) == plan == snapped(plan)


@settings(max_examples=60, deadline=None)
@given(PLANS)
def test_every_token_of_a_plan_is_allowed_where_it_stands(plan: Plan) -> None:
    ids, texts = [*encode_plan(plan, V), V["</plan>"]], [V.spell(text.text.replace("\n", " ")) for text in plan.texts]
    for number, token in enumerate(ids):
        assert token in allowed_next(ids[:number], texts, V), V.tokens[token]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.sampled_from(["OPEN", "NO WAY", "가"]), max_size=2, unique=True))
def test_whatever_is_allowed_can_be_read_and_writes_the_texts(seed: int, texts: list[str]) -> None:
    random, ids = Random(seed), list[int]()
    spelled = [V.spell(text) for text in texts]
    ways = [V["</plan>"], V["<quote>"], V["</quote>"], V["<w:7>"], V["<h:7>"]]
    while len(ids) < 400:
        allowed = list(allowed_next(ids, spelled, V))
        likely = [token for token in ways if token in allowed]  # else a plan of random words hardly ever ends
        token = random.choice(likely if likely and random.random() < 0.7 else allowed)
        if token == V["</plan>"]:
            break
        ids.append(token)
    else:
        pytest.fail("no end")
    written = {text.text.replace("\n", " ") for text in decode_plan(ids, V).texts}
    assert written == set(texts) or not texts


@pytest.mark.parametrize(
    "tokens",
    [
        [V[" cat"]],
        [V[" cat"], V["<w:1>"], V["<h:1>"], V["<w:2>"]],
        [V[" cat"], V["<w:3>"], V["<h:1>"], V["<w:2>"], V["<h:2>"]],
        [V["<w:1>"], V["<h:1>"], V["<w:2>"], V["<h:2>"]],
        [V[" cat"], V["<h:1>"], V["<w:1>"], V["<h:2>"], V["<w:2>"]],
        [V[" sign"], V["<quote>"], *V.spell("A"), V["<w:1>"], V["<h:1>"], V["<w:2>"], V["<h:2>"]],
    ],
)
def test_what_is_no_plan_is_refused(tokens: list[int]) -> None:
    with pytest.raises(UserError):
        decode_plan(tokens, V)


def test_letters_share_their_texts_box() -> None:
    text = PlanText(text="ABCD\nEF", box=(0.0, 0.5, 0.5, 1.0))
    places = dict(letters(text))
    assert places["A"] == (0.0, 0.5, 0.125, 0.75)
    assert places["D"] == (0.375, 0.5, 0.5, 0.75)
    assert places["E"] == (0.125, 0.75, 0.25, 1.0)
