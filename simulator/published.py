"""What is published of a market, over REST and over the streams alike: levels, day's figures, candles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from simulator.book import OutsideBook, Trade
from simulator.engine import Engine

INTERVALS_S = {
    "1s": 1,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14400,
    "6h": 21600,
    "8h": 28800,
    "12h": 43200,
    "1d": 86400,
    "3d": 259200,
    "1w": 604800,
    "1month": 2592000,
}

#: Quantity by price, in no order.
Levels = dict[Decimal, Decimal]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """The figures of a row of trades: a day's, or a candle's."""

    first: Decimal
    last: Decimal
    high: Decimal
    low: Decimal
    #: In base units.
    volume: Decimal
    #: In quote units.
    quote_volume: Decimal
    trades: int


def levels(engine: Engine, symbol: str, *, bids: bool) -> Levels:
    """Return what one side displays: the outside market and everybody's resting orders."""
    found = dict(engine.books[symbol].levels(bids=bids))
    for order in engine.resting.of_symbol(symbol):
        if order.wanted.buys is bids:
            found[order.price] = found.get(order.price, Decimal(0)) + order.remaining
    return found


def figures(trades: Sequence[Trade]) -> Figures | None:
    """Return the figures of trades, oldest first; None: there are none."""
    if not trades:
        return None
    prices = [trade.price for trade in trades]
    return Figures(
        first=prices[0],
        last=prices[-1],
        high=max(prices),
        low=min(prices),
        volume=sum((trade.quantity for trade in trades), Decimal(0)),
        quote_volume=sum((trade.price * trade.quantity for trade in trades), Decimal(0)),
        trades=len(trades),
    )


def candles(book: OutsideBook, interval_s: int, from_s: int, to_s: int) -> dict[int, Figures]:
    """Return the figures of the kept trades from `from_s` to `to_s` by when their interval began, s."""
    inside: dict[int, list[Trade]] = {}
    for trade in book.trades:
        at_s = trade.at_ms // 1000
        if from_s <= at_s <= to_s:
            inside.setdefault(at_s // interval_s * interval_s, []).append(trade)
    return {start_s: shown for start_s, trades in inside.items() if (shown := figures(trades))}
