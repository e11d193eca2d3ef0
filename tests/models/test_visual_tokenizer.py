"""The visual tokenizer: sizes, dtypes, locality and cost."""

import pytest
import torch
from tiny import visual_tokenizer

from polarlight.models.visual_tokenizer import to_signed, to_uint8
from polarlight.worlds.scene import ASPECTS, picture_size


def photo(height: int, width: int, count: int = 1) -> torch.Tensor:
    return (torch.rand(count, height, width, 3) * 256).to(torch.uint8)


@pytest.mark.parametrize("aspect", ASPECTS)
def test_every_aspect_comes_back_at_its_size(aspect: str) -> None:
    tokenizer, (height, width) = visual_tokenizer(), picture_size(aspect)
    digits = tokenizer.encode(photo(height, width, 2))
    assert digits.shape == (2, height // 8, width // 8, 2)
    assert (digits < torch.tensor(tokenizer.config.levels)).all()
    assert tokenizer.decode(digits).shape == (2, height, width, 3)


def test_a_factor_of_16_has_a_quarter_of_the_cells() -> None:
    tokenizer = visual_tokenizer(spatial_factor=16)
    digits = tokenizer.encode(photo(64, 96))
    assert digits.shape == (1, 4, 6, 2)
    assert tokenizer.decode(digits).shape == (1, 64, 96, 3)
    assert tokenizer(to_signed(photo(64, 96))).pixels.shape == (1, 3, 64, 96)


def test_a_continuous_latent_is_not_quantised() -> None:
    tokenizer, pixels = visual_tokenizer(levels=(), latent_channels=5), to_signed(photo(32, 48))
    out = tokenizer(pixels)
    assert (tokenizer.config.channels, tokenizer.config.bits) == (5, 0)
    assert torch.equal(out.latents, tokenizer.encoder(pixels))
    assert out.pixels.shape == (1, 3, 32, 48)


@pytest.mark.parametrize("levels", [(3, 4), ()])
def test_every_parameter_of_encoder_and_decoder_learns(levels: tuple[int, ...]) -> None:
    tokenizer = visual_tokenizer(levels=levels)
    tokenizer(to_signed(photo(32, 32))).pixels.square().mean().backward()
    assert all(p.grad is not None and p.grad.any() for p in tokenizer.parameters())


def test_encoding_and_decoding_give_the_training_pass_picture() -> None:
    tokenizer, pixels = visual_tokenizer(), photo(32, 48)
    trained = to_uint8(tokenizer(to_signed(pixels)).pixels.detach())
    assert torch.equal(tokenizer.decode(tokenizer.encode(pixels)), trained)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pixels_and_digits_are_bytes_whatever_the_arithmetic(dtype: torch.dtype) -> None:
    tokenizer = visual_tokenizer()
    digits = tokenizer.encode(photo(32, 32), dtype)
    assert digits.dtype == tokenizer.decode(digits, dtype).dtype == torch.uint8


def test_bf16_agrees_with_fp32_on_most_digits() -> None:
    tokenizer, pixels = visual_tokenizer(), photo(64, 64)
    same = tokenizer.encode(pixels) == tokenizer.encode(pixels, torch.bfloat16)
    assert same.float().mean() > 0.9  # a digit flips only where the latent lies within rounding of a bin's edge


def test_cells_away_from_a_crops_border_have_the_codes_of_the_whole_picture() -> None:
    tokenizer, pixels = visual_tokenizer(), photo(128, 128)
    whole, crop = tokenizer.encode(pixels), tokenizer.encode(pixels[:, 16:120, 24:].contiguous())
    reach = 4  # cells: 3 px at a quarter of the size and 2 at an eighth
    assert torch.equal(whole[:, 2 + reach : 15 - reach, 3 + reach :], crop[:, reach:-reach, reach:])


def test_a_cell_shows_only_in_pixels_near_it() -> None:
    tokenizer = visual_tokenizer()
    digits = tokenizer.encode(photo(128, 128))
    changed = digits.clone()
    changed[0, 0, 0] = 2 - changed[0, 0, 0]
    differs = (tokenizer.decode(digits) != tokenizer.decode(changed)).any(-1)[0]
    assert differs[:8, :8].any()
    assert not differs[80:].any()
    assert not differs[:, 80:].any()


def test_a_picture_does_not_depend_on_the_rest_of_the_batch() -> None:
    tokenizer, pixels = visual_tokenizer(), photo(32, 32, 3)
    assert torch.equal(tokenizer.encode(pixels)[1], tokenizer.encode(pixels[1:2])[0])


def test_pixels_survive_the_way_to_signed_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8).view(1, 16, 16, 1).expand(-1, -1, -1, 3).contiguous()
    assert torch.equal(to_uint8(to_signed(every)), every)
    assert to_uint8(torch.tensor([-9.0, 9.0, 0.0]).view(1, 3, 1, 1)).flatten().tolist() == [0, 255, 128]


def test_the_cost_scales_with_pictures_and_area() -> None:
    tokenizer = visual_tokenizer()
    one, larger, more = tokenizer.cost(1, 64, 64), tokenizer.cost(1, 128, 64), tokenizer.cost(3, 64, 64)
    assert one.flops > 0
    assert larger.flops == 2 * one.flops
    assert more.flops == 3 * one.flops
    assert one.weight_bytes == more.weight_bytes == 4 * sum(p.numel() for p in tokenizer.parameters())
