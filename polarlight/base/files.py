"""Files that are either whole or absent."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UserError

PACKAGE = Path(__file__).resolve().parent.parent


@contextmanager
def atomic_path(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `target`; on success it replaces `target`, on any failure it disappears.

    The temporary name keeps the target's suffix, because image and video writers choose a format by it.

    Raises:
        UserError: the folder cannot be made or written, or the disk is full.
    """
    target = Path(target)
    temporary = target.parent / f".{target.stem}-{secrets.token_hex(6)}{target.suffix}"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.close(
            os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        )  # less what the user's umask takes away
    except OSError as error:
        raise write_error(target, error) from error
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise write_error(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def atomic_write(target: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` to `target` whole or not at all."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


def write_error(target: Path, error: OSError) -> UserError:
    """The sentence for a failed write."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(f"The disk is full while writing {target}.", fix="Free some space or choose another -o PATH.")
    return UserError(f"Cannot write {target}: {error.strerror or error}.", fix="Choose another -o PATH.")
