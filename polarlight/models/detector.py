"""A small anchor-free object detector: it finds the named things in a picture of the 128 px family.

A convolutional network gives, for every 8 px cell, how surely an object's centre lies there, which object it is, where its
box lies, its colour and its material. Writing has a heat map and boxes of its own, because a label lies where its bottle
lies. The centre heat map and its focal loss follow CenterNet (Zhou et al., "Objects as Points", arXiv:1904.07850), with one
heat map for all classes and a softmax for the name, because rare names then share their evidence of "something is here".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from ..nn.conv import ChannelNorm, Conv, ResBlock
from .cost import Cost

CELL = 8  # px; the smallest drawn objects are about 16 px, so that neighbours keep cells of their own
OWNED = 0.4  # a cell learns an object's name and box where the object's heat is at least this: the centre and its neighbours


class Prediction(NamedTuple):
    """What the network says of every cell. Maps are fp32; h and w count cells."""

    centre: Float[Tensor, "b h w"]  # logit of "an object's centre lies here"
    name: Float[Tensor, "b c h w"]  # logits over the classes
    box: Float[Tensor, "b 4 h w"]  # centre x, y from the middle of the cell (cells), log width, log height (cells)
    colour: Float[Tensor, "b c h w"]  # logits over the colours
    material: Float[Tensor, "b c h w"]  # logits over the materials
    text: Float[Tensor, "b h w"]  # logit of "a text's centre lies here"
    text_box: Float[Tensor, "b 4 h w"]  # as `box`


class Truth(NamedTuple):
    """What a batch of pictures shows, padded to the most objects of any picture."""

    boxes: Float[Tensor, "b n 4"]  # x0 y0 x1 y1 in fractions of the picture
    names: Int[Tensor, "b n"]  # class index; -1 is padding
    colours: Int[Tensor, "b n"]  # -1 where it has none that could be named, and so teaches none
    materials: Int[Tensor, "b n"]
    texts: Float[Tensor, "b m 4"]  # boxes of what is written; zeros are padding


class Found(NamedTuple):
    """The objects found in one picture, surest first, and the texts."""

    scores: Float[Tensor, " n"]  # 0..1: the centre's probability times the name's
    names: Int[Tensor, " n"]
    boxes: Float[Tensor, "n 4"]  # fractions, x0 y0 x1 y1
    colours: Int[Tensor, " n"]
    materials: Int[Tensor, " n"]
    text_scores: Float[Tensor, " m"]
    texts: Float[Tensor, "m 4"]


@dataclass(frozen=True, kw_only=True)
class DetectorConfig:
    """The names are part of the weights: index i of an output means `classes[i]`."""

    classes: tuple[str, ...]
    colours: tuple[str, ...]
    materials: tuple[str, ...]
    fine_channels: int = 64  # at 4 px per cell
    coarse_channels: int = 128  # at 8 px per cell
    fine_blocks: int = 2
    coarse_blocks: int = 3  # the receptive field reaches about 150 px: the whole picture

    @property
    def outputs(self) -> tuple[int, ...]:
        """Channels of each map of a `Prediction`."""
        return 1, len(self.classes), 4, len(self.colours), len(self.materials), 1, 4


class Detector(nn.Module):
    """Pictures in, per-cell predictions out, in the dtype of the pictures up to the head."""

    def __init__(self, config: DetectorConfig) -> None:
        super().__init__()
        self.config = config
        fine, coarse = config.fine_channels, config.coarse_channels
        self.stem = nn.Sequential(nn.PixelUnshuffle(CELL // 2), Conv(3 * (CELL // 2) ** 2, fine, 3))
        self.fine = nn.Sequential(*(ResBlock(fine) for _ in range(config.fine_blocks)))
        self.down = Conv(fine, coarse, 2, stride=2)
        self.coarse = nn.Sequential(*(ResBlock(coarse) for _ in range(config.coarse_blocks)))
        self.neck = nn.Sequential(ChannelNorm(coarse), Conv(coarse, coarse, 3), nn.SiLU())
        self.head = Conv(coarse, sum(config.outputs), 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)
        self.head.bias.data[
            [0, -5]
        ] = -4.0  # about one cell in fifty holds a centre: training does not begin with a flood

    def forward(self, pixels: Float[Tensor, "b 3 h w"]) -> Prediction:
        """`pixels` in -1..1, height and width multiples of 8 px. Returns fp32 maps of (h/8, w/8) cells."""
        x = self.fine(self.stem(pixels))
        x = self.head(self.neck(self.coarse(self.down(x)))).float()
        centre, name, box, colour, material, text, text_box = x.split(self.config.outputs, dim=1)
        return Prediction(centre[:, 0], name, box, colour, material, text[:, 0], text_box)

    def cost(self, batch: int, height: int = 128, width: int = 128) -> Cost:
        """Multiply-adds counted as two, of the convolutions only (the rest is under 2 %); bf16 weights."""
        flops, cells = 0.0, height * width / (CELL // 2) ** 2
        for name, module in self.named_modules():
            if isinstance(module, nn.Conv2d):
                at = cells if name.startswith(("stem", "fine")) else cells / 4
                flops += 2.0 * batch * at * module.weight.numel()
        return Cost(flops=flops, weight_bytes=2.0 * sum(p.numel() for p in self.parameters()))


def normalise(pixels: UInt8[Tensor, "b h w 3"]) -> Float[Tensor, "b 3 h w"]:
    """0..255 to -1..1 in fp32, channels first in shape and last in memory."""
    return rearrange(pixels, "b h w c -> b c h w").float().div_(127.5).sub_(1)


def heat(boxes: Float[Tensor, "b n 4"], high: int, wide: int) -> tuple[Float[Tensor, "b h w"], Int[Tensor, "b h w"]]:
    """A Gaussian bump of height 1 on the centre cell of every box, and which box owns each cell (the hottest there).

    The bump's deviation is a sixth of the box, at least half a cell. Empty boxes are padding and warm nothing.
    """
    scale = torch.tensor([wide, high], dtype=torch.float32)
    corner, end = boxes[..., :2] * scale, boxes[..., 2:] * scale
    middle = ((corner + end) / 2).floor().clamp(min=0).minimum(scale - 1)
    deviation = ((end - corner) / 6).clamp(min=0.5)
    along_x = ((torch.arange(wide) - middle[..., :1]) / deviation[..., :1]) ** 2
    along_y = ((torch.arange(high) - middle[..., 1:]) / deviation[..., 1:]) ** 2
    bumps = torch.exp(-(along_y[..., :, None] + along_x[..., None, :]) / 2)
    bumps = bumps * (end > corner).all(dim=-1)[..., None, None]
    hottest, owner = bumps.max(dim=1)
    return hottest, owner


def encode_boxes(
    boxes: Float[Tensor, "n 4"], row: Int[Tensor, " n"], column: Int[Tensor, " n"], scale: Tensor
) -> Tensor:
    """Boxes in fractions as (offset of the centre from the middle of its cell, log size), all in cells."""
    corner, end = boxes[:, :2] * scale, boxes[:, 2:] * scale
    offset = (corner + end) / 2 - torch.stack([column, row], -1) - 0.5
    return torch.cat([offset, (end - corner).clamp(min=0.25).log()], dim=-1)


def decode_boxes(
    code: Float[Tensor, "n 4"], row: Int[Tensor, " n"], column: Int[Tensor, " n"], scale: Tensor
) -> Tensor:
    """The inverse of `encode_boxes`, clipped to the picture."""
    middle = torch.stack([column, row], -1) + 0.5 + code[:, :2]
    size = code[:, 2:].clamp(max=math.log(64)).exp()
    return (torch.cat([middle - size / 2, middle + size / 2], dim=-1) / scale.repeat(2)).clamp(0, 1)


def focal_loss(logits: Float[Tensor, "b h w"], target: Float[Tensor, "b h w"]) -> Float[Tensor, ""]:
    """CenterNet's loss of a heat map, per centre: cells near a centre are punished less for being warm."""
    probability = logits.sigmoid()
    centre = target > 0.999
    hit = (1 - probability) ** 2 * F.logsigmoid(logits)
    miss = (1 - target) ** 4 * probability**2 * F.logsigmoid(-logits)
    return -torch.where(centre, hit, miss).sum() / centre.sum().clamp(min=1)


def detection_loss(prediction: Prediction, truth: Truth) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Focal loss of centres, cross-entropy of names, colours and materials, L1 of boxes, of objects and texts; all in fp32.

    Returns the sum, and each part with the share of right names among the cells that objects own.
    """
    centre, box, (batch, row, column, thing) = place_loss(prediction.centre, prediction.box, truth.boxes)
    text, text_box, _ = place_loss(prediction.text, prediction.text_box, truth.texts)

    def cross_entropy(logits: Float[Tensor, "b c h w"], truths: Int[Tensor, "b n"]) -> Float[Tensor, ""]:
        known = truths[batch, thing]
        total = F.cross_entropy(logits[batch, :, row, column], known, ignore_index=-1, reduction="sum")
        return total / (known >= 0).sum().clamp(min=1)

    parts = {
        "centre": centre,
        "name": cross_entropy(prediction.name, truth.names),
        "box": box,
        "colour": cross_entropy(prediction.colour, truth.colours),
        "material": cross_entropy(prediction.material, truth.materials),
        "text": text,
        "text_box": text_box,
    }
    loss = centre + parts["name"] + box + 0.5 * (parts["colour"] + parts["material"] + text + text_box)
    right = prediction.name.argmax(dim=1)[batch, row, column] == truth.names[batch, thing]
    metrics = {"loss": loss, **parts, "right_name": right.sum() / max(1, len(right))}
    return loss, {key: value.detach() for key, value in metrics.items()}


def place_loss(
    centre: Float[Tensor, "b h w"], code: Float[Tensor, "b 4 h w"], boxes: Float[Tensor, "b n 4"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], tuple[Tensor, ...]]:
    """Focal loss of the centres, L1 of the boxes, and the cells that boxes own: (picture, row, column, box)."""
    high, wide = centre.shape[1:]
    hottest, owner = heat(boxes, high, wide)
    batch, row, column = (hottest >= OWNED).nonzero(as_tuple=True)
    thing = owner[batch, row, column]
    wanted = encode_boxes(boxes[batch, thing], row, column, torch.tensor([wide, high]))
    distance = F.l1_loss(code[batch, :, row, column], wanted, reduction="sum") / (4 * max(1, len(batch)))
    return focal_loss(centre, hottest), distance, (batch, row, column, thing)


def decode(prediction: Prediction, *, threshold: float = 0.3, overlap: float = 0.6, limit: int = 40) -> list[Found]:
    """What each picture shows: peaks of the heat maps in 3x3 cells, then the surer of any two boxes that overlap.

    Args:
        threshold: least score, 0..1.
        overlap: intersection over union above which two boxes are one object, whatever their names; 0..1.
        limit: most objects, and most texts, of a picture.
    """
    name_score, name = prediction.name.softmax(dim=1).max(dim=1)
    objects = peaks(prediction.centre.sigmoid() * name_score, prediction.box, threshold, overlap, limit)
    texts = peaks(prediction.text.sigmoid(), prediction.text_box, threshold, overlap, limit)
    found = []
    for b, ((scores, boxes, row, column), (text_scores, text_boxes, _, _)) in enumerate(
        zip(objects, texts, strict=True)
    ):
        colour, material = (m[b, :, row, column].argmax(dim=0) for m in (prediction.colour, prediction.material))
        found.append(Found(scores, name[b, row, column], boxes, colour, material, text_scores, text_boxes))
    return found


def peaks(
    score: Float[Tensor, "b h w"], code: Float[Tensor, "b 4 h w"], threshold: float, overlap: float, limit: int
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """For each picture (scores, boxes, rows, columns) of the peaks that stay, surest first."""
    high, wide = score.shape[1:]
    top = torch.where(F.max_pool2d(score[:, None], 3, stride=1, padding=1)[:, 0] == score, score, -1.0)
    kept = []
    for b in range(len(score)):
        best, cell = top[b].flatten().topk(min(limit, high * wide))
        best, cell = best[best >= threshold], cell[best >= threshold]
        row, column = cell // wide, cell % wide
        boxes = decode_boxes(code[b, :, row, column].T, row, column, torch.tensor([wide, high]))
        keep = suppress(boxes, overlap)
        kept.append((best[keep], boxes[keep], row[keep], column[keep]))
    return kept


def box_iou(a: Float[Tensor, "n 4"], b: Float[Tensor, "m 4"]) -> Float[Tensor, "n m"]:
    """Intersection over union of every box of `a` with every box of `b`, 0..1."""
    low, high = torch.maximum(a[:, None, :2], b[None, :, :2]), torch.minimum(a[:, None, 2:], b[None, :, 2:])
    common = (high - low).clamp(min=0).prod(dim=-1)
    area_a, area_b = ((x[:, 2:] - x[:, :2]).clamp(min=0).prod(dim=-1) for x in (a, b))
    return common / (area_a[:, None] + area_b[None] - common).clamp(min=1e-9)


def suppress(boxes: Float[Tensor, "n 4"], overlap: float) -> Bool[Tensor, " n"]:
    """Which boxes (surest first) stay when a box that overlaps a surer kept one is dropped."""
    keep = torch.ones(len(boxes), dtype=torch.bool)
    same = box_iou(boxes, boxes) > overlap
    for index in range(1, len(boxes)):
        keep[index] = not (same[index, :index] & keep[:index]).any()
    return keep
