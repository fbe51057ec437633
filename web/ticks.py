"""Market and own orders of an instance, as they stand: what a page of it watches."""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from market.book import BookLevel
from market.orders import role_name
from runner.books import Books
from runner.context import Context
from runner.loaded import StateUnreadable, parse_books
from web.amounts import exact
from web.history_models import Market, Quote, Tick
from web.rows import RowReader

#: Levels of a book that are told.
DEPTH = 10


def read_ticks(context: Context, rows: RowReader, names: Collection[str]) -> dict[str, Tick]:
    """Return the ticks of some instances; those that nobody knows are left out. Raises `redis.RedisError`."""
    found = rows.read()
    known = {row.instance_id for row in found.instances}
    wanted = sorted(known.intersection(names))
    details = rows.fleet.details(wanted)
    ticks = {}
    for name in wanted:
        books = books_in(details[name].books_json) if name in details else None
        ticks[name] = Tick(
            instance_id=name,
            market=read_market(context, rows, name),
            quotes=quotes_of(books) if books else [],
            position=exact(books.profit.net) if books else None,
            server_ms=found.server_ms,
        )
    return ticks


def read_market(context: Context, rows: RowReader, instance_id: str) -> Market:
    """Return the book of the market of an instance as a feed sees it."""
    traits = rows.traits(instance_id)
    seen = context.market_data.read(traits.venue, traits.symbol) if traits.venue else None
    if seen is None:
        return Market(symbol=traits.symbol)
    book = seen.book
    return Market(
        symbol=traits.symbol,
        mid=exact(book.mid),
        bids=[_level(level) for level in book.bids[:DEPTH]],
        asks=[_level(level) for level in book.asks[:DEPTH]],
        at_ms=seen.received_at_ms,
    )


def books_in(text: str) -> Books | None:
    """Return the books of a run, None where there are none that this version can read."""
    try:
        return parse_books(text) if text else None
    except StateUnreadable:
        return None


def quotes_of(books: Books) -> list[Quote]:
    """Return own open orders: highest price first, as a ladder is read."""
    quotes = [
        Quote(
            side="buy" if str(own.order.side) == "buy" else "sell",
            price=exact(own.order.price),
            quantity=exact(own.order.quantity - own.order.executed_quantity) or "0",
            level=own.level,
            role=role_name(own.role) or "",
            client_id=own.order.client_order_id or 0,
            order_id=own.order.order_id,
        )
        for own in books.open_orders("")
    ]
    return sorted(quotes, key=lambda quote: -Decimal(quote.price or 0))


def _level(level: BookLevel) -> tuple[str, str]:
    return str(exact(level.price)), str(exact(level.quantity))
