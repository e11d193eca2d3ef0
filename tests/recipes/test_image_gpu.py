"""Sequences built for a whole batch at once, against the writer of single ones."""

import pytest
import torch
from tiny import LEVELS, codes, image_model
from tiny import visual_tokenizer as tiny_tokenizer

from polarlight.models.image_ar import image_loss
from polarlight.models.image_grammar import (
    FIRST_REGION,
    Picture,
    Role,
    Text,
    Tokens,
    collate,
    pack,
    region_map,
    region_words,
    write,
)
from polarlight.ops.orders import kept_first
from polarlight.recipes.image_examples import Mixture
from polarlight.recipes.image_gpu import Regions, Sequences, StreamBatches, holes, orders_of, shape_of
from polarlight.recipes.scene_stream import CHUNK, Chunk, Pool, chunks, encode
from polarlight.text.plan import Plan, PlanObject, PlanText
from polarlight.text.vocabulary import Vocabulary

V = Vocabulary.shipped()


PLANS = [
    Plan(objects=(PlanObject(name="cat", colour="red", box=(0.0, 0.25, 0.5, 1.0)),)),
    Plan(),
    Plan(
        objects=(PlanObject(name="ice cream", material="glass", box=(0.5, 0.25, 0.75, 0.5)),),
        texts=(PlanText(text="NO\n가 W", box=(0.0, 0.0, 0.5, 0.25)),),
    ),
    Plan(texts=(PlanText(text="A", kind="label", colour="white", box=(0.25, 0.5, 0.5, 0.75)),)),
    Plan(),
]


def same(got: Tokens, truth: Tokens) -> None:
    """Equal wherever the truth has a token; `got` may have more padding, also between parts."""
    assert torch.equal(got.valid.sum(1), truth.valid.sum(1))
    for name, value in vars(truth).items():
        for row in range(len(truth.valid)):
            seen, wanted = getattr(got, name)[row][got.valid[row]], value[row][truth.valid[row]]
            torch.testing.assert_close(seen, wanted, msg=lambda text, name=name: f"{name}: {text}")


def padded(rows: list[list[int]], length: int) -> torch.Tensor:
    return torch.tensor([[*row, *[0] * (length - len(row))] for row in rows])


@pytest.mark.parametrize("edit", [False, True])
def test_a_batch_equals_its_sequences_written_one_by_one(edit: bool) -> None:
    model, rows, columns = image_model(), 3, 4
    digits = torch.stack([codes(rows, columns, model) for _ in range(5)])
    source = torch.stack([codes(rows, columns, model) for _ in range(5)])
    sentences = ["a red cat", "", "two dogs under a sign that says 'OPEN'", "a tree", "three blue cars"]
    ids = [V.encode(sentence) for sentence in sentences]
    orders = orders_of(rows, columns, "cpu")[[0, 2, 3, 1, 0]]
    kept = torch.rand(5, rows * columns) < 0.3
    wanted = []
    for n in range(5):
        order, weight = kept_first(orders[n], kept[n]), torch.rand(rows, columns) + 0.5
        parts = [Text(ids=[V["<bos>"], V["<edit>" if edit else "<draw>"], *ids[n]])]
        parts += [Picture(digits=source[n], role=Role.SOURCE)] if edit else []
        target = Picture(digits=digits[n], order=order, kept=int(kept[n].sum()), weight=weight, plan=PLANS[n])
        wanted.append(((order, weight), [*parts, target]))
    truth = collate([write(parts, V) for _, parts in wanted], multiple=1)
    said, whose, lies = (torch.zeros(5, 20, dtype=torch.int16) for _ in range(3))
    for row, plan in enumerate(PLANS):
        each = [V.encode(words) for words in region_words(plan)]
        about = [(token, number, n) for number, ids in enumerate(each, FIRST_REGION) for n, token in enumerate(ids)]
        for tensor, values in zip((said, whose, lies), zip(*about, strict=True), strict=False):
            tensor[row, : len(about)] = torch.tensor(values)
    sees = torch.stack([region_map(plan, rows, columns) for plan in PLANS])
    regions = Regions(words=said, whose=whose, lies=lies, sees=sees)
    order = torch.stack([order for (order, _), _ in wanted])
    weight = torch.stack([(weight.flatten() * ~kept[n])[order[n]] for n, ((_, weight), _) in enumerate(wanted)])
    build = Sequences(vocabulary=V, rows=rows, columns=columns, task="edit" if edit else "draw")
    words, lengths = padded(ids, 24), torch.tensor([len(one) for one in ids])
    sources = source.flatten(1, 2) if edit else None
    same(build(words, lengths, digits.flatten(1, 2), order, weight, sources, regions), truth)


def test_a_hole_is_a_rectangle_of_two_or_more() -> None:
    for hole in holes(50, 6, 9, torch.Generator().manual_seed(1)).view(-1, 6, 9):
        high, wide = hole.any(1), hole.any(0)
        assert hole.sum() == high.sum() * wide.sum() >= 4
        assert torch.equal(hole, high[:, None] & wide)


class OnePool:
    """A stream of what was made before, on the CPU."""

    device = "cpu"

    def __init__(self, pools: dict[tuple[str, str], Pool]) -> None:
        self.pools = pools

    def of(self, kind: str) -> dict[str, Pool]:
        return {aspect: pool for (name, aspect), pool in self.pools.items() if name == kind}


@pytest.mark.parametrize("kind", ["house", "edits"])
def test_what_workers_render_trains_the_model(kind: str) -> None:
    made = encode(tiny_tokenizer(), next(chunks(kind, 0, 1, Mixture())), "cpu", torch.float32)
    rows, columns = shape_of(made.aspect)
    assert made.arrays["digits"].shape == (CHUNK, rows * columns, 4 * len(LEVELS))
    pool = Pool(capacity=2 * CHUNK, device="cpu")
    pool.add(made.arrays)
    pool.add(made.arrays)
    pool.add(made.arrays)
    assert (pool.filled, pool.written) == (2 * CHUNK, 3 * CHUNK)
    model = image_model().train()
    batches = StreamBatches(OnePool({(kind, made.aspect): pool}), V, Mixture(), 12, model.active_parameters())
    tasks = set()
    for seed in range(3):
        tokens = batches.sequences(kind, made.aspect, pool, torch.Generator().manual_seed(seed))
        task = V.tokens[int(tokens.ids[0][tokens.valid[0]][1])]
        assert (tokens.ids == V[task]).any(1).all()
        if task in tasks:
            continue
        tasks.add(task)
        loss, metrics = image_loss(model, tokens, torch.float32)
        loss.backward()
        assert torch.isfinite(loss)
        assert metrics["digit_nats"] > 0
        assert (tokens.whose >= FIRST_REGION).any() == (task == "<draw>")
    assert tasks == ({"<edit>"} if kind == "edits" else {"<draw>"})


def test_packing_agrees_with_the_grammars() -> None:
    model = tiny_tokenizer()
    pixels = (torch.rand(2, 48, 32, 3) * 255).to(torch.uint8)
    packed = encode(model, Chunk(kind="posters", aspect="1:1", arrays={"pixels": pixels.numpy()}), "cpu", torch.float32)
    truth = pack(model.encode(pixels)).flatten(1, 2)
    assert torch.equal(torch.from_numpy(packed.arrays["digits"]), truth)
