"""The book as its streams tell it: what changed since they told it last."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from simulator.engine import Engine
from simulator.markets import MARKETS, Market
from simulator.published import Levels, levels
from simulator.stream_messages import Data, padded
from simulator.stream_names import Stream


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Everything a market displays at one moment."""

    bids: Levels
    asks: Levels
    #: The book's counter: `lastUpdateId` over REST.
    update_id: int


class DepthChannel:
    """Tells levels that changed. The numbers of its messages follow each other without a gap."""

    def __init__(self, market: Market, shown: Shown, window_ms: int = 0) -> None:
        self.window_ms = window_ms
        self._market = market
        self._shown = shown
        self._told_id = shown.update_id
        self._bids: set[Decimal] = set()
        self._asks: set[Decimal] = set()

    def note(self, shown: Shown) -> None:
        """Take over what is displayed now.

        A level that came and went is told all the same: a snapshot in between may show it.
        """
        self._bids |= _changed(self._shown.bids, shown.bids)
        self._asks |= _changed(self._shown.asks, shown.asks)
        self._shown = shown

    def message(self) -> Data | None:
        """Return what changed since the last message; None: nothing that is displayed."""
        if not self._bids and not self._asks:
            # The next message's first number covers what was passed over here.
            return None
        data = {
            "e": "depth",
            "s": self._market.symbol,
            "U": self._told_id + 1,
            "u": self._shown.update_id,
            "a": self._levels(self._asks, self._shown.asks),
            "b": self._levels(self._bids, self._shown.bids),
        }
        self._told_id = self._shown.update_id
        self._bids.clear()
        self._asks.clear()
        return data

    def _levels(self, prices: set[Decimal], side: Levels) -> list[list[str]]:
        tick, step = self._market.tick, self._market.step
        return [[padded(price, tick), padded(side.get(price, Decimal(0)), step)] for price in sorted(prices)]


class TickerChannel:
    """Tells the touch when it changed in price or quantity."""

    window_ms = 0

    def __init__(self, market: Market, shown: Shown) -> None:
        self._market = market
        self._shown = shown
        self._told = _touch(shown)

    def note(self, shown: Shown) -> None:
        """Take over what is displayed now."""
        self._shown = shown

    def message(self) -> Data | None:
        """Return the touch; None: it is the one of the last message."""
        touch = _touch(self._shown)
        if touch == self._told:
            return None
        self._told = touch
        (bid, bid_quantity), (ask, ask_quantity) = touch
        return {
            "e": "bookTicker",
            "s": self._market.symbol,
            "a": _written(ask, self._market.tick),
            "A": _written(ask_quantity, self._market.step),
            "b": _written(bid, self._market.tick),
            "B": _written(bid_quantity, self._market.step),
            "u": self._shown.update_id,
        }


Channel = DepthChannel | TickerChannel
Side = tuple[Decimal | None, Decimal | None]


def _changed(before: Levels, after: Levels) -> set[Decimal]:
    found = {price for price, quantity in after.items() if before.get(price) != quantity}
    return found | (before.keys() - after.keys())


def _touch(shown: Shown) -> tuple[Side, Side]:
    bid, ask = max(shown.bids, default=None), min(shown.asks, default=None)
    return (
        (bid, None if bid is None else shown.bids[bid]),
        (ask, None if ask is None else shown.asks[ask]),
    )


def _written(value: Decimal | None, unit: Decimal) -> str | None:
    return None if value is None else padded(value, unit)


class BookStreams:
    """The channels that somebody subscribed to. Books that nobody watches are not looked at."""

    def __init__(self, engine: Engine, now_us: Callable[[], int], send: Callable[[str, Data], None]) -> None:
        self._engine = engine
        self._now_us = now_us
        #: Sends data to the subscribers of a stream.
        self._send = send
        self._channels: dict[str, dict[str, Channel]] = {}
        #: When a book changed that its channels do not know of yet, µs.
        self._unnoted: dict[str, int] = {}
        #: Streams with a window that is open, and when their books changed last, µs.
        self._windows: dict[str, int] = {}

    def add(self, stream: Stream) -> None:
        """Take up a stream, if it is one of these."""
        symbol = stream.symbol
        if symbol is None or stream.kind not in {"depth", "bookTicker"}:
            return
        # What is displayed when a channel begins is not told as its first change.
        self.settle(symbol)
        channels = self._channels.setdefault(symbol, {})
        if stream.name in channels:
            return
        market, shown = MARKETS[symbol], self._shown(symbol)
        if stream.kind == "depth":
            channels[stream.name] = DepthChannel(market, shown, stream.window_ms)
        else:
            channels[stream.name] = TickerChannel(market, shown)

    def remove(self, name: str) -> None:
        """Drop a stream that nobody is subscribed to."""
        for symbol, channels in list(self._channels.items()):
            if channels.pop(name, None) is not None and not channels:
                del self._channels[symbol]

    def touched(self, symbol: str) -> None:
        """Tell of a change once the command that made it is done."""
        if symbol in self._channels and symbol not in self._unnoted:
            self._unnoted[symbol] = self._now_us()
            asyncio.get_running_loop().call_soon(self.settle, symbol)

    def settle(self, symbol: str) -> None:
        """Tell what changed up to now, so that a snapshot taken next lies between two events."""
        at_us = self._unnoted.pop(symbol, None)
        if at_us is None or symbol not in self._channels:
            return
        shown = self._shown(symbol)
        for name, channel in self._channels[symbol].items():
            channel.note(shown)
            if not channel.window_ms:
                self._tell(name, channel, at_us)
                continue
            if name not in self._windows:
                loop = asyncio.get_running_loop()
                loop.call_later(channel.window_ms / 1000, self._end_window, symbol, name)
            self._windows[name] = at_us

    def _end_window(self, symbol: str, name: str) -> None:
        at_us = self._windows.pop(name)
        channel = self._channels.get(symbol, {}).get(name)
        if channel is not None:
            self._tell(name, channel, at_us)

    def _tell(self, name: str, channel: Channel, at_us: int) -> None:
        data = channel.message()
        if data is not None:
            self._send(name, {"e": data["e"], "E": self._now_us(), "T": at_us} | data)

    def _shown(self, symbol: str) -> Shown:
        return Shown(
            bids=levels(self._engine, symbol, bids=True),
            asks=levels(self._engine, symbol, bids=False),
            update_id=self._engine.books[symbol].update_id,
        )
