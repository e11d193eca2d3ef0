"""Plans from prompts: with the cache as without, whatever the company."""

import pytest
import torch
from tiny import image_model

from polarlight.infer.packed import PackedImageAR
from polarlight.infer.planning import PLANS, TEMPERATURE, TOP_P, Ask, Planner, asked_for, best, smallest
from polarlight.models.image_ar import ImageAR, causal_mask
from polarlight.models.image_grammar import Text, plan_opening, write
from polarlight.ops.sampling import draw
from polarlight.ops.streams import uniform
from polarlight.text.claims import Lexicon
from polarlight.text.plan import Plan, parse_plan
from polarlight.text.plan_tokens import allowed_next, decode_plan
from polarlight.text.vocabulary import Vocabulary, quoted_texts

V = Vocabulary.shipped()
LONGEST = 40
ASKS = [
    Ask(prompt="a red cat", rows=8, columns=8, seed=1),
    Ask(prompt="two blue dogs under a sign that says 'OPEN NOW'", rows=6, columns=11, seed=2),
    Ask(prompt="", rows=9, columns=6, seed=3),
]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("polarlight.infer.planning.LONGEST", LONGEST)


def eager_model() -> ImageAR:
    """A random model that likes to end what it has begun."""
    torch.manual_seed(5)
    model = image_model()
    ends = [V["</plan>"], V["<quote>"], V["</quote>"], *range(V["<h:1>"], V["<w:32>"] + 1)]
    model.tokens.weight.data[ends] *= 3
    return model


@torch.no_grad()
def reference(model: ImageAR, ask: Ask, number: int = 0) -> Plan | None:
    """Whole sequences, no cache."""
    ids, noise = list[int](), uniform((LONGEST,), ask.seed, "plan", number)
    texts = [V.spell(text) for text in quoted_texts(ask.prompt)]
    while len(ids) < LONGEST:
        tokens = write([Text(ids=[*plan_opening(V, ask.prompt, ask.rows, ask.columns), *ids])], V, digits=8)
        hidden, _ = model.hidden(tokens, causal_mask(tokens), torch.float32)
        impossible = torch.ones(len(V), dtype=torch.bool)
        impossible[list(allowed_next(ids, texts, V))] = False
        logits = model.text_logits(hidden[0, -1]).masked_fill(impossible, -torch.inf)
        token = int(draw(logits, noise[len(ids)], TEMPERATURE, TOP_P))
        if token == V["</plan>"]:
            return asked_for(ask.prompt, decode_plan(ids, V))
        ids.append(token)
    return None


def planner(lexicon: Lexicon | None = None) -> Planner:
    return Planner(model=PackedImageAR.of(eager_model(), torch.float32), vocabulary=V, lexicon=lexicon)


def test_planning_with_the_cache_equals_planning_without() -> None:
    model = eager_model()
    plans = planner().write(ASKS)
    assert plans == [[plan] if (plan := reference(model, ask)) else [] for ask in ASKS]
    assert any(plans)


def test_a_plan_does_not_depend_on_its_company() -> None:
    one = planner()
    assert one.write(ASKS * 3) == [one.write([ask])[0] for ask in ASKS] * 3


LEXICON = Lexicon(nouns={"cat": "cat", "dogs": "dog"}, colours=frozenset({"red", "blue"}), materials=frozenset())


def test_the_best_of_several_plans_are_taken() -> None:
    model = eager_model()
    chosen = planner(LEXICON).write(ASKS[:1])
    assert chosen == [best(ASKS[0].prompt, [reference(model, ASKS[0], number) for number in range(PLANS)], LEXICON)]


def test_the_best_plans_miss_least_and_have_no_small_things_first() -> None:
    small, large, wrong = (parse_plan(text) for text in ("cat red @ 3 3 5 5", "cat red @ 3 3 9 9", "dog @ 0 0 31 31"))
    assert best("a red cat", [None, wrong, small, large, small], LEXICON) == [large, small]
    assert best("a red cat", [None, wrong], LEXICON) == [wrong]
    assert best("a red cat", [None], LEXICON) == []
    assert best("a red cat", [None, wrong, large], None) == [wrong, large]
    assert smallest(parse_plan('cat @ 0 0 15 31; sign "AB" @ 0 0 15 15')) == 1 / 8
    assert smallest(parse_plan("")) == 0


def test_a_plan_writes_nothing_that_the_prompt_does_not_quote() -> None:
    plan = parse_plan('cat @ 0 0 15 31; sign "OPEN\\nNOW" @ 0 0 15 15; sign "SHUT" @ 0 0 15 15')
    kept = asked_for("a cat by a sign that says 'OPEN NOW'", plan)
    assert [text.text for text in kept.texts] == ["OPEN\nNOW"]
    assert kept.objects == plan.objects


def test_nothing_to_plan_gives_nothing() -> None:
    assert planner().write([]) == []
