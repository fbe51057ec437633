"""Order books as feeds see them, for iterations."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

import redis

from market.book import BookLevel, OrderBook
from state import keys
from state.events import UNREADABLE
from state.scripts import Scripts

#: A book that is older by the exchange's time replaces a newer one only when nobody renewed that for so long.
SET_BACK_AFTER_MS = 5_000
#: No price and no quantity is larger.
MOST = Decimal(10) ** 21


@dataclass(frozen=True, kw_only=True)
class StreamedBook:
    """A book, and when it reached us."""

    book: OrderBook
    #: State server's time, ms.
    received_at_ms: int
    #: None: the exchange told of none.
    mark_price: Decimal | None = None
    #: State server's time, ms.
    marked_at_ms: int = 0


#: What is read of a market, in this order; by `claim.lua`, too.
FIELDS = ("changed_at", "received_at", "book", "mark", "marked_at")


class MarketData:
    """The newest book of each market, told and read."""

    def __init__(self, client: redis.Redis, scripts: Scripts) -> None:
        self._client = client
        self._scripts = scripts

    def put(self, venue: str, books: Sequence[OrderBook], marks: Mapping[str, Decimal] | None = None) -> None:
        """Keep books, unless newer ones are there, and mark prices by symbol."""
        if not books and not marks:
            return
        pipe = self._client.pipeline(transaction=False)
        for book in books:
            text = json.dumps([_wire(book.bids), _wire(book.asks)], separators=(",", ":"))
            arguments: list[str | int] = [book.updated_at_ms, text, SET_BACK_AFTER_MS]
            self._scripts.queue(pipe, "put_book", [keys.market(venue, book.symbol)], arguments)
        for symbol, price in (marks or {}).items():
            self._scripts.queue(pipe, "put_mark", [keys.market(venue, symbol)], [str(price)])
        pipe.execute()

    def drop(self, venue: str, symbols: Sequence[str]) -> None:
        """Take away the books of markets that are no longer followed."""
        if symbols:
            self._client.delete(*(keys.market(venue, symbol) for symbol in symbols))

    def read(self, venue: str, symbol: str) -> StreamedBook | None:
        """Return the newest book of a market, however old; None where no feed saw one, or it is damaged."""
        found = self._client.hmget(keys.market(venue, symbol), FIELDS)
        return streamed_book(symbol, cast("list[str | None]", found))


def streamed_book(symbol: str, fields: Sequence[str | None]) -> StreamedBook | None:
    """Return a market as it is kept, None where no feed saw it, or it is damaged; `fields` are `FIELDS`."""
    changed_at, received_at, text, mark, marked_at = fields
    if changed_at is None or received_at is None or text is None:
        return None
    try:
        bids, asks = (_levels(side) for side in json.loads(text))
        return StreamedBook(
            book=OrderBook(symbol=symbol, bids=bids, asks=asks, updated_at_ms=int(changed_at)),
            received_at_ms=int(received_at),
            mark_price=None if mark is None else _price(mark),
            marked_at_ms=int(marked_at or 0),
        )
    except (*UNREADABLE, ArithmeticError):
        return None  # Whoever needs it asks the exchange.


def _wire(levels: Sequence[BookLevel]) -> list[list[str]]:
    return [[str(level.price), str(level.quantity)] for level in levels]


def _price(text: str) -> Decimal:
    price = Decimal(text)
    if not 0 < price < MOST:
        raise ValueError("no price")
    return price


def _levels(wire: list[list[str]]) -> tuple[BookLevel, ...]:
    levels = tuple(BookLevel(price=Decimal(price), quantity=Decimal(quantity)) for price, quantity in wire)
    if not all(0 < level.price < MOST and 0 < level.quantity < MOST for level in levels):
        raise ValueError("no book")
    return levels
