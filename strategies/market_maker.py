"""Quote a ladder of bids and asks around the mid of a spot market, and keep the asset mix on target.

Per decision: (1) a ladder of prices around the mid, on ticks, off the other side of the book; (2) a size
per side; (3) when the mix of base and quote asset is too far from its target, one price-protected
immediate-or-cancel order back to it; (4) whatever the funds left cover is quoted.

Without a two-sided, uncrossed book or without known balances nothing is quoted, so that resting quotes
are withdrawn: a price nobody confirms is not worth standing for.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Self

from pydantic import AliasChoices, Field, model_validator

from market.instrument import MarketType
from market.orders import Quote, Role, Side
from market.snapshot import OwnOrder, Snapshot
from strategies import base, quoting
from strategies.base import Decision, Strategy, TakerOrder
from strategies.quoting import BPS, Funds, Rounding
from strategies.rebalance import back_to_target

#: Automatic size: the part of an asset in one order is this, or less with many layers.
_LARGEST_SHARE = Decimal("0.05")

#: Automatic size: the part of an asset in all layers of one side is at most one in this.
_SIDE_DIVISOR = 4

#: Automatic size: an own order this close to the computed size keeps its own, so that each fill, which
#: changes the totals a little, does not requote the whole side. Relative.
_SIZE_STICKINESS = Decimal("0.10")

#: Default of `refresh_tolerance_bps`.
_REFRESH_TOLERANCE_BPS = Decimal(1)

#: Half of one percent, in basis points.
_HALF_PERCENT_IN_BPS = 50


class LayerSpacing(StrEnum):
    """How the distance between layers grows."""

    #: Layer i stands 1.5 · i^1.5 ticks outside of layer 0: close together, whatever the price.
    TICKS = "ticks"
    #: Layer i stands i · `layer_step_bps` of the mid outside of layer 0.
    BPS = "bps"


class Params(base.Params):
    """What a user may set in `strategy_config`."""

    spread: Decimal = Field(
        gt=0,
        le=100,
        description="Distance between the innermost bid and ask, percent of the mid: 0.2 is 0.2 %.",
    )
    quantity: Decimal | None = Field(
        default=None,
        gt=0,
        description="Size of each order, base units. Null: 5 % of the holding, less with many layers.",
    )
    max_orders: int = Field(default=3, ge=1, le=50, description="Layers on each side.")
    layer_spacing: LayerSpacing = Field(
        default=LayerSpacing.TICKS,
        description='Distance of layer i from the first: "ticks": 1.5·i^1.5 ticks; "bps": i·layer_step_bps.',
    )
    layer_step_bps: Decimal | None = Field(
        default=None,
        gt=0,
        le=1000,
        description='Distance of layers, basis points; only with layer_spacing "bps".',
    )
    rounding: Rounding = Field(
        default=Rounding.SAFE,
        description='"safe": bids down and asks up to a tick; "nearest": as the old program did, either way.',
    )
    refresh_tolerance_bps: Decimal = Field(
        default=_REFRESH_TOLERANCE_BPS,
        ge=0,
        le=1000,
        description="A resting order this close to its wanted price keeps its queue place, basis points. "
        "Must be below half of the spread; default 1, for spreads under 0.2 % a tenth of half of the spread.",
    )
    enable_rebalance: bool = Field(default=True, description="Whether to trade back to base_asset_target.")
    base_asset_target: Decimal = Field(
        default=Decimal(30),
        ge=0,
        le=100,
        validation_alias=AliasChoices("base_asset_target", "base_asset_target_percentage"),
        description="Part of the account's value to hold in the base asset, percent.",
    )
    rebalance_threshold: Decimal = Field(
        default=Decimal(15),
        gt=0,
        le=100,
        description="Deviation from base_asset_target that is traded back, percentage points.",
    )
    rebalance_slippage_bps: Decimal = Field(
        default=Decimal(10),
        ge=0,
        le=1000,
        description="How far beyond the best price a rebalance may trade, basis points.",
    )
    rebalance_cooldown_s: int = Field(
        default=60, ge=0, le=86_400, description="Shortest time between two rebalances, seconds."
    )

    @model_validator(mode="after")
    def _step_belongs_to_bps(self) -> Self:
        if (self.layer_spacing is LayerSpacing.BPS) != (self.layer_step_bps is not None):
            raise ValueError('layer_step_bps and layer_spacing "bps" need each other: set both, or neither')
        return self

    @model_validator(mode="before")
    @classmethod
    def _default_tolerance_follows_the_spread(cls, given: object) -> object:
        if not isinstance(given, dict) or "refresh_tolerance_bps" in given:
            return given
        spread = given.get("spread")
        if isinstance(spread, int | float | str | Decimal) and not isinstance(spread, bool):
            with suppress(InvalidOperation):
                narrow = Decimal(str(spread)) * _HALF_PERCENT_IN_BPS / 10
                if 0 < narrow < _REFRESH_TOLERANCE_BPS:
                    return {**given, "refresh_tolerance_bps": narrow}
        return given

    @model_validator(mode="after")
    def _tolerance_is_inside_the_spread(self) -> Self:
        half_spread_bps = self.spread * _HALF_PERCENT_IN_BPS
        if self.refresh_tolerance_bps >= half_spread_bps:
            raise ValueError(
                f"refresh_tolerance_bps must be below half of spread, here below {half_spread_bps:f} bps"
            )
        return self


class State(base.State):
    """What the market maker remembers."""

    #: When the last rebalance was wanted, ms since the epoch by the state server's clock.
    last_rebalance_at_ms: int | None = None


def decide(snapshot: Snapshot, state: State, params: Params) -> Decision[State]:
    """Return the ladder wanted now, and a rebalance when one is due."""
    instrument = snapshot.instrument
    if params.quantity is not None and params.quantity < instrument.min_quantity:
        reason = (
            f"quantity {params.quantity} is below the smallest order of {instrument.symbol}, "
            f"{instrument.min_quantity}: raise strategy_config.quantity"
        )
        return Decision(quotes=(), state=state, stop_reason=reason)
    funds = quoting.funds_of(snapshot)
    mid = snapshot.book.mid
    if funds is None or mid is None or not quoting.is_two_sided(snapshot.book):
        return Decision(quotes=(), state=state)

    taker = None
    if params.enable_rebalance and not _is_cooling_down(snapshot.taken_at_ms, state, params):
        taker = back_to_target(
            snapshot,
            funds,
            target_percent=params.base_asset_target,
            threshold_percent=params.rebalance_threshold,
            slippage_bps=params.rebalance_slippage_bps,
            rounding=params.rounding,
        )
    quotes: list[Quote] = []
    for side in Side:
        # The side a rebalance would hit stays empty: self-trade prevention would reject the rebalance.
        if taker is None or side is taker.side:
            ladder = _ladder(snapshot, params, mid, side)
            quotes += _quotes(snapshot, params, ladder, side, _after(funds, taker))
    if taker is not None:
        state = state.model_copy(update={"last_rebalance_at_ms": snapshot.taken_at_ms})
    return Decision(quotes=tuple(quotes), state=state, taker=taker)


def _ladder(snapshot: Snapshot, params: Params, mid: Decimal, side: Side) -> tuple[tuple[int, Decimal], ...]:
    instrument = snapshot.instrument
    half = mid * params.spread / 200
    rounding = params.rounding
    if rounding is Rounding.NEAREST:
        bid, ask = (
            quoting.on_tick(quoting.outwards(mid, half, each), each, instrument, rounding)
            for each in (Side.BUY, Side.SELL)
        )
        if bid >= ask:
            # A spread below a tick can round both sides to the same price; only the safe way parts them.
            rounding = Rounding.SAFE
    innermost = quoting.outwards(mid, half, side)
    if params.layer_step_bps is None:
        prices = quoting.tick_ladder(innermost, side, params.max_orders, instrument, rounding)
    else:
        step = mid * params.layer_step_bps / BPS
        prices = quoting.step_ladder(innermost, step, side, params.max_orders, instrument, rounding)
    return quoting.levels_of(prices, side, snapshot.book, instrument)


def _quotes(
    snapshot: Snapshot, params: Params, ladder: Sequence[tuple[int, Decimal]], side: Side, funds: Funds
) -> tuple[Quote, ...]:
    if not ladder:
        return ()
    quantity = _size(snapshot, params, ladder, side, funds)
    wanted = (Quote(side=side, price=price, quantity=quantity, level=level) for level, price in ladder)
    if side is Side.SELL:
        return quoting.fit_budget(wanted, funds.base_spendable, lambda _: Decimal(1), snapshot.instrument)
    # A bid that is kept may stand above its wanted price by the tolerance, and holds more then.
    dearer = 1 + params.refresh_tolerance_bps / BPS
    return quoting.fit_budget(
        wanted, funds.quote_spendable, lambda quote: quote.price * dearer, snapshot.instrument
    )


def _size(
    snapshot: Snapshot, params: Params, ladder: Sequence[tuple[int, Decimal]], side: Side, funds: Funds
) -> Decimal:
    instrument = snapshot.instrument
    if params.quantity is not None:
        return quoting.capped(params.quantity, instrument)
    share = min(_LARGEST_SHARE, 1 / Decimal(_SIDE_DIVISOR * params.max_orders))
    if side is Side.SELL:
        computed = instrument.round_quantity(funds.base_total * share)
    else:
        average_price = sum((price for _, price in ladder), Decimal(0)) / len(ladder)
        computed = instrument.round_quantity(funds.quote_total * share / average_price)
    computed = max(computed, instrument.min_quantity)
    return quoting.capped(_sticky(computed, snapshot.open_orders, side), instrument)


def _sticky(computed: Decimal, own_orders: Sequence[OwnOrder], side: Side) -> Decimal:
    """Return the size of own quotes that is closest to `computed`, if one is close enough."""
    resting = (own.order.quantity for own in own_orders if own.order.side is side and own.role == Role.QUOTE)
    near = (size for size in resting if abs(size - computed) <= computed * _SIZE_STICKINESS)
    return min(near, key=lambda size: (abs(size - computed), size), default=computed)


def _is_cooling_down(now_ms: int, state: State, params: Params) -> bool:
    if state.last_rebalance_at_ms is None:
        return False
    # A time in the future comes from a clock that was set back; waiting for it could take for ever.
    return 0 <= now_ms - state.last_rebalance_at_ms < params.rebalance_cooldown_s * 1000


def _after(funds: Funds, taker: TakerOrder | None) -> Funds:
    """Return what is left to quote with once `taker` has taken its part."""
    if taker is None:
        return funds
    if taker.side is Side.SELL:
        return replace(funds, base_spendable=funds.base_spendable - taker.quantity)
    return replace(funds, quote_spendable=funds.quote_spendable - taker.quantity * taker.limit_price)


STRATEGY: Strategy[Params, State] = Strategy(
    title="MarketMaker",
    config_name="standard",
    market_types=frozenset({MarketType.SPOT}),
    params=Params,
    state=State,
    decide=decide,
)
