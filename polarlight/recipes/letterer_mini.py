"""Train the letterer, which makes the image model write what is asked for: `polarlight/weights/letterer.safetensors`.

    polarlight train letterer-mini && polarlight train letterer-export

It learns from posters full of texts, from scenes of both worlds and from edits of texts, on the shipped image model, which stays
as it is: train it anew when that changes. A new run starts from the shipped weights where they are of this config, at half the
rate. Those had 2,900 steps without edits (3.3 million positions, two and a half hours on two AVX2 cores beside other work).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from ..base.errors import UserError
from ..base.files import PACKAGE
from ..base.seeds import stream_random, stream_seed
from ..models.image_ar import ImageAR, causal_mask
from ..models.image_grammar import CELL, Tokens, collate
from ..models.letterer import Letterer, LettererConfig, inked, windows
from ..models.weights import export, load_into, made_for, read_card
from ..text.plan import snapped
from ..text.vocabulary import Vocabulary, quoted_texts
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule, optimizers
from ..worlds.captions import plan_of
from ..worlds.sketch import plain_glyphs, plain_letters
from . import image_mini, tokenizer_mini
from .image_examples import Examples, Mixture, choose
from .image_mini import CodedScenes, Window
from .runs import Run, activation_dtype
from .scenes import load_codes

STEPS = 2900
BATCH = 32
SHARES = {"lettering": 0.6, "posters": 0.2, "tabletop": 0.2}  # of the pictures of a batch
EDITS = 6  # of so many batches one is of edits, of half the size: their sequences are twice as long
WINDOWS = {  # sheets are seen once or twice, scenes are those that image-mini has seen
    "lettering": Window(shards=4, pools=64),
    "posters": Window(shards=4, pools=100),
    "tabletop": Window(shards=2, pools=400),
    "retexts": Window(shards=2, pools=400),
}
FIRST_SHARD = {"lettering": 100, "posters": 64, "tabletop": 64, "retexts": 0}
# what says nothing of texts is drawn too: a sketch has to be enough
MIXTURE = Mixture(planned=0.5, drop_text=0.3, orders=(("raster", 0.6), ("spread", 0.3), ("hole", 0.1)))
NOT_MUON = ("see",)
SMOKE = Window(shards=1, pools=1 << 30)
TINY = {"strokes": 16, "hidden": 32, "blocks": 1}


@dataclass(frozen=True, kw_only=True)
class Lettering:
    """A batch: sequences, which of their tokens ask for positions with strokes near, and the windows of those."""

    tokens: Tokens
    asks: Int64[Tensor, "n 2"]
    windows: UInt8[Tensor, "n k"]


@dataclass(frozen=True, kw_only=True)
class Sketched:
    """A picture to draw: its sequence, the windows of its positions, and its rows and columns."""

    sequence: Tokens
    windows: UInt8[Tensor, "n k"]
    shape: tuple[int, int]


@dataclass(kw_only=True)
class Batches:
    """Batch by number, all told in one style."""

    scenes: dict[str, CodedScenes]
    examples: Examples
    size: int
    letterer: Letterer

    def __call__(self, number: int) -> Batch:
        random = stream_random(number, "letterer batch")
        style, rows = choose(random, self.examples.mixture.styles), list[Sketched]()
        shares = SHARES if number % EDITS else {"retexts": 0.5}
        for kind, share in shares.items():
            for group, row in self.scenes[kind].rows(number, f"letterer {kind}", max(1, round(share * self.size))):
                scene, digits = group.scenes[row], group.digits[row]
                if not scene.spec["texts"]:
                    continue
                high, wide = digits.shape[0] // 2, digits.shape[1] // 2
                texts = snapped(plan_of(scene.spec)).texts
                if group.notes is None:
                    sequence = self.examples.draw(scene, digits, group.text[row], style, random)
                else:  # the source tells of what stays
                    sequence = self.examples.from_source("edit", group, row, style, random)
                    said = quoted_texts(group.notes[row]["instruction"])
                    texts = tuple(text for text in texts if " ".join(text.text.split()) in said)
                seen = windows(self.letterer.sketch(texts, (high * CELL, wide * CELL))[None])[0]
                rows.append(Sketched(sequence=sequence, windows=seen, shape=(high, wide)))
        data = lettering(rows)
        return Batch(data=data, units=len(data.windows))


def lettering(rows: Sequence[Sketched]) -> Lettering:
    """Pictures to draw as a batch."""
    tokens = collate([each.sequence for each in rows], multiple=8)
    asks, seen = [], []
    for row, each in enumerate(rows):
        asking = (tokens.cell_weight[row] > 0).nonzero()[:, 0]
        size = torch.tensor(each.shape)
        down, right = (tokens.asked[row, asking, :2] + size / 2 - 0.5).round().long().unbind(-1)  # see `frame`
        own = each.windows[down * each.shape[1] + right]
        kept = inked(own)
        asks.append(torch.stack((torch.full_like(asking[kept], row), asking[kept]), -1))
        seen.append(own[kept])
    return Lettering(tokens=tokens, asks=torch.cat(asks), windows=torch.cat(seen))


def letterer_loss(
    model: nn.Module, image: ImageAR, data: Lettering, dtype: torch.dtype
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """Mean cross-entropy a digit of the positions with strokes near; without: that of the image model by itself."""
    assert isinstance(model, Letterer)
    row, column = data.asks.unbind(-1)
    target = data.tokens.cell_target[row, column].long().flatten()
    with torch.no_grad():
        hidden, _ = image.hidden(data.tokens, causal_mask(data.tokens), dtype)
        states = hidden[row, column]
        alone = F.cross_entropy(image.head(states, target.view(len(row), -1).to(torch.uint8)).flatten(0, 1), target)
    logits = image.head(model(states, model.strokes(data.windows, dtype)), target.view(len(row), -1).to(torch.uint8))
    loss = F.cross_entropy(logits.flatten(0, 1), target)
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
    letters = plain_letters()
    config = LettererConfig(width=image.config.width, letters=letters, **(TINY if run.smoke else {}))
    model = Letterer(config)
    model.glyphs, model.advances = plain_glyphs(letters)
    warm = not run.smoke and made_for(PACKAGE / "weights" / "letterer.safetensors", config)
    if warm:
        load_into(model, PACKAGE / "weights" / "letterer.safetensors")  # state.pt, if there, takes precedence
    load = partial(load_codes, tokenizer=tokenizer, name=name, dtype=dtype, count=run.shard_size)
    scenes = {
        kind: CodedScenes(
            load=partial(load, run.scenes, kind),
            window=SMOKE if run.smoke else window,
            first=0 if run.smoke else FIRST_SHARD[kind],
        )
        for kind, window in WINDOWS.items()
    }
    rate = 1.5e-3 if warm else 3e-3
    steps, size = run.steps or (30 if run.smoke else STEPS), 8 if run.smoke else BATCH
    done, ema = fit(
        model,
        lambda model, data, random: letterer_loss(model, image, data, dtype),
        Batches(scenes=scenes, examples=Examples(vocabulary, MIXTURE), size=size, letterer=model),
        optimizers(model, lr=rate, adam_lr=rate / 2, weight_decay=0.05, exclude=NOT_MUON, dtype=dtype),
        Schedule(steps=steps, warmup=min(50, steps // 4 + 1), decay=0.7),
        FitConfig(steps=steps, minutes=run.minutes, ema=0.997, save_every=100, unit="positions", forked=True),
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
