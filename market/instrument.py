"""What is traded, with the exchange's rules for prices and quantities."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from enum import StrEnum

from market.orders import Side


class MarketType(StrEnum):
    """Kind of market an instrument trades on."""

    #: Coins change hands.
    SPOT = "spot"
    #: A perpetual contract; positions are signed.
    PERP = "perp"


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """One tradable symbol and the filters its orders must pass."""

    #: The exchange's name, for example ``SOL_USDC_PERP``.
    symbol: str
    market_type: MarketType
    base_asset: str
    quote_asset: str
    #: Smallest price step.
    tick_size: Decimal
    #: Smallest quantity step.
    step_size: Decimal
    min_quantity: Decimal
    #: None: the exchange names no limit.
    max_quantity: Decimal | None = None
    min_price: Decimal | None = None
    max_price: Decimal | None = None

    def round_price(self, price: Decimal, side: Side) -> Decimal:
        """Return `price` on a tick, on the safe side: a buy is rounded down, a sell up."""
        rounding = ROUND_FLOOR if side is Side.BUY else ROUND_CEILING
        return (price / self.tick_size).to_integral_value(rounding) * self.tick_size

    def round_quantity(self, quantity: Decimal) -> Decimal:
        """Return `quantity` cut down to a step, never up."""
        return (quantity / self.step_size).to_integral_value(ROUND_FLOOR) * self.step_size
