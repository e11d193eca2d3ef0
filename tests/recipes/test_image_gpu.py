"""Sequences built for a whole batch at once, against the writer of single ones."""

import pytest
import torch
from tiny import LEVELS, codes, image_model
from tiny import visual_tokenizer as tiny_tokenizer

from polarlight.models.image_ar import image_loss
from polarlight.models.image_grammar import Picture, Role, Text, collate, pack, write
from polarlight.ops.orders import kept_first
from polarlight.recipes.image_examples import Mixture
from polarlight.recipes.image_gpu import Sequences, StreamBatches, holes, orders_of, shape_of
from polarlight.recipes.scene_stream import CHUNK, Chunk, Pool, chunks, encode
from polarlight.text.vocabulary import Vocabulary

V = Vocabulary.shipped()


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
        wanted.append(
            ((order, weight), [*parts, Picture(digits=digits[n], order=order, kept=int(kept[n].sum()), weight=weight)])
        )
    truth = collate([write(parts, V) for _, parts in wanted], multiple=1)
    words, lengths = torch.zeros(5, 24, dtype=torch.long), torch.tensor([len(one) for one in ids])
    for row, one in zip(words, ids, strict=True):
        row[: len(one)] = torch.tensor(one)
    order = torch.stack([order for (order, _), _ in wanted])
    weight = torch.stack([(weight.flatten() * ~kept[n])[order[n]] for n, ((_, weight), _) in enumerate(wanted)])
    build = Sequences(vocabulary=V, rows=rows, columns=columns, task="edit" if edit else "draw")
    got = build(words, lengths, digits.flatten(1, 2), order, weight, source.flatten(1, 2) if edit else None)
    surplus = got.ids.shape[1] - truth.ids.shape[1]
    assert not got.valid[:, :surplus].any()
    for name, value in vars(truth).items():
        seen = getattr(got, name)[:, surplus:]
        seen = torch.where(truth.valid.view(*truth.valid.shape, *[1] * (seen.ndim - 2)), seen, value)
        torch.testing.assert_close(seen, value, msg=lambda text, name=name: f"{name}: {text}")


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


@pytest.mark.parametrize("kind", ["posters", "edits"])
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
    tokens = batches.sequences(kind, made.aspect, pool, torch.Generator().manual_seed(0))
    loss, metrics = image_loss(model, tokens, torch.float32)
    loss.backward()
    assert torch.isfinite(loss)
    assert metrics["digit_nats"] > 0
    text = "edit" if kind == "edits" else "draw"
    assert (tokens.ids == V[f"<{text}>"]).any(1).all()


def test_packing_agrees_with_the_grammars() -> None:
    model = tiny_tokenizer()
    pixels = (torch.rand(2, 48, 32, 3) * 255).to(torch.uint8)
    packed = encode(model, Chunk(kind="posters", aspect="1:1", arrays={"pixels": pixels.numpy()}), "cpu", torch.float32)
    truth = pack(model.encode(pixels)).flatten(1, 2)
    assert torch.equal(torch.from_numpy(packed.arrays["digits"]), truth)
