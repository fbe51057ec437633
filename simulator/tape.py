"""Replay of a recorded stream: lines of `<receive time ns> <JSON of the combined stream>`, plain or gzip.

Streams understood: `bookTicker` (`b`/`B` best bid and quantity, `a`/`A` best ask), `trade` (`p`, `q`, `m`
true when the buyer was the maker) and `depth` (`b` and `a` level updates); a line with `bids` and `asks` and
no `stream` is a snapshot of the depth. Anything else is passed over.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

from simulator.engine import Engine
from simulator.markets import Market

#: A tape that is behind its time lets requests in after this many events.
BURST = 50


class TapeError(Exception):
    """Raised when a tape cannot be read; names file and line."""


@dataclass(frozen=True, kw_only=True)
class Quote:
    """A best bid and ask."""

    at_s: float
    bid: Decimal
    bid_quantity: Decimal
    ask: Decimal
    ask_quantity: Decimal


@dataclass(frozen=True, kw_only=True)
class TapeTrade:
    """A trade; the aggressor is the side that did not rest."""

    at_s: float
    price: Decimal
    quantity: Decimal
    aggressor_sells: bool


@dataclass(frozen=True, kw_only=True)
class Depth:
    """Levels by price with absolute quantities; 0 removes."""

    at_s: float
    bids: Mapping[Decimal, Decimal]
    asks: Mapping[Decimal, Decimal]
    #: True: these are all levels there are.
    snapshot: bool


TapeEvent = Quote | TapeTrade | Depth


def read(path: Path) -> Iterator[TapeEvent]:
    """Yield the events of a tape in order, `at_s` after its first line. Raises `TapeError`, `OSError`."""
    first_ns: int | None = None
    number = 0
    try:
        with _open(path) as lines:
            for line in lines:
                number += 1
                stamp, body = line.split(" ", 1)
                message = json.loads(body)
                first_ns = int(stamp) if first_ns is None else first_ns
                event = _event((int(stamp) - first_ns) / 1e9, message)
                if event is not None:
                    yield event
    except (ValueError, KeyError, TypeError, AttributeError, InvalidOperation) as error:
        raise TapeError(f"{path}, line {number}: not '<ns> <JSON of a stream>': {error!r}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TapeError(f"{path}: not a whole gzip file: {error}") from error


def _event(at_s: float, message: Mapping[str, Any]) -> TapeEvent | None:
    kind = str(message.get("stream", "")).split("@")[1:2]
    if not kind and "bids" in message:
        return Depth(at_s=at_s, bids=_levels(message["bids"]), asks=_levels(message["asks"]), snapshot=True)
    data = message.get("data", {})
    if kind == ["bookTicker"]:
        return Quote(
            at_s=at_s,
            bid=Decimal(data["b"]),
            bid_quantity=Decimal(data["B"]),
            ask=Decimal(data["a"]),
            ask_quantity=Decimal(data["A"]),
        )
    if kind == ["trade"]:
        return TapeTrade(
            at_s=at_s, price=Decimal(data["p"]), quantity=Decimal(data["q"]), aggressor_sells=bool(data["m"])
        )
    if kind == ["depth"]:
        return Depth(at_s=at_s, bids=_levels(data["b"]), asks=_levels(data["a"]), snapshot=False)
    return None


def _levels(pairs: Iterable[Iterable[str]]) -> dict[Decimal, Decimal]:
    return {Decimal(price): Decimal(quantity) for price, quantity in pairs}


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


def default_symbol(path: Path) -> str:
    """Return the symbol a tape is mapped to when nobody says: by the base asset and "perp" in its name."""
    name = path.name.lower()
    base = next((asset for asset in ("SOL", "ETH", "BTC") if name.startswith(asset.lower())), "ETH")
    return f"{base}_USDC_PERP" if "perp" in name else f"{base}_USDC"


def first_quote(path: Path) -> Quote:
    """Return the tape's first touch. Raises `TapeError` when it has none."""
    quote = next((event for event in read(path) if isinstance(event, Quote)), None)
    if quote is None:
        raise TapeError(f"{path}: no bookTicker line; is this a recorded stream?")
    return quote


class TapePlayer:
    """Feeds tape events to the engine, mapped onto one market: prices fall onto its ticks."""

    def __init__(self, engine: Engine, market: Market) -> None:
        self._engine = engine
        self._market = market

    def play(self, event: TapeEvent) -> None:
        """Apply one event."""
        symbol = self._market.symbol
        if isinstance(event, Quote):
            bid, ask = self._down(event.bid), self._up(event.ask)
            if 0 < bid < ask:
                self._engine.outside_quote(symbol, bid, event.bid_quantity, ask, event.ask_quantity)
        elif isinstance(event, TapeTrade):
            # On coarser ticks a trade falls on the level that shows the quantity it took.
            price = self._down(event.price) if event.aggressor_sells else self._up(event.price)
            if price > 0 and event.quantity > 0:
                self._engine.outside_trade(
                    symbol, price, event.quantity, aggressor_sells=event.aggressor_sells
                )
        elif self._fits_ticks(event):
            self._engine.books[symbol].record_depth(event.bids, event.asks, snapshot=event.snapshot)

    def _down(self, price: Decimal) -> Decimal:
        return (price / self._market.tick).to_integral_value(ROUND_FLOOR) * self._market.tick

    def _up(self, price: Decimal) -> Decimal:
        # Not -(-price // tick): with Decimal that cuts towards zero, so it would round down as well.
        return (price / self._market.tick).to_integral_value(ROUND_CEILING) * self._market.tick

    def _fits_ticks(self, depth: Depth) -> bool:
        # On coarser ticks several recorded levels would share one, and an update says nothing of the others:
        # then the levels behind the touch are made up.
        return all(price % self._market.tick == 0 for price in (*depth.bids, *depth.asks))


async def run_tape(player: TapePlayer, events: Iterable[TapeEvent], speed: float) -> None:
    """Replay events at `speed` times their pace, then stand still."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for number, event in enumerate(events):
        ahead_s = event.at_s / speed - (loop.time() - began_s)
        if ahead_s > 0.001:
            await asyncio.sleep(ahead_s)
        elif number % BURST == 0:
            await asyncio.sleep(0)
        player.play(event)
