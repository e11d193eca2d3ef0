"""Tiny models and sequences that many tests share. All weights are random and follow torch's global generator."""

from pathlib import Path

import torch
from torch import Tensor, nn

from polarlight.models.image_ar import ImageAR, ImageARConfig
from polarlight.models.image_grammar import Picture, Role, Text, Tokens, write
from polarlight.models.letterer import Letterer, LettererConfig
from polarlight.models.proofreader import Proofreader, ProofreaderConfig
from polarlight.models.reader import Reader, ReaderConfig
from polarlight.models.upscaler import UpscalerConfig, UpscalerModel
from polarlight.models.visual_tokenizer import VisualTokenizer, VisualTokenizerConfig
from polarlight.models.weights import export
from polarlight.nn.layers import SwiGLU
from polarlight.ops.orders import raster
from polarlight.text.plan import Plan, PlanObject, PlanText
from polarlight.text.typesetting import MONO
from polarlight.text.vocabulary import Vocabulary

LEVELS = (3, 4)
PLAN = Plan(
    objects=(
        PlanObject(name="cat", colour="red", box=(0.0, 0.25, 0.5, 1.0)),
        PlanObject(name="mug", box=(0.5, 0.0, 1.0, 0.5)),
    ),
    texts=(PlanText(text="NO", kind="label", box=(0.6, 0.1, 0.9, 0.4)),),
)


def image_model(**overrides: object) -> ImageAR:
    """A two-layer model, one layer of it with experts; its output head is random where a new one starts at zero."""
    small = {"width": 32, "layers": 2, "heads": 2, "head_dim": 16, "dense_hidden": 48, "experts": 4}
    small |= {"expert_hidden": 16, "shared_hidden": 16, "head_hidden": 8, "levels": LEVELS}
    model = ImageAR(ImageARConfig(vocabulary=len(Vocabulary.shipped()), **(small | overrides)))  # type: ignore[arg-type]
    nn.init.normal_(model.head.out.weight)
    return model.eval()


def letterer(image: ImageAR) -> Letterer:
    """A letterer of one block, whose last matrix is random where a new one starts at zero; it sees by `visual_tokenizer`."""
    config = LettererConfig(
        width=image.config.width, seen=4 * 12, faces={MONO: "0EHNOPSTU"}, strokes=8, hidden=16, blocks=1
    )
    made = Letterer(config)
    made.glyphs = torch.randint(256, made.glyphs.shape).float()
    made.advances += 0.8
    made.spaces += 0.8
    block = made.blocks[0]
    assert isinstance(block, SwiGLU)
    nn.init.normal_(block.down.weight)
    return made.eval()


def visual_tokenizer(**overrides: object) -> VisualTokenizer:
    """A tokenizer of one block a stage."""
    small = {"levels": LEVELS, "fine_channels": 8, "coarse_channels": 12, "fine_blocks": 1, "coarse_blocks": 1}
    return VisualTokenizer(VisualTokenizerConfig(**(small | overrides))).eval()  # type: ignore[arg-type]


def codes(rows: int, columns: int, model: ImageAR) -> Tensor:
    """Random packed codes [rows, columns, g]."""
    levels = torch.tensor(model.config.position_levels)
    return (torch.rand(rows, columns, len(levels)) * levels).to(torch.uint8)


def drawing(
    digits: Tensor, order: Tensor | None = None, kept: int = 0, words: str = "a red cat", plan: Plan | None = None
) -> Tokens:
    """A sequence that draws a picture after a prompt, and by a plan."""
    v = Vocabulary.shipped()
    order = raster(*digits.shape[:2]) if order is None else order
    opening = Text(ids=[v["<bos>"], v["<draw>"], *v.encode(words)])
    return write([opening, Picture(digits=digits, order=order, kept=kept, plan=plan)], v)


def captioning(digits: Tensor, words: str = "a red cat") -> Tokens:
    """A sequence that describes a picture and learns its words."""
    v = Vocabulary.shipped()
    opening, caption = [v["<bos>"], v["<caption>"]], [*v.encode(words), v["<eos>"]]
    return write([Text(ids=opening), Picture(digits=digits, role=Role.SOURCE), Text(ids=caption, learn=True)], v)


def upscaler_model(**overrides: int) -> UpscalerModel:
    """Two blocks; its head, which a new one has at zero, is random."""
    model = UpscalerModel(UpscalerConfig(**({"channels": 8, "blocks": 2} | overrides)))
    nn.init.normal_(model.head.weight, std=0.05)
    return model.eval()


def reader_model(levels: tuple[int, ...] = LEVELS) -> Reader:
    """One layer that knows cats and dogs."""
    config = ReaderConfig(
        levels=levels, names=("cat", "dog"), colours=("red", "blue"), materials=("glass", "wood"), letters="AB",
        width=32, heads=2, stem=16, layers=1,
    )  # fmt: skip
    return Reader(config).eval()


def proofreader() -> Proofreader:
    """A narrow one that knows two letters."""
    return Proofreader(ProofreaderConfig(letters="AB", width=16, context=16)).eval()


def saved(tokenizer: VisualTokenizer, model: ImageAR, folder: Path) -> Path:
    """A new folder with the two as a model that draws."""
    folder.mkdir()
    name = export(tokenizer, folder / "tokenizer.safetensors", {"config": vars(tokenizer.config)})["hash"]
    about = {"tokenizer": name, "config": vars(model.config), "tasks": ["draw"], "sizes": [128]}
    export(model, folder / "image.safetensors", about)
    return folder
