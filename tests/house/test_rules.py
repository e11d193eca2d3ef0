"""The house rules that a machine can check: sizes, names, paths, style, types."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from jaxtyping import TypeCheckError

from polarlight.media.pictures import encode_picture

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "polarlight"
VAGUE = {"util", "utils", "misc", "helper", "helpers", "common", "legacy", "v2"}
MOST_LINES = 450
MIB = 1 << 20


def project_files() -> list[Path]:
    """What git tracks or would track; without git, everything that is not hidden or built."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    else:
        built = {"__pycache__", "build", "dist", "runs", "out", "node_modules"}
        inside = [(path, path.relative_to(ROOT).parts) for path in ROOT.rglob("*")]
        paths = [
            path
            for path, parts in inside
            if not any(part in built or part.endswith(".egg-info") for part in parts)
            and (not parts[0].startswith(".") or parts[0] in (".ci", ".gitignore"))
        ]
    return [path for path in paths if path.is_file()]


def has_git() -> bool:
    return (ROOT / ".git").exists()


def text_of(path: Path) -> str | None:
    """A file's text; None for binary files."""
    content = path.read_bytes()
    return None if b"\0" in content[:8192] else content.decode(errors="replace")


def test_no_file_of_the_package_is_too_long() -> None:
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    long = [f"{path.relative_to(ROOT)}: {lines} lines" for path, lines in lengths.items() if lines > MOST_LINES]
    assert not long, f"split what holds two things (at most {MOST_LINES} lines): {long}"


def test_no_file_has_a_vague_name() -> None:
    vague = [path for path in project_files() if VAGUE & set(re.split(r"[/_.]", str(path.relative_to(ROOT)).lower()))]
    assert not vague, f"say what is in them: {vague}"


def test_no_file_names_a_place_on_somebodys_machine() -> None:
    place = re.compile(r"(?<![\w./$}\-])/(?:" + "|".join(("work", "tmp", "root", "home", "Users")) + r")/\w")
    found = []
    for path in project_files():
        for number, line in enumerate((text_of(path) or "").splitlines(), 1):
            if place.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:80]}")
    assert not found, "\n".join(["", *found])


def test_the_whole_tree_stays_under_60_mib() -> None:
    if not has_git():
        pytest.skip("without git nobody can say which files belong to the project")
    assert sum(path.stat().st_size for path in project_files()) < 60 * MIB


def test_all_weights_together_stay_under_48_mib() -> None:
    assert sum(path.stat().st_size for path in PACKAGE.rglob("*.safetensors")) < 48 * MIB


def test_every_shipped_weights_file_has_a_card() -> None:
    bare = [path.name for path in PACKAGE.rglob("*.safetensors") if not path.with_suffix(".json").exists()]
    assert not bare, f"no card beside {bare}"


@pytest.mark.parametrize("arguments", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_ruff_passes(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "ruff", *arguments, "--output-format", "concise"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_lowest_floors_pass_mypy() -> None:
    folders = [f"polarlight/{name}" for name in ("base", "ops", "flow") if list((PACKAGE / name).glob("*.py"))]
    found = subprocess.run(
        [sys.executable, "-m", "mypy", *folders], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout + found.stderr


@pytest.mark.parametrize("wrong", [np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.uint8)], ids=["type", "shape"])
def test_shapes_in_signatures_are_checked_in_every_test(wrong: np.ndarray) -> None:
    with pytest.raises(TypeCheckError):
        encode_picture(wrong, {}, ".png")
