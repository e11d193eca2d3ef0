"""Locks on contents between the processes and threads of one machine, by files whose locks end with who holds them.

SQLite has one lock for all writers: whoever held it while a distant store answers would hold up every one of them. A lock
of these holds up only who brings or removes the same bytes (or one of the 1/256 whose keys begin alike).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def held(folder: Path, object_keys: Iterable[str]) -> Iterator[None]:
    """Hold the locks of some objects, to be found by all under the same folder; waits for others that have them."""
    folder.mkdir(exist_ok=True)
    with ExitStack() as opened:
        for name in sorted({key[:2] for key in object_keys}):  # in one order, so that none wait in a circle
            handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            opened.callback(os.close, handle)  # which lets go of the lock
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
