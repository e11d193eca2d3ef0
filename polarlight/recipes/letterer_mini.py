"""Train the letterer, which makes the image model write what is asked for: `polarlight/weights/letterer.safetensors`.

    polarlight train letterer-mini && polarlight train letterer-export

It learns from posters full of texts, from scenes of both worlds and from edits of texts, on the shipped image model, which stays
as it is: train it anew when that changes. So the image model reads every scene once, and what it knows of the positions with
letters is kept: a position costs an eighth of what it would if every step began with pictures. A new run starts from the shipped
weights where they are of this config, at half the rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from ..base.errors import UserError
from ..base.files import PACKAGE
from ..base.seeds import stream_random, stream_seed
from ..models.image_ar import ImageAR, causal_mask
from ..models.image_grammar import CELL, Tokens, collate
from ..models.letterer import Letterer, LettererConfig, inked, look, paint
from ..models.visual_tokenizer import VisualTokenizer
from ..models.weights import export, load_into, made_for, read_card
from ..text.vocabulary import Vocabulary, quoted_texts
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from ..worlds.sketch import face_glyphs, glyph, plain_faces, setting_of
from . import image_mini, tokenizer_mini
from .image_examples import Examples, Mixture, choose
from .runs import Run, activation_dtype
from .scenes import CodedGroup, load_codes

STEPS = 3600
BATCH = 2048  # positions
AT_ONCE = 64  # scenes that the image model reads together


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where positions come from: their share of a batch, how many shards are in use, and after how many steps the oldest gives way
    to the next of a round of `shards`."""

    share: float
    first: int
    shards: int
    kept: int = 4
    every: int = 500


SOURCES = {
    "lettering": Source(share=0.4, first=100, shards=23),
    "house": Source(share=0.25, first=64, shards=19),
    "tabletop": Source(share=0.25, first=64, shards=8),
    "retexts": Source(share=0.1, first=0, shards=5, kept=2, every=1000),
}
# what says nothing of texts is drawn too: a sketch has to be enough
MIXTURE = Mixture(planned=0.0, drop_text=0.3, orders=(("raster", 0.6), ("spread", 0.3), ("hole", 0.1)))
NOT_MUON = ("see",)
TINY = {"strokes": 16, "hidden": 32, "blocks": 1}


@dataclass(frozen=True, kw_only=True)
class Positions:
    """What the image model knows of positions, what the letterer sees there, and the digits that are to be drawn."""

    states: Float[Tensor, "n d"]
    seen: Float[Tensor, "n k"]
    digits: UInt8[Tensor, "n g"]

    def pick(self, rows: Tensor) -> Positions:
        """Some of them."""
        return Positions(states=self.states[rows], seen=self.seen[rows], digits=self.digits[rows])


def joined(parts: Sequence[Positions]) -> Positions:
    """All positions of several."""
    names = ("states", "seen", "digits")
    return Positions(**{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


@dataclass(frozen=True, kw_only=True)
class Sketched:
    """A picture to draw: its sequence, and what it is to look like where it has letters."""

    sequence: Tokens
    sketch: UInt8[Tensor, "h w"]


@torch.no_grad()
def positions(
    pictures: Sequence[Sketched], image: ImageAR, tokenizer: VisualTokenizer, dtype: torch.dtype
) -> Positions:
    """Every position of pictures that has letters or boards near and is to be drawn."""
    pictures, parts = sorted(pictures, key=lambda one: one.sequence.ids.shape[1]), list[Positions]()
    for start in range(0, len(pictures), AT_ONCE):
        some = pictures[start : start + AT_ONCE]
        tokens = collate([one.sequence for one in some], multiple=8)
        hidden, _ = image.hidden(tokens, causal_mask(tokens), dtype)
        seen = dict[int, Tensor]()
        for shape in {one.sketch.shape for one in some}:
            alike = [row for row, one in enumerate(some) if one.sketch.shape == shape]
            features = look(tokenizer.encoder, torch.stack([some[row].sketch for row in alike]), dtype)
            seen |= dict(zip(alike, features, strict=True))
        for row, one in enumerate(some):
            rows, columns = (side // CELL for side in one.sketch.shape)
            asking = (tokens.cell_weight[row] > 0).nonzero()[:, 0]
            middle = torch.tensor([rows, columns]) / 2 - 0.5
            down, right = (tokens.asked[row, asking, :2] + middle).round().long().unbind(-1)  # see `frame`
            place, near = down * columns + right, inked(one.sketch[None])[0]
            asking, place = asking[near[place]], place[near[place]]
            digits = tokens.cell_target[row, asking].to(torch.uint8)
            parts.append(Positions(states=hidden[row, asking], seen=seen[row][place], digits=digits))
    return joined(parts)


@dataclass(kw_only=True)
class Batches:
    """Batch by number, from the positions of the shards in use."""

    sources: dict[str, Source]
    read: Callable[[str, int, int], Positions]  # of a kind's shard on its n-th visit
    size: int
    kept: dict[str, dict[int, Positions]] = field(default_factory=dict)

    def __call__(self, number: int) -> Batch:
        parts = []
        for kind, source in self.sources.items():
            known = self.at(kind, number)
            random = torch.Generator().manual_seed(stream_seed(number, f"letterer {kind}"))
            rows = torch.randint(
                sum(len(one.digits) for one in known), (max(1, round(source.share * self.size)),), generator=random
            )
            for one in known:
                parts.append(one.pick(rows[(rows >= 0) & (rows < len(one.digits))]))
                rows = rows - len(one.digits)
        data = joined(parts)
        return Batch(data=data, units=len(data.digits))

    def at(self, kind: str, number: int) -> list[Positions]:
        """The shards in use at a step."""
        source, known = self.sources[kind], self.kept.get(kind, {})
        visits = range(number // source.every, number // source.every + source.kept)
        self.kept[kind] = {visit: known[visit] if visit in known else self._visit(kind, visit) for visit in visits}
        return list(self.kept[kind].values())

    def _visit(self, kind: str, visit: int) -> Positions:
        source = self.sources[kind]
        return self.read(kind, source.first + visit % source.shards, visit)


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Scenes with texts as the image model reads them."""

    load: Callable[[str, int], dict[str, CodedGroup]]
    examples: Examples
    image: ImageAR
    tokenizer: VisualTokenizer
    dtype: torch.dtype

    def __call__(self, kind: str, index: int, visit: int) -> Positions:
        """The positions of a shard; captions and orders are others on every visit."""
        random, pictures = stream_random(visit, f"letterer {kind} {index}"), list[Sketched]()
        for group in self.load(kind, index).values():
            size = (group.digits.shape[1] // 2 * CELL, group.digits.shape[2] // 2 * CELL)
            for row, scene in enumerate(group.scenes):
                style, said = choose(random, self.examples.mixture.styles), None
                if group.notes is None:
                    sequence = self.examples.draw(scene, group.digits[row], group.text[row], style, random)
                else:  # the source tells of what stays
                    sequence = self.examples.from_source("edit", group, row, style, random)
                    said = quoted_texts(group.notes[row]["instruction"])
                sketch = paint(setting_of(scene.spec, size, said), size, glyph)
                pictures.append(Sketched(sequence=sequence, sketch=sketch))
        return positions(
            [one for one in pictures if inked(one.sketch[None]).any()], self.image, self.tokenizer, self.dtype
        )


def letterer_loss(
    model: nn.Module, image: ImageAR, data: Positions, dtype: torch.dtype
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Mean cross-entropy a digit; without: that of the image model by itself, of an eighth of the positions."""
    assert isinstance(model, Letterer)
    target, some = data.digits.long(), slice(None, None, 8)
    logits = image.head(model(data.states, model.strokes(data.seen.to(dtype))), data.digits)
    loss = F.cross_entropy(logits.flatten(0, 1), target.flatten())
    with torch.no_grad():
        alone = F.cross_entropy(image.head(data.states[some], data.digits[some]).flatten(0, 1), target[some].flatten())
    return loss, {"loss": loss.detach(), "without": alone}


def run(run: Run) -> dict:
    """Train; write the averaged weights and their card into the run's folder. Returns the card.

    Raises:
        UserError: there is no image model to train it for.
    """
    torch.manual_seed(stream_seed(0, "letterer weights"))
    dtype, vocabulary = activation_dtype(), Vocabulary.shipped()
    tokenizer, name = tokenizer_mini.load(run)
    image, place = image_mini.new_model(vocabulary, tokenizer, run.smoke), PACKAGE / "weights" / "image.safetensors"
    image.eval().requires_grad_(False)
    if run.smoke:
        nn.init.normal_(image.head.out.weight)  # zeros teach nobody
    else:
        if not made_for(place, image.config):
            raise UserError(
                f"There is no image model at {place}.", fix="Train and export one: polarlight train image-mini."
            )
        load_into(image, place)
    faces = plain_faces()
    seen = tokenizer.config.coarse_channels * (CELL // tokenizer.config.spatial_factor) ** 2
    config = LettererConfig(width=image.config.width, seen=seen, faces=faces, **(TINY if run.smoke else {}))
    model, shipped = Letterer(config), PACKAGE / "weights" / "letterer.safetensors"
    model.glyphs, model.advances, model.spaces = face_glyphs(faces)
    warm = not run.smoke and made_for(shipped, config)
    if warm:
        load_into(model, shipped)  # state.pt, if there, takes precedence
    read = Reader(
        load=partial(load_codes_of, run, tokenizer, name, dtype),
        examples=Examples(vocabulary, MIXTURE),
        image=image,
        tokenizer=tokenizer,
        dtype=dtype,
    )
    smoke = {kind: Source(share=one.share, first=0, shards=1, kept=1) for kind, one in SOURCES.items()}
    rate = 1.5e-3 if warm else 3e-3
    steps, size = run.steps or (30 if run.smoke else STEPS), 64 if run.smoke else BATCH
    done, ema = fit(
        model,
        lambda model, data, random: letterer_loss(model, image, data, dtype),
        Batches(sources=smoke if run.smoke else SOURCES, read=read, size=size),
        optimizers(model, lr=rate, adam_lr=rate / 2, weight_decay=0.05, exclude=NOT_MUON, dtype=dtype),
        Schedule(steps=steps, warmup=min(50, steps // 4 + 1), decay=0.7),
        FitConfig(steps=steps, minutes=run.minutes, ema=0.997, save_every=500, unit="positions"),
        run.folder,
        resume=run.resume,
        report=run.report,
    )
    ema.swap(model)
    card = {
        "model": "letterer",
        "recipe": run.folder.name,
        "command": "polarlight train letterer-mini",
        "steps": done,
        "parameters": sum(p.numel() for p in model.parameters()),
        "image": None if run.smoke else read_card(place)["hash"],
        "config": asdict(config),
    }
    return export(model, run.folder / "letterer.safetensors", card)


def load_codes_of(
    run: Run, tokenizer: VisualTokenizer, name: str, dtype: torch.dtype, kind: str, index: int
) -> dict[str, CodedGroup]:
    """A shard of the run's scenes."""
    return load_codes(run.scenes, kind, index, tokenizer, name, dtype, run.shard_size)
