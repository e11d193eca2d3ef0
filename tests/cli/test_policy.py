"""The operator's words to the gate: each ends with one JSON object, and a running server follows at once."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from service_doors import listening_house
from typer.testing import Result

from polarlight.infer.policy import Gate, GateRequest, Refused
from polarlight.media.pdq import pdq_hash
from polarlight.serve.settings import Settings
from polarlight.serve.state import State
from polarlight.serve.stored_files import NewFile

Call = Callable[..., Result]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def gate(here: Path) -> Gate:
    return Gate.at(here / "home")


@pytest.fixture
def picture(here: Path) -> Path:
    cells = np.random.default_rng(5).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(cells.repeat(16, 0).repeat(16, 1)).save(here / "picture.png")
    return here / "picture.png"


def hash_of(picture: Path) -> str:
    return pdq_hash(np.asarray(Image.open(picture).convert("RGB"))).hex


def test_status_shows_everything(answer: Ask, gate: Gate) -> None:
    shown = answer("policy", "status")
    assert shown == {
        "folder": str(gate.folder), "off": {}, "blocked": 0, "hold": None, "records": 0, "gate_version": gate.version,
    }  # fmt: skip


def test_a_capability_goes_off_and_on(answer: Ask, gate: Gate) -> None:
    assert answer("policy", "off", "video", "--reason", "a report")["off"] == {"video": "a report"}
    assert gate.switches.reason("video") == "a report"
    assert answer("policy", "on", "video")["off"] == {}
    assert gate.switches.reason("video") is None


def test_an_unknown_capability_lists_the_known_ones(polarlight: Call) -> None:
    result = polarlight("policy", "off", "spicy")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "edit_people" in result.stderr


def test_a_switch_stops_a_running_server_at_once(answer: Ask, here: Path) -> None:
    with listening_house(here / "home") as (house, address):
        headers = {"authorization": f"Bearer {house.secret}"}

        def status() -> tuple[int, str]:
            body = {"prompt": "a cat", "model": "gpt-image-1"}
            got = httpx.post(f"{address}/v1/images/generations", json=body, headers=headers, timeout=60)
            return got.status_code, got.text

        assert status()[0] == 200
        answer("policy", "off", "draw", "--reason", "a report is looked into")
        code, text = status()  # the very next request
        assert code == 503
        assert "a report is looked into" in text
        answer("policy", "on", "draw")
        assert status()[0] == 200


def test_a_takedown_blocks_a_picture_and_deletes_its_copies(answer: Ask, gate: Gate, picture: Path) -> None:
    request = GateRequest(task="draw", prompt="a cat", entry_point="test")
    permit = gate.check(request)
    gate.spend(permit, request.contents)
    made = gate.check_output(permit, np.asarray(Image.open(picture)))
    state = State.open(Settings.from_environment())
    file = NewFile(
        filename="a.png", content=picture.read_bytes(), content_type="image/png", purpose="output", pdq=made.pdq
    )
    stored = state.files.add(state.keys.create("a").key.id, file)
    answered = answer("policy", "takedown", picture, "--reason", "report 5")
    assert answered == {"hash": hash_of(picture), "outputs": [made.id], "deleted": [stored.id]}
    assert not state.objects.exists(stored.object_key)
    state.close()
    assert not gate.check_output(permit, np.asarray(Image.open(picture))).allowed


def test_pictures_hashes_and_lists_are_blocked(answer: Ask, gate: Gate, picture: Path, here: Path) -> None:
    (here / "list.txt").write_text(f"# from elsewhere\n{'1' * 64} theirs\n{'2' * 64}\n", encoding="utf-8")
    assert answer("policy", "block", picture, "A" * 64, "list.txt", "--reason", "mine") == {"added": 4, "blocked": 4}
    notes = {"1" * 64: "theirs", "2" * 64: "mine", "a" * 64: "mine", hash_of(picture): "mine"}
    assert dict(gate.blocked()) == notes


def test_what_is_neither_picture_nor_hash_is_refused(polarlight: Call, gate: Gate) -> None:
    result = polarlight("policy", "block", "nothing.png")
    assert result.exit_code == 2
    assert "nothing.png" in result.stderr
    assert len(gate.blocked()) == 0


def test_a_hold_forbids_pruning_until_it_is_released(answer: Ask, polarlight: Call, gate: Gate) -> None:
    answer("policy", "off", "video")
    assert answer("policy", "hold", "case 12")["hold"] == "case 12"
    assert answer("policy", "status")["hold"] == "case 12"
    refused = polarlight("policy", "audit", "prune", "--before", "2100-01-01")
    assert refused.exit_code == 2
    assert "case 12" in refused.stderr
    assert answer("policy", "release") == {"hold": None}
    assert answer("policy", "audit", "prune", "--before", "2100-01-01") == {"dropped": 3}
    assert gate.audit.verify() is None


def test_the_log_is_verified_and_its_last_hash_is_told(answer: Ask, gate: Gate) -> None:
    gate.turn_off("video", "x")
    last = [one["hash"] for one in gate.audit.records()][-1]
    assert answer("policy", "audit", "verify") == {"whole": True, "records": 1, "last": last}


def test_a_changed_log_is_exit_code_1(polarlight: Call, gate: Gate) -> None:
    gate.turn_off("video", "x")
    gate.audit.path.write_text(gate.audit.path.read_text().replace("video", "world"), encoding="utf-8")
    result = polarlight("policy", "audit", "verify")
    assert result.exit_code == 1
    told = json.loads(result.stdout.splitlines()[-1])
    assert (told["whole"], told["problem"]) == (False, "Line 1 of the audit log was changed.")


def test_the_log_is_exported_by_days(answer: Ask, polarlight: Call, gate: Gate, here: Path) -> None:
    with pytest.raises(Refused):
        gate.check(GateRequest(task="draw", prompt="a beheading", entry_point="test"))
    assert answer("policy", "audit", "export", "log.jsonl") == {"file": "log.jsonl", "records": 1}
    assert json.loads((here / "log.jsonl").read_text())["category"] == "violence"
    assert answer("policy", "audit", "export", "old.jsonl", "--until", "2020-01-01")["records"] == 0
    result = polarlight("policy", "audit", "export", "x.jsonl", "--since", "yesterday")
    assert result.exit_code == 2
    assert "Write YYYY-MM-DD" in result.stderr
