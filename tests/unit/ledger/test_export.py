"""Files that say exactly what the ledger says."""

from __future__ import annotations

import csv
import importlib
import io
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger import export as exporting
from ledger.database import Ledger
from ledger.errors import LedgerError
from ledger.export import Exported, FileFormat, Selection, export, write_csv
from tests.unit.ledger import story
from tests.unit.ledger.story import ACCOUNT, INSTANCE, T0

LONG = Decimal("123456789012.123456789012345678901234567890")


def read(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        return list(importlib.import_module("pyarrow.parquet").read_table(path).to_pylist())
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def plain(row: dict[str, Any]) -> dict[str, str]:
    """Return a row of the database as texts, as far as CSV keeps kinds apart."""
    return {name: _plain(value) for name, value in row.items()}


def _plain(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _fails(_: object) -> None:
    raise KeyError("power cut")


@pytest.mark.parametrize("file_format", FileFormat)
@pytest.mark.parametrize("what", Exported)
def test_a_file_says_what_the_ledger_says(
    ledger: Ledger, tmp_path: Path, what: Exported, file_format: FileFormat, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "_ROWS_AT_ONCE", 2)
    ledger.book([*story.life(), story.fill("99", price=LONG, filled_at_ms=T0 + 5)])
    path = tmp_path / f"file.{file_format}"
    expected = [plain(row) for row in story.rows(ledger)[what]]
    assert export(ledger, what, path, file_format) == len(expected) > 0
    written = read(path)
    kept = [{name: _plain(row[name]) for name in expected[0]} for row in written]
    assert sorted(kept, key=str) == sorted(expected, key=str)
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_times_are_also_written_for_people(ledger: Ledger, tmp_path: Path) -> None:
    ledger.book([story.fill("1", filled_at_ms=T0 + 7), story.order("1", created_at_ms=0)])
    export(ledger, Exported.FILLS, tmp_path / "fills.csv", FileFormat.CSV)
    assert read(tmp_path / "fills.csv")[0]["filled_at"] == "2026-01-02T00:00:00.007Z"
    export(ledger, Exported.ORDERS, tmp_path / "orders.parquet", FileFormat.PARQUET)
    row = read(tmp_path / "orders.parquet")[0]
    assert (row["updated_at"], row["created_at"], row["created_at_ms"]) == (
        "2026-01-02T00:00:00.000Z",
        None,
        0,
    )


def test_a_selection_selects(ledger: Ledger) -> None:
    ledger.book(story.life())

    def ids(selection: Selection) -> list[str]:
        stream = io.StringIO()
        count = write_csv(ledger, Exported.FILLS, stream, selection)
        found = [row["trade_id"] for row in csv.DictReader(io.StringIO(stream.getvalue()))]
        assert len(found) == count
        return found

    assert ids(Selection()) == ["9", "10", "11", "12"]
    assert ids(Selection(instance_id=INSTANCE)) == ["9", "10", "11"]
    assert ids(Selection(since_ms=T0 + 20, until_ms=T0 + 31)) == ["10", "11"]
    assert ids(Selection(account="backpack:other")) == []
    assert len(ids(Selection(account=ACCOUNT))) == 4


def test_what_belongs_to_an_account_is_not_selected_by_instance(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="select them by account"):
        export(ledger, Exported.BALANCES, tmp_path / "x", FileFormat.CSV, Selection(instance_id=INSTANCE))


def test_a_failure_leaves_the_old_file_and_nothing_else(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fills.csv"
    path.write_text("the old one")
    ledger.book([story.fill()])
    monkeypatch.setattr(exporting, "_shown", _fails)
    with pytest.raises(KeyError):
        export(ledger, Exported.FILLS, path, FileFormat.CSV)
    assert path.read_text() == "the old one"
    assert [entry.name for entry in tmp_path.iterdir()].count("fills.csv") == 1
    assert not list(tmp_path.glob(".fills.csv.*"))


def test_a_folder_that_is_not_there_is_named(ledger: Ledger, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"missing/fills.csv cannot be written: No such file"):
        export(ledger, Exported.FILLS, tmp_path / "missing" / "fills.csv", FileFormat.CSV)


def test_without_pyarrow_it_says_what_to_install(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LedgerError, match=r"cleanbook\[parquet\]"):
        export(ledger, Exported.FILLS, tmp_path / "fills.parquet", FileFormat.PARQUET)
