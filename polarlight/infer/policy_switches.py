"""Kill switches: a capability is off from the next check on, in this process and in every other that watches the file."""

from __future__ import annotations

import json
import threading
from pathlib import Path

from ..base.errors import UserError
from ..base.files import atomic_write

CAPABILITIES = ("all", "draw", "edit", "edit_people", "video", "world", "film", "caption", "publish")


class Switches:
    """The capabilities that are switched off, each with a reason, kept as JSON in a file.

    The file is looked at on every question (a stat call, microseconds), so that a change made by another process or by
    hand counts at once. A file that is missing later, unreadable or damaged switches everything off.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._seen: tuple[int, int, int] | None = None
        self._off: dict[str, str] = {}
        if not self.path.exists():
            atomic_write(self.path, "{}\n")

    def reason(self, *capabilities: str) -> str | None:
        """Why one of the capabilities is off, or None where all are on."""
        assert set(capabilities) <= set(CAPABILITIES), f"unknown capability among {capabilities}"
        off = self.all_off()
        return next((off[name] for name in ("all", *capabilities) if name in off), None)

    def all_off(self) -> dict[str, str]:
        """Every capability that is off, with its reason."""
        with self._lock:
            try:
                now = self.path.stat()
                seen = (now.st_mtime_ns, now.st_size, now.st_ino)
                if seen != self._seen:
                    self._off = self._read()
                    self._seen = seen
            except (OSError, ValueError) as error:
                self._seen = None
                return {"all": f"the switches in {self.path.name} cannot be read ({type(error).__name__})"}
            return dict(self._off)

    def turn_off(self, capability: str, reason: str) -> None:
        """Switch a capability off; "all" stands for every one.

        Raises:
            UserError: an unknown capability, or a damaged file.
        """
        self._write(capability, reason)

    def turn_on(self, capability: str) -> None:
        """Switch a capability on again.

        Raises:
            UserError: an unknown capability, or a damaged file.
        """
        self._write(capability, None)

    def _write(self, capability: str, reason: str | None) -> None:
        if capability not in CAPABILITIES:
            raise UserError(f"There is no capability {capability!r}.", fix=f"Use one of {', '.join(CAPABILITIES)}.")
        with self._lock:
            try:
                off = self._read()
            except (OSError, ValueError) as error:
                raise UserError(
                    f"The switches in {self.path} cannot be read: {error}.", fix="Write {} into the file to start anew."
                ) from error
            off.pop(capability, None)
            if reason is not None:
                off[capability] = reason or "no reason given"
            atomic_write(self.path, json.dumps(off, indent=1, ensure_ascii=False) + "\n")

    def _read(self) -> dict[str, str]:
        off = json.loads(self.path.read_text(encoding="utf-8"))
        if not isinstance(off, dict) or not set(off) <= set(CAPABILITIES):
            raise ValueError("not an object of capabilities and reasons")
        return {name: str(reason) for name, reason in off.items()}
