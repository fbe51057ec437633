"""What the outside market displays on one symbol, and its public trades."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from simulator.markets import Market

#: Levels shown on each side, the touch included.
LEVELS = 20
#: Trades kept for `GET /api/v1/trades`.
TRADES_KEPT = 1000

Level = tuple[Decimal, Decimal]


@dataclass(frozen=True, kw_only=True)
class Trade:
    """A public trade."""

    trade_id: int
    price: Decimal
    quantity: Decimal
    #: True: the buyer was resting, so the aggressor sold.
    buyer_is_maker: bool
    at_ms: int
    #: None: the outside market's.
    maker_order_id: int | None = None
    taker_order_id: int | None = None


@dataclass(kw_only=True)
class OutsideBook:
    """The recorded or synthetic touch, and the levels behind it: recorded ones, or made up from the touch."""

    market: Market
    bid: Decimal = Decimal(0)
    bid_quantity: Decimal = Decimal(0)
    ask: Decimal = Decimal(0)
    ask_quantity: Decimal = Decimal(0)
    update_id: int = 1
    #: Called with the symbol at every change.
    on_change: Callable[[str], None] | None = field(default=None, repr=False)
    trades: deque[Trade] = field(default_factory=lambda: deque(maxlen=TRADES_KEPT))
    #: Recorded depth by price, per side (True: bids); empty: levels are made up.
    _recorded: dict[bool, dict[Decimal, Decimal]] = field(default_factory=lambda: {True: {}, False: {}})
    _shown: dict[bool, list[Level]] = field(default_factory=dict)

    @property
    def mid(self) -> Decimal:
        """Return the middle of the touch."""
        return (self.bid + self.ask) / 2

    def quote(self, bid: Decimal, bid_quantity: Decimal, ask: Decimal, ask_quantity: Decimal) -> None:
        """Take over a new touch."""
        self.bid, self.bid_quantity = bid, bid_quantity
        self.ask, self.ask_quantity = ask, ask_quantity
        self._changed()

    def record_depth(
        self, bids: Mapping[Decimal, Decimal], asks: Mapping[Decimal, Decimal], *, snapshot: bool
    ) -> None:
        """Take over recorded levels: absolute quantities, 0 removes; a snapshot replaces all of them."""
        for is_bids, changes in ((True, bids), (False, asks)):
            levels = self._recorded[is_bids]
            if snapshot:
                levels.clear()
            levels.update(changes)
            for price, quantity in changes.items():
                if quantity <= 0:
                    del levels[price]
        self._changed()

    def touched(self) -> None:
        """Count a change that an account's order made."""
        self.update_id += 1
        if self.on_change is not None:
            self.on_change(self.market.symbol)

    def _changed(self) -> None:
        self._shown.clear()
        self.touched()

    def levels(self, *, bids: bool) -> list[Level]:
        """Return (price, quantity) best first."""
        if bids not in self._shown:
            self._shown[bids] = self._levels(bids=bids)
        return self._shown[bids]

    def _levels(self, *, bids: bool) -> list[Level]:
        price, quantity = (self.bid, self.bid_quantity) if bids else (self.ask, self.ask_quantity)
        if price <= 0:
            return []
        touch = [(price, quantity)] if quantity > 0 else []
        recorded = self._recorded[bids]
        if recorded:
            # The touch is newer than the depth: what was recorded at or before it is gone.
            behind = [p for p in recorded if (p < price if bids else p > price)]
            nearest = heapq.nlargest(LEVELS - 1, behind) if bids else heapq.nsmallest(LEVELS - 1, behind)
            return touch + [(p, recorded[p]) for p in nearest]
        step = -self.market.tick if bids else self.market.tick
        made_up = [(price + step * n, self.market.min_quantity * 100 * n) for n in range(1, LEVELS)]
        return touch + [level for level in made_up if level[0] > 0]

    def displayed_at(self, price: Decimal, *, bids: bool) -> Decimal:
        """Return the quantity of others displayed at `price`, however deep."""
        if price == (self.bid if bids else self.ask):
            return self.bid_quantity if bids else self.ask_quantity
        better = price > self.bid if bids else price < self.ask
        if self._recorded[bids] and not better:
            return self._recorded[bids].get(price, Decimal(0))
        return next((quantity for level, quantity in self.levels(bids=bids) if level == price), Decimal(0))
