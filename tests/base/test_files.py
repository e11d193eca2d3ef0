"""Files are whole or absent."""

import errno
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polarlight.base.errors import UserError
from polarlight.base.files import atomic_path, atomic_write


@contextmanager
def small_files(limit: int) -> Iterator[None]:
    """No file may grow beyond `limit` bytes: the kernel's own stand-in for a disk that fills up while writing."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_written_file_holds_the_content_and_nothing_lies_beside_it(tmp_path: Path) -> None:
    atomic_write(tmp_path / "deep" / "card.json", "고양이")
    assert (tmp_path / "deep" / "card.json").read_text(encoding="utf-8") == "고양이"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["card.json"]


def test_a_written_file_has_the_permissions_of_an_ordinary_one(tmp_path: Path) -> None:
    atomic_write(tmp_path / "atomic", b"x")
    (tmp_path / "ordinary").write_bytes(b"x")
    assert (tmp_path / "atomic").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_while_writing_keeps_the_old_file_and_leaves_no_other(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    target = tmp_path / "picture.png"
    target.write_bytes(b"old")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half of the new")
            raise failure

    with pytest.raises(failure):
        write_half()
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_temporary_file_keeps_the_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "clip.webp") as temporary:
        assert temporary.suffix == ".webp"


def test_a_disk_that_fills_up_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "weights.bin"
    target.write_bytes(b"old")
    with small_files(4096), pytest.raises(UserError, match=r"Cannot write .*weights\.bin"):
        atomic_write(target, bytes(1 << 20))
    assert target.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_called_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def full(*_: object) -> None:
        raise OSError(number, "no room")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="The disk is full"):
        atomic_write(tmp_path / "film.mp4", b"frames")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_the_file_should_go_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="Cannot write"):
        atomic_write(tmp_path / "out", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_file_where_a_folder_should_be_is_a_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"")
    with pytest.raises(UserError, match="Cannot write"):
        atomic_write(tmp_path / "out" / "picture.png", b"x")


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "state.bin"
    target.write_bytes(b"old")
    program = (
        "import os, signal, sys\nfrom polarlight.base.files import atomic_path\n"
        "with atomic_path(sys.argv[1]) as temporary:\n"
        "    temporary.write_bytes(b'half')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(target)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert target.read_bytes() == b"old"
