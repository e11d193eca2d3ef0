"""The audit log of the policy gate: append-only lines of JSON, each with the hash of the one before.

A changed, removed or inserted line breaks the chain from there on. What the chain cannot show is that its end was cut off:
keep the last hash elsewhere from time to time. Several processes may write to one log; a lock on the file orders them.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..base.errors import UserError
from ..base.files import atomic_write, write_error

START = "0" * 64  # what the first line of a log names as the one before
TAIL = 1 << 12  # bytes from the end where the last line is looked for first


class AuditLog:
    """Records in `folder`/audit.jsonl; `folder`/hold keeps them from being pruned while it exists."""

    def __init__(self, folder: str | Path, clock: Callable[[], float] = time.time) -> None:
        self.folder, self.clock = Path(folder), clock
        self.path, self.hold_path = self.folder / "audit.jsonl", self.folder / "hold"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error

    def append(self, **record: Any) -> dict[str, Any]:
        """Write one record with its time and the hashes; returns it. A full disk raises, so that nothing goes unlogged.

        Raises:
            UserError: the log cannot be written.
        """
        with self.locked():
            return self._append(record)

    def records(self, start: float = 0.0, end: float = float("inf")) -> Iterator[dict[str, Any]]:
        """The records of start <= time < end (seconds since 1970), oldest first.

        Raises:
            UserError: a line that is not JSON (it is named).
        """
        for number, line in enumerate(self._lines(), 1):
            try:
                record = json.loads(line)
            except ValueError as error:
                raise UserError(
                    f"Line {number} of the audit log {self.path} is damaged.", fix="Look at it beside a copy."
                ) from error
            if start <= record["time"] < end:
                yield record

    def export(self, target: str | Path, start: float = 0.0, end: float = float("inf")) -> int:
        """Write the records of a time span to a file, one a line as they stand in the log; returns how many."""
        lines = [_text(record) for record in self.records(start, end)]
        atomic_write(target, "".join(f"{line}\n" for line in lines))
        return len(lines)

    def verify(self) -> str | None:
        """A sentence on the first broken line, or None where the chain is whole."""
        before = START
        for number, line in enumerate(self._lines(), 1):
            try:
                record = json.loads(line)
                own, named = record.pop("hash"), record["previous"]
            except (ValueError, KeyError, TypeError, AttributeError):
                return f"Line {number} of the audit log is damaged."
            if named != before:
                return f"Before line {number} of the audit log something was removed, added or moved."
            if own != _hash(record):
                return f"Line {number} of the audit log was changed."
            before = record["carried"] if number == 1 and "carried" in record else own
        return None

    def held(self) -> str | None:
        """Why nothing may be pruned; None where no hold stands."""
        return self.hold_path.read_text(encoding="utf-8").strip() if self.hold_path.exists() else None

    def hold(self, reason: str) -> None:
        """Start a litigation hold: nothing is pruned until `release`."""
        atomic_write(self.hold_path, reason + "\n")
        self.append(event="hold", reason=reason)

    def release(self) -> None:
        """End the litigation hold."""
        self.hold_path.unlink(missing_ok=True)
        self.append(event="hold released")

    def prune(self, before: float) -> int:
        """Drop the records older than `before` (seconds since 1970) and return how many.

        The log then begins with a line that says how many were dropped so far and carries the last dropped hash; the lines
        that stay are not touched. A record of the pruning is appended.

        Raises:
            UserError: a litigation hold stands, or the chain is broken.
        """
        with self.locked():
            if (reason := self.held()) is not None:
                raise UserError(f"Nothing may be pruned: {reason}.", fix="Release the litigation hold first.")
            if wrong := self.verify():
                raise UserError(wrong, fix="Clear this up before anything is pruned.")
            records = list(self.records())
            earlier = records.pop(0)["dropped"] if records and "carried" in records[0] else 0
            dropped = next((i for i, record in enumerate(records) if record["time"] >= before), len(records))
            if not dropped:
                return 0
            first = {"time": self.clock(), "dropped": earlier + dropped, "previous": START}
            first["carried"] = records[dropped - 1]["hash"]
            lines = [first | {"hash": _hash(first)}, *records[dropped:]]
            atomic_write(self.path, "".join(f"{_text(line)}\n" for line in lines))
            self._append({"event": "pruned", "count": dropped})
            return dropped

    def _append(self, record: Mapping[str, Any]) -> dict[str, Any]:
        try:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with os.fdopen(handle, "r+b", buffering=0) as file:
                line = _last_line(file)
                last = json.loads(line) if line else {"hash": START}
                whole = {"time": self.clock(), **record, "previous": last.get("carried", last["hash"])}
                whole["hash"] = _hash(whole)
                file.write(_text(whole).encode() + b"\n")
        except OSError as error:
            raise write_error(self.path, error) from error
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"The last line of the audit log {self.path} is damaged.", fix="Move the log away; a new one is begun."
            ) from error
        return whole

    def _lines(self) -> list[str]:
        try:
            return self.path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
        except FileNotFoundError:
            return []

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One writer at a time to what lies in the folder, in this process and in others. Not to be nested.

        The lock lies beside the log, because pruning replaces the log.
        """
        with open(self.folder / ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _last_line(file: io.FileIO) -> bytes:
    """The last line of a file, empty where it has none."""
    size, length = file.seek(0, os.SEEK_END), TAIL
    while True:
        file.seek(max(0, size - length))
        lines = file.read(length).splitlines()
        if length >= size or len(lines) > 1:
            return lines[-1] if lines else b""
        length *= 8


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, sort_keys=True)


def _hash(record: Mapping[str, Any]) -> str:
    """SHA-256 of a record without its own hash."""
    return hashlib.sha256(_text(record).encode()).hexdigest()
