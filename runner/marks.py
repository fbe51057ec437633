"""What open quantities are worth now: the newest price that is known of each market, and where it is from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext
from enum import StrEnum

import redis

from ledger import glances
from ledger.database import Ledger
from ledger.folding import PRECISION
from ledger.profit import ProfitRow
from market.profit import Profit
from state.market_data import MarketData

#: An order book that a feed saw longer ago says nothing about now.
FRESH_BOOK_MS = 60_000

#: Account and symbol.
Market = tuple[str, str]


class Source(StrEnum):
    """Where a mark is from."""

    #: Middle of best bid and ask as a feed saw them in the last minute.
    BOOK = "book"
    #: The exchange's mark in the newest snapshot of the position.
    SNAPSHOT = "snapshot"
    LAST_FILL = "last_fill"


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The price that an open quantity is valued at."""

    price: Decimal
    source: Source
    at_ms: int
    age_ms: int


def marks_of(
    ledger: Ledger, market_data: MarketData | None, rows: Sequence[ProfitRow], *, now_ms: int
) -> dict[Market, Mark]:
    """Return the marks of all markets in which `rows` hold anything, as far as there are any.

    `market_data` None: the state server is away, and the ledger's prices have to do.
    """
    wanted = dict.fromkeys((row.account, row.symbol) for row in rows if row.net_quantity)
    found = {market: _mark(ledger, market_data, *market, now_ms=now_ms) for market in wanted}
    return {market: mark for market, mark in found.items() if mark is not None}


def valued(rows: Sequence[ProfitRow], marks: Mapping[Market, Mark]) -> list[ProfitRow]:
    """Return `rows` with the unrealised profit at `marks`; None where a mark is missing."""
    with localcontext(PRECISION):
        return [_valued(row, marks.get((row.account, row.symbol))) for row in rows]


def _valued(row: ProfitRow, mark: Mark | None) -> ProfitRow:
    if not row.net_quantity:
        return row
    held = Profit(net=row.net_quantity, average_price=row.average_price)
    return replace(row, unrealized=None if mark is None else held.unrealized(mark.price))


def _mark(
    ledger: Ledger, market_data: MarketData | None, account: str, symbol: str, *, now_ms: int
) -> Mark | None:
    book = _book_mark(market_data, account, symbol, now_ms) if market_data else None
    if book is not None:
        return book
    for source, read in (
        (Source.SNAPSHOT, glances.newest_mark),
        (Source.LAST_FILL, glances.last_fill),
    ):
        seen = read(ledger, account, symbol)
        if seen is not None:
            return Mark(price=seen.price, source=source, at_ms=seen.at_ms, age_ms=now_ms - seen.at_ms)
    return None


def _book_mark(market_data: MarketData, account: str, symbol: str, now_ms: int) -> Mark | None:
    try:
        seen = market_data.read(account.partition(":")[0], symbol)
    except (redis.ConnectionError, redis.TimeoutError):
        return None  # it went away since the ledger was brought up to date; there are other marks
    if seen is None or seen.book.mid is None or now_ms - seen.received_at_ms >= FRESH_BOOK_MS:
        return None
    age_ms = now_ms - seen.received_at_ms
    return Mark(price=seen.book.mid, source=Source.BOOK, at_ms=seen.received_at_ms, age_ms=age_ms)
