"""What both grids have in common to set and to remember."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from strategies import base
from strategies.effects import LIVE
from strategies.grid_levels import BoundaryAction, GridMode, GridType
from strategies.intervals import Grid
from wording import said


class GridParams(base.Params):
    """What a user may set in `strategy_config` of any grid. Its levels and sizes are made once in a run."""

    inert: ClassVar[Mapping[str, str]] = {
        "spread": said("a grid quotes at its levels; see the range and grid_num"),
        "max_orders": said("every interval has its order; see grid_num and limits.max_open_orders"),
    }

    grid_upper_price: Decimal | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("grid_upper_price", "grid_upper"),
        description="Upper end of the range, quote units. Needed unless auto_price_range is true.",
    )
    grid_lower_price: Decimal | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("grid_lower_price", "grid_lower"),
        description="Lower end of the range, quote units. Needed unless auto_price_range is true.",
    )
    grid_num: int = Field(
        default=10,
        ge=2,
        le=200,
        description="Number of price levels; one interval less. Levels on one tick become one.",
    )
    grid_mode: GridMode = Field(
        default=GridMode.ARITHMETIC,
        description='Spacing of the levels: "arithmetic" (equal differences) or "geometric" (equal ratios).',
    )
    auto_price_range: bool = Field(
        default=False,
        description="Whether the range is put around the price at the first decision. Without effect when "
        "both ends are given.",
    )
    price_range_percent: Decimal = Field(
        default=Decimal(5),
        gt=0,
        lt=100,
        description="Half the width of an automatic or adjusted range, percent of the price.",
    )
    order_quantity: Decimal | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("order_quantity", "quantity"),
        description="Size of each interval's order, base units. Null: automatic, at the first decision.",
    )
    stop_loss: Decimal | None = Field(
        json_schema_extra=LIVE,
        default=None,
        description="Loss that ends the run and closes what it holds, quote units; the sign is ignored, "
        "0 is none.",
    )
    take_profit: Decimal | None = Field(
        json_schema_extra=LIVE,
        default=None,
        ge=0,
        description="Profit that ends the run and closes what it holds, quote units; 0 is none.",
    )
    boundary_action: BoundaryAction = Field(
        json_schema_extra=LIVE,
        default=BoundaryAction.EMERGENCY_CLOSE,
        description='When the price leaves the range: "emergency_close" (close, stop), "stop_only" (stop, '
        'keep what is held) or "adjust_range" (move the range to the price).',
    )
    boundary_tolerance: Decimal = Field(
        json_schema_extra=LIVE,
        default=Decimal("0.001"),
        ge=0,
        le=1,
        description="How far outside the range counts as left, a fraction of its end: 0.001 is 0.1 %.",
    )
    enable_boundary_check: bool = Field(
        default=True, json_schema_extra=LIVE, description="Whether the range is watched."
    )
    close_slippage_bps: Decimal = Field(
        json_schema_extra=LIVE,
        default=Decimal(100),
        ge=0,
        le=1000,
        description="How far beyond the best price a closing at the end may trade, basis points.",
    )
    refresh_tolerance_bps: Decimal = Field(
        json_schema_extra=LIVE,
        default=Decimal(0),
        ge=0,
        le=100,
        description="A resting order this close to its wanted price keeps its queue place, basis points. "
        "Levels do not move, so only exits the price has run over differ.",
    )

    @property
    def has_given_range(self) -> bool:
        """Tell whether both ends of the range are given, so that none is put around the price."""
        return self.grid_lower_price is not None and self.grid_upper_price is not None

    @property
    def range_type(self) -> GridType:
        """Return where an automatic range lies."""
        return GridType.NEUTRAL

    @field_validator("stop_loss", "take_profit")
    @classmethod
    def _is_a_size_or_none(cls, given: Decimal | None) -> Decimal | None:
        return abs(given) if given else None

    @model_validator(mode="after")
    def _range_is_a_range(self) -> Self:
        lower, upper = self.grid_lower_price, self.grid_upper_price
        if lower is not None and upper is not None and lower >= upper:
            raise ValueError(
                said(
                    "grid_lower_price {lower} must be below grid_upper_price {upper}",
                    lower=lower,
                    upper=upper,
                )
            )
        if not self.auto_price_range and (lower is None or upper is None):
            raise ValueError(
                said("grid_lower_price and grid_upper_price are needed unless auto_price_range is true")
            )
        return self


class State(base.State):
    """What a grid remembers. What its intervals hold is not here: that is derived from the fills."""

    #: None until the first decision with a usable book.
    grid: Grid | None = None
    #: Fair price when the first grid was made, quote units.
    first_price: Decimal = Decimal(0)
    #: What the first grid took over from the account, base units: on spot coins to sell, on perpetuals the
    #: position that was there (signed).
    stock: Decimal = Decimal(0)
    #: What a position that was taken over is valued from, quote units; perpetuals only.
    stock_price: Decimal = Decimal(0)
    #: Why the range is being moved; empty when it is not. Old orders are withdrawn first.
    adjusting: str = ""
    #: How often the range was moved, and why the last time.
    adjustments: int = 0
    last_adjustment: str = ""
