"""Read the SQLite file of the old program: its tables as values, with the place of all that is wrong."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ledger.errors import ImportFailed
from market.orders import Side

FILLS = "completed_orders"
STATS = "trading_stats"
REBALANCES = "rebalance_orders"
_FILL_COLUMNS = ("order_id", "symbol", "side", "quantity", "price", "maker", "fee", "fee_asset", "timestamp")
#: The exchanges' own words that the old program wrote down.
_SIDES = {"bid": Side.BUY, "buy": Side.BUY, "ask": Side.SELL, "sell": Side.SELL}
#: Larger numbers are milliseconds.
_LARGEST_SECONDS = 100_000_000_000


@dataclass(frozen=True, kw_only=True)
class OldFill:
    """A row of `completed_orders`."""

    row_id: int
    order_id: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    #: Empty where the old program wrote none.
    fee_asset: str
    is_maker: bool
    is_rebalance: bool
    #: None where there is none. Whole seconds, unless `has_ms`.
    at_ms: int | None
    has_ms: bool


class OldFile:
    """An open file; use it as a context manager. It is only read."""

    def __init__(self, path: Path, utc_offset: timedelta) -> None:
        self._path = path
        self._utc_offset = utc_offset
        if not path.is_file():
            raise ImportFailed(f"{path} is not a file")
        try:
            self._connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True)
        except sqlite3.Error as error:
            raise ImportFailed(f"{path} cannot be opened: {error}") from error
        self._connection.row_factory = sqlite3.Row

    def __enter__(self) -> OldFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def fills(self) -> Iterator[OldFill]:
        """Return the fills in the order they were written. Raises `ImportFailed`."""
        columns = self._columns(FILLS)
        missing = [name for name in _FILL_COLUMNS if name not in columns]
        if missing:
            what = f"no column {', '.join(missing)} in table {FILLS}" if columns else f"no table {FILLS}"
            raise ImportFailed(f"{self._path} is not a file of the old program: it has {what}")
        rebalances = self._rebalances()
        for row in self._rows(FILLS):
            yield self._fill(row, rebalances)

    def stats(self) -> Iterator[tuple[str, str, Mapping[str, str]]]:
        """Return day, symbol and figures of each row of `trading_stats`."""
        for row in self._rows(STATS):
            figures = {
                name: str(row[name])
                for name in row.keys()  # noqa: SIM118 - iterating a sqlite3.Row gives values
                if name not in ("_row", "id", "date", "symbol") and row[name] is not None
            }
            yield self._text(STATS, row, "date"), self._text(STATS, row, "symbol"), figures

    def _fill(self, row: sqlite3.Row, rebalances: set[tuple[str, str]]) -> OldFill:
        order_id, symbol = self._text(FILLS, row, "order_id"), self._text(FILLS, row, "symbol")
        side = _SIDES.get(str(row["side"]).casefold())
        if side is None:
            raise self._wrong(FILLS, row, "side", "none of Bid, Ask, buy, sell")
        said = row["trade_type"] if "trade_type" in row.keys() else ""  # noqa: SIM118
        at_ms, has_ms = self._time(row)
        return OldFill(
            row_id=row["_row"],
            order_id=order_id,
            symbol=symbol,
            side=side,
            quantity=self._positive(row, "quantity"),
            price=self._positive(row, "price"),
            fee=Decimal(0) if row["fee"] is None else self._number(row, "fee"),
            fee_asset=self._fee_asset(row),
            is_maker=bool(row["maker"]),
            is_rebalance=said == "rebalance" or (order_id, symbol) in rebalances,
            at_ms=at_ms,
            has_ms=has_ms,
        )

    def _rebalances(self) -> set[tuple[str, str]]:
        return {(str(row["order_id"]), str(row["symbol"])) for row in self._rows(REBALANCES)}

    def _columns(self, table: str) -> list[str]:
        return [row["name"] for row in self._query(f"PRAGMA table_info({table})")]

    def _rows(self, table: str) -> Iterator[sqlite3.Row]:
        if self._columns(table):
            yield from self._query(f"SELECT rowid AS _row, * FROM {table} ORDER BY rowid")

    def _query(self, sql: str) -> Iterator[sqlite3.Row]:
        try:
            # Not from the cursor itself: a failure would close it after the connection, which is an error.
            yield from iter(self._connection.execute(sql).fetchone, None)
        except sqlite3.Error as error:
            raise ImportFailed(f"{self._path} cannot be read: {error}") from error

    def _text(self, table: str, row: sqlite3.Row, name: str) -> str:
        if not row[name]:
            raise self._wrong(table, row, name, "empty")
        return str(row[name])

    def _fee_asset(self, row: sqlite3.Row) -> str:
        value = row["fee_asset"] or ""
        if not isinstance(value, str):
            raise self._wrong(FILLS, row, "fee_asset", "no text")
        return value

    def _positive(self, row: sqlite3.Row, name: str) -> Decimal:
        number = self._number(row, name)
        if number <= 0:
            raise self._wrong(FILLS, row, name, "not above zero")
        return number

    def _number(self, row: sqlite3.Row, name: str) -> Decimal:
        # The old program keeps floats: the shortest text that reads as the same float is what it meant.
        try:
            number = Decimal(str(row[name]))
        except InvalidOperation:
            raise self._wrong(FILLS, row, name, "no number") from None
        if not number.is_finite():
            raise self._wrong(FILLS, row, name, "no number")
        return number

    def _time(self, row: sqlite3.Row) -> tuple[int | None, bool]:
        value = row["timestamp"]
        if value is None or value == "":
            return None, False
        if isinstance(value, int | float) and math.isfinite(value) and value > 0:
            is_ms = value > _LARGEST_SECONDS
            return int(value if is_ms else value * 1000), is_ms
        try:
            moment = datetime.fromisoformat(str(value))
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC) - self._utc_offset
        except (ValueError, OverflowError):
            raise self._wrong(FILLS, row, "timestamp", "no time such as 2025-11-30 12:34:56") from None
        at_ms = int(moment.timestamp()) * 1000 + moment.microsecond // 1000
        return at_ms, moment.microsecond != 0

    def _wrong(self, table: str, row: sqlite3.Row, name: str, what: str) -> ImportFailed:
        return ImportFailed(
            f"{self._path}, table {table}, row {row['_row']}: {name} is {_shown(row[name])}, which is {what};"
            " correct or delete that row; nothing was imported"
        )


def _shown(value: Any) -> str:
    return repr(value)[:80]
