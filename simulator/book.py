"""What the outside market displays on one symbol, and its public trades."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal

from simulator.markets import Market

#: Synthetic levels shown on each side behind the touch.
LEVELS = 20
#: Trades kept for `GET /api/v1/trades`.
TRADES_KEPT = 1000


@dataclass(frozen=True, kw_only=True)
class Trade:
    """A public trade."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    #: True: the buyer was resting, so the aggressor sold.
    buyer_is_maker: bool
    at_ms: int


@dataclass(kw_only=True)
class OutsideBook:
    """The recorded or synthetic touch; levels behind it are made up from it."""

    market: Market
    bid: Decimal = Decimal(0)
    bid_quantity: Decimal = Decimal(0)
    ask: Decimal = Decimal(0)
    ask_quantity: Decimal = Decimal(0)
    update_id: int = 1
    updated_at_ms: int = 0
    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=TRADES_KEPT))

    @property
    def mid(self) -> Decimal:
        """Return the middle of the touch."""
        return (self.bid + self.ask) / 2

    def quote(
        self, bid: Decimal, bid_quantity: Decimal, ask: Decimal, ask_quantity: Decimal, at_ms: int
    ) -> None:
        """Take over a new touch."""
        self.bid, self.bid_quantity = bid, bid_quantity
        self.ask, self.ask_quantity = ask, ask_quantity
        self.updated_at_ms = at_ms
        self.update_id += 1

    def levels(self, *, bids: bool) -> list[tuple[Decimal, Decimal]]:
        """Return (price, quantity) best first: the touch, then made-up levels that grow outwards."""
        price, quantity = (self.bid, self.bid_quantity) if bids else (self.ask, self.ask_quantity)
        if price <= 0:
            return []
        step = -self.market.tick if bids else self.market.tick
        touch = [(price, quantity)] if quantity > 0 else []
        behind = [(price + step * n, self.market.min_quantity * 100 * n) for n in range(1, LEVELS)]
        return touch + [level for level in behind if level[0] > 0]

    def displayed_at(self, price: Decimal, *, bids: bool) -> Decimal:
        """Return the quantity of others displayed at `price`."""
        return next((quantity for level, quantity in self.levels(bids=bids) if level == price), Decimal(0))
