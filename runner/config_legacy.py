"""Parameters of the strategies that the old program has and this version cannot run yet.

Their files are checked as strictly as the others, so that what is accepted today runs unchanged later. A
strategy leaves this module when it joins `strategies.registry`, which is asked first.
"""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from market.instrument import MarketType
from strategies.base import Params


class LegacyParams(Params):
    """Parameters that are understood and not acted upon."""


class _PositionParams(LegacyParams):
    target_position: Decimal = Field(
        default=Decimal(0), ge=0, description="Position allowed to stand, base units."
    )
    max_position: Decimal = Field(
        default=Decimal(1), gt=0, description="Hard cap of the position, base units."
    )
    position_threshold: Decimal = Field(
        default=Decimal("0.1"), gt=0, description="Slack above the target before reducing, base units."
    )
    inventory_skew: Decimal = Field(
        default=Decimal(0), ge=0, le=1, description="Shift of the quotes against the position, a fraction."
    )
    stop_loss: Decimal | None = Field(
        default=None,
        description="Unrealised loss that closes the position, quote units; the sign is ignored.",
    )
    take_profit: Decimal | None = Field(
        default=None, gt=0, description="Unrealised profit that closes the position, quote units."
    )
    leverage: Decimal = Field(
        default=Decimal(1), ge=1, description="Accepted; the old program never used it."
    )


class HedgeParams(_PositionParams):
    """`maker_hedge`, on either market."""

    spread: Decimal | None = Field(
        default=None, gt=0, le=100, description="Accepted; this strategy never used it."
    )
    quantity: Decimal | None = Field(default=None, gt=0, description="Size of each order, base units.")
    max_orders: int | None = Field(
        default=None, ge=1, le=50, description="Accepted; there is one on each side."
    )


#: By (metadata.strategy, market type).
LEGACY: dict[tuple[str, MarketType], type[LegacyParams]] = {
    ("maker_hedge", MarketType.SPOT): HedgeParams,
    ("maker_hedge", MarketType.PERP): HedgeParams,
}
