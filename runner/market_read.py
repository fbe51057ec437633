"""Where an iteration's order book comes from: the feed when it is fresh, else the exchange, else nowhere."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.book import OrderBook
from state.market_data import StreamedBook

#: A streamed book may be this old, ms. Markets worth quoting change several times a second; of one that
#: stands still, or whose feed is gone, the exchange is asked.
MOST_AGE_MS = 1_000


#: A stream may tell of a change of own orders this much later than the answer to the request does.
STREAM_LAG_MS = 250


class Source(StrEnum):
    """Where a book came from."""

    STREAM = "stream"
    REST = "rest"
    NONE = "none"


class NoMarketData(ExchangeError):
    """Raised when neither a fresh stream nor the exchange gave a book."""


@dataclass(frozen=True, kw_only=True)
class BookRead:
    """A book with where it came from."""

    book: OrderBook
    source: Source


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """What a streamed book has to be to be acted upon."""

    #: State server's time, ms.
    now_ms: int
    #: Exchange time at that moment, ms.
    exchange_ms: int
    #: The instance's own limit, ms; None: it has none.
    limit_ms: int | None
    #: When own orders were placed or cancelled last, state server's time, ms: a book of before shows what is
    #: gone, and not what is there, so that own orders could not be told from those of others.
    own_changed_at_ms: int = 0
    #: Exchange time of the newest own fill, ms.
    own_filled_ms: int = 0

    def allows(self, streamed: StreamedBook) -> bool:
        """Tell whether a book is young enough, by the exchange's clock and by its arrival."""
        limit_ms = MOST_AGE_MS if self.limit_ms is None else min(self.limit_ms, MOST_AGE_MS)
        age_ms = max(self.now_ms - streamed.received_at_ms, self.exchange_ms - streamed.book.updated_at_ms)
        shows_own_orders = (
            streamed.received_at_ms >= self.own_changed_at_ms + STREAM_LAG_MS
            and streamed.book.updated_at_ms >= self.own_filled_ms
        )
        return age_ms <= limit_ms and shows_own_orders


def read_book(venue: Venue, symbol: str, streamed: StreamedBook | None, freshness: Freshness) -> BookRead:
    """Return the book to act upon: the streamed one if it is fresh, else the exchange's.

    Raises `NoMarketData`.
    """
    if streamed is not None and freshness.allows(streamed):
        return BookRead(book=streamed.book, source=Source.STREAM)
    try:
        return BookRead(book=venue.order_book(symbol), source=Source.REST)
    except ExchangeError as error:
        raise NoMarketData(f"no order book of {symbol}: {error}") from error
