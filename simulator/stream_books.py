"""The book as its streams tell it: what differs from what was told last."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from simulator.markets import Market
from simulator.published import Levels
from simulator.stream_messages import Data, changes, padded


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Everything a market displays at one moment."""

    bids: Levels
    asks: Levels
    #: The book's counter: `lastUpdateId` over REST.
    update_id: int


class DepthChannel:
    """Tells levels that changed. The numbers of its messages follow each other without a gap."""

    def __init__(self, market: Market, shown: Shown) -> None:
        self._market = market
        self._told = shown

    def message(self, shown: Shown) -> Data | None:
        """Return what changed since the last message; None: nothing that is displayed."""
        bids = changes(self._told.bids, shown.bids, self._market)
        asks = changes(self._told.asks, shown.asks, self._market)
        if not bids and not asks:
            # The next message's first number covers what was passed over here.
            return None
        first = self._told.update_id + 1
        self._told = shown
        return {
            "e": "depth",
            "s": self._market.symbol,
            "U": first,
            "u": shown.update_id,
            "a": asks,
            "b": bids,
        }


class TickerChannel:
    """Tells the touch when it changed in price or quantity."""

    def __init__(self, market: Market, shown: Shown) -> None:
        self._market = market
        self._told = _touch(shown)

    def message(self, shown: Shown) -> Data | None:
        """Return the touch; None: it is the one of the last message."""
        touch = _touch(shown)
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
            "u": shown.update_id,
        }


Channel = DepthChannel | TickerChannel
Side = tuple[Decimal | None, Decimal | None]


def _touch(shown: Shown) -> tuple[Side, Side]:
    bid, ask = max(shown.bids, default=None), min(shown.asks, default=None)
    return (
        (bid, None if bid is None else shown.bids[bid]),
        (ask, None if ask is None else shown.asks[ask]),
    )


def _written(value: Decimal | None, unit: Decimal) -> str | None:
    return None if value is None else padded(value, unit)
