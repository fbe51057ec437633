"""`manage.py import-ledger`: an old program's database, its report, and the rehearsal."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import click
import pytest

from cli.import_ledger import traded, utc_offset
from tests.unit.cli.ledger_bench import LedgerBench

NAME = "bp_sol_01"
TABLE = """
CREATE TABLE completed_orders (id INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT, symbol TEXT, side TEXT,
quantity REAL, price REAL, maker BOOLEAN, fee REAL, fee_asset TEXT, trade_type TEXT, timestamp DATETIME)
"""
ROWS = [
    ("1", "SOL_USDC", "Bid", 1.5, 100.1, 1, 0.01, "USDC", "market_making", "2025-11-30 12:00:00"),
    ("1", "SOL_USDC", "Bid", 1.5, 100.1, 1, 0.01, "USDC", "market_making", "2025-11-30 12:00:00"),
    ("1", "SOL_USDC", "Bid", 1.5, 100.1, 1, 0.01, "USDC", "market_making", "2025-11-30 12:00:05"),
    ("2", "SOL_USDC", "Ask", 1.5, 101.1, 0, 0.02, "USDC", "rebalance", "2025-11-30 13:00:00"),
]


def write(path: Path, rows: list[tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(path)) as old, old:
        old.execute(TABLE)
        old.executemany(f"INSERT INTO completed_orders VALUES (NULL, {', '.join('?' * 10)})", rows)


@pytest.fixture
def old(tmp_path: Path) -> str:
    """A file of the old program."""
    path = tmp_path / "orders.db"
    write(path, list(ROWS))
    return str(path)


def report(books: LedgerBench, old: str, *more: str) -> dict[str, object]:
    return books.run("import-ledger", old, "--instance", NAME, "--json", *more).json


def test_an_old_file_is_imported_once(books: LedgerBench, old: str) -> None:
    first = report(books, old)

    assert first == {
        "exit_code": 0,
        "up_to_date": True,
        "file": old,
        "dry_run": False,
        "fills": 3,
        "known": 0,
        "duplicates": 1,
        "repeated": 1,
        "ignored": 0,
        "untimed": 0,
        "stats": 0,
    }
    again = report(books, old)
    assert (again["fills"], again["known"]) == (0, 3)
    rows = books.rows("fills", NAME)
    assert [(row["account"], row["price"], row["source"]) for row in rows] == [
        ("imported", "101.1", "import"),
        ("imported", "100.1", "import"),
        ("imported", "100.1", "import"),
    ]
    assert rows[-1]["filled_at"] == "2025-11-30T12:00:00.000Z"


def test_people_read_why_rows_were_skipped(books: LedgerBench, old: str) -> None:
    ran = books.run("import-ledger", old, "--instance", NAME)

    lines = ran.out.splitlines()
    assert lines[0].split() == ["fills", "imported", "3"]
    assert lines[2].split(maxsplit=3) == [
        "duplicates",
        "collapsed",
        "1",
        "the row says exactly what another one says",
    ]
    assert "--drop-repeated leaves them out" in lines[3]
    assert ran.err == f"warning: there is no instance '{NAME}' yet; these will be its first fills\n"


def test_a_rehearsal_says_the_same_and_changes_nothing(books: LedgerBench, old: str, tmp_path: Path) -> None:
    books.bench.configure(NAME)
    rehearsed = report(books, old, "--dry-run")
    assert rehearsed["fills"] == 3
    assert books.rows("fills", NAME) == []
    assert (
        "dry run: nothing was imported"
        in books.run("import-ledger", old, "--instance", NAME, "--dry-run").err
    )

    assert report(books, old) == rehearsed | {"dry_run": False}
    assert report(books, old, "--dry-run")["known"] == 3


def test_options_reach_the_import(books: LedgerBench, tmp_path: Path) -> None:
    odd = tmp_path / "odd.db"
    write(odd, [(*ROWS[0][:1], "SOLUSDC", *ROWS[0][2:]), (*ROWS[2][:1], "SOLUSDC", *ROWS[2][2:])])

    refused = books.run("import-ledger", str(odd), "--instance", NAME)
    told = report(
        books,
        str(odd),
        *("--trades", "SOLUSDC=SOL/USDC/perp", "--utc-offset", "+8", "--account", "backpack:old"),
        "--drop-repeated",
    )

    assert refused.code == 1
    assert "symbol is 'SOLUSDC', which is no BASE_QUOTE" in refused.err
    assert (told["fills"], told["repeated"]) == (1, 1)
    (row,) = books.rows("fills", NAME)
    assert (row["account"], row["market_type"], row["base_asset"]) == ("backpack:old", "perp", "SOL")
    assert row["filled_at"] == "2025-11-30T04:00:00.000Z"


def test_a_file_that_is_none_of_the_old_program_is_said(books: LedgerBench, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    path.write_text("no database")

    for file in (path, tmp_path / "missing.db"):
        ran = books.run("import-ledger", str(file), "--instance", NAME)
        assert ran.code == 1
        assert str(file) in ran.err


def test_a_name_that_cannot_be_an_instance_is_refused(books: LedgerBench, old: str) -> None:
    ran = books.run("import-ledger", old, "--instance", "no such/name")

    assert ran.code == 2
    assert "is no name of an instance" in ran.err


@pytest.mark.parametrize(
    ("text", "hours"), [("+8", 8), ("8", 8), ("-5", -5), ("+05:30", 5.5), ("-0330", -3.5), ("+0", 0)]
)
def test_offsets_of_clocks_are_read(text: str, hours: float) -> None:
    assert utc_offset(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["", "eight", "+15", "+8:99", "Asia/Taipei"])
def test_other_offsets_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        utc_offset(text)


@pytest.mark.parametrize("text", ["SOLUSDC", "SOLUSDC=SOL", "=SOL/USDC", "SOLUSDC=SOL/USDC/spot"])
def test_other_explanations_of_symbols_are_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        traded(text)
