"""The command line: one verb per use, one JSON object on the last line of stdout.

Exit codes: 0 done, 2 the user's mistake (one sentence with the way out), 1 ours, 130 stopped with Ctrl-C. Everything
heavy is imported inside a command, so that help answers at once. Annotations stay plain types: typer reads them.
"""

import errno
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from polarlight.base.errors import UserError
from polarlight.base.machine import tune_allocator
from polarlight.serve.verbs import inspect, keys_app, serve, usage

LONG_VERBS = ("train", "eval")  # worth a restart with an allocator that keeps memory


class Mode(StrEnum):
    speed = "speed"
    quality = "quality"


class Size(StrEnum):
    small = "128"
    large = "256"


class Aspect(StrEnum):
    square = "1:1"
    landscape = "3:2"
    portrait = "2:3"
    wide = "16:9"
    tall = "9:16"


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
)
worlds_app = typer.Typer(help="Look at the worlds that the models learn from.", no_args_is_help=True)
eval_app = typer.Typer(help="Measure a model.", no_args_is_help=True)
app.add_typer(worlds_app, name="worlds")
app.add_typer(eval_app, name="eval")
app.add_typer(keys_app, name="keys")
for verb in (serve, usage, inspect):
    app.command()(verb)

Count = Annotated[int, typer.Option("-n", min=1, max=64, help="How many; each has its own seed, counting up.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Repeats a result; drawn if left out.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="A folder, or a picture's name where one is made.")]
Model = Annotated[Path | None, typer.Option("--model", help="A folder of weights; the shipped ones if left out.")]
ModeOption = Annotated[Mode, typer.Option("--mode", help="Few passes, or many with guidance.")]
Preview = Annotated[bool, typer.Option(help="Show pictures as they form, in a terminal.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A PNG, JPEG or WebP file.")]


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
def imagine(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw; words in quotes are written out.")],
    n: Count = 4,
    mode: ModeOption = Mode.speed,
    size: Annotated[Size, typer.Option("--size", help="Pixels on the side of a square.")] = Size.small,
    aspect: Annotated[Aspect, typer.Option("--aspect", help="Width to height.")] = Aspect.square,
    seed: Seed = None,
    out: Out = Path("out"),
    model: Model = None,
    preview: Preview = True,
) -> None:
    """Draw pictures of a prompt."""
    start = time.perf_counter()
    from polarlight.text.prompts import check_prompt

    prompt = check_prompt(prompt)
    seed = _ready(out, n, seed)
    from polarlight.infer.images import ImageGenerator, ImageRequest

    generator = ImageGenerator.load(model)
    requests = [
        ImageRequest(prompt=prompt, seed=seed + i, size=int(size.value), aspect=aspect.value, mode=mode.value)
        for i in range(n)
    ]
    with _easel("Drawing", preview) as on_pass:
        pictures = generator.draw(requests, on_pass)
    files = _save(pictures, prompt, out)
    _result(files=files, seed=seed, seconds=_since(start), passes=pictures[0].passes, mode=mode.value)


@app.command()
def edit(
    file: File,
    instruction: Annotated[str, typer.Argument(metavar="INSTRUCTION", help="What to change.")],
    mask: Annotated[Path | None, typer.Option("--mask", help="White, or clear, where the picture may change.")] = None,
    n: Count = 1,
    mode: ModeOption = Mode.speed,
    seed: Seed = None,
    out: Out = Path("out"),
    model: Model = None,
    preview: Preview = True,
) -> None:
    """Change a picture as told."""
    start = time.perf_counter()
    from polarlight.media.pictures import load_mask, load_picture
    from polarlight.text.prompts import check_prompt

    instruction = check_prompt(instruction)
    pixels = load_picture(file)
    allowed = load_mask(mask, *pixels.shape[:2]) if mask else None
    seed = _ready(out, n, seed)
    from polarlight.infer.images import EditRequest, ImageGenerator

    generator = ImageGenerator.load(model)
    requests = [
        EditRequest(picture=pixels, instruction=instruction, mask=allowed, seed=seed + i, mode=mode.value)
        for i in range(n)
    ]
    with _easel("Editing", preview) as on_pass:
        pictures = generator.edit(requests, on_pass)
    files = _save(pictures, f"{file.stem} {instruction}", out)
    _result(files=files, seed=seed, seconds=_since(start), passes=pictures[0].passes, mode=mode.value)


@app.command()
def caption(file: File, model: Model = None) -> None:
    """Say what a picture shows."""
    start = time.perf_counter()
    from polarlight.media.pictures import load_picture

    pixels = load_picture(file)
    from polarlight.infer.images import ImageGenerator

    words = ImageGenerator.load(model).caption([pixels])[0]
    _result(file=file, caption=words, seconds=_since(start))


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
    _result(**{**made, "recipe": name, "run": folder, "seconds": _since(start)})


@eval_app.command("image")
def eval_image(
    count: Annotated[int, typer.Option("--count", min=1, help="How many held-out scenes.")] = 500,
    out: Annotated[Path, typer.Option("-o", "--out", help="The folder of the report.")] = Path("out/eval-image"),
    mode: ModeOption = Mode.quality,
    model: Model = None,
    keep: Annotated[bool, typer.Option("--record", help="Write the scores on the card beside the weights.")] = False,
) -> None:
    """Score the image model on held-out scenes."""
    start = time.perf_counter()
    from polarlight.evals.image_card import evaluate, record_scores
    from polarlight.infer.images import SHIPPED, ImageGenerator

    _make_folder(out)
    generator = ImageGenerator.load(model)
    with _progress("Scoring") as on_progress:
        scores = evaluate(generator, count, out, on_progress, mode=mode.value)
    if keep:
        record_scores(scores, model or SHIPPED)
    _result(**{"folder": out, "count": count, "seconds": _since(start), **scores})


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
    seed = _ready(out, 1, seed)
    from polarlight.base.files import atomic_write
    from polarlight.media.grid import contact_sheet
    from polarlight.media.pictures import save_new_picture
    from polarlight.worlds.captions import captions
    from polarlight.worlds.scene import picture_size

    place = _world(world)
    tiles, labels, lines = [], [], []
    with _progress("Drawing") as on_progress:
        for i in range(n):
            scene = place.sample(seed + i, split.value)
            shape = picture_size(scene.spec["aspect"], int(size.value))
            tiles.append(place.render([scene.spec], shape).pixels[0].numpy())
            texts = captions(scene.spec, scene.seed)
            labels.append(f"{scene.seed}  {texts[0]}")
            lines.append(json.dumps({**json.loads(scene.to_json()), "captions": texts}, ensure_ascii=False))
            on_progress(i + 1, n)
    metadata = {"world": world.value, "seed": seed, "count": n, "split": split.value}
    name = out if _is_picture(out) else out / f"{world.value}-{split.value}-{seed}.png"
    sheet = save_new_picture(name, contact_sheet(tiles, labels), metadata)
    atomic_write(sheet.with_suffix(".jsonl"), "\n".join(lines) + "\n")
    _result(files=[sheet, sheet.with_suffix(".jsonl")], seed=seed, seconds=_since(start), passes=1)


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

    with _progress("Measuring"):
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
    _result(**found, seconds=_since(start))


def _weights_line(weights: dict[str, Any]) -> str:
    card = weights["card"]
    text = "no card" if card is None else ", ".join(f"{key} {value}" for key, value in card.items() if key != "command")
    return f"{weights['file']} ({weights['bytes'] / (1 << 20):.1f} MiB): {text}"


def _is_picture(path: Path) -> bool:
    from polarlight.media.pictures import FORMATS

    return path.suffix.lower() in FORMATS and not path.is_dir()


def _ready(out: Path, n: int, seed: int | None) -> int:
    """Check before any work that `out` can take n pictures; returns the seed, drawn and shown if there is none."""
    if _is_picture(out) and n > 1:
        raise UserError(f"{n} pictures do not fit into one file {out}.", fix="Give a folder, or -n 1.")
    if not _is_picture(out) and not out.is_dir() and re.fullmatch(r"\.[a-z]{2,4}", out.suffix.lower()):
        raise UserError(f"Cannot write pictures as '{out.suffix}'.", fix="Use .png, .jpg or .webp, or name a folder.")
    _make_folder(out.parent if _is_picture(out) else out)
    if seed is None:
        seed = secrets.randbelow(2**31)
        print(f"seed {seed}", file=sys.stderr)
    return seed


def _make_folder(folder: Path) -> None:
    from polarlight.base.files import write_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise write_error(folder, error) from error


def _save(pictures: Sequence[Any], text: str, out: Path) -> list[Path]:
    """Write pictures, and where there are several a sheet of them all; never over other files."""
    from polarlight.media.grid import contact_sheet
    from polarlight.media.pictures import file_stem, save_new_picture

    files = []
    for picture in pictures:
        name = out if _is_picture(out) else out / f"{file_stem(text, picture.seed)}.png"
        files.append(save_new_picture(name, picture.pixels, picture.metadata))
    if len(pictures) > 1:
        sheet = contact_sheet([p.pixels for p in pictures], [f"seed {p.seed}" for p in pictures])
        files.append(save_new_picture(out / "grid.png", sheet, {"prompt": text, "seed": pictures[0].seed}))
    return files


@contextmanager
def _progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, moved by calling (done, total)."""
    with _easel(label, preview=False) as on_pass:
        yield lambda done, total: on_pass(done, total, list)


@contextmanager
def _easel(label: str, preview: bool) -> Iterator[Callable[[int, int, Callable[[], list[Any]]], None]]:
    """In a terminal, a bar on stderr moved by calling (pass, passes, look); what `look()` shows is drawn below it."""
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda number, passes, look: None
        return
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    task = bar.add_task(label, total=None)
    with Live(bar, console=console, transient=not preview) as live:

        def on_pass(number: int, passes: int, look: Callable[[], list[Any]]) -> None:
            bar.update(task, completed=number, total=passes)
            pictures = look() if preview else []
            if pictures:
                from polarlight.media.grid import half_blocks

                columns = max(8, min(32, console.width // len(pictures) - 1))
                fit = max(1, console.width // (columns + 1))
                live.update(Group(bar, Text.from_ansi(half_blocks(pictures[:fit], columns))))

        yield on_pass


def _show_metrics(metrics: dict[str, float]) -> None:
    print("  ".join(f"{name} {value:.5g}" for name, value in metrics.items()), file=sys.stderr)


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 2)


def _result(**fields: Any) -> None:
    """The last line of stdout."""
    print(json.dumps(fields, ensure_ascii=False, default=str), flush=True)
