import numpy as np
import pytest
import torch

from polarlight.base.errors import UserError
from polarlight.evals.judge import TEXT, Judge, to_family
from polarlight.models.detector import Detector, DetectorConfig
from polarlight.models.weights import export
from polarlight.worlds.scene import ASPECTS, picture_size

CONFIG = {
    "classes": ("cat", "dog"),
    "colours": ("red", "blue"),
    "materials": ("glass",),
    "fine_channels": 8,
    "coarse_channels": 16,
    "fine_blocks": 1,
    "coarse_blocks": 1,
}


def judge(threshold: float = 0.0) -> Judge:
    torch.manual_seed(0)
    return Judge(Detector(DetectorConfig(**CONFIG)), threshold)


def picture(height: int = 128, width: int = 128, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_detections_have_names_scores_and_boxes_in_fractions():
    (seen,) = judge().detect(torch.from_numpy(picture())[None])
    assert {"cat", "text"} <= {thing.name for thing in seen} <= {"cat", "dog", "text"}
    for thing in seen:
        assert thing.colour in ((None,) if thing.name == TEXT else CONFIG["colours"])
        assert 0 <= thing.box[0] <= thing.box[2] <= 1
        assert 0 <= thing.score <= 1


def test_the_surest_detection_comes_first():
    (seen,) = judge().detect(torch.from_numpy(picture())[None])
    scores = [thing.score for thing in seen if thing.name != TEXT]
    assert scores == sorted(scores, reverse=True)


def test_detections_below_the_threshold_are_left_out():
    assert judge(threshold=0.99).detect(torch.from_numpy(picture())[None]) == [[]]


def test_pictures_of_mixed_shapes_keep_their_order():
    pictures = [picture(96, 144, 1), picture(128, 128, 2), picture(96, 144, 3)]
    together = judge().detect_all(pictures)
    for seen, one in zip(together, pictures, strict=True):
        (alone,) = judge().detect_all([one])
        assert seen[0].box == pytest.approx(alone[0].box, abs=0.02)


def test_no_pictures_give_no_detections():
    assert judge().detect_all([]) == []


@pytest.mark.parametrize("aspect", ASPECTS)
def test_larger_pictures_are_seen_at_the_128_px_size_of_their_aspect(aspect):
    height, width = picture_size(aspect, 256)
    values = to_family(torch.full((1, height, width, 3), 255, dtype=torch.uint8))
    assert tuple(values.shape[2:]) == picture_size(aspect)
    torch.testing.assert_close(values, torch.ones_like(values))


def test_exported_weights_judge_alike(tmp_path):
    one, path = judge(), tmp_path / "judge.safetensors"
    export(one.detector, path, {"config": CONFIG})
    again = Judge.load(path)
    pixels = torch.from_numpy(picture())[None]
    centre = [one.detector(to_family(pixels)).centre for one in (one, again)]
    assert again.detector.config == one.detector.config
    torch.testing.assert_close(centre[1], centre[0], rtol=0.05, atol=0.05)  # int8 weights


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(UserError, match=r"judge\.json"):
        Judge.load(tmp_path / "judge.safetensors")
