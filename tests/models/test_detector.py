import pytest
import torch

from polarlight.models.detector import (
    Detector,
    DetectorConfig,
    Prediction,
    Truth,
    box_iou,
    decode,
    detection_loss,
    encode_boxes,
    focal_loss,
    heat,
    normalise,
    suppress,
)

CONFIG = DetectorConfig(
    classes=("cat", "dog", "cow"),
    colours=("red", "blue"),
    materials=("glass",),
    fine_channels=8,
    coarse_channels=16,
    fine_blocks=1,
    coarse_blocks=1,
)


def tiny() -> Detector:
    torch.manual_seed(0)
    return Detector(CONFIG)


def truth_of(*things: tuple[list[float], int], texts: tuple[list[float], ...] = ()) -> Truth:
    """One picture's truth from (box, name) pairs and text boxes; colours are red, materials unknown."""
    count = len(things)
    return Truth(
        torch.tensor([[box for box, _ in things]]),
        torch.tensor([[name for _, name in things]]),
        torch.zeros(1, count, dtype=torch.long),
        torch.full((1, count), -1),
        torch.tensor([list(texts)]).reshape(1, len(texts), 4) if texts else torch.zeros(1, 1, 4),
    )


def perfect(truth: Truth, high: int, wide: int) -> Prediction:
    """The prediction that says exactly what `truth` says, at the centre cells."""
    scale = torch.tensor([wide, high])
    prediction = Prediction(
        torch.full((1, high, wide), -9.0),
        *(torch.zeros(1, channels, high, wide) for channels in (3, 4, 2, 1)),
        torch.full((1, high, wide), -9.0),
        torch.zeros(1, 4, high, wide),
    )
    for centre, code, boxes in (
        (prediction.centre, prediction.box, truth.boxes),
        (prediction.text, prediction.text_box, truth.texts),
    ):
        hottest, owner = heat(boxes, high, wide)
        for row, column in (hottest[0] > 0.999).nonzero().tolist():
            thing = owner[0, row, column]
            centre[0, row, column] = 9.0
            at = torch.tensor([row]), torch.tensor([column])
            code[0, :, row, column] = encode_boxes(boxes[0, thing][None], *at, scale)[0]
            if boxes is truth.boxes:
                prediction.name[0, truth.names[0, thing], row, column] = 20.0
                prediction.colour[0, truth.colours[0, thing], row, column] = 20.0
    return prediction


@pytest.mark.parametrize(("height", "width"), [(128, 128), (96, 176), (144, 96)])
def test_there_is_one_cell_for_every_8_pixels_of_any_aspect(height, width):
    prediction = tiny()(torch.zeros(2, 3, height, width))
    cells = (height // 8, width // 8)
    assert prediction.centre.shape == (2, *cells)
    assert [part.shape[1] for part in prediction if part.ndim == 4] == [3, 4, 2, 1, 4]
    assert all(part.shape[-2:] == cells for part in prediction)


def test_predictions_are_fp32_when_the_pictures_are_bf16():
    assert {part.dtype for part in tiny()(torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16))} == {torch.float32}


def test_a_picture_is_judged_alike_whatever_stands_beside_it():
    model, pictures = tiny(), torch.randn(3, 3, 64, 64)
    alone, together = model(pictures[1:2]), model(pictures)
    for one, many in zip(alone, together, strict=True):
        torch.testing.assert_close(one[0], many[1])


def test_pixels_become_minus_one_to_one():
    values = normalise(torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2, 1).expand(1, 1, 2, 3))
    assert values.shape == (1, 3, 1, 2)
    assert values[0, 0, 0].tolist() == [-1, 1]


def test_heat_is_one_at_a_centre_cell_and_falls_off():
    hottest, owner = heat(torch.tensor([[[0.25, 0.25, 0.5, 0.75], [0.7, 0.7, 0.9, 0.9]]]), 16, 16)
    assert hottest[0, 8, 6] == 1
    assert 0 < hottest[0, 8, 7] < 1
    assert hottest[0, 9, 6] > hottest[0, 8, 7]  # the box is taller than wide, and so is its bump
    assert owner[0, 8, 6] == 0
    assert owner[0, 12, 12] == 1


def test_padding_warms_no_cell():
    hottest, _ = heat(torch.zeros(1, 2, 4), 16, 16)
    assert hottest.max() == 0


def test_the_focal_loss_is_least_where_the_map_is_right():
    target = torch.zeros(1, 4, 4)
    target[0, 1, 2] = 1.0
    right, wrong = torch.full((1, 4, 4), -8.0), torch.full((1, 4, 4), -8.0)
    right[0, 1, 2], wrong[0, 3, 3] = 8.0, 8.0
    assert focal_loss(right, target) < 1e-3
    assert focal_loss(wrong, target) > 10


def test_a_near_miss_costs_less_than_a_far_one():
    target = heat(torch.tensor([[[0.25, 0.25, 0.75, 0.75]]]), 8, 8)[0]
    near, far = torch.full((1, 8, 8), -8.0), torch.full((1, 8, 8), -8.0)
    near[0, 4, 5], far[0, 0, 0] = 4.0, 4.0
    assert focal_loss(near, target) < focal_loss(far, target)


def test_the_loss_of_a_perfect_prediction_is_almost_nothing():
    truth = truth_of(([0.1, 0.1, 0.16, 0.16], 0), ([0.6, 0.5, 0.66, 0.56], 1))  # small: each owns only its own cell
    loss, metrics = detection_loss(perfect(truth, 8, 8), truth)
    assert loss < 0.02
    assert metrics["right_name"] == 1


def test_gradients_reach_every_weight():
    model = tiny()
    truth = truth_of(([0.2, 0.2, 0.7, 0.7], 1), texts=([0.1, 0.1, 0.4, 0.2],))
    truth = truth._replace(materials=torch.tensor([[0]]))
    loss, _ = detection_loss(model(torch.randn(1, 3, 64, 64)), truth)
    loss.backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_a_picture_without_objects_still_has_a_finite_loss():
    truth = truth_of(([0.0, 0.0, 0.0, 0.0], -1))
    loss, metrics = detection_loss(tiny()(torch.zeros(1, 3, 64, 64)), truth)
    loss.backward()
    assert torch.isfinite(loss)
    assert metrics["name"] == 0


def test_decoding_returns_the_boxes_that_were_encoded():
    truth = truth_of(([0.1, 0.2, 0.4, 0.6], 0), ([0.55, 0.3, 0.95, 0.9], 1))
    (found,) = decode(perfect(truth, 12, 18))
    order = found.names.argsort()
    torch.testing.assert_close(found.boxes[order], truth.boxes[0])
    assert found.names[order].tolist() == [0, 1]
    assert found.colours.tolist() == [0, 0]
    assert len(found.texts) == 0


def test_a_text_is_found_on_the_thing_that_carries_it():
    box = [0.3, 0.3, 0.7, 0.7]
    (found,) = decode(perfect(truth_of((box, 1), texts=(box,)), 16, 16))
    assert found.names.tolist() == [1]
    torch.testing.assert_close(found.texts, torch.tensor([box]))


def test_unknown_colours_teach_nothing():
    model, pictures = tiny(), torch.randn(1, 3, 64, 64)
    truth = truth_of(([0.2, 0.2, 0.7, 0.7], 1))._replace(colours=torch.tensor([[-1]]))
    loss, metrics = detection_loss(model(pictures), truth)
    loss.backward()
    assert metrics["colour"] == 0
    first = 1 + 3 + 4
    assert model.head.weight.grad[first : first + 2].abs().sum() == 0


def test_of_two_neighbouring_peaks_the_surer_is_kept():
    truth = truth_of(([0.4, 0.4, 0.6, 0.6], 0))
    prediction = perfect(truth, 16, 16)
    prediction.centre[0, 8, 9], prediction.name[0, 1, 8, 9] = 3.0, 20.0  # beside the true centre at 8, 8
    (found,) = decode(prediction)
    assert found.names.tolist() == [0]


def test_a_weak_peak_is_no_object():
    prediction = perfect(truth_of(([0.4, 0.4, 0.6, 0.6], 0)), 16, 16)
    prediction.centre[prediction.centre > 0] = -1.0
    assert len(decode(prediction, threshold=0.3)[0].scores) == 0
    assert len(decode(prediction, threshold=0.2)[0].scores) == 1


def test_boxes_that_overlap_a_surer_one_are_dropped():
    boxes = torch.tensor([[0.0, 0.0, 0.5, 0.5], [0.02, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    assert suppress(boxes, 0.6).tolist() == [True, False, True]


def test_overlap_is_intersection_over_union():
    a, b = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0, 2.0], [5.0, 5.0, 6.0, 6.0]])
    torch.testing.assert_close(box_iou(a, b), torch.tensor([[1 / 3, 0.0]]))


def test_the_cost_counts_the_convolutions_work():
    model = tiny()
    cost = model.cost(2, 64, 64)
    stem = 2 * 2 * 16 * 16 * 48 * 9 * 8
    assert cost.flops > stem
    assert cost.flops == 2 * model.cost(1, 64, 64).flops
    assert cost.weight_bytes == 2 * sum(parameter.numel() for parameter in model.parameters())
