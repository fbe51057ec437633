"""What a user may set for the maker and taker hedge, on either market."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, Self

from pydantic import AliasChoices, Field, field_validator, model_validator

from strategies import base
from strategies.effects import RESTART


class PositionSource(StrEnum):
    """Who says how far a perpetual position is from its reference."""

    #: This run's fills and the exchange's position together: only what both confirm is hedged.
    ACCOUNT = "account"
    #: This run's fills alone, for a symbol that others trade on the same account.
    OWN_FILLS = "own_fills"


#: Automatic size on perpetuals: the part of `max_position` in one quote.
_AUTOMATIC_SHARE = Decimal("0.25")

_AT_THE_BEST = "quotes stand at the best prices"
_ALL_TRADED_BACK = "every fill is traded back, so the asset mix stays as it is"


class HedgeParams(base.Params):
    """What both markets have in common."""

    is_live: ClassVar[bool] = True

    inert: ClassVar[Mapping[str, str]] = {
        "spread": _AT_THE_BEST,
        "inventory_skew": _AT_THE_BEST,
        "max_orders": "there is one quote on each side",
        "target_position": "a hedge returns to where the run began, or to reference_position",
        "position_threshold": "see hedge_tolerance",
        "leverage": "the account's leverage is set at the exchange",
        "enable_rebalance": _ALL_TRADED_BACK,
        "base_asset_target": _ALL_TRADED_BACK,
        "base_asset_target_percentage": _ALL_TRADED_BACK,
        "rebalance_threshold": _ALL_TRADED_BACK,
    }

    quantity: Decimal | None = Field(default=None, gt=0, description="Size of each quote, base units.")
    refresh_tolerance_bps: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=100,
        description="A resting quote this close to the best price keeps its queue place, basis points.",
    )
    hedge_tolerance: Decimal | None = Field(
        default=None,
        ge=0,
        description="Difference from the reference that is left alone, base units. "
        "Null: only what is too small to be an order.",
    )
    hedge_slippage_bps: Decimal = Field(
        default=Decimal(20),
        ge=0,
        le=1000,
        description="How far beyond the best price a hedge may trade, basis points; doubled for each hedge "
        "in a row that was filled in part, and for every two in a row that traded nothing.",
    )
    max_hedge_slippage_bps: Decimal = Field(
        default=Decimal(100),
        ge=0,
        le=1000,
        description="Where the doubling of hedge_slippage_bps ends, and what the final hedge of a stop may "
        "use, basis points.",
    )
    stop_loss: Decimal | None = Field(
        default=None,
        description="Loss of the whole run, fees included, that ends it, quote units; the sign is ignored. "
        "0 or null: off.",
    )
    take_profit: Decimal | None = Field(
        default=None,
        ge=0,
        description="Profit of the whole run, fees included, that ends it, quote units. 0 or null: off.",
    )

    @property
    def exposure_cap(self) -> Decimal | None:
        """Return the largest difference from the reference that quotes may lead to; None: no limit."""
        raise NotImplementedError

    @property
    def position_cap(self) -> Decimal | None:
        """Return `exposure_cap`: what a run is away from its reference is what it has bought or sold."""
        return self.exposure_cap

    @field_validator("stop_loss", "take_profit")
    @classmethod
    def _zero_is_off(cls, value: Decimal | None) -> Decimal | None:
        return value or None

    @model_validator(mode="after")
    def _doubling_ends_above_its_start(self) -> Self:
        if self.max_hedge_slippage_bps < self.hedge_slippage_bps:
            raise ValueError("max_hedge_slippage_bps must not be below hedge_slippage_bps")
        return self


class SpotParams(HedgeParams):
    """`strategy_config` on a spot market."""

    quantity: Decimal | None = Field(
        default=None,
        gt=0,
        description="Size of each quote, base units. Null: 5 % of the quote balance at the best ask, "
        "at least the exchange's minimum.",
    )
    max_unhedged: Decimal | None = Field(
        default=None,
        gt=0,
        validation_alias=AliasChoices("max_unhedged", "max_position"),
        description="Most that may be bought or sold and not yet hedged, base units; quotes are cut to it. "
        "Null: no limit.",
    )

    @property
    def exposure_cap(self) -> Decimal | None:
        """Return `max_unhedged`."""
        return self.max_unhedged


class PerpParams(HedgeParams):
    """`strategy_config` on a perpetual market."""

    quantity: Decimal | None = Field(
        default=None,
        gt=0,
        description="Size of each quote, base units. Null: a quarter of max_position, "
        "at least the exchange's minimum.",
    )
    max_position: Decimal = Field(
        default=Decimal(1),
        gt=0,
        description="Largest position, and largest difference from the reference, that quotes may lead to, "
        "base units.",
    )
    reference_position: Decimal | None = Field(
        default=None,
        json_schema_extra=RESTART,
        description="Position that every hedge returns to, base units, short is negative. "
        "Null: the position found at the start.",
    )
    position_source: PositionSource = Field(
        default=PositionSource.ACCOUNT,
        json_schema_extra=RESTART,
        description='"account": hedge what own fills and the exchange\'s position both confirm, and end the '
        'run when they disagree for long; "own_fills": for a symbol that others trade on this account, too.',
    )
    disagreement_limit_s: int = Field(
        default=15,
        ge=1,
        le=3600,
        description="How long own fills and the position may disagree before the run ends, seconds.",
    )

    @property
    def automatic_size(self) -> Decimal:
        """Return the size of a quote where none is given, base units, before any rounding."""
        return self.max_position * _AUTOMATIC_SHARE

    @property
    def exposure_cap(self) -> Decimal | None:
        """Return `max_position`."""
        return self.max_position

    @property
    def position_cap(self) -> Decimal | None:
        """Return `max_position`; None where the account's position is others' as well."""
        return self.max_position if self.trusts_account else None

    @property
    def disagreement_limit_ms(self) -> int:
        """Return `disagreement_limit_s` in milliseconds."""
        return self.disagreement_limit_s * 1000

    @property
    def trusts_account(self) -> bool:
        """Tell whether the account's position in the symbol is this run's alone."""
        return self.position_source is PositionSource.ACCOUNT

    @model_validator(mode="after")
    def _reference_is_within_the_cap(self) -> Self:
        reference = self.reference_position
        if self.trusts_account and reference is not None and abs(reference) > self.max_position:
            raise ValueError(
                f"reference_position {reference} must be within max_position {self.max_position}"
            )
        return self
