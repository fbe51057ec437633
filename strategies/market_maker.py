"""Quote a ladder of bids and asks around the mid of a spot market, and keep the asset mix on target.

Per decision: (1) a ladder of prices around the mid, shifted against the asset mix, on ticks, off the other
side of the book; (2) a size per side; (3) when the mix of base and quote asset is too far from its target,
one price-protected immediate-or-cancel order back to it; (4) whatever the funds left cover is quoted, as
far as the rules of `maker_rules` leave a side.

Without a two-sided, uncrossed book or without known balances nothing is quoted, so that resting quotes
are withdrawn: a price nobody confirms is not worth standing for. After a loss nothing is traded at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar

from pydantic import AliasChoices, Field

from market.instrument import MarketType
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies import ladder, maker_preflight, maker_rules, quoting
from strategies.base import Decision, Preflight, Strategy, TakerOrder
from strategies.ladder import Ladder
from strategies.maker_rules import MakerParams, MakerState
from strategies.quoting import BPS, Funds
from strategies.rebalance import back_to_target, deviation_percent
from wording import said

#: Automatic size: the part of an asset in one order is this, or less with many layers.
_LARGEST_SHARE = Decimal("0.05")

#: Automatic size: the part of an asset in all layers of one side is at most one in this.
_SIDE_DIVISOR = 4

_NO_POSITION = said("a spot account holds coins, no position; see base_asset_target and rebalance_threshold")
_NO_BARRIER = said("a spot market maker has no position to close; use limits.max_daily_loss")


class Params(MakerParams):
    """What a user may set in `strategy_config`."""

    inert: ClassVar[Mapping[str, str]] = {
        "target_position": _NO_POSITION,
        "max_position": _NO_POSITION,
        "position_threshold": _NO_POSITION,
        "leverage": said("a spot account trades what it holds"),
        "stop_loss": _NO_BARRIER,
        "take_profit": _NO_BARRIER,
    }

    quantity: Decimal | None = Field(
        default=None,
        gt=0,
        description="Size of each order, base units. Null: 5 % of the holding, less with many layers.",
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
    inventory_skew: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=1,
        description="Shift of all quotes against the asset mix, a part of half of the spread: down when "
        "there is more than base_asset_target, in full at rebalance_threshold.",
    )
    size_skew: Decimal = Field(
        default=Decimal(0),
        ge=0,
        le=1,
        description="How much smaller the orders are that would move the mix further from "
        "base_asset_target, a part of their size: in full at rebalance_threshold.",
    )


class State(MakerState):
    """What the market maker remembers."""

    #: When the last rebalance was wanted, ms since the epoch by the state server's clock.
    last_rebalance_at_ms: int | None = None


def decide(snapshot: Snapshot, state: State, params: Params) -> Decision[State]:
    """Return the ladder wanted now, and a rebalance when one is due."""
    state = maker_rules.remember(snapshot, state, params)
    reason = maker_preflight.too_small("quantity", params.quantity, snapshot.instrument)
    if reason is not None:
        return Decision(quotes=(), state=state, stop_reason=reason)
    funds = quoting.funds_of(snapshot)
    mid = snapshot.book.mid
    if funds is None or mid is None or not quoting.is_two_sided(snapshot.book):
        return Decision(quotes=(), state=state)
    if maker_rules.is_cooling_down(snapshot.taken_at_ms, state, params):
        return Decision(quotes=(), state=state)

    sides = maker_rules.sides_in_band(mid, state, params)
    taker = _rebalance(snapshot, state, params, funds)
    if taker is not None and taker.side not in sides:
        taker = None
    if taker is not None:
        # The side a rebalance would hit stays empty: self-trade prevention would reject the rebalance.
        sides = (taker.side,)
    quotes = _quotes(snapshot, state, params, mid, sides, _after(funds, taker))
    if taker is not None:
        state = state.model_copy(update={"last_rebalance_at_ms": snapshot.taken_at_ms})
    return Decision(quotes=quotes, state=state, taker=taker)


def _rebalance(snapshot: Snapshot, state: State, params: Params, funds: Funds) -> TakerOrder | None:
    is_recent = maker_rules.is_within(
        snapshot.taken_at_ms, state.last_rebalance_at_ms, params.rebalance_cooldown_s
    )
    if not params.enable_rebalance or is_recent:
        return None
    return back_to_target(
        snapshot,
        funds,
        target_percent=params.base_asset_target,
        threshold_percent=params.rebalance_threshold,
        slippage_bps=params.rebalance_slippage_bps,
        rounding=params.rounding,
    )


def _quotes(
    snapshot: Snapshot, state: State, params: Params, mid: Decimal, sides: Sequence[Side], funds: Funds
) -> tuple[Quote, ...]:
    ratio = inventory_ratio(funds, mid, params)
    shift = params.inventory_skew * ratio * ladder.half_spread(mid, params)
    prices = ladder.ladders(snapshot, params, mid, shift=shift)
    quotes: list[Quote] = []
    for side in sides:
        size = _size(snapshot, params, prices[side], side, funds)
        size = ladder.lean(size, snapshot, side, size_skew=params.size_skew, ratio=ratio)
        wanted = maker_rules.quotes(snapshot, state, params, prices[side], side, size)
        quotes += _covered(wanted, side, snapshot, params, funds)
    return tuple(quotes)


def inventory_ratio(funds: Funds, mid: Decimal, params: Params) -> Decimal:
    """Return how far the asset mix is from its target in units of the threshold, within -1 to 1."""
    deviation = deviation_percent(funds, mid, params.base_asset_target)
    return max(Decimal(-1), min(Decimal(1), deviation / params.rebalance_threshold))


def _covered(
    quotes: tuple[Quote, ...], side: Side, snapshot: Snapshot, params: Params, funds: Funds
) -> tuple[Quote, ...]:
    if side is Side.SELL:
        return quoting.fit_budget(quotes, funds.base_spendable, lambda _: Decimal(1), snapshot.instrument)
    # A bid that is kept may stand above its wanted price by the tolerance, and holds more then.
    dearer = 1 + params.refresh_tolerance_bps / BPS
    return quoting.fit_budget(
        quotes, funds.quote_spendable, lambda quote: quote.price * dearer, snapshot.instrument
    )


def _size(snapshot: Snapshot, params: Params, prices: Ladder, side: Side, funds: Funds) -> Decimal:
    instrument = snapshot.instrument
    if params.quantity is not None:
        return quoting.capped(params.quantity, instrument)
    if not prices:
        return instrument.min_quantity
    share = min(_LARGEST_SHARE, 1 / Decimal(_SIDE_DIVISOR * params.max_orders))
    if side is Side.SELL:
        computed = instrument.round_quantity(funds.base_total * share)
    else:
        average_price = sum((price for _, price in prices), Decimal(0)) / len(prices)
        computed = instrument.round_quantity(funds.quote_total * share / average_price)
    computed = max(computed, instrument.min_quantity)
    return quoting.capped(ladder.sticky(computed, snapshot.open_orders, side), instrument)


def _after(funds: Funds, taker: TakerOrder | None) -> Funds:
    """Return what is left to quote with once `taker` has taken its part."""
    if taker is None:
        return funds
    if taker.side is Side.SELL:
        return replace(funds, base_spendable=funds.base_spendable - taker.quantity)
    return replace(funds, quote_spendable=funds.quote_spendable - taker.quantity * taker.limit_price)


def preflight(snapshot: Snapshot, params: Params) -> Preflight:
    """Return what keeps these parameters from working on this market, and what will surprise."""
    return maker_preflight.joined(
        maker_preflight.of_ladder(snapshot, params),
        maker_preflight.of_funds(snapshot),
    )


STRATEGY: Strategy[Params, State] = Strategy(
    title="MarketMaker",
    config_name="standard",
    market_types=frozenset({MarketType.SPOT}),
    params=Params,
    state=State,
    decide=decide,
    summary="Quotes a ladder of bids and asks around the mid, and keeps the asset mix on target.",
    preflight=preflight,
)
