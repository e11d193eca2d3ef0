"""The command line: one verb per use, one JSON object on the last line of stdout.

Exit codes: 0 done, 2 the user's mistake or the gate's refusal (one sentence with the way out), 1 ours, 130 stopped with
Ctrl-C. Everything heavy is imported inside a command, so that help answers at once. Annotations stay plain types: typer
reads them.
"""

import json
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from polarlight.base.errors import UserError
from polarlight.base.machine import tune_allocator
from polarlight.serve.verbs import inspect, keys_app, serve, usage

from .drawing import Candidates, Mode, Model, ModeOption, Out, Seed, Size, caption, edit, imagine, upscale
from .policy import policy_app
from .terminal import is_picture, make_folder, progress, ready, result, since

LONG_VERBS = ("train", "eval")  # worth a restart with an allocator that keeps memory


class WorldName(StrEnum):
    posters = "posters"
    tabletop = "tabletop"


class Split(StrEnum):
    train = "train"
    heldout = "heldout"


class Verbs(TyperGroup):
    """The one place where an exception becomes an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except UserError as error:
            print(f"polarlight: {error}", file=sys.stderr)
            raise typer.Exit(2) from error
        except KeyboardInterrupt as error:
            print("polarlight: stopped.", file=sys.stderr)
            raise typer.Exit(130) from error


app = typer.Typer(
    cls=Verbs,
    help="Make pictures, and train and judge the models that make them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,  # rich's help costs 60 ms of imports
)
worlds_app = typer.Typer(
    help="Look at the worlds that the models learn from.", no_args_is_help=True, rich_markup_mode=None
)
eval_app = typer.Typer(help="Measure a model.", no_args_is_help=True, rich_markup_mode=None)
for name, verbs in (("worlds", worlds_app), ("eval", eval_app), ("keys", keys_app), ("policy", policy_app)):
    app.add_typer(verbs, name=name)
for verb in (imagine, edit, upscale, caption, serve, usage, inspect):
    app.command()(verb)


def main() -> None:
    """The program `polarlight`."""
    if sys.argv[1:2] and sys.argv[1] in LONG_VERBS:
        tune_allocator()
    app(prog_name="polarlight")


def _show_version(wanted: bool) -> bool:
    if wanted:
        from polarlight import __version__

        print(f"polarlight {__version__}")
        raise typer.Exit
    return wanted


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def train(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A recipe; a wrong name lists them all.")],
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Stop after so many.")] = None,
    minutes: Annotated[float | None, typer.Option("--minutes", min=0.01, help="Stop after so long.")] = None,
    resume: Annotated[bool, typer.Option(help="Go on from the run's last checkpoint.")] = True,
    run: Annotated[Path | None, typer.Option("--run", help="Where the run is kept; runs/NAME if left out.")] = None,
) -> None:
    """Train a model by a recipe."""
    start = time.perf_counter()
    from polarlight import recipes

    if name not in recipes.RECIPES:
        known = "; ".join(f"{known} ({line})" for known, line in recipes.RECIPES.items())
        raise UserError(f"There is no recipe '{name}'.", fix=f"Choose one of: {known}.")
    folder = run or Path("runs") / name
    made = recipes.run(name, steps=steps, minutes=minutes, resume=resume, folder=folder, report=_show_metrics)
    result(**{**made, "recipe": name, "run": folder, "seconds": since(start)})


@eval_app.command("image")
def eval_image(
    count: Annotated[int, typer.Option("--count", min=1, help="How many held-out scenes.")] = 500,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the report.")] = Path("out/eval-image"),
    mode: ModeOption = Mode.quality,
    candidates: Candidates = None,
    model: Model = None,
    keep: Annotated[bool, typer.Option("--record", help="Write the scores on the card beside the weights.")] = False,
) -> None:
    """Score the image model on held-out scenes."""
    start = time.perf_counter()
    from polarlight.evals.image_card import evaluate, record_scores
    from polarlight.infer.images import SHIPPED, ImageGenerator

    if keep and candidates is not None:
        raise UserError(
            "The card beside the weights holds a mode's own scores.", fix="Leave out --candidates or --record."
        )
    make_folder(out)
    generator = ImageGenerator.load(model)
    with progress("Scoring") as on_progress:
        scores = evaluate(generator, count, out, on_progress, mode=mode.value, candidates=candidates)
    if keep:
        record_scores(scores, model or SHIPPED)
    result(**{"folder": out, "count": count, "seconds": since(start), **scores})


@eval_app.command("edits")
def eval_edits(
    count: Annotated[int, typer.Option("--count", min=1, help="How many held-out edits, of four kinds in turn.")] = 160,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the report.")] = Path("out/eval-edits"),
    mode: ModeOption = Mode.quality,
    model: Model = None,
    keep: Annotated[bool, typer.Option("--record", help="Write the scores on the card beside the weights.")] = False,
) -> None:
    """Score edits by instruction, with and without a mask, beside the true results."""
    start = time.perf_counter()
    from polarlight.evals.editing import evaluate, record_scores
    from polarlight.infer.images import SHIPPED, ImageGenerator

    make_folder(out)
    generator = ImageGenerator.load(model)
    with progress("Scoring") as on_progress:
        scores = evaluate(generator, count, out, on_progress, mode=mode.value)
    if keep:
        record_scores(scores, model or SHIPPED)
    result(**{"folder": out, "seconds": since(start), **scores})


@eval_app.command("upscaler")
def eval_upscaler(
    count: Annotated[int, typer.Option("--count", min=1, help="How many held-out scenes.")] = 100,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the strip.")] = Path("out/eval-upscaler"),
    model: Model = None,
    keep: Annotated[bool, typer.Option("--record", help="Write the scores on the card beside the weights.")] = False,
) -> None:
    """Score the upscaler beside bilinear, bicubic and Lanczos on held-out scenes."""
    start = time.perf_counter()
    from polarlight.evals.upscaling import evaluate, record_scores
    from polarlight.infer.images import ImageGenerator
    from polarlight.infer.upscaling import Upscaler

    make_folder(out)
    upscaler, generator = Upscaler.load(model), ImageGenerator.load()
    with progress("Scoring") as on_progress:
        scores = evaluate(upscaler.upscale, generator.reconstruct, count, out, on_progress)
    if keep:
        record_scores(scores, model)
    result(**{"folder": out, "seconds": since(start), **scores})


@worlds_app.command("sample")
def worlds_sample(
    world: Annotated[WorldName, typer.Option("--world", help="Which world.")] = WorldName.posters,
    n: Annotated[int, typer.Option("-n", min=1, max=256, help="How many scenes.")] = 16,
    size: Annotated[Size, typer.Option("--size", help="Pixels on the side of a square.")] = Size.small,
    seed: Seed = None,
    split: Annotated[Split, typer.Option("--split", help="Scenes to learn from, or held-out ones.")] = Split.train,
    out: Out = Path("out"),
) -> None:
    """Draw scenes: a sheet of pictures, and their specs and captions as JSON lines."""
    start = time.perf_counter()
    seed = ready(out, 1, seed)
    from polarlight.base.files import atomic_write
    from polarlight.media.grid import contact_sheet
    from polarlight.media.pictures import save_new_picture
    from polarlight.worlds.captions import captions
    from polarlight.worlds.scene import picture_size

    place = _world(world)
    tiles, labels, lines = [], [], []
    with progress("Drawing") as on_progress:
        for i in range(n):
            scene = place.sample(seed + i, split.value)
            shape = picture_size(scene.spec["aspect"], int(size.value))
            tiles.append(place.render([scene.spec], shape).pixels[0].numpy())
            texts = captions(scene.spec, scene.seed)
            labels.append(f"{scene.seed}  {texts[0]}")
            lines.append(json.dumps({**json.loads(scene.to_json()), "captions": texts}, ensure_ascii=False))
            on_progress(i + 1, n)
    metadata = {"world": world.value, "seed": seed, "count": n, "split": split.value}
    name = out if is_picture(out) else out / f"{world.value}-{split.value}-{seed}.png"
    sheet = save_new_picture(name, contact_sheet(tiles, labels), metadata)
    atomic_write(sheet.with_suffix(".jsonl"), "\n".join(lines) + "\n")
    result(files=[sheet, sheet.with_suffix(".jsonl")], seed=seed, seconds=since(start), passes=1)


def _world(name: WorldName) -> Any:
    if name is WorldName.posters:
        from polarlight.worlds.posters import Posters

        return Posters()
    from polarlight.worlds.tabletop import Tabletop

    return Tabletop()


@app.command()
def doctor() -> None:
    """Say what this machine can do and what is missing."""
    start = time.perf_counter()
    from rich.console import Console
    from rich.table import Table

    from polarlight.infer.doctor import examine

    with progress("Measuring"):
        found = examine()
    gigabytes = 1 << 30
    rows = {
        "system": found["system"],
        "processor": f"{found['processor']}, {found['cores']} cores",
        "memory": f"{found['memory'] / gigabytes:.1f} GiB",
        "bfloat16 units": ", ".join(unit for unit in ("amx_bf16", "avx512_bf16") if found[unit]) or "none",
        "torch": f"{found['torch']}, {found['threads']} threads, {found['dtype']}, {found['cuda'] or 'no GPU'}",
        "matrix products": f"{found['bf16_gflops']} GFLOP/s bfloat16, {found['fp32_gflops']} GFLOP/s float32",
        "memory bandwidth": f"{found['copy_gigabytes']} GB/s copying",
        "fonts and OCR": f"missing, for tests only: {found['fix']}" if found["fix"] else "all there",
        "weights": "\n".join(map(_weights_line, found["weights"])) or "none shipped: train some",
        "free disk": f"{found['disk_free'] / gigabytes:.1f} GiB",
    }
    table = Table(show_header=False)
    for row in rows.items():
        table.add_row(*row)
    Console(markup=False).print(table)
    result(**found, seconds=since(start))


def _weights_line(weights: dict[str, Any]) -> str:
    card = weights["card"]
    text = "no card" if card is None else ", ".join(f"{key} {value}" for key, value in card.items() if key != "command")
    return f"{weights['file']} ({weights['bytes'] / (1 << 20):.1f} MiB): {text}"


def _show_metrics(metrics: dict[str, float]) -> None:
    print("  ".join(f"{name} {value:.5g}" for name, value in metrics.items()), file=sys.stderr)
