"""Parameters of the strategies that the old program has and this version cannot run yet.

Their files are checked as strictly as the others, so that what is accepted today runs unchanged later. A
strategy leaves this module when it joins `strategies.registry`, which is asked first.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import AliasChoices, Field, model_validator

from market.instrument import MarketType
from strategies.base import Params


class LegacyParams(Params):
    """Parameters that are understood and not acted upon."""


class GridMode(StrEnum):
    """How the levels of a grid are spaced."""

    #: Equal differences.
    ARITHMETIC = "arithmetic"
    #: Equal ratios.
    GEOMETRIC = "geometric"


class GridType(StrEnum):
    """Which side a perpetual grid opens."""

    NEUTRAL = "neutral"
    LONG = "long"
    SHORT = "short"


class BoundaryAction(StrEnum):
    """What a grid does when the price leaves its range."""

    #: Cancel, close the position, stop.
    EMERGENCY_CLOSE = "emergency_close"
    #: Move the range to the price.
    ADJUST_RANGE = "adjust_range"
    #: Cancel, keep the position, stop.
    STOP_ONLY = "stop_only"


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


class PerpMarketMakerParams(_PositionParams):
    """`standard` on a perpetual market."""

    spread: Decimal = Field(gt=0, le=100, description="Distance between bid and ask, percent: 0.2 is 0.2 %.")
    quantity: Decimal | None = Field(default=None, gt=0, description="Size of each order, base units.")
    max_orders: int = Field(default=3, ge=1, le=50, description="Layers on each side.")


class HedgeParams(_PositionParams):
    """`maker_hedge`, on either market."""

    spread: Decimal | None = Field(
        default=None, gt=0, le=100, description="Accepted; this strategy never used it."
    )
    quantity: Decimal | None = Field(default=None, gt=0, description="Size of each order, base units.")
    max_orders: int | None = Field(
        default=None, ge=1, le=50, description="Accepted; there is one on each side."
    )


class _GridParams(LegacyParams):
    grid_upper_price: Decimal | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("grid_upper_price", "grid_upper"),
        description="Upper end of the range, quote units.",
    )
    grid_lower_price: Decimal | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("grid_lower_price", "grid_lower"),
        description="Lower end of the range, quote units.",
    )
    grid_num: int = Field(default=10, ge=2, le=200, description="Number of price levels.")
    grid_mode: GridMode = Field(default=GridMode.ARITHMETIC, description="Spacing of the levels.")
    auto_price_range: bool = Field(default=False, description="Whether the range is put around the price.")
    price_range_percent: Decimal = Field(
        default=Decimal(5),
        gt=0,
        lt=100,
        description="Half the width of an automatic range, percent of the price.",
    )
    order_quantity: Decimal | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("order_quantity", "quantity"),
        description="Size of each order, base units. Null: automatic.",
    )

    @model_validator(mode="after")
    def _range_is_a_range(self) -> Self:
        lower, upper = self.grid_lower_price, self.grid_upper_price
        if lower is not None and upper is not None and lower >= upper:
            raise ValueError(f"grid_lower_price {lower} must be below grid_upper_price {upper}")
        if not self.auto_price_range and (lower is None or upper is None):
            raise ValueError(
                "grid_lower_price and grid_upper_price are needed unless auto_price_range is true"
            )
        return self


class SpotGridParams(_GridParams):
    """`grid`, on a spot market."""

    auto_borrow: bool = Field(default=True, description="Whether orders may borrow what the account lacks.")
    auto_borrow_repay: bool = Field(default=True, description="Whether fills repay what was borrowed.")


class PerpGridParams(_GridParams, _PositionParams):
    """`perp_grid`, on a perpetual market."""

    grid_type: GridType = Field(default=GridType.NEUTRAL, description="Which side the grid opens.")
    boundary_action: BoundaryAction = Field(
        default=BoundaryAction.EMERGENCY_CLOSE, description="What to do when the price leaves the range."
    )
    boundary_tolerance: Decimal = Field(
        default=Decimal("0.001"), ge=0, le=1, description="How far outside counts as left, a fraction."
    )
    enable_boundary_check: bool = Field(default=True, description="Whether the range is watched.")


#: By (metadata.strategy, market type).
LEGACY: dict[tuple[str, MarketType], type[LegacyParams]] = {
    ("standard", MarketType.PERP): PerpMarketMakerParams,
    ("maker_hedge", MarketType.SPOT): HedgeParams,
    ("maker_hedge", MarketType.PERP): HedgeParams,
    ("grid", MarketType.SPOT): SpotGridParams,
    ("perp_grid", MarketType.PERP): PerpGridParams,
}
