"""The order book of one instrument at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal


@dataclass(frozen=True, kw_only=True)
class BookLevel:
    """One price of a book and the quantity displayed there."""

    price: Decimal
    quantity: Decimal


@dataclass(frozen=True, kw_only=True)
class OrderBook:
    """Both sides of a book, best price first."""

    symbol: str
    bids: tuple[BookLevel, ...]
    asks: tuple[BookLevel, ...]
    #: Exchange time of the last change, ms since the epoch.
    updated_at_ms: int

    def without(self, own: Mapping[tuple[bool, Decimal], Decimal]) -> OrderBook:
        """Return the book of the others: `own` quantities taken off, by (is a bid, price)."""

        def others(levels: tuple[BookLevel, ...], *, bids: bool) -> tuple[BookLevel, ...]:
            left = []
            for level in levels:
                taken = own.get((bids, level.price), Decimal(0))
                if level.quantity > taken:
                    left.append(replace(level, quantity=level.quantity - taken) if taken else level)
            return tuple(left)

        if not own:
            return self
        return replace(self, bids=others(self.bids, bids=True), asks=others(self.asks, bids=False))

    @property
    def best_bid(self) -> Decimal | None:
        """Return the highest bid, or None when nobody bids."""
        return self.bids[0].price if self.bids else None

    @property
    def best_ask(self) -> Decimal | None:
        """Return the lowest ask, or None when nobody asks."""
        return self.asks[0].price if self.asks else None

    @property
    def mid(self) -> Decimal | None:
        """Return (best bid + best ask) / 2, or None when a side is empty."""
        if not self.bids or not self.asks:
            return None
        return (self.bids[0].price + self.asks[0].price) / 2
