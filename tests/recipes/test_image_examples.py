"""Coded scenes become sequences of every task."""

from random import Random

import pytest
import torch
from tiny import LEVELS, image_model

from polarlight.models.image_ar import image_loss
from polarlight.models.image_grammar import FIRST_REGION, Role, Tokens, pack, region_map
from polarlight.recipes.image_examples import (
    SPREADS,
    Examples,
    Mixture,
    draw_order,
    random_hole,
    spread_order,
    touched_cells,
)
from polarlight.recipes.image_mini import EVERY_TASK, LANES, POOL, Batches, CodedScenes, Window
from polarlight.recipes.scenes import CodedGroup
from polarlight.text.plan import snapped
from polarlight.text.plan_tokens import decode_plan
from polarlight.text.vocabulary import Vocabulary
from polarlight.worlds.captions import plan_of
from polarlight.worlds.edits import draw_edit
from polarlight.worlds.posters import Posters
from polarlight.worlds.scene import ASPECTS, Scene
from polarlight.worlds.tabletop import Tabletop

V = Vocabulary.shipped()
KINDS = ("posters", "house", "subjects", "tabletop", "edits", "reference", "control")


def coded(kind: str) -> CodedScenes:
    """Three true scenes of a kind with random codes, a group each."""
    world, groups = Tabletop() if kind == "tabletop" else Posters(), {}
    for seed in range(3):
        scene = world.sample(seed)
        wide, high = ASPECTS[scene.spec["aspect"]]
        digits = (torch.rand(2, 1, 2 * high, 2 * wide, 2) * torch.tensor(LEVELS)).to(torch.uint8)
        text, source, note = torch.randint(0, 256, digits.shape[1:4], dtype=torch.uint8), digits[1], {}
        if kind == "edits":
            edit = draw_edit(scene, seed)
            scene = Scene(seed=seed, spec=edit.after)
            note = {"role": "SOURCE", "instruction": edit.instruction, "box": list(edit.box)}
        elif kind == "reference":
            note, source = {"role": "REFERENCE"}, source[:, :8, :8]
        elif kind == "control":
            note = {"role": ("EDGES", "DEPTH")[seed % 2]}
        groups[str(seed)] = CodedGroup(digits=digits[0], text=text, scenes=[scene], source=source, notes=[note])
    return CodedScenes(load=lambda index: groups, window=Window(shards=1, pools=1))


@pytest.fixture(scope="module")
def scenes() -> dict[str, CodedScenes]:
    return {kind: coded(kind) for kind in KINDS}


def one(scenes: dict[str, CodedScenes], kind: str) -> CodedGroup:
    return scenes[kind].at(0)[0]


@pytest.mark.parametrize("task", [task for task, _ in EVERY_TASK.tasks])
def test_a_batch_of_every_task_has_a_finite_loss_and_gradient(scenes: dict[str, CodedScenes], task: str) -> None:
    model = image_model().train()
    examples = Examples(V, Mixture(tasks=((task, 1.0),), planned=0.5))
    batch = Batches(scenes=scenes, examples=examples, size=6, flops=model.active_parameters())(0)
    loss, metrics = image_loss(model, batch.data, torch.float32)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in model.parameters())
    assert ("digit_nats" in metrics) == (task not in ("caption", "plan"))
    assert batch.units == int(batch.data.valid.sum())
    assert batch.flops > 0


def test_a_batch_is_a_function_of_its_number(scenes: dict[str, CodedScenes]) -> None:
    examples = Examples(V, EVERY_TASK)
    first, second = (Batches(scenes=scenes, examples=examples, size=6, flops=(1, 1)) for _ in range(2))
    second(40)
    once, again, other = first(3).data, second(3).data, first(4).data
    assert all(torch.equal(value, getattr(again, name)) for name, value in vars(once).items())
    assert once.ids.shape != other.ids.shape or not torch.equal(once.ids, other.ids)


def test_a_pool_is_cut_into_batches_of_like_lengths_that_hold_it_all(scenes: dict[str, CodedScenes]) -> None:
    batches = Batches(scenes=scenes, examples=Examples(V, Mixture()), size=6, flops=(1, 1))
    pool = [tokens.ids.shape[1] for tokens in batches.pool(0)]
    parts = sorted(batches(turn * LANES).data.valid.sum(1).sort().values.tolist() for turn in range(POOL))
    assert [length for part in parts for length in part] == pool == sorted(pool)


def test_over_many_batches_every_task_comes_up(scenes: dict[str, CodedScenes]) -> None:
    examples, seen = Examples(V, EVERY_TASK), set()
    batches = Batches(scenes=scenes, examples=examples, size=3, flops=(1, 1))
    for number in [block * POOL * LANES + lane for block in range(5) for lane in range(LANES)]:
        ids = batches(number).data.ids
        seen |= {task for task, _ in EVERY_TASK.tasks if (ids == V[f"<{task}>"]).any()}
    assert seen == {task for task, _ in EVERY_TASK.tasks}


def drawn(scenes: dict[str, CodedScenes], seed: int = 0, **mixture: object) -> tuple[Tokens, CodedGroup]:
    group = one(scenes, "posters")
    examples = Examples(V, Mixture(**mixture))  # type: ignore[arg-type]
    return examples.draw(group.scenes[0], group.digits[0], group.text[0], "short", Random(seed)), group


def test_dropped_text_leaves_nothing_but_the_task(scenes: dict[str, CodedScenes]) -> None:
    tokens, _ = drawn(scenes, drop_text=1.0, planned=1.0)
    assert tokens.ids[0, :2].tolist() == [V["<bos>"], V["<draw>"]]
    assert tokens.ids[0, 2:5].tolist()[2] == V["<img>"]
    assert not (tokens.whose > 0).any()


def test_a_planned_scene_is_drawn_by_its_plan(scenes: dict[str, CodedScenes]) -> None:
    tokens, group = drawn(scenes, drop_text=0.0, planned=1.0)
    rows, columns = (length // 2 for length in group.digits.shape[1:3])
    seen = region_map(snapped(plan_of(group.scenes[0].spec)), rows, columns)
    assert (seen >= FIRST_REGION).any()
    assert sorted(tokens.sees[0, -len(seen) :].tolist()) == sorted(seen.tolist())
    assert not (drawn(scenes, drop_text=0.0, planned=0.0)[0].whose > 0).any()


def test_a_plan_is_learned_after_the_words_and_the_size(scenes: dict[str, CodedScenes]) -> None:
    group = one(scenes, "posters")
    tokens = Examples(V, Mixture()).plan(group.scenes[0], group.digits[0], "short", Random(0))
    learned = (tokens.text_target[0] >= 0).nonzero().flatten().tolist()
    written = tokens.text_target[0, learned].tolist()
    assert written[-1] == V["</plan>"]
    assert decode_plan(written[:-1], V) == snapped(plan_of(group.scenes[0].spec))
    assert tokens.ids[0, learned[0]] == V["<plan>"]


def test_the_window_over_the_shards_moves_on_and_forgets() -> None:
    made = []
    group = coded("posters").at(0)[0]

    def load(index: int) -> dict[str, CodedGroup]:
        made.append(index)
        return {"1:1": group}

    scenes = CodedScenes(load=load, window=Window(shards=2, pools=3), first=5)
    for number in range(7):
        assert len(scenes.rows(number, "test", 4)) == 4
    assert made == [5, 6, 7, 8]
    assert set(scenes.groups) == {7, 8}


def test_cells_under_text_weigh_more(scenes: dict[str, CodedScenes]) -> None:
    tokens, group = drawn(scenes, drop_text=0.0, orders=(("raster", 1.0),), text_weight=3.0)
    cover = group.text[0].unflatten(0, (-1, 2)).unflatten(2, (-1, 2)).amax((1, 3)).flatten() / 255
    torch.testing.assert_close(tokens.cell_weight[0, -cover.numel() :], 1 + 2 * cover)


def test_positions_of_things_weigh_more(scenes: dict[str, CodedScenes]) -> None:
    tokens, group = drawn(scenes, drop_text=0.0, orders=(("raster", 1.0),), text_weight=1.0, thing_weight=3.0)
    rows, columns = (length // 2 for length in group.digits.shape[1:3])
    boxes = [thing["box"] for thing in group.scenes[0].spec["objects"]]
    held = torch.stack([touched_cells(box, rows, columns) for box in boxes]).any(0)
    assert 0 < int(held.sum()) < len(held)
    torch.testing.assert_close(tokens.cell_weight[0, -len(held) :], 1 + 2 * held.float())


def test_a_batch_holds_the_shares_of_its_mixture(scenes: dict[str, CodedScenes]) -> None:
    asked: dict[str, int] = {}

    class Counted(CodedScenes):
        def rows(self, number: int, purpose: str, count: int) -> list[tuple[CodedGroup, int]]:
            asked[purpose] = count
            return super().rows(number, purpose, count)

    counted = {kind: Counted(load=each.load, window=each.window) for kind, each in scenes.items()}
    mixture = Mixture(tasks=(("draw", 1.0),), styles=(("short", 1.0),), tabletop=0.2, subjects=0.5)
    Batches(scenes=dict(counted), examples=Examples(V, mixture), size=5, flops=(1, 1)).draw_pool(0)
    assert asked == {"tabletop": 4, "subjects": 10, "house": 6}


def test_a_caption_learns_its_words_and_no_cell(scenes: dict[str, CodedScenes]) -> None:
    group = one(scenes, "posters")
    tokens = Examples(V, Mixture()).caption(group.scenes[0], group.digits[0], "short", Random(0))
    assert not tokens.cell_weight.any()
    assert tokens.text_target[0, -2] == V["<eos>"]
    assert torch.equal(tokens.digits[0, tokens.is_cell[0]], pack(group.digits[0]).flatten(0, 1))


def test_half_of_the_edits_keep_what_lies_outside_the_change(scenes: dict[str, CodedScenes]) -> None:
    group, examples = one(scenes, "edits"), Examples(V, Mixture(drop_text=0.0))
    positions = group.digits[0].shape[0] * group.digits[0].shape[1] // 4
    changed = int(touched_cells(group.notes[0]["box"], group.digits.shape[1] // 2, group.digits.shape[2] // 2).sum())
    asked = [
        int((examples.from_source("edit", group, 0, "short", Random(seed)).cell_weight > 0).sum()) for seed in range(20)
    ]
    assert set(asked) == {changed, positions}
    assert 4 <= asked.count(changed) <= 16


@pytest.mark.parametrize(("kind", "task"), [("edits", "edit"), ("reference", "reference"), ("control", "control")])
def test_a_source_picture_stands_before_the_one_to_draw(scenes: dict[str, CodedScenes], kind: str, task: str) -> None:
    group = one(scenes, kind)
    tokens = Examples(V, Mixture(drop_text=0.0)).from_source(task, group, 0, "short", Random(1))
    role = Role[group.notes[0]["role"]]
    source = tokens.digits[0, tokens.is_cell[0] & (tokens.role[0] == role)]
    assert torch.equal(source, pack(group.source[0]).flatten(0, 1))
    assert tokens.ids[0, 1] == V[f"<{task}>"]


@pytest.mark.parametrize("kind", ["raster", "wavefront", "spread", "hole"])
def test_every_order_visits_every_position_and_a_hole_keeps_the_rest(kind: str) -> None:
    for seed in range(5):
        order, kept = draw_order(kind, 6, 9, Random(seed))
        assert order.sort().values.tolist() == list(range(54))
        assert (kept > 0) == (kind == "hole") or kept < 54
        assert kept <= (50 if kind == "hole" else 0)


def test_a_hole_is_a_rectangle_of_at_least_two_by_two() -> None:
    for seed in range(20):
        hole = random_hole(6, 9, Random(seed)).view(6, 9)
        rows, columns = hole.any(1), hole.any(0)
        assert int(hole.sum()) == int(rows.sum()) * int(columns.sum())
        assert min(int(rows.sum()), int(columns.sum())) >= 2


def test_spread_orders_are_many_and_each_is_made_once() -> None:
    assert spread_order(6, 9, 1) is spread_order(6, 9, 1)
    assert not torch.equal(spread_order(6, 9, 0), spread_order(6, 9, SPREADS - 1))


def test_a_box_touches_the_positions_it_overlaps() -> None:
    touched = touched_cells([0.25, 0.0, 0.5, 0.26], 4, 4).view(4, 4)
    assert touched.nonzero().tolist() == [[0, 1], [1, 1]]
    assert touched_cells([0.0, 0.0, 1.0, 1.0], 6, 9).all()
