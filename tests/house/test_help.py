"""Help answers at once."""

import subprocess
import sys

import pytest

VERBS = [
    [],
    ["imagine"],
    ["edit"],
    ["upscale"],
    ["caption"],
    ["train"],
    ["eval"],
    ["eval", "image"],
    ["eval", "edits"],
    ["eval", "upscaler"],
    ["worlds"],
    ["worlds", "sample"],
    ["doctor"],
    ["serve"],
    ["keys"],
    ["keys", "create"],
    ["keys", "list"],
    ["keys", "revoke"],
    ["keys", "grant"],
    ["keys", "share"],
    ["keys", "export"],
    ["usage"],
    ["inspect"],
    ["policy"],
    *(["policy", name] for name in ("status", "off", "on", "takedown", "block", "hold", "release", "audit")),
    *(["policy", "audit", name] for name in ("verify", "export", "prune")),
]
PROGRAM = """
import sys, time
from polarlight.cli import app
try:
    app(sys.argv[1:] + ["--help"], prog_name="polarlight")
except SystemExit as leave:
    heavy = {"torch", "numpy", "PIL", "polarlight.infer", "fastapi", "sqlalchemy"} & set(sys.modules)
    print(leave.code, sorted(heavy), time.process_time(), sep="|")
"""


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb) or "polarlight")
def test_help_imports_nothing_heavy_and_takes_less_than_a_second_of_work(verb: list[str]) -> None:
    # processor time, because a wall clock would also measure whoever else is using the machine
    answer = subprocess.run([sys.executable, "-c", PROGRAM, *verb], capture_output=True, text=True, check=True)
    code, heavy, seconds = answer.stdout.splitlines()[-1].split("|")
    assert (code, heavy) == ("0", "[]")
    assert "Usage: polarlight" in answer.stdout
    assert float(seconds) < 1


def test_every_verb_is_in_the_list_above() -> None:
    import typer.main

    from polarlight.cli import app

    def verbs(command: object, path: list[str]) -> list[list[str]]:
        below = getattr(command, "commands", {})
        return [path, *(verb for name, sub in below.items() for verb in verbs(sub, [*path, name]))]

    assert sorted(verbs(typer.main.get_command(app), [])) == sorted(VERBS)
