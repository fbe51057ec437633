"""Backpack's public messages → our values. Source: docs.backpack.exchange (OpenAPI)."""

from __future__ import annotations

from exchanges.backpack.rows import Row, UnreadableAnswer, excerpt, load_json, time_of
from exchanges.errors import Refused
from market.book import BookLevel, OrderBook
from market.instrument import Instrument, MarketType

MARKET_TYPES = {"SPOT": MarketType.SPOT, "PERP": MarketType.PERP, "IPERP": MarketType.PERP}

#: Of the exchange's clock in ms: 2001 to 2286. A time in another unit must not pass for one in ms.
TIME_DIGITS = 13


def server_time_ms(body: bytes) -> int:
    """Return the time from `/time`, whose whole body is ``1793500000123`` (ms)."""
    text = body.strip()
    if not text.isdigit() or len(text) != TIME_DIGITS:
        raise UnreadableAnswer(f"no time: {excerpt(body)}")
    return int(text)


def instrument(body: bytes) -> Instrument:
    """Return the rules of a market.

    ``{"symbol":"SOL_USDC_PERP","baseSymbol":"SOL","quoteSymbol":"USDC","marketType":"PERP","filters":{
    "price":{"minPrice":"0.01","maxPrice":"1000","tickSize":"0.01"},
    "quantity":{"minQuantity":"0.01","maxQuantity":null,"stepSize":"0.01"}}}``
    """
    row = Row(load_json(body))
    symbol, market_type = row.text("symbol"), row.text("marketType")
    if market_type not in MARKET_TYPES:
        raise Refused(f"{symbol} is a {market_type} market: only {', '.join(MARKET_TYPES)} can be traded")
    price, quantity = row.row("filters").row("price"), row.row("filters").row("quantity")
    return Instrument(
        symbol=symbol,
        market_type=MARKET_TYPES[market_type],
        base_asset=row.text("baseSymbol"),
        quote_asset=row.text("quoteSymbol"),
        tick_size=price.above_zero("tickSize"),
        step_size=quantity.above_zero("stepSize"),
        min_quantity=quantity.amount("minQuantity"),
        max_quantity=quantity.amount_or_none("maxQuantity"),
        min_price=price.amount_or_none("minPrice"),
        max_price=price.amount_or_none("maxPrice"),
    )


def order_book(symbol: str, body: bytes) -> OrderBook:
    """Return a book, best price first. On the wire bids ascend too: the best bid comes last. Time in µs.

    ``{"asks":[["86781.5","5.54"],["86783.3","1.22"]],"bids":[["86777.7","0.03"],["86781.4","2.20"]],
    "lastUpdateId":"6904864764","timestamp":1790915412979224}``
    """
    row = Row(load_json(body))
    bids, asks = (
        [
            BookLevel(price=price, quantity=quantity)
            for price, quantity in sorted(row.levels(side))
            if quantity
        ]
        for side in ("bids", "asks")
    )
    return OrderBook(
        symbol=symbol,
        bids=tuple(reversed(bids)),
        asks=tuple(asks),
        updated_at_ms=time_of(row.integer("timestamp") // 1000),
    )


def last_update_id(body: bytes) -> int:
    """Return the number of the last change in a book; the wire message is the one of `order_book`."""
    return Row(load_json(body)).integer("lastUpdateId")
