"""One gate for every door: the same five hundred prompts, the same decision, reason and rule at each.

Allowed requests end at the purse: the key has no credit, which is asked after the gate and before anything is drawn.
"""

import ast
import asyncio
import base64
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from e2e.gate_doors import DOORS, OPENAI, PHOTO, PIXELS, Answer, Poor, name_of
from infer.policy_suite import NAMES, Case, cases
from service_doors import data_uri, made_home, open_house
from typer.testing import CliRunner

from polarlight.cli import app
from polarlight.infer.images import ImageGenerator, ImageRequest, Picture
from polarlight.infer.policy import Gate, GateRequest, Refused, Upload
from polarlight.infer.policy_rules import MESSAGES
from polarlight.media.provenance import read_provenance
from polarlight.media.signing_identity import SigningIdentity
from polarlight.serve.database import Database
from polarlight.serve.migrations import migrate

PACKAGE = Path(__file__).parents[2] / "polarlight"
TOGETHER = 8  # requests under way at a door
MANY = 50  # requests in one call of a door that takes several
Decision = tuple[str, str, str]  # decision, category, rule


def calls(many: bool, alone: dict[str, Decision]) -> list[list[Case]]:
    """Every case in a call of its own; where a door takes `many`, those that the gate allows together.

    A batch is added whole or not at all, so that a case to refuse stands alone.
    """
    made: list[list[Case]] = []
    together: dict[bool, list[Case]] = {}
    for case in cases():
        if not many or alone[name_of(case)][0] == "refused":
            made.append([case])
            continue
        group = together.setdefault(case.consent, [])
        group.append(case)
        if len(group) == MANY:
            made.append(together.pop(case.consent))
    return [*made, *together.values()]


def log_of(gate: Gate, since: int = 0) -> dict[str, list[Decision]]:
    """The decisions in the audit log from a record on, by the names of their cases."""
    found: dict[str, list[Decision]] = {}
    for one in islice(gate.audit.records(), since, None):
        name = f"{one['prompt_hash']}-{one['task'] == 'edit'}-{one['subject_consent']}"
        found.setdefault(name, []).append((one["decision"], one["category"], one["rule"]))
    return found


def judged_alone(gate: Gate) -> dict[str, Decision]:
    """The gate's own decisions, without any door."""
    for case in cases():
        pictures = (Upload(pixels=PIXELS, content=PHOTO),) if case.photo else ()
        request = GateRequest(
            task="edit" if case.photo else "draw", prompt=case.prompt, entry_point="test", pictures=pictures,
            subject_consent=case.consent,
        )  # fmt: skip
        try:
            gate.check(request)
        except Refused:
            continue
    return {name: decisions[0] for name, decisions in log_of(gate).items()}


@pytest.fixture(scope="module")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema."""
    path = tmp_path_factory.mktemp("migrated") / "state.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Decision]:
    home = tmp_path_factory.mktemp("alone")
    return judged_alone(Gate.at(with_choices(home)))


def with_choices(home: Path) -> Path:
    """A home whose operator named two persons."""
    (home / "policy").mkdir(parents=True, exist_ok=True)
    (home / "policy" / "choices.json").write_text(json.dumps({"names": NAMES}), encoding="utf-8")
    return home


@dataclass(frozen=True)
class Heard:
    """What a door said to each case, and what the log says of them."""

    said: dict[str, Answer]
    logged: dict[str, list[Decision]]


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory, migrated: Path, alone: dict[str, Decision]) -> dict[str, Any]:
    """Every door of one house, asked everything; where one breaks, its error."""
    home = made_home(tmp_path_factory.mktemp("doors"), migrated)

    async def listen(poor: Poor, door: str) -> Heard:
        gate, turns, said = poor.service.gate, asyncio.Semaphore(TOGETHER), dict[str, Answer]()
        before = sum(1 for _ in gate.audit.records())
        async with DOORS[door](poor) as ask:

            async def call(several: list[Case]) -> None:
                async with turns:
                    answer = await ask(several)
                said.update((name_of(case), answer) for case in several)

            await asyncio.gather(*map(call, calls("batch" in door, alone)))
        assert not poor.house.images.tasks
        return Heard(said, log_of(gate, before))

    async def listen_to_all() -> dict[str, Any]:
        async with open_house(home, clips=False, names=NAMES) as house:
            poor, found = Poor(house), dict[str, Any]()
            for door in DOORS:
                try:
                    found[door] = await listen(poor, door)
                except (Exception, pytest.skip.Exception) as error:
                    found[door] = error
            return found

    return asyncio.run(listen_to_all())


@pytest.mark.parametrize("door", DOORS)
def test_every_door_decides_as_the_gate_does(door: str, heard: dict[str, Any], alone: dict[str, Decision]) -> None:
    if isinstance(heard[door], BaseException):
        raise heard[door]
    said, logged = heard[door].said, heard[door].logged
    assert len(said) == len(cases())
    assert logged == {name: [decision] for name, decision in alone.items()}
    for name, (decision, category, _) in alone.items():
        sentence = said[name]
        assert (sentence is None) == (decision == "allowed"), (name, sentence)
        assert sentence is None or sentence.startswith(MESSAGES[category]), (name, sentence)


class Painter:
    """A model that paints one grey, large enough for a mark."""

    def draw(self, requests: list[ImageRequest], on_pass: object = None) -> list[Picture]:
        pixels = np.full((128, 128, 3), 90, np.uint8)
        return [Picture(pixels=pixels, seed=r.seed, passes=1, metadata={}) for r in requests]

    edit = draw


@pytest.fixture
def painter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command line in a folder and a home of its own, without the real model."""
    monkeypatch.setattr(ImageGenerator, "load", staticmethod(lambda folder=None: Painter()))
    monkeypatch.setenv("POLARLIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def test_a_picture_of_the_command_line_is_the_servers_own(painter: None, tmp_path: Path, migrated: Path) -> None:
    home = made_home(tmp_path, migrated)
    drawn = CliRunner().invoke(app, ["imagine", "a woman", "-n", "1", "-o", "her.png"], prog_name="polarlight")
    assert drawn.exit_code == 0, drawn.output
    content = (tmp_path / "her.png").read_bytes()

    async def edited(picture: bytes) -> httpx.Response:
        async with open_house(home, clips=False, sign=True) as house:
            given = {"image": {"url": data_uri(picture)}, "response_format": "b64_json"}
            return await house.client.post(
                "/v1/images/edits", json={"prompt": "make her smile", "model": OPENAI, **given}
            )

    answer = asyncio.run(edited(content))
    assert answer.status_code == 200, answer.text
    said = read_provenance(base64.b64decode(answer.json()["data"][0]["b64_json"]), SigningIdentity.open(home).anchor)
    assert (said.state, said.parents, said.synthetic) == ("trusted", ("parent",), True)


def test_the_verbs_themselves_decide_so(painter: None, tmp_path: Path, alone: dict[str, Decision]) -> None:
    with_choices(tmp_path / "home")
    (tmp_path / "photo.png").write_bytes(PHOTO)
    latin = [case for case in cases() if case.prompt.isascii()]
    for case in latin[:: len(latin) // 20]:
        start = ["edit", "photo.png", case.prompt] if case.photo else ["imagine", case.prompt]
        more = ["--subject-consent"] if case.consent else []
        result = CliRunner().invoke(app, [*start, *more, "-n", "1"], prog_name="polarlight")
        decision, category, _ = alone[name_of(case)]
        assert result.exit_code == (0 if decision == "allowed" else 2), (case, result.output)
        if decision == "refused":
            assert f"polarlight: {MESSAGES[category]}" in result.stderr
            assert result.stdout == ""


@pytest.mark.parametrize("kind", ["harmful", "borderline"])
def test_a_real_process_refuses_without_loading_the_model(
    kind: str, tmp_path: Path, alone: dict[str, Decision]
) -> None:
    case = next(
        each for each in cases() if each.kind == kind and not each.photo and alone[name_of(each)][0] == "refused"
    )
    program = "import sys\nfrom polarlight.cli import main\ntry: main()\nfinally: print('torch' in sys.modules, file=sys.stderr)"
    home = str(with_choices(tmp_path / "home"))
    ended = subprocess.run(
        [sys.executable, "-c", program, "imagine", case.prompt, "-n", "1", "--seed", "1"], cwd=tmp_path,
        env=os.environ | {"POLARLIGHT_HOME": home}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    sentence, torch = ended.stderr.splitlines()
    assert (ended.returncode, ended.stdout, torch) == (2, "", "False")
    assert sentence.startswith(f"polarlight: {MESSAGES[alone[name_of(case)][1]]}")
    assert log_of(Gate.at(tmp_path / "home")) == {name_of(case): [alone[name_of(case)]]}


def bare_model_imports(path: Path) -> list[str]:
    """Where a file takes the bare image model, by function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    owners = {
        id(node): function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
    }
    return [
        f"{path.relative_to(PACKAGE)}:{owners.get(id(node), '')}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and any(alias.name == "ImageGenerator" for alias in node.names)
    ]


def test_no_door_takes_the_bare_model() -> None:
    doors = [path for folder in ("cli", "serve", "agent") for path in (PACKAGE / folder).rglob("*.py")]
    found = [where for path in doors for where in bare_model_imports(path)]
    # evaluation measures the bare model; `load` hands it to the gate
    scores = [f"cli/__init__.py:eval_{what}" for what in ("edits", "image", "upscaler")]
    assert sorted(found) == [*scores, "cli/drawing.py:load"]
