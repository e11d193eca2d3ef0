"""The reader: every position speaks for itself and sees the others, and it learns what pictures show."""

import torch
from tiny import LEVELS, reader_model
from torch import Tensor

from polarlight.models.image_grammar import IGNORE
from polarlight.models.reader import Shown, reader_loss


def cells(count: int, rows: int = 4, columns: int = 6) -> Tensor:
    return (torch.rand(count, rows, columns, len(LEVELS)) * torch.tensor(LEVELS)).to(torch.uint8)


def test_a_picture_is_read_the_same_in_any_company() -> None:
    torch.manual_seed(1)
    model, digits = reader_model(), cells(3)
    together = model(digits)
    assert [part.shape[-1] for part in together] == list(model.config.outputs)
    for number in range(3):
        for one, all_of in zip(model(digits[number : number + 1]), together, strict=True):
            assert torch.allclose(one[0], all_of[number], atol=1e-5)


def test_a_position_sees_the_rest_of_the_picture_and_where_it_stands() -> None:
    torch.manual_seed(2)
    model, digits = reader_model(), torch.zeros(1, 4, 6, len(LEVELS), dtype=torch.uint8)
    plain = model(digits).names
    assert not torch.allclose(plain[0, 0], plain[0, 5])  # the same codes, another place
    digits[0, 3, 5] = 1
    assert not torch.allclose(model(digits).names[0, 0], plain[0, 0])


def test_it_learns_to_name_what_it_sees() -> None:
    torch.manual_seed(3)
    model = reader_model().train()
    digits = torch.stack([torch.zeros(4, 4, 2), torch.tensor(LEVELS).expand(4, 4, 2) - 1.0]).to(torch.uint8)
    shown = Shown(
        names=torch.tensor([[0] * 4, [1] * 3 + [IGNORE]]),
        colours=torch.tensor([[0] * 4, [IGNORE] * 4]),
        materials=torch.tensor([[IGNORE] * 4, [1] * 4]),
        centres=torch.tensor([[True, False, False, False], [False] * 4]),
        letters=torch.tensor([[[True, False]] * 4, [[False, False]] * 4]),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(80):
        loss, parts = reader_loss(model(digits), shown)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    seen = model(digits)
    assert parts["named"] == 1
    assert seen.names.argmax(-1).tolist() == [[0] * 4, [1] * 4]
    assert (seen.centres[..., 0] > 0).tolist() == shown.centres.tolist()
    assert ((seen.letters > 0) == shown.letters).all()
    assert (seen.materials[1].argmax(-1) == 1).all()


def test_a_batch_in_which_nothing_is_to_be_named_has_a_finite_loss() -> None:
    model, none = reader_model(), torch.full((1, 6), IGNORE)
    shown = Shown(
        names=none, colours=none, materials=none, centres=torch.zeros(1, 6, dtype=torch.bool),
        letters=torch.zeros(1, 6, 2, dtype=torch.bool),
    )  # fmt: skip
    loss, _ = reader_loss(model(cells(1)), shown)
    assert torch.isfinite(loss)
