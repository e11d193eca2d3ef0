"""Train the image model on what the reader prefers among its own pictures: `polarlight/weights/image.safetensors`.

    polarlight train preference-mini && polarlight train preference-export

For prompts of the training split the shipped model draws eight pictures each as quality mode does, and the reader says which show
most of what was asked. Direct preference optimisation (Rafailov et al., arXiv:2305.18290) then makes the better ones likelier than
the worse, beside a copy of the model as it was. Run it again after the export: candidates are those of the weights at hand. The
letterer stands on the image model and has to follow (`letterer-mini`). On two cores with bf16 products drawing takes 12 minutes and
training 4. The shipped weights were not trained so: 3,600 prompts in three runs left the held-out scores where they were
(docs/log.md); pairs are learnt by heart, and many more prompts are the next thing to try.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn
from torch.optim import AdamW

from ..base.errors import UserError
from ..base.files import atomic_path, atomic_write
from ..base.seeds import stream_random
from ..evals.image_card import SCENES
from ..infer.choosing import Chooser
from ..infer.decoding import decode
from ..infer.image_requests import ImageRequest, drawing_order
from ..infer.images import SHIPPED, ImageGenerator
from ..models.image_ar import ImageAR, ImageARConfig, causal_mask
from ..models.image_grammar import Picture, Text, Tokens, collate, pack, unpack, write
from ..models.reader import Reader
from ..models.weights import export, revive
from ..text.vocabulary import Vocabulary, quoted_texts
from ..train.loop import Batch, FitConfig, fit
from ..train.optim import Schedule
from ..worlds.captions import caption, evaluation_prompt
from . import image_mini, tokenizer_mini
from .image_examples import choose
from .reader_mini import reader_config
from .reader_scenes import nouns
from .runs import Run, activation_dtype
from .scenes import world_of

FIRST_SEED = 700_000_000  # of the scenes that prompts are written from; evaluation starts at 1_000_000_000
SHARDS, ASKED, CANDIDATES = 10, 160, 8  # shards, prompts of each, pictures for each prompt
TOGETHER = 128  # pictures drawn at once
TABLETOP, PLAIN = (
    0.2,
    0.6,
)  # share of tabletops, and of prompts as plain as an evaluation's; the others are short captions
CATEGORIES = (
    ("two_objects", 0.27),
    ("position", 0.18),
    ("colour_attribution", 0.14),
    ("colours", 0.23),
    ("counting", 0.14),
    ("single_object", 0.04),
)
GAP = 1.0  # nats of the reader's score between the better and the worse of a pair
GOOD = -1.5  # least score of the better one
BETTER = 2  # pairs of a prompt: the best with the worst, the second best with the second worst
STEPS, BATCH, RATE = 160, 16, 5e-5
BETA = 0.03  # of the preference, per nat of a whole picture
KEEP = 1.0  # weight of the better pictures' own nats a digit
ORDERS = (("raster", 0.6), ("spread", 0.4))


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """What was drawn for a prompt, as cells, and the reader's score of each."""

    prompt: str
    candidates: UInt8[Tensor, "k h w d"]
    scores: Float[Tensor, " k"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    prompt: str
    better: UInt8[Tensor, "h w d"]
    worse: UInt8[Tensor, "h w d"]


def asked(number: int, chooser: Chooser) -> ImageRequest | None:
    """The request of a number; None where its prompt claims nothing that can be looked for, or quotes words."""
    random = stream_random(number, "preference prompt")
    world, category = "tabletop" if random.random() < TABLETOP else "posters", choose(random, CATEGORIES)
    spec = world_of(world).sample(FIRST_SEED + number, "train", SCENES[category]).spec
    plain = random.random() < PLAIN
    prompt = evaluation_prompt(spec, category) if plain else caption(spec, random, "short")
    if quoted_texts(prompt) or not chooser.lexicon.read(prompt).things:
        return None
    return ImageRequest(
        prompt=prompt, seed=number, aspect=spec["aspect"], mode="quality", candidates=CANDIDATES, plan=""
    )


@torch.inference_mode()
def draw_and_score(generator: ImageGenerator, requests: Sequence[ImageRequest]) -> list[Drawn]:
    """All candidates of each request, as the reader sees them."""
    assert generator.chooser is not None
    made, step = list[Drawn](), TOGETHER // CANDIDATES
    for aspect in sorted({request.aspect for request in requests}):
        alike = [request for request in requests if request.aspect == aspect]
        for start in range(0, len(alike), step):
            prepared = [generator.prepare(request) for request in alike[start : start + step]]
            first, jobs = prepared[0], [job for one in prepared for job in one.jobs]
            digits = decode(generator.decoder, jobs, first.groups, first.sampling, generator.dtype)
            cells = unpack(digits.unflatten(1, (first.job.rows, first.job.columns))).split(len(first.jobs))
            for request, own in zip(alike[start : start + step], cells, strict=True):
                scores = generator.chooser.scores(request.prompt, own).values()
                made.append(
                    Drawn(prompt=request.prompt, candidates=own.clone(), scores=sum(scores, torch.zeros(len(own))))
                )
    return made


def pairs_of(drawn: Drawn, gap: float = GAP, good: float = GOOD) -> list[Pair]:
    """The best candidates with the worst, where they are at least `gap` apart and the better one has at least `good`."""
    order = drawn.scores.argsort(descending=True, stable=True).tolist()
    chosen = zip(order[:BETTER], reversed(order[-BETTER:]), strict=True)
    return [
        Pair(prompt=drawn.prompt, better=drawn.candidates[better], worse=drawn.candidates[worse])
        for better, worse in chosen
        if drawn.scores[better] - drawn.scores[worse] >= gap and drawn.scores[better] >= good
    ]


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batch by number: sequences of pairs, the better one first, all drawn in one kind of order."""

    pairs: Sequence[Pair]
    vocabulary: Vocabulary
    size: int

    def __call__(self, number: int) -> Batch:
        random, rows = stream_random(number, "preference batch"), list[Tokens]()
        kind = choose(random, ORDERS)
        for turn in range(self.size):
            place = number * self.size + turn
            shuffled = Random(place // len(self.pairs)).sample(range(len(self.pairs)), len(self.pairs))
            pair = self.pairs[shuffled[place % len(self.pairs)]]
            rows += [self.sequence(pair.prompt, cells, kind) for cells in (pair.better, pair.worse)]
        return Batch(data=collate(rows, multiple=8), units=self.size)

    def sequence(self, prompt: str, cells: UInt8[Tensor, "h w d"], kind: str) -> Tokens:
        """A picture to draw after its prompt."""
        v, digits = self.vocabulary, pack(cells[None])[0]
        words = Text(ids=[v["<bos>"], v["<draw>"], *v.encode(prompt)])
        return write([words, Picture(digits=digits, order=drawing_order(kind, *digits.shape[:2]))], v)


def log_probability(
    model: ImageAR, tokens: Tokens, dtype: torch.dtype
) -> tuple[Float[Tensor, " b"], Int64[Tensor, " b"], Float[Tensor, " two"]]:
    """Log-probability of each sequence's picture, in nats; the number of its digits; and the router's losses."""
    hidden, routing = model.hidden(tokens, causal_mask(tokens), dtype)
    drawn = tokens.cell_weight > 0
    target = tokens.cell_target[drawn]
    logits = model.head(hidden[drawn], target)
    nats = F.cross_entropy(logits.flatten(0, 1), target.flatten().long(), reduction="none").view(target.shape).sum(-1)
    each = torch.zeros(len(drawn)).index_add(0, drawn.nonzero()[:, 0], -nats)
    return each, drawn.sum(1) * target.shape[1], routing


def preference_loss(
    model: nn.Module, reference: ImageAR, tokens: Tokens, dtype: torch.dtype
) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
    """How surely the better picture has gained more than the worse one since the reference; `prefers`: the share where it has."""
    assert isinstance(model, ImageAR)
    with torch.no_grad():
        before, _, _ = log_probability(reference, tokens, dtype)
    after, digits, routing = log_probability(model, tokens, dtype)
    gain = (after - before).view(-1, 2)
    margin = BETA * (gain[:, 0] - gain[:, 1])
    own = -(after / digits).view(-1, 2)[:, 0].mean()
    loss = -F.logsigmoid(margin).mean() + KEEP * own + 1e-4 * routing[0] + 1e-3 * routing[1]
    parts = {
        "loss": loss,
        "prefers": (margin > 0).float().mean(),
        "better": gain[:, 0].mean(),
        "worse": gain[:, 1].mean(),
    }
    return loss, {name: value.detach() for name, value in parts.items()} | {"digit_nats": own.detach()}


def drawn_so_far(run: Run, generator: ImageGenerator, shards: int, count: int) -> list[Drawn]:
    """The candidates of these weights: shards that lie in the run's folder, and those that are drawn now and kept there."""
    assert generator.chooser is not None
    drawn: list[Drawn] = []
    run.folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        path = run.folder / f"candidates-{generator.card['hash']}-{shard:04d}.pt"
        if not path.exists():
            numbers = range(shard * count, (shard + 1) * count)
            requests = [one for number in numbers if (one := asked(number, generator.chooser)) is not None]
            with atomic_path(path) as temporary:
                torch.save([vars(one) for one in draw_and_score(generator, requests)], temporary)
        drawn += [Drawn(**each) for each in torch.load(path, weights_only=True)]
        spread = torch.cat([one.scores for one in drawn]) if drawn else torch.zeros(1)
        run.report({"shard": shard + 1, "prompts": len(drawn), "score": float(spread.mean())})
    return drawn


def start(run: Run) -> tuple[ImageGenerator, ImageAR]:
    """The shipped image model, ready to draw, and in fp32; for a smoke run new ones.

    Raises:
        UserError: there is no image model, or no reader for it.
    """
    if not run.smoke:
        generator = ImageGenerator.load()
        if generator.chooser is None:
            raise UserError("There is no reader for this image model.", fix="Train one: polarlight train reader-mini.")
        path = SHIPPED / "image.safetensors"
        return generator, revive(path, "an image model", lambda config: ImageAR(ImageARConfig(**config)))
    tokenizer, name = tokenizer_mini.load(run)
    model = image_mini.new_model(Vocabulary.shipped(), tokenizer, smoke=True)
    nn.init.normal_(model.head.out.weight)  # zeros draw grey
    config = reader_config(tokenizer.config.levels, smoke=True)
    card = {"tasks": ["draw"], "sizes": [128], "hash": "smoke", "tokenizer": name}
    chooser = Chooser(Reader(config), {"nouns": nouns(config)})
    return ImageGenerator(tokenizer, deepcopy(model), card, activation_dtype(), chooser), model


def run(run: Run) -> dict:
    """Draw, compare, train; write the averaged weights and their card into the run's folder. Returns the card.

    Raises:
        UserError: there is no image model or no reader, or the reader prefers nothing.
    """
    generator, reference = start(run)
    reference = reference.eval().requires_grad_(False)
    drawn = drawn_so_far(run, generator, *((1, 6) if run.smoke else (SHARDS, ASKED)))
    taste = (0.0, float("-inf")) if run.smoke else (GAP, GOOD)
    pairs = [pair for one in drawn for pair in pairs_of(one, *taste)]
    if not pairs:
        raise UserError("The reader prefers none of these pictures.", fix="Train the image model or the reader longer.")
    model, mark, name = deepcopy(reference).requires_grad_(True), run.folder / "reference", generator.card["hash"]
    goes_on = mark.exists() and mark.read_text() == name  # a state of other weights is no state of these
    atomic_write(mark, name)
    dtype, steps, size = activation_dtype(), run.steps or (30 if run.smoke else STEPS), 2 if run.smoke else BATCH
    done, ema = fit(
        model,
        lambda model, data, random: preference_loss(model, reference, data, dtype),
        Batches(pairs=pairs, vocabulary=Vocabulary.shipped(), size=size),
        [AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.0)],
        Schedule(steps=steps, warmup=min(10, steps // 4 + 1), decay=0.5),
        FitConfig(steps=steps, minutes=run.minutes, ema=0.9, balance_rate=0.0, save_every=40, unit="pairs"),
        run.folder,
        resume=run.resume and goes_on,
        report=run.report,
    )
    ema.swap(model)
    kept = ("model", "parameters", "active_parameters", "tokenizer", "tasks", "sizes", "config")
    card: dict[str, Any] = {key: generator.card[key] for key in kept if key in generator.card}
    before = generator.card.get("recipe", "")
    card |= {"recipe": f"{before}, then preference-mini ({done} steps)", "steps": done, "pairs": len(pairs)}
    return export(model, run.folder / "image.safetensors", card)
