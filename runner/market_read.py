"""Where an iteration's order book comes from: the feed when it is fresh, else the exchange, else nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.book import OrderBook
from state.market_data import StreamedBook

#: A streamed book may be this old where the instance names no limit of its own, ms. Markets worth quoting
#: change several times a second; of one that stands still the exchange is asked.
DEFAULT_AGE_MS = 1_000


class Source(StrEnum):
    """Where a book came from."""

    STREAM = "stream"
    REST = "rest"
    NONE = "none"


class NoMarketData(ExchangeError):
    """Raised when neither a fresh stream nor the exchange gave a book."""

    def __init__(self, message: str, *, last_at_ms: int) -> None:
        super().__init__(message)
        #: When the newest book was that anybody has, ms; 0: there is none.
        self.last_at_ms = last_at_ms


@dataclass(frozen=True, kw_only=True)
class BookRead:
    """A book with where it came from."""

    book: OrderBook
    source: Source


def read_book(
    venue: Venue,
    symbol: str,
    streamed: StreamedBook | None,
    *,
    now_ms: int,
    exchange_ms: int,
    limit_ms: int | None,
) -> BookRead:
    """Return the book to act upon; `now_ms` is the state server's time, `exchange_ms` the exchange's.

    A streamed book counts as fresh when both its last change by the exchange's clock and its arrival are
    within `limit_ms` (`DEFAULT_AGE_MS` without a limit): on a market that stands still the exchange is asked.
    Raises `NoMarketData`.
    """
    age_ms = None if streamed is None else _age_ms(streamed, now_ms, exchange_ms)
    if streamed is not None and age_ms is not None and age_ms <= (limit_ms or DEFAULT_AGE_MS):
        return BookRead(book=streamed.book, source=Source.STREAM)
    try:
        return BookRead(book=venue.order_book(symbol), source=Source.REST)
    except ExchangeError as error:
        last_at_ms = 0 if age_ms is None else now_ms - age_ms
        raise NoMarketData(f"no order book of {symbol}: {error}", last_at_ms=last_at_ms) from error


def _age_ms(streamed: StreamedBook, now_ms: int, exchange_ms: int) -> int:
    return max(now_ms - streamed.received_at_ms, exchange_ms - streamed.book.updated_at_ms)
