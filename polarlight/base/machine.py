"""The machine at hand: processor, memory, outside tools, and the allocator, all without importing torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FONT_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts", "/Library/Fonts")

# what only tests and bakes need: Debian package -> the file or language that proves it is there
DEBIAN_PACKAGES = {
    "tesseract-ocr": "tesseract",
    "tesseract-ocr-kor": "kor",
    "fonts-noto-color-emoji": "NotoColorEmoji.ttf",
    "fonts-dejavu-core": "DejaVuSans.ttf",
    "fonts-nanum": "NanumGothic.ttf",
    "fonts-liberation": "LiberationSans-Regular.ttf",
    "postgresql": "initdb",
    "chromium": "chromium",
    "nodejs": "node",
    "npm": "npm",
}
PROGRAMS = ("chromium", "node", "npm")  # proofs that are programs on the PATH
POSTGRES = "/usr/lib/postgresql"  # Debian keeps its server programs off the PATH, by version

# glibc hands memory back to the kernel at every free above these sizes, and every page comes back through a fault:
# filling a fresh 40 MB tensor runs at 3 GB/s that way and at 19 GB/s with the memory kept
ALLOCATOR = {"MALLOC_TOP_PAD_": 1 << 28, "MALLOC_MMAP_THRESHOLD_": 1 << 32, "MALLOC_TRIM_THRESHOLD_": 1 << 32}
ALLOCATOR_GUARD = "POLARLIGHT_ALLOCATOR"


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A processor and its memory. `cores` and `memory` (bytes) are those this process may use."""

    system: str
    processor: str
    flags: frozenset[str]
    cores: int
    memory: int

    @property
    def amx_bf16(self) -> bool:
        """Tile matrix multiplication in bfloat16 (about 16 times the fp32 peak on paper)."""
        return {"amx_tile", "amx_bf16"} <= self.flags

    @property
    def avx512_bf16(self) -> bool:
        return "avx512_bf16" in self.flags

    @property
    def fast_bf16(self) -> bool:
        """Whether bfloat16 matrix products beat fp32 here; without either unit they are emulated and slower."""
        return self.amx_bf16 or self.avx512_bf16


def this_machine() -> Machine:
    """Read the machine from the operating system."""
    fields = _cpu_fields()
    return Machine(
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        processor=fields.get("model name") or platform.processor() or platform.machine(),
        flags=frozenset(fields.get("flags", "").split()),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        memory=_memory(),
    )


def missing_packages() -> list[str]:
    """The Debian packages among DEBIAN_PACKAGES whose font, program or language is not found on this machine."""
    present = {path.name for folder in FONT_FOLDERS for path in Path(folder).expanduser().rglob("*.ttf")}
    if shutil.which("tesseract"):
        present.add("tesseract")
        listed = subprocess.run(["tesseract", "--list-langs"], capture_output=True, text=True, check=False)
        present.update((listed.stdout + listed.stderr).split())
    present.update(program for program in PROGRAMS if shutil.which(program))
    if shutil.which("initdb") or any(Path(POSTGRES).glob("*/bin/initdb")):
        present.add("initdb")
    return [package for package, proof in DEBIAN_PACKAGES.items() if proof not in present]


def tune_allocator(argv: Sequence[str] | None = None) -> None:
    """Start this program again, once, with an allocator that keeps freed memory. Does not return where it does so.

    `argv` is the whole command with its interpreter (default: the one this process was started with). Nothing happens
    off glibc, after the first restart, or where the user has set one of the variables.
    """
    chosen = any(name in os.environ for name in ALLOCATOR)
    if chosen or ALLOCATOR_GUARD in os.environ or platform.libc_ver()[0] != "glibc":
        return
    argv = list(sys.orig_argv if argv is None else argv)
    settings = {name: str(size) for name, size in ALLOCATOR.items()}
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, argv, {**os.environ, **settings, ALLOCATOR_GUARD: "tuned"})


def _cpu_fields() -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty off Linux."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    first = path.read_text(errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _memory() -> int:
    """Bytes this process may use: the machine's, or a container's limit where that is lower."""
    pages = {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= set(getattr(os, "sysconf_names", ()))
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if pages else 0
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (text := limit.read_text().strip()).isdigit():
        return min(total or int(text), int(text))
    return total
