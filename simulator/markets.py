"""The markets, with filters as the exchange publishes them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Market:
    """One market and the rules of its orders."""

    symbol: str
    base: str
    quote: str
    perp: bool
    tick: Decimal
    step: Decimal
    min_quantity: Decimal
    #: Where the synthetic flow begins.
    start_price: Decimal
    #: Prices may be this far from the middle, as multiples.
    max_multiplier: Decimal = Decimal("1.25")
    min_multiplier: Decimal = Decimal("0.75")

    def in_steps(self, quantity: Decimal) -> Decimal:
        """Return a quantity rounded down to the market's steps."""
        return quantity // self.step * self.step

    def wire(self) -> dict[str, Any]:
        """Return the market as `GET /api/v1/market` shows it."""
        sqrt = {"type": "sqrt", "base": "0.02", "factor": "0.000075"} if self.perp else None
        return {
            "symbol": self.symbol,
            "baseSymbol": self.base,
            "quoteSymbol": self.quote,
            "marketType": "PERP" if self.perp else "SPOT",
            "filters": {
                "price": {
                    "minPrice": str(self.tick),
                    "maxPrice": None,
                    "tickSize": str(self.tick),
                    "maxMultiplier": str(self.max_multiplier),
                    "minMultiplier": str(self.min_multiplier),
                    "maxImpactMultiplier": "1.03",
                    "minImpactMultiplier": "0.97",
                    "meanMarkPriceBand": {"maxMultiplier": "1.075", "minMultiplier": "0.925"}
                    if self.perp
                    else None,
                    "meanPremiumBand": None,
                },
                "quantity": {
                    "minQuantity": str(self.min_quantity),
                    "maxQuantity": None,
                    "stepSize": str(self.step),
                },
            },
            "imfFunction": sqrt,
            "mmfFunction": {**sqrt, "base": "0.0135"} if sqrt else None,
            "fundingInterval": 3_600_000 if self.perp else None,
            "fundingRateUpperBound": "100" if self.perp else None,
            "fundingRateLowerBound": "-100" if self.perp else None,
            "openInterestLimit": "4000000" if self.perp else "0",
            "orderBookState": "Open",
            "positionLimitWeight": "1" if self.perp else None,
            "visible": True,
            "createdAt": "2025-01-21T06:34:54.691858",
        }


def _pair(base: str, tick: str, step: str, price: str) -> tuple[Market, Market]:
    common = {
        "base": base,
        "quote": "USDC",
        "tick": Decimal(tick),
        "step": Decimal(step),
        "min_quantity": Decimal(step),
        "start_price": Decimal(price),
    }
    return (
        Market(symbol=f"{base}_USDC", perp=False, **common),  # type: ignore[arg-type]
        Market(symbol=f"{base}_USDC_PERP", perp=True, **common),  # type: ignore[arg-type]
    )


MARKETS: dict[str, Market] = {
    market.symbol: market
    for pair in (
        _pair("SOL", "0.01", "0.01", "150.00"),
        _pair("ETH", "0.01", "0.0001", "2700.00"),
        _pair("BTC", "0.1", "0.00001", "60000.0"),
    )
    for market in pair
}
