"""The results table: one line an entry, and everything that is not known stays a dash."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCH = str(Path(__file__).parents[2] / "bench")
ENTRY = {
    "date": "2026-11-22T11:00:45Z", "loaded": False, "others": 0.0, "machine": {"threads": 2}, "result": {},
}  # fmt: skip


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, imported from its own folder."""
    monkeypatch.syspath_prepend(BENCH)
    import table

    yield table
    for name in [name for name in sys.modules if name.split(".")[0] in ("harness", "table")]:
        del sys.modules[name]


def test_a_row_has_a_cell_for_every_column(table: ModuleType) -> None:
    times = {"ratio": 2.0, "low": 1.9, "high": 2.1}
    full = table.row(ENTRY, "work", "1 s", "2 s", times, 1.5, "9%")
    assert full == "| work | 1 s | 2 s | **2.00** (1.90-2.10) | 1.5 | 9% | 2026-11-22, 2 threads |"
    assert full.count("|") == table.HEADING.splitlines()[0].count("|")


def test_what_is_not_known_is_a_dash(table: ModuleType) -> None:
    assert table.row(ENTRY, "work", "1 s") == "| work | 1 s | - | - | - | - | 2026-11-22, 2 threads |"


def test_a_loaded_machine_is_named(table: ModuleType) -> None:
    loaded = ENTRY | {"loaded": True, "others": 0.4}
    assert table.row(loaded, "work", "1 s").endswith("| 2026-11-22, 2 threads, loaded 40% |")


def test_the_ledger_fills_every_part_of_the_table(table: ModuleType) -> None:
    parts = (table.decoding, table.training, table.drawing, table.starting, table.batching, table.marking)
    for part in parts:
        rows = list(part())
        assert rows, part.__name__
        assert all(row.count("|") == 8 and row.startswith("| ") for row in rows)
