"""Parameters of the perpetual market maker."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from pydantic import Field, field_validator

from strategies.maker_rules import MakerParams


class SkewUnit(StrEnum):
    """What a skew of 1 shifts the quotes by at `max_position`."""

    #: Half of the spread, so that a full position quotes its way out at about the mid.
    HALF_SPREAD = "half_spread"
    #: The price itself, as in the old program: useful values are a few thousandths.
    PRICE = "price"


class AfterClose(StrEnum):
    """What follows a protective close."""

    #: Nothing is quoted for `loss_cooldown_s`.
    COOLDOWN = "cooldown"
    #: The run ends.
    STOP = "stop"
    #: Quotes come back at once.
    CONTINUE = "continue"


_NO_ASSET_MIX = "a perpetual has a position, no asset mix; see target_position and position_threshold"


class Params(MakerParams):
    """What a user may set in `strategy_config`."""

    inert: ClassVar[Mapping[str, str]] = {
        "enable_rebalance": _NO_ASSET_MIX,
        "base_asset_target": _NO_ASSET_MIX,
        "base_asset_target_percentage": _NO_ASSET_MIX,
        "rebalance_threshold": _NO_ASSET_MIX,
    }

    quantity: Decimal | None = Field(
        default=None,
        gt=0,
        description="Size of each order, base units. Null: a side's layers share a quarter of max_position.",
    )
    max_position: Decimal = Field(
        default=Decimal(1),
        gt=0,
        description="Largest position, long or short, that the quotes of a side may lead to, base units.",
    )
    target_position: Decimal | None = Field(
        default=None,
        ge=0,
        description="Position, long or short, that is left alone, base units. Null: max_position, so nothing "
        "below that is traded back.",
    )
    position_threshold: Decimal = Field(
        default=Decimal("0.1"),
        gt=0,
        description="How far above target_position a position is brought back at once, base units: the "
        "account's with exclusive_symbol, else what this run made of it.",
    )
    inventory_skew: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=1,
        description="Shift of all quotes against the position, in skew_unit: in full at max_position.",
    )
    skew_unit: SkewUnit = Field(
        default=SkewUnit.HALF_SPREAD,
        description='Unit of inventory_skew: "half_spread": half of spread; "price": the mid, as the old '
        "program did (0.002 is 0.2 % of the price).",
    )
    size_skew: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=1,
        description="How much smaller the orders are that would enlarge the position, a part of their size: "
        "in full at max_position.",
    )
    stop_loss: Decimal | None = Field(
        default=None,
        description="Unrealised loss that closes the position (without exclusive_symbol: what this run made "
        "of it), quote units; the sign is ignored. 0 or null: off.",
    )
    take_profit: Decimal | None = Field(
        default=None,
        ge=0,
        description="Unrealised profit that closes as much as stop_loss does, quote units. 0 or null: off.",
    )
    after_stop_loss: AfterClose = Field(
        default=AfterClose.COOLDOWN,
        description='After a stop-loss: "cooldown": quote again after loss_cooldown_s; "stop": end the run; '
        '"continue": quote again at once.',
    )
    after_take_profit: AfterClose = Field(
        default=AfterClose.CONTINUE, description="After a take-profit: the same choices as after_stop_loss."
    )
    close_slippage_bps: Decimal = Field(
        default=Decimal(50),
        ge=0,
        le=1000,
        description="How far beyond the best price an order that reduces the position may trade, "
        "basis points.",
    )
    leverage: Decimal = Field(
        default=Decimal(1), ge=1, description="Accepted, without effect: set it at the exchange."
    )

    @property
    def position_cap(self) -> Decimal | None:
        """Return the largest position, base units, that resting orders may lead to."""
        return self.max_position

    @field_validator("stop_loss", "take_profit")
    @classmethod
    def _is_a_size_or_off(cls, value: Decimal | None) -> Decimal | None:
        return abs(value) if value else None
