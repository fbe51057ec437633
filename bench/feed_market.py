"""A made-up market whose book changes at random, in the words of the exchange's wire protocol."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

#: Levels of each side in a snapshot, and those among them that change.
LEVELS = 200
BUSY_LEVELS = 20
CHANGED_LEVELS = 3


def symbol_name(number: int) -> str:
    """Return the name of a market; every other one is a perpetual."""
    return f"C{number:03}_USDC" + ("_PERP" if number % 2 else "")


@dataclass(kw_only=True)
class Market:
    """A book that changes at random, and only near its touch."""

    symbol: str
    random: random.Random
    last_update_id: int = 1000
    #: Quantities by ticks away from the middle, in hundredths.
    sides: dict[str, dict[int, int]] = field(
        default_factory=lambda: {side: dict.fromkeys(range(1, LEVELS + 1), 500) for side in ("a", "b")}
    )

    @property
    def is_perp(self) -> bool:
        """Tell whether it is a perpetual."""
        return self.symbol.endswith("_PERP")

    def change(self, at_us: int) -> dict[str, Any]:
        """Change some levels and return the message that says so."""
        changed: dict[str, list[list[str]]] = {"a": [], "b": []}
        for _ in range(CHANGED_LEVELS):
            side = self.random.choice("ab")
            ticks = self.random.randint(1, BUSY_LEVELS)
            # The best level stays: a book never lacks a side.
            is_gone = ticks > 1 and self.random.random() < 0.3
            quantity = 0 if is_gone else self.random.randint(1, 5000)
            self.sides[side][ticks] = quantity
            changed[side].append([_price(side, ticks), _quantity(quantity)])
        self.last_update_id += 1
        number = self.last_update_id
        return {"e": "depth", "E": at_us, "T": at_us, "s": self.symbol, "U": number, "u": number, **changed}

    def snapshot(self, at_us: int) -> dict[str, Any]:
        """Return the whole book as `GET /api/v1/depth` shows it."""
        shown = {
            side: [[_price(side, ticks), _quantity(left)] for ticks, left in levels.items() if left]
            for side, levels in self.sides.items()
        }
        return {
            "asks": shown["a"],
            "bids": shown["b"][::-1],
            "lastUpdateId": str(self.last_update_id),
            "timestamp": at_us,
        }

    def rules(self) -> dict[str, Any]:
        """Return the market as `GET /api/v1/market` shows it."""
        return {
            "symbol": self.symbol,
            "baseSymbol": self.symbol.split("_")[0],
            "quoteSymbol": "USDC",
            "marketType": "PERP" if self.is_perp else "SPOT",
            "filters": {
                "price": {"minPrice": "0.01", "maxPrice": None, "tickSize": "0.01"},
                "quantity": {"minQuantity": "0.01", "maxQuantity": None, "stepSize": "0.01"},
            },
        }


def _price(side: str, ticks: int) -> str:
    return f"{(10_000 + (ticks if side == 'a' else -ticks)) / 100:.2f}"


def _quantity(hundredths: int) -> str:
    return f"{hundredths / 100:.2f}"
