"""How text and pictures line up in one sequence."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polarlight.models.image_grammar import (
    EVERYBODYS,
    FIRST_REGION,
    GAP,
    IGNORE,
    PROMPTS,
    REGIONS,
    Picture,
    Role,
    Text,
    Tokens,
    blank,
    collate,
    frame,
    pack,
    region_map,
    region_words,
    unpack,
    write,
)
from polarlight.text.plan import Plan, PlanObject, PlanText
from polarlight.text.vocabulary import Vocabulary

ROWS, COLUMNS, DIGITS = 3, 4, 5
V = Vocabulary.shipped()
WORDS = [V["<bos>"], V["<draw>"], *V.encode("a red cat")]


def codes() -> torch.Tensor:
    return torch.randint(0, 256, (ROWS, COLUMNS, DIGITS), dtype=torch.uint8)


def drawn(digits: torch.Tensor, order: torch.Tensor, kept: int = 0, weight: torch.Tensor | None = None) -> Tokens:
    return write([Text(ids=WORDS), Picture(digits=digits, order=order, kept=kept, weight=weight)], V)


def cell(place: torch.Tensor) -> tuple[int, int]:
    """(row, column) of a centred place."""
    return round(float(place[0] + ROWS / 2 - 0.5)), round(float(place[1] + COLUMNS / 2 - 0.5))


def test_a_drawing_is_words_then_size_then_all_cells_but_the_last() -> None:
    tokens = drawn(codes(), torch.randperm(ROWS * COLUMNS))
    assert tokens.ids[0, : len(WORDS) + 3].tolist() == [*WORDS, V["<h:3>"], V["<w:4>"], V["<img>"]]
    assert tokens.is_cell[0].tolist() == [False] * (len(WORDS) + 3) + [True] * (ROWS * COLUMNS - 1)
    assert tokens.valid.all()


def test_every_target_is_the_code_of_the_position_that_is_asked_for() -> None:
    digits, order = codes(), torch.randperm(ROWS * COLUMNS)
    tokens = drawn(digits, order)
    asking = (tokens.cell_weight[0] > 0).nonzero().flatten().tolist()
    places = [cell(tokens.asked[0, i]) for i in asking]
    assert [row * COLUMNS + column for row, column in places] == order.tolist()
    assert all(torch.equal(tokens.cell_target[0, i], digits[place]) for i, place in zip(asking, places, strict=True))
    assert tokens.ids[0, asking[0]] == V["<img>"]


def test_a_cell_holds_the_code_of_the_place_it_lies_in_and_asks_where_the_next_lies() -> None:
    digits, order = codes(), torch.randperm(ROWS * COLUMNS)
    tokens = drawn(digits, order)
    cells = tokens.is_cell[0].nonzero().flatten().tolist()
    assert all(torch.equal(tokens.digits[0, i], digits[cell(tokens.own[0, i])]) for i in cells)
    assert torch.equal(tokens.asks[0, cells[0] - 1 : -1], tokens.lies[0, cells[0] :])


def test_kept_positions_carry_no_loss() -> None:
    order = torch.randperm(ROWS * COLUMNS)
    tokens = drawn(codes(), order, kept=5)
    asking = (tokens.cell_weight[0] > 0).nonzero().flatten()
    assert [row * COLUMNS + column for row, column in map(cell, tokens.asked[0, asking])] == order[5:].tolist()


def test_weights_follow_their_position() -> None:
    weight = torch.arange(1.0, ROWS * COLUMNS + 1).view(ROWS, COLUMNS)
    order = torch.randperm(ROWS * COLUMNS)
    assert (drawn(codes(), order, weight=weight).cell_weight[0, -len(order) :] - 1).tolist() == order.tolist()


PLAN = Plan(
    objects=(
        PlanObject(name="ice cream", colour="orange", box=(0.0, 0.0, 0.5, 1.0)),
        PlanObject(name="mug", material="glass", box=(0.26, 0.34, 0.49, 0.65)),
    ),
    texts=(
        PlanText(text="A\nB", kind="label", box=(0.3, 0.4, 0.4, 0.6)),
        PlanText(text="OUT", box=(0.75, 0.0, 1.0, 0.3)),
    ),
)


def test_a_region_says_what_its_thing_is_and_what_is_written_on_it() -> None:
    assert region_words(PLAN) == ["an orange ice cream with 'A B' on the label", "a glass mug with 'A B' on the label"]
    crowd = Plan(objects=(PlanObject(name="cat", box=(0.0, 0.0, 0.1, 0.1)),) * (REGIONS + 2))
    assert len(region_words(crowd)) == REGIONS


def test_a_position_is_of_the_smallest_things_region() -> None:
    a, b, text = FIRST_REGION, FIRST_REGION + 1, PROMPTS
    assert region_map(PLAN, ROWS, COLUMNS).view(ROWS, COLUMNS).tolist() == [
        [a, a, text, text],
        [a, b, text, text],
        [a, a, text, text],
    ]
    tiny = Plan(objects=(PlanObject(name="ant", box=(0.99, 0.99, 1.0, 1.0)),))
    assert region_map(tiny, ROWS, COLUMNS).tolist() == [text] * 11 + [a]
    assert region_map(Plan(), ROWS, COLUMNS).tolist() == [text] * 12


def test_regions_stand_between_the_text_and_the_picture_and_lie_where_the_text_lies() -> None:
    order = torch.randperm(ROWS * COLUMNS)
    tokens = write([Text(ids=WORDS), Picture(digits=codes(), order=order, plan=PLAN)], V)
    said = [V.encode(words) for words in region_words(PLAN)]
    whose = [EVERYBODYS] * 2 + [PROMPTS] * (len(WORDS) - 2) + [FIRST_REGION] * len(said[0])
    whose += [FIRST_REGION + 1] * len(said[1]) + [EVERYBODYS] * (3 + 11)
    assert tokens.whose[0].tolist() == whose
    assert tokens.ids[0, len(WORDS) : -14].tolist() == said[0] + said[1]
    second = tokens.whose[0] == FIRST_REGION + 1
    assert tokens.lies[0, second, 0].tolist() == list(range(2, 2 + len(said[1])))
    assert tokens.sees[0, second].unique().tolist() == [FIRST_REGION + 1]
    assert torch.equal(tokens.sees[0, -12:], region_map(PLAN, ROWS, COLUMNS)[order])
    plain = drawn(codes(), order)
    assert torch.equal(tokens.lies[0, -14:], plain.lies[0, -14:])


def test_a_context_picture_runs_row_by_row_and_carries_no_loss() -> None:
    digits = codes()
    tokens = write([Text(ids=WORDS), Picture(digits=digits, role=Role.SOURCE), Text(ids=WORDS)], V)
    cells = tokens.is_cell[0]
    assert torch.equal(tokens.digits[0, cells], digits.flatten(0, 1))
    assert tokens.role[0, cells].unique().tolist() == [Role.SOURCE]
    assert not tokens.cell_weight.any()
    assert (tokens.text_target == IGNORE).all()
    assert tokens.ids[0, cells.nonzero().max() + 1] == V["</img>"]


def test_an_edit_is_words_then_the_source_then_the_picture_to_draw() -> None:
    source, target, order = codes(), codes(), torch.randperm(ROWS * COLUMNS)
    tokens = write([Text(ids=WORDS), Picture(digits=source, role=Role.SOURCE), Picture(digits=target, order=order)], V)
    roles = tokens.role[0, tokens.is_cell[0]].tolist()
    assert roles == [Role.SOURCE] * 12 + [Role.TARGET] * 11
    assert int((tokens.cell_weight > 0).sum()) == 12
    first, second = (tokens.ids[0] == V["<img>"]).nonzero().flatten().tolist()
    assert not tokens.asked[0, first].any()
    assert torch.equal(tokens.cell_target[0, second], target.flatten(0, 1)[order[0]])


def test_both_pictures_of_an_edit_have_the_same_places_in_frames_of_their_own() -> None:
    source = Picture(digits=codes(), role=Role.SOURCE)
    order = torch.arange(ROWS * COLUMNS)
    tokens = write([Text(ids=WORDS), source, Picture(digits=codes(), order=order)], V)
    context, target = (tokens.is_cell[0] & (tokens.role[0] == role) for role in (Role.SOURCE, Role.TARGET))
    assert torch.equal(tokens.own[0, context][:-1], tokens.own[0, target])
    between = tokens.lies[0, target] - tokens.lies[0, context][:-1]
    assert torch.equal(between, between[:1].expand_as(between))
    assert (between[0] > 2 * GAP).all()


def test_learned_text_is_asked_for_by_the_token_before_it() -> None:
    words = V.encode("a blue dog")
    tokens = write([Text(ids=WORDS), Text(ids=words, learn=True)], V)
    assert tokens.text_target[0].tolist() == [IGNORE] * (len(WORDS) - 1) + words + [IGNORE]


def test_text_lies_on_the_diagonal() -> None:
    tokens = write([Text(ids=WORDS)], V)
    assert torch.equal(tokens.lies[0, :, 0], torch.arange(float(len(WORDS))))
    assert torch.equal(tokens.lies[..., 0], tokens.lies[..., 1])


def test_a_batch_is_padded_on_the_left_to_lengths_that_recur() -> None:
    short, long = drawn(codes(), torch.randperm(12)), write([Text(ids=WORDS * 4)], V)
    long.digits = long.digits.new_zeros(1, long.ids.shape[1], DIGITS)
    long.cell_target = torch.zeros_like(long.digits)
    batch = collate([short, long], multiple=16)
    assert batch.ids.shape[1] % 16 == 0
    for row, one in enumerate((short, long)):
        length = one.ids.shape[1]
        assert batch.valid[row].tolist() == [False] * (batch.ids.shape[1] - length) + [True] * length
        assert torch.equal(batch.ids[row, -length:], one.ids[0])
        assert torch.equal(batch.cell_weight[row, -length:], one.cell_weight[0])
    assert not batch.cell_weight[~batch.valid].any()
    assert (batch.text_target[~batch.valid] == IGNORE).all()


def test_rows_and_columns_cut_every_field() -> None:
    tokens = blank(4, 6, DIGITS)
    assert {value.shape[:2] for value in vars(tokens.rows(slice(1, 3)).columns(slice(2, 6))).values()} == {(2, 4)}


def test_a_frame_is_centred_and_its_shares_reach_half() -> None:
    place = frame(ROWS, COLUMNS)
    torch.testing.assert_close(place.mean(0), torch.zeros(4))
    assert place[0].tolist() == pytest.approx([-1, -1.5, -1 / 3, -3 / 8])


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.booleans())
def test_unpacking_undoes_packing(rows: int, columns: int, side: int, depth: int, batched: bool) -> None:
    shape = (rows * side, columns * side, depth)
    digits = torch.arange(shape[0] * shape[1] * depth).view(shape).to(torch.uint8)
    digits = digits.expand(2, *shape) if batched else digits
    packed = pack(digits, side)
    assert packed.shape[-3:] == (rows, columns, side * side * depth)
    assert torch.equal(unpack(packed, side), digits)


def test_a_position_holds_its_cells_row_by_row() -> None:
    digits = torch.arange(4 * 4, dtype=torch.uint8).view(4, 4, 1)
    assert pack(digits)[0, 1].tolist() == [2, 3, 6, 7]
