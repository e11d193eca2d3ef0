import pytest
import torch

from polarlight.evals.fidelity import by_cap_height, fidelity, psnr, ssim
from polarlight.evals.ocr import Reading, score_text
from polarlight.worlds.posters import Posters


def noise(count: int = 1, size: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)


def test_equal_pictures_have_the_highest_scores():
    pictures = noise(2)
    assert psnr(pictures, pictures).tolist() == [99, 99]
    torch.testing.assert_close(ssim(pictures, pictures), torch.ones(2))


def test_psnr_of_a_known_error():
    grey = torch.full((1, 8, 8, 3), 100, dtype=torch.uint8)
    torch.testing.assert_close(psnr(grey, grey + 10), torch.tensor([28.1308]), rtol=0, atol=1e-3)


def test_unrelated_pictures_have_no_structure_in_common():
    assert ssim(noise(), noise()).item() == pytest.approx(0, abs=0.1)


def test_ssim_forgives_brightness_more_than_blur():
    picture = noise(1, 64) // 2
    blurred = picture.float().permute(0, 3, 1, 2)
    blurred = torch.nn.functional.avg_pool2d(blurred, 3, stride=1, padding=1).permute(0, 2, 3, 1).to(torch.uint8)
    assert ssim(picture, picture + 20) > ssim(picture, blurred)


def test_texts_are_grouped_by_the_height_of_their_capitals():
    texts = [{"cap_px": height} for height in (10.5, 13.0, 30.0, 8.0)]
    scores = [score_text("AB", [Reading(text="AB", confidence=1)])] * 4
    groups = by_cap_height(texts, {"real": scores, "reconstructed": scores})
    assert {name: row["real"]["count"] for name, row in groups.items()} == {"10-12": 1, "12-14": 1, "18+": 1}


def test_a_tokenizer_that_loses_nothing_reads_as_well_as_the_renders():
    report = fidelity(lambda pixels: pixels, Posters(), 4)
    assert report["psnr"] == 99
    assert report["text"]["real"] == report["text"]["reconstructed"]
    assert report["text"]["real"]["cer"] < 0.5


def test_a_tokenizer_that_loses_everything_reads_nothing():
    report = fidelity(torch.zeros_like, Posters(), 4)
    assert report["psnr"] < 15
    assert report["text"]["reconstructed"]["cer"] > 0.8
