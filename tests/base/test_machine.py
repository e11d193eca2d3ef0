"""The machine is read right, and the allocator restarts a program once."""

import json
import os
import platform
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from polarlight.base.machine import ALLOCATOR, ALLOCATOR_GUARD, DEBIAN_PACKAGES, missing_packages, this_machine

PROGRAM = f"""
import json, os, sys
from polarlight.base.machine import tune_allocator
print("started", flush=True)
tune_allocator()
print(json.dumps([{{name: os.environ.get(name) for name in {[*ALLOCATOR, ALLOCATOR_GUARD]}}}, sys.argv[1:]]))
"""
glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator is tuned")


def started(*arguments: str, **environment: str) -> tuple[int, dict[str, str | None], list[str]]:
    """Run PROGRAM: how often it started, the allocator's variables at its end, and its arguments."""
    clean = {name: value for name, value in os.environ.items() if name not in (*ALLOCATOR, ALLOCATOR_GUARD)}
    command = [sys.executable, "-c", PROGRAM, *arguments]
    lines = subprocess.check_output(command, env={**clean, **environment}, text=True).splitlines()
    variables, seen = json.loads(lines[-1])
    return lines.count("started"), variables, seen


@glibc
def test_the_program_starts_again_once_with_a_tuned_allocator() -> None:
    starts, variables, _ = started()
    assert starts == 2
    assert {name: variables[name] for name in ALLOCATOR} == {name: str(size) for name, size in ALLOCATOR.items()}


@glibc
def test_the_restart_keeps_every_argument_as_it_was() -> None:
    assert started("two words", "", "--steps=3", "고양이")[2] == ["two words", "", "--steps=3", "고양이"]


def test_a_users_own_allocator_setting_is_left_alone() -> None:
    starts, variables, _ = started(MALLOC_TOP_PAD_="4096")
    assert starts == 1
    assert variables["MALLOC_TOP_PAD_"] == "4096"


@glibc
def test_the_tuned_allocator_takes_fewer_page_faults() -> None:
    program = (
        "import resource\n"
        "for _ in range(20): block = bytearray(40 << 20); del block\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)"
    )

    def faults(environment: dict[str, str]) -> int:
        return int(subprocess.check_output([sys.executable, "-c", program], env=environment, text=True))

    plain = {name: value for name, value in os.environ.items() if name not in ALLOCATOR}
    tuned = {**plain, **{name: str(size) for name, size in ALLOCATOR.items()}}
    assert faults(tuned) < faults(plain) / 4


def test_this_machine_has_a_name_cores_and_memory() -> None:
    machine = this_machine()
    assert machine.processor
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert machine.memory > 1 << 28


def test_bfloat16_is_fast_with_amx_or_avx512_bf16_and_not_otherwise() -> None:
    machine = this_machine()
    assert replace(machine, flags=frozenset({"amx_tile", "amx_bf16"})).fast_bf16
    assert replace(machine, flags=frozenset({"avx512_bf16"})).fast_bf16
    assert not replace(machine, flags=frozenset({"avx2", "amx_tile", "avx512f"})).fast_bf16


def test_without_programs_and_fonts_every_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("polarlight.base.machine.FONT_FOLDERS", ())
    monkeypatch.setattr("polarlight.base.machine.POSTGRES", "/nowhere")
    assert missing_packages() == list(DEBIAN_PACKAGES)


@pytest.mark.parametrize(("program", "package"), [("chromium", "chromium"), ("node", "nodejs"), ("npm", "npm")])
def test_a_program_on_the_path_needs_no_package(
    program: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert package in missing_packages()
    (tmp_path / program).touch(mode=0o755)
    assert package not in missing_packages()
