"""Backpack's stream messages → our events. Source: docs.backpack.exchange, "Streams".

Every message is ``{"stream":"<name>","data":{…}}`` with one-letter fields; times are µs. Errors look like
``{"id":null,"error":{"code":4006,"message":"Invalid stream"}}``. Subscriptions are not acknowledged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache

from exchanges.backpack import parse
from exchanges.backpack.rows import Row, UnreadableAnswer, load_json, time_of
from exchanges.stream import (
    BookChange,
    OrderEvent,
    OrderUpdate,
    Pulse,
    StreamEvent,
    StreamRefused,
)
from market.book import BookLevel
from market.orders import OpenOrder
from market.position import Fill

logger = logging.getLogger(__name__)

ORDER_EVENTS = {
    "orderAccepted": OrderEvent.ACCEPTED,
    "orderCancelled": OrderEvent.CANCELLED,
    "orderExpired": OrderEvent.EXPIRED,
    "orderFill": OrderEvent.FILLED,
    "orderModified": OrderEvent.MODIFIED,
    "triggerPlaced": OrderEvent.TRIGGER_PLACED,
    "triggerFailed": OrderEvent.TRIGGER_FAILED,
}


def event(message: bytes) -> StreamEvent | None:
    """Return what `message` tells; None when it is of a kind that nobody needs, logged once a kind.

    Raises:
        UnreadableAnswer: it is not what the protocol says.
    """
    row = Row(load_json(message))
    if row.has("error"):
        error = row.row("error")
        return StreamRefused(code=error.integer("code"), message=error.words("message"))
    stream = row.text_or_none("stream")
    if stream is None:
        return _ignored("a message without a stream")
    kind = _kind(stream)
    read = READERS.get(kind)
    return _ignored(f"stream {kind}") if read is None else read(row.row("data"))


def book_change(row: Row) -> BookChange:
    """Return a change of a book.

    ``{"e":"depth","E":1791043257142632,"T":1791043257142284,"s":"BTC_USDC_PERP","U":6904864765,
    "u":6904864765,"a":[],"b":[["86640.8","1.32076"]]}``
    """
    bids, asks = (
        tuple(BookLevel(price=price, quantity=quantity) for price, quantity in row.levels(side))
        for side in ("b", "a")
    )
    first, last = row.integer("U"), row.integer("u")
    if first > last:
        raise UnreadableAnswer(f"changes from number {first} to {last}")
    return BookChange(
        symbol=row.text("s"),
        first_update_id=first,
        last_update_id=last,
        bids=bids,
        asks=asks,
        at_ms=_at_ms(row),
    )


def ticker(row: Row) -> Pulse:
    """Return the pulse that is in a ticker, which comes once a second.

    ``{"e":"ticker","E":1791043257142632,"s":"SOL_USDC","o":"99","c":"100.5","h":"102","l":"98","v":"215.8",
    "V":"21584.3","n":32259}``
    """
    return Pulse(symbol=row.text("s"), at_ms=_at_ms(row))


def mark_price(row: Row) -> Pulse:
    """Return the pulse that is in a mark price, which comes once a second for perpetuals.

    ``{"e":"markPrice","E":1791043257142632,"T":1791043257142284,"s":"BTC_USDC_PERP","p":"84827.2",
    "i":"84856.2","f":"0.0000125","n":1791046800000}``
    """
    return Pulse(symbol=row.text("s"), at_ms=_at_ms(row), mark_price=row.price_or_none("p"))


def order_update(row: Row) -> OrderUpdate:
    """Return what happened to an order; `c` is only there when the order has a client order id.

    ``{"e":"orderFill","E":1754939110175900,"T":1754939110174703,"O":"USER","s":"ETH_USDC","S":"Bid",
    "o":"LIMIT","f":"GTC","q":"0.0010","p":"4299.1","X":"Filled","i":"5406825793","c":7,"t":1245,
    "l":"0.0010","L":"4299.1","m":false,"n":"0.0000010","N":"ETH","z":"0.0010","Z":"4.2991",
    "V":"RejectTaker","r":false,"y":false}``

    One of a kind that is not known is passed on: whoever goes by what is heard has to look.

    `l L t m n N` describe the last execution and come with ``orderFill`` only, `R` with ``orderExpired``. A
    market order has no `p`, and by quote amount no `q` either: then the executed quantity `z` stands in.
    """
    kind = row.text("e")
    what = ORDER_EVENTS.get(kind) or _unknown(kind)
    executed = row.amount_or_none("z") or Decimal(0)
    order = OpenOrder(
        order_id=row.identifier("i"),
        client_order_id=row.integer_or_none("c"),
        symbol=row.text("s"),
        side=parse.side(row.text("S")),
        price=row.price_or_none("p"),
        quantity=parse.whole_quantity(row.amount_or_none("q"), executed),
        executed_quantity=executed,
        status=parse.status(row.text("X")),
        created_at_ms=_at_ms(row),
    )
    return OrderUpdate(
        symbol=order.symbol,
        order=order,
        event=what,
        reason=row.words("R"),
        at_ms=order.created_at_ms,
        fill=_fill(row, order) if what is OrderEvent.FILLED else None,
    )


READERS: dict[str, Callable[[Row], StreamEvent | None]] = {
    "depth": book_change,
    "ticker": ticker,
    "markPrice": mark_price,
    "account.orderUpdate": order_update,
}


def _fill(row: Row, order: OpenOrder) -> Fill | None:
    if not row.has("t"):
        # The history gives such a fill an id of its own. Told here under another one, it would count twice.
        return None
    is_system = row.text_or_none("O") not in {None, "USER"}
    return Fill(
        trade_id=row.identifier("t"),
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        price=parse.fill_price(row, "L", is_system=is_system),
        quantity=row.amount("l"),
        fee=row.decimal("n"),
        fee_asset=row.text("N"),
        is_maker=row.flag("m"),
        filled_at_ms=order.created_at_ms,
        is_system=is_system,
    )


def _at_ms(row: Row) -> int:
    return time_of(row.integer("T" if row.has("T") else "E") // 1000)


def _kind(stream: str) -> str:
    # Symbols may have points in them: ``ticker.AAPL.US_USDC_PERP``.
    parts = stream.split(".")
    return ".".join(parts[:2]) if parts[0] == "account" else parts[0]


@lru_cache(maxsize=256)
def _ignored(what: str) -> None:
    # Cached: a line for each kind, not for each message.
    logger.info("%s is passed over", what[:80])


@lru_cache(maxsize=256)
def _unknown(kind: str) -> OrderEvent:
    logger.warning("order event %s is not known, taken for one that may be an execution", kind[:80])
    return OrderEvent.UNKNOWN
