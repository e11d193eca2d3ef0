"""What every verb says and shows: a seed, a bar, pictures as they form, one JSON object on the last line of stdout."""

import errno
import json
import os
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polarlight.base.errors import UserError


def is_picture(path: Path) -> bool:
    """Whether a path names a picture and not a folder."""
    from polarlight.media.pictures import FORMATS

    return path.suffix.lower() in FORMATS and not path.is_dir()


def ready(out: Path, n: int, seed: int | None) -> int:
    """Check before any work that `out` can take n pictures; returns the seed, drawn and shown if there is none.

    Raises:
        UserError: it cannot.
    """
    if is_picture(out) and n > 1:
        raise UserError(f"{n} pictures do not fit into one file {out}.", fix="Give a folder, or -n 1.")
    if not is_picture(out) and not out.is_dir() and re.fullmatch(r"\.[a-z]{2,4}", out.suffix.lower()):
        raise UserError(f"Cannot write pictures as '{out.suffix}'.", fix="Use .png, .jpg or .webp, or name a folder.")
    make_folder(out.parent if is_picture(out) else out)
    if seed is None:
        seed = secrets.randbelow(2**31)
        print(f"seed {seed}", file=sys.stderr)
    return seed


def make_folder(folder: Path) -> None:
    """Make a folder that can be written.

    Raises:
        UserError: it cannot be made or written.
    """
    from polarlight.base.files import write_error

    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise write_error(folder, error) from error


@contextmanager
def progress(label: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on stderr, moved by calling (done, total)."""
    with easel(label, preview=False) as on_pass:
        yield lambda done, total: on_pass(done, total, list)


@contextmanager
def easel(label: str, preview: bool) -> Iterator[Callable[[int, int, Callable[[], list[Any]]], None]]:
    """In a terminal, a bar on stderr moved by calling (pass, passes, look); what `look()` shows is drawn below it."""
    if not sys.stderr.isatty():  # without importing rich
        yield lambda number, passes, look: None
        return
    from rich.console import Console, Group
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from rich.text import Text

    console = Console(stderr=True)
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


def since(start: float) -> float:
    """Seconds since a reading of `time.perf_counter`."""
    return round(time.perf_counter() - start, 2)


def result(**fields: Any) -> None:
    """The last line of stdout."""
    print(json.dumps(fields, ensure_ascii=False, default=str), flush=True)
