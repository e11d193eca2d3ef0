"""A switch counts at once, in every process, and a damaged file switches everything off."""

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from polarlight.base.errors import UserError
from polarlight.infer.policy_switches import Switches


@pytest.fixture
def switches(tmp_path: Path) -> Switches:
    return Switches(tmp_path / "switches.json")


def test_everything_is_on_at_first(switches: Switches) -> None:
    assert switches.reason("draw", "edit", "video") is None


def test_one_capability_goes_off_and_on(switches: Switches) -> None:
    switches.turn_off("edit", "a report")
    assert switches.reason("edit") == "a report"
    assert switches.reason("draw") is None
    switches.turn_on("edit")
    assert switches.reason("edit") is None


def test_all_stands_for_every_one(switches: Switches) -> None:
    switches.turn_off("all", "maintenance")
    assert switches.reason("world") == "maintenance"


def test_another_process_counts_within_a_second(switches: Switches) -> None:
    assert switches.reason("video") is None
    context = multiprocessing.get_context("fork")
    other = context.Process(target=Switches(switches.path).turn_off, args=("video", "a report"))
    other.start()
    other.join()
    start = time.monotonic()
    while switches.reason("video") is None:
        assert time.monotonic() - start < 1
    assert switches.reason("video") == "a report"


def test_a_file_changed_by_hand_counts(switches: Switches) -> None:
    assert switches.reason("draw") is None
    switches.path.write_text(json.dumps({"draw": "by hand"}), encoding="utf-8")
    assert switches.reason("draw") == "by hand"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"darw": "typo"}'])
def test_a_damaged_file_switches_everything_off(switches: Switches, content: str) -> None:
    switches.path.write_text(content, encoding="utf-8")
    assert "cannot be read" in switches.reason("draw")
    with pytest.raises(UserError, match="cannot be read"):
        switches.turn_on("draw")


def test_a_file_that_vanishes_switches_everything_off(switches: Switches) -> None:
    switches.path.unlink()
    assert "cannot be read" in switches.reason("caption")


def test_an_unknown_capability_is_refused(switches: Switches) -> None:
    with pytest.raises(UserError, match="no capability 'spicy'"):
        switches.turn_off("spicy", "")
