"""Files of the old program, as it makes them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger import queries
from ledger.database import Ledger
from ledger.errors import ImportFailed
from ledger.importing import Assets, ImportReport, import_old
from ledger.retention import prune
from market.orders import Role, Side
from tests.unit.ledger import story
from tests.unit.ledger.story import ACCOUNT, INSTANCE

TABLES = """
CREATE TABLE completed_orders (id INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT, symbol TEXT, side TEXT,
  quantity REAL, price REAL, maker BOOLEAN, fee REAL, fee_asset TEXT, trade_type TEXT,
  timestamp DATETIME DEFAULT CURRENT_TIMESTAMP);
CREATE TABLE trading_stats (id INTEGER PRIMARY KEY AUTOINCREMENT, date TEXT, symbol TEXT, net_profit REAL,
  trade_count INTEGER);
CREATE TABLE rebalance_orders (id INTEGER PRIMARY KEY AUTOINCREMENT, order_id TEXT, symbol TEXT,
  timestamp DATETIME DEFAULT CURRENT_TIMESTAMP);
"""
#: 2025-11-30T12:00:00Z.
AT_MS = 1_764_504_000_000


class Old:
    """A file of the old program that grows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run(TABLES)

    def run(self, script: str) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            connection.executescript(script)

    def add(self, table: str = "completed_orders", **values: Any) -> None:
        names = ", ".join(values)
        places = ", ".join("?" * len(values))
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(values.values()))
            connection.commit()

    def fill(self, order_id: str | None = "1", **changed: Any) -> None:
        values = {
            "order_id": order_id,
            "symbol": "SOL_USDC",
            "side": "Bid",
            "quantity": 0.1,
            "price": 131.07,
            "maker": 1,
            "fee": 0.0001,
            "fee_asset": "SOL",
            "trade_type": "market_making",
            "timestamp": "2025-11-30 12:00:00",
        }
        self.add(**{**values, **changed})


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path / "orders.db")


def imported(ledger: Ledger, old: Old, **options: Any) -> ImportReport:
    return import_old(ledger, old.path, account=ACCOUNT, instance_id=INSTANCE, **options)


def test_fills_are_taken_over(ledger: Ledger, old: Old) -> None:
    old.fill("1")
    old.fill("2", side="Ask", maker=0, symbol="SOL_USDC_PERP", fee_asset=None, trade_type="rebalance")
    assert imported(ledger, old).fills == 2
    second, first = queries.fills(ledger, INSTANCE)
    assert (first.side, first.quantity, first.price) == (Side.BUY, Decimal("0.1"), Decimal("131.07"))
    assert (first.fee, first.fee_asset, first.is_maker) == (Decimal("0.0001"), "SOL", True)
    assert (first.base_asset, first.quote_asset, first.market_type) == ("SOL", "USDC", "spot")
    assert (first.filled_at_ms, first.source, first.role, first.epoch) == (AT_MS, "import", None, 0)
    assert (second.side, second.is_maker, second.market_type) == (Side.SELL, False, "perp")
    assert (second.fee_asset, second.role) == ("USDC", Role.HEDGE)
    # Of the same second, in the order of the file.
    assert second.filled_at_ms == AT_MS + 1


def test_importing_again_adds_only_what_is_new(ledger: Ledger, old: Old) -> None:
    old.fill("1")
    old.fill("2")
    old.add("trading_stats", date="2025-11-30", symbol="SOL_USDC", net_profit=1.5, trade_count=2)
    imported(ledger, old)
    before = story.rows(ledger)
    report = imported(ledger, old)
    assert (report.fills, report.known, report.stats) == (0, 2, 1)
    assert story.rows(ledger) == before
    old.fill("3")
    report = imported(ledger, old)
    assert (report.fills, report.known) == (1, 2)


def test_rows_that_say_the_same_are_one_fill(ledger: Ledger, old: Old) -> None:
    for _ in range(3):
        old.fill("1")
    old.fill("1", timestamp="2025-11-30 12:00:01")
    old.fill("1", quantity=0.2)
    report = imported(ledger, old)
    assert (report.fills, report.duplicates, report.repeated) == (3, 2, 1)


def test_what_was_read_again_after_a_restart_can_be_dropped(ledger: Ledger, old: Old) -> None:
    old.fill("1")
    old.fill("1", timestamp="2025-12-01 08:00:00")
    report = imported(ledger, old, drop_repeated=True)
    assert (report.fills, report.repeated) == (1, 1)
    assert queries.fills(ledger, INSTANCE)[0].filled_at_ms == AT_MS


def test_orders_of_rebalances_mark_their_fills(ledger: Ledger, old: Old) -> None:
    old.fill("1")
    old.fill("2")
    old.add("rebalance_orders", order_id="2", symbol="SOL_USDC")
    imported(ledger, old)
    assert {f.order_id: f.role for f in queries.fills(ledger, INSTANCE)} == {"1": None, "2": Role.HEDGE}


def test_statistics_are_kept_as_they_are(ledger: Ledger, old: Old) -> None:
    old.add("trading_stats", date="2025-11-30", symbol="SOL_USDC", net_profit=1.5, trade_count=2)
    old.add("trading_stats", date="2025-11-30", symbol="SOL_USDC", net_profit=1.75, trade_count=3)
    assert imported(ledger, old).stats == 1
    (row,) = story.rows(ledger)["imported_stats"]
    assert (row["account"], row["instance_id"], row["day"]) == (ACCOUNT, INSTANCE, "2025-11-30")
    assert json.loads(row["figures"]) == {"net_profit": "1.75", "trade_count": "3"}


@pytest.mark.parametrize(
    ("timestamp", "offset_h", "at_ms"),
    [
        ("2025-11-30 12:00:00", 0, AT_MS),
        ("2025-11-30 20:00:00", 8, AT_MS),
        ("2025-11-30 20:00:00+08:00", 3, AT_MS),
        ("2025-11-30T12:00:00.123456", 0, AT_MS + 123),
        (AT_MS, 8, AT_MS),
        (AT_MS / 1000, 8, AT_MS),
    ],
)
def test_times_are_understood(
    ledger: Ledger, old: Old, timestamp: str | float, offset_h: int, at_ms: int
) -> None:
    old.fill(timestamp=timestamp)
    imported(ledger, old, utc_offset=timedelta(hours=offset_h))
    assert queries.fills(ledger, INSTANCE)[0].filled_at_ms == at_ms


def test_a_row_without_a_time_gets_that_of_the_row_before(ledger: Ledger, old: Old) -> None:
    old.fill("0", timestamp=None)
    old.fill("1")
    old.fill("2", timestamp=None)
    assert imported(ledger, old).untimed == 2
    times = [f.filled_at_ms for f in queries.fills(ledger, INSTANCE)]
    assert times == [AT_MS + 2, AT_MS + 1, AT_MS]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"side": "long"}, "row 2: side is 'long', which is none of Bid, Ask"),
        ({"quantity": "many"}, "row 2: quantity is 'many', which is no number"),
        ({"quantity": 0}, "row 2: quantity is 0.0, which is not above zero"),
        ({"price": None}, "row 2: price is None, which is no number"),
        ({"fee": float("inf")}, "row 2: fee is inf, which is no number"),
        ({"order_id": None}, "row 2: order_id is None, which is empty"),
        ({"symbol": "SOLUSDT"}, "row 2: symbol is 'SOLUSDT', which is no BASE_QUOTE"),
        ({"timestamp": "yesterday"}, "row 2: timestamp is 'yesterday', which is no time"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_imported(
    ledger: Ledger, old: Old, wrong: dict[str, Any], words: str
) -> None:
    old.fill("1")
    old.fill(**{"order_id": "2", **wrong})
    with pytest.raises(ImportFailed) as caught:
        imported(ledger, old)
    assert f"{old.path}, table completed_orders, {words}" in str(caught.value)
    assert "nothing was imported" in str(caught.value)
    assert queries.counts(ledger)["fills"] == 0


def test_other_symbols_can_be_explained(ledger: Ledger, old: Old) -> None:
    old.fill(symbol="SOLUSDT")
    imported(ledger, old, assets={"SOLUSDT": Assets("SOL", "USDT", True)})
    (record,) = queries.fills(ledger, INSTANCE)
    assert (record.base_asset, record.quote_asset, record.market_type) == ("SOL", "USDT", "perp")


def test_no_row_with_a_time_is_said(ledger: Ledger, old: Old) -> None:
    old.fill(timestamp=None)
    with pytest.raises(ImportFailed, match="no row has a timestamp"):
        imported(ledger, old)


def test_other_files_are_refused(ledger: Ledger, old: Old, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("no database at all " * 100)
    for path, words in [("notes", "file is not a database"), ("missing", "is not a file")]:
        with pytest.raises(ImportFailed, match=words):
            import_old(ledger, tmp_path / path, account=ACCOUNT, instance_id=INSTANCE)
    old.run("ALTER TABLE completed_orders DROP COLUMN maker")
    with pytest.raises(ImportFailed, match="no column maker in table completed_orders"):
        imported(ledger, old)
    old.run("DROP TABLE completed_orders")
    with pytest.raises(ImportFailed, match="no table completed_orders"):
        imported(ledger, old)


def test_the_file_is_left_as_it_was(ledger: Ledger, old: Old) -> None:
    old.fill()
    before = old.path.read_bytes()
    old.path.chmod(0o400)
    imported(ledger, old)
    assert old.path.read_bytes() == before
    assert [entry.name for entry in old.path.parent.glob("orders.db*")] == ["orders.db"]


def test_what_retention_has_folded_is_not_imported_again(ledger: Ledger, old: Old) -> None:
    old.fill("1")
    imported(ledger, old)
    prune(ledger, before_ms=AT_MS + 1000)
    report = imported(ledger, old)
    assert (report.fills, report.known, report.ignored) == (0, 0, 1)
