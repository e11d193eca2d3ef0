"""The audit log shows every tampering, can be exported and pruned, and is kept while a hold stands."""

import itertools
import json
import multiprocessing
import re
from pathlib import Path

import pytest

from polarlight.base.errors import UserError
from polarlight.infer.policy_audit import AuditLog


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    ticks = itertools.count(100)
    return AuditLog(tmp_path, clock=lambda: float(next(ticks)))


def filled(log: AuditLog, count: int = 6) -> AuditLog:
    for number in range(count):
        log.append(event="check", id=str(number), task="draw")
    return log


def test_a_whole_chain_verifies(log: AuditLog) -> None:
    assert log.verify() is None
    filled(log)
    assert log.verify() is None
    assert [record["id"] for record in log.records()] == list("012345")


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (
            lambda lines: [*lines[:2], lines[2].replace("draw", "edit"), *lines[3:]],
            "Line 3 of the audit log was changed",
        ),
        (lambda lines: [*lines[:2], *lines[3:]], "Before line 3 .* removed"),
        (lambda lines: lines[1:], "Before line 1 .* removed"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "Before line 1 .* moved"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "Before line 4 .* added"),
        (lambda lines: [*lines[:4], "{", *lines[5:]], "Line 5 .* damaged"),
    ],
    ids=["changed", "removed", "beheaded", "swapped", "doubled", "garbled"],
)
def test_tampering_is_named(log: AuditLog, tamper: object, sentence: str) -> None:
    lines = filled(log).path.read_text(encoding="utf-8").splitlines()
    log.path.write_text("\n".join(tamper(lines)) + "\n", encoding="utf-8")
    found = log.verify()
    assert found is not None
    assert re.search(sentence, found)


def test_only_the_owner_can_read_the_log(log: AuditLog) -> None:
    assert filled(log).path.stat().st_mode & 0o077 == 0


def test_a_span_of_time_is_exported_line_by_line(log: AuditLog, tmp_path: Path) -> None:
    filled(log)
    target = tmp_path / "export.jsonl"
    assert log.export(target, start=101, end=104) == 3
    lines = target.read_text(encoding="utf-8").splitlines()
    assert lines == log.path.read_text(encoding="utf-8").splitlines()[1:4]
    assert [json.loads(line)["id"] for line in lines] == ["1", "2", "3"]


def test_pruning_drops_the_old_and_keeps_the_chain(log: AuditLog) -> None:
    last = filled(log).path.read_text(encoding="utf-8").splitlines()[-1]
    assert log.prune(before=103) == 3
    assert log.verify() is None
    assert [record.get("id") for record in log.records()] == [None, "3", "4", "5", None]
    assert last in log.path.read_text(encoding="utf-8").splitlines()
    log.append(event="check", id="6")
    assert log.prune(before=105) == 2
    assert next(log.records())["dropped"] == 5
    assert log.verify() is None
    assert log.prune(before=0) == 0


def test_pruning_everything_leaves_a_chain_that_goes_on(log: AuditLog) -> None:
    assert filled(log).prune(before=10_000) == 6
    log.append(event="check", id="next")
    assert log.verify() is None


def test_a_removed_line_after_pruning_is_still_named(log: AuditLog) -> None:
    filled(log).prune(before=103)
    lines = log.path.read_text(encoding="utf-8").splitlines()
    log.path.write_text("\n".join([lines[0], *lines[2:]]) + "\n", encoding="utf-8")
    assert "Before line 2" in log.verify()


def test_a_litigation_hold_stops_pruning(log: AuditLog) -> None:
    filled(log).hold("case 12/2026")
    with pytest.raises(UserError, match="case 12/2026"):
        log.prune(before=10_000)
    log.release()
    assert log.prune(before=103) == 3


def test_a_broken_chain_is_not_pruned(log: AuditLog) -> None:
    filled(log)
    log.path.write_text(log.path.read_text(encoding="utf-8").replace("draw", "edit", 1), encoding="utf-8")
    with pytest.raises(UserError, match="was changed"):
        log.prune(before=103)


def test_a_record_longer_than_the_tail_is_chained(log: AuditLog) -> None:
    log.append(event="takedown", copies=["x" * 32] * 1000)
    log.append(event="check", prompt="line\u2028break \ud800 고양이")
    assert log.verify() is None


def test_a_damaged_end_is_not_written_over(log: AuditLog) -> None:
    filled(log).path.write_text(log.path.read_text(encoding="utf-8") + '{"cut', encoding="utf-8")
    with pytest.raises(UserError, match=r"last line .* damaged"):
        log.append(event="check")


def write_many(folder: Path) -> None:
    filled(AuditLog(folder), 25)


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=write_many, args=(tmp_path,)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    log = AuditLog(tmp_path)
    assert log.verify() is None
    assert len(list(log.records())) == 75
