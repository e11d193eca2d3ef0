"""The upscaler's network and its loss."""

import pytest
import torch
from tiny import upscaler_model

from polarlight.models.upscaler import UpscalerConfig, UpscalerModel, bilinear, psnr, upscaler_loss


def pictures(height: int = 12, width: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    large = torch.rand(3, 3, 2 * height, 2 * width) * 2 - 1
    return torch.nn.functional.avg_pool2d(large, 2), large


def test_a_new_model_enlarges_bilinearly() -> None:
    small, _ = pictures()
    assert torch.equal(UpscalerModel(UpscalerConfig(channels=8, blocks=1))(small), bilinear(small))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_gives_twice_the_size_in_fp32_whatever_it_counts_in(dtype: torch.dtype) -> None:
    model, (small, _) = upscaler_model(), pictures()
    made = model(small, dtype)
    assert (made.shape, made.dtype) == ((3, 3, 24, 32), torch.float32)
    torch.testing.assert_close(made, model(small), rtol=0, atol=0.02)


def test_the_shipped_size_has_a_quarter_of_a_million_parameters() -> None:
    model = UpscalerModel(UpscalerConfig())
    assert 250_000 < sum(p.numel() for p in model.parameters()) < 300_000
    cost = model.cost(2, 48, 48)
    assert cost.flops == pytest.approx(2 * 2 * 256_000 * 48 * 48, rel=0.02)
    assert cost.weight_bytes == 4 * sum(p.numel() for p in model.parameters())


def test_nothing_beyond_the_receptive_field_changes_a_pixel() -> None:
    model = upscaler_model()
    reach = model.config.receptive_field
    small = torch.zeros(1, 3, 5, 40)
    other = small.clone()
    other[..., 20:] = 1
    changed = (model(small) != model(other)).any(dim=(0, 1, 2)).nonzero().flatten()
    assert 2 * (20 - reach) <= int(changed.min()) < 2 * 20


def test_the_loss_reaches_every_parameter_and_tells_what_it_gained() -> None:
    model = upscaler_model()
    loss, metrics = upscaler_loss(model, *pictures(), torch.float32)
    loss.backward()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters())
    torch.testing.assert_close(metrics["gain"], metrics["psnr"] - metrics["bilinear_psnr"])


def test_a_new_model_gains_nothing_over_bilinear() -> None:
    _, metrics = upscaler_loss(UpscalerModel(UpscalerConfig(channels=8, blocks=1)), *pictures(), torch.float32)
    assert metrics["gain"] == 0


def test_equal_pictures_have_a_psnr_of_100_db() -> None:
    _, large = pictures()
    assert psnr(large, large) == 100
    torch.testing.assert_close(psnr(large, large + 0.02), torch.tensor(40.0), rtol=0, atol=1e-3)
