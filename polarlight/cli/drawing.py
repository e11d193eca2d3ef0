"""The verbs that run the models: imagine, edit, caption, upscale. They pass the same gate as the server's users.

Annotations stay plain types: typer reads them.
"""

import sys
import time
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from polarlight.base.errors import UserError

from .outputs import Outputs, home, parent_file
from .terminal import easel, is_picture, progress, ready, result, since

DOOR = "cli"
PLAN_HELP = (
    "What stands where: 'cat red @ 3 10 11 27; mug @ 18 12 27 27', boxes x0 y0 x1 y1 in 0..31; "
    "'auto' has it written from the prompt."
)


class Mode(StrEnum):
    speed = "speed"
    quality = "quality"


class Factor(StrEnum):
    two = "2"
    four = "4"


class Size(StrEnum):
    small = "128"
    large = "256"


class Aspect(StrEnum):
    square = "1:1"
    landscape = "3:2"
    portrait = "2:3"
    wide = "16:9"
    tall = "9:16"


Count = Annotated[int, typer.Option("-n", min=1, max=64, help="How many; each has its own seed, counting up.")]
Seed = Annotated[int | None, typer.Option("--seed", min=0, max=2**32 - 1, help="Repeats a result; drawn if left out.")]
Out = Annotated[Path, typer.Option("-o", "--out", help="A folder, or a picture's name where one is made.")]
Model = Annotated[Path | None, typer.Option("--model", help="A folder of weights; the shipped ones if left out.")]
ModeOption = Annotated[Mode, typer.Option("--mode", help="Few passes, or many and the best of four.")]
Candidates = Annotated[
    int | None,
    typer.Option(
        "--candidates",
        min=1,
        max=16,
        help="Drawings of each picture, of which the best is kept: 1 with speed and 4 with quality if left out.",
    ),
]
Preview = Annotated[bool, typer.Option(help="Show pictures as they form, in a terminal.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A PNG, JPEG or WebP file.")]
Consent = Annotated[
    bool,
    typer.Option("--subject-consent", help="You state that the persons in the picture agreed; it is written down."),
]


def imagine(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What to draw; words in quotes are written out.")],
    n: Count = 4,
    mode: ModeOption = Mode.speed,
    size: Annotated[Size, typer.Option("--size", help="Pixels on the side of a square.")] = Size.small,
    aspect: Annotated[Aspect, typer.Option("--aspect", help="Width to height.")] = Aspect.square,
    seed: Seed = None,
    plan: Annotated[str | None, typer.Option("--plan", metavar="PLAN", help=PLAN_HELP)] = None,
    candidates: Candidates = None,
    out: Out = Path("out"),
    model: Model = None,
    preview: Preview = True,
) -> None:
    """Draw pictures of a prompt.

    Speed mode draws each picture once, in few passes. Quality mode takes a pass for every part of it, draws four candidates and
    keeps the one that, to the model's own reader, shows most of what was asked.

    Words in quotes are written where a planner puts them; the answer shows each picture's plan, which can be changed and given
    back: --plan 'sign "OPEN" @ 4 2 19 7' (the first and last of 32 columns and rows). A model trained for it takes things, too.
    """
    start = time.perf_counter()
    seed = ready(out, n, seed)
    from polarlight.infer.tasks import ImageTask

    task = ImageTask(
        prompt=prompt, size=aspect.value, resolution=size.value, mode=mode.value, plan=plan, candidates=candidates
    )
    outputs = Outputs.open(out)
    generator = gated(model)
    with easel("Drawing", preview) as on_pass:
        made = generator.make(task, range(seed, seed + n), seal=outputs.seal, on_pass=on_pass)
    _answer(made, outputs, prompt, seed=seed, start=start, mode=mode.value)


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
    subject_consent: Consent = False,
) -> None:
    """Change a picture as told.

    With a mask everything outside it stays, pixel for pixel, and words to write ("change the text to 'OPEN'") stand in its
    middle. Without one the thing or the words that are to change are looked for, and what lies elsewhere stays where they are
    found; a mask that is all white opens the whole picture. In quality mode words are drawn four times and read, like those of
    a prompt.
    """
    start = time.perf_counter()
    from polarlight.infer.tasks import ImageTask
    from polarlight.media.pictures import load_mask, load_picture

    pixels = load_picture(file)
    allowed = load_mask(mask, *pixels.shape[:2]) if mask else None
    seed = ready(out, n, seed)
    task = ImageTask(prompt=instruction, pictures=(pixels,), mask=allowed, mode=mode.value, task="edit")
    content = file.read_bytes()
    outputs = Outputs.open(out, parent=parent_file(content, pixels), masked=pixels if mask else None)
    generator, given = gated(model), {"file": content, "subject_consent": subject_consent}
    with easel("Editing", preview) as on_pass:
        made = generator.make(task, range(seed, seed + n), seal=outputs.seal, on_pass=on_pass, **given)
    _answer(made, outputs, f"{file.stem} {instruction}", seed=seed, start=start, mode=mode.value)


def caption(file: File, model: Model = None) -> None:
    """Say what a picture shows."""
    start = time.perf_counter()
    from polarlight.media.pictures import load_picture

    pixels = load_picture(file)
    words = gated(model).caption(pixels, file.read_bytes())
    result(file=file, caption=words, seconds=since(start))


def upscale(
    file: File,
    factor: Annotated[Factor, typer.Option("--factor", help="How many times as high and as wide.")] = Factor.two,
    out: Out = Path("out"),
    model: Model = None,
    subject_consent: Consent = False,
) -> None:
    """Make a picture larger: 2 or 4 times as high and as wide.

    A small network redraws edges and letters sharply where plain enlarging blurs them; it learned on Polarlight's own scenes and
    invents nothing. The same picture always gives the same result, of 16.7 megapixels at most.
    """
    start = time.perf_counter()
    from polarlight.infer.sizes import upscaled_size
    from polarlight.infer.tasks import ImageTask
    from polarlight.media.pictures import load_picture, read_metadata

    pixels, times = load_picture(file), int(factor.value)
    size = upscaled_size(pixels.shape[1], pixels.shape[0], times)
    ready(out, 1, seed=0)
    if not is_picture(out):
        out = out / f"{file.stem}-{times}x.png"
    prompt = ""
    with suppress(UserError):  # settings that are damaged keep nobody from enlarging the picture
        prompt = str(read_metadata(file).get("prompt", ""))
    task = ImageTask(prompt=prompt, pictures=(pixels,), task="upscale", factor=times)
    content = file.read_bytes()
    outputs = Outputs.open(out, parent=parent_file(content, pixels))
    with progress("Upscaling") as on_progress:
        made = gated(model, upscaler=True).make(
            task, [0], seal=outputs.seal, file=content, subject_consent=subject_consent,
            on_pass=lambda done, total, look: on_progress(done, total),
        )  # fmt: skip
    _answer(made, outputs, file.stem, start=start, factor=times, width=size.width, height=size.height)


def gated(model: Path | None, upscaler: bool = False) -> Any:
    """The model in a folder, or the upscaler there, behind this installation's gate; it is loaded when the gate has agreed."""
    from polarlight.infer.policy import Gate
    from polarlight.infer.policy_images import GatedGenerator

    def load() -> Any:
        if upscaler:
            from polarlight.infer.upscaling import Upscaler

            return Upscaler.load(model)
        from polarlight.infer.images import ImageGenerator

        return ImageGenerator.load(model)

    return GatedGenerator(Gate.at(home()), DOOR, load)


def _answer(made: Any, outputs: Outputs, text: str, *, start: float, **more: Any) -> None:
    """Write the pictures and say which; those that the gate withheld are counted, and the first reason is given."""
    withheld = {"withheld": len(made.withheld)} if made.withheld else {}
    if withheld:
        print(f"{len(made.withheld)} withheld by the gate: {made.withheld[0].message}", file=sys.stderr)
    files = outputs.save(made.pictures, text)
    settings = [finished.picture.metadata for finished in made.pictures]
    about = {"plans": [each.get("plan") for each in settings], "claims": [each.get("claims") for each in settings]}
    result(
        files=files,
        **{name: values for name, values in about.items() if any(values)},
        passes=made.pictures[0].picture.passes,
        seconds=since(start),
        **more,
        **withheld,
    )
