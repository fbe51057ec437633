"""The life of a grid, the same on spot and perpetual markets: made once, watched, moved, ended.

Per decision: (1) the exchange's own trades end the run; (2) without a two-sided, uncrossed book nothing is
quoted, so that resting orders are withdrawn: a price nobody confirms is not worth standing for; (3) the
first time the levels and the quantity are computed, and never again; (4) stop-loss and take-profit; (5) the
boundary of the range; (6) the orders of every interval.

A grid is made only when no own order rests and every fill is known. Own orders at that moment are those of
a grid whose state was lost before it was saved, or of the range that is being left: they go first, and what
they have traded is taken into the new grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Generic, TypeVar

from market.instrument import Instrument
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies import intervals, quoting
from strategies.base import Decision
from strategies.grid_levels import (
    BoundaryAction,
    GridImpossible,
    GridType,
    PriceRange,
    automatic_range,
    is_outside,
    level_prices,
    shown,
)
from strategies.grid_params import GridParams, State
from strategies.intervals import Grid

P = TypeVar("P", bound=GridParams)


@dataclass(frozen=True, kw_only=True)
class GridMarket(Generic[P]):
    """What differs between the markets a grid runs on."""

    #: Makes the first grid at a price. Raises `GridImpossible`.
    first: Callable[[Snapshot, Decimal, P], State]
    quotes: Callable[[Snapshot, Grid, P], tuple[Quote, ...]]
    #: What stop-loss and take-profit look at, quote units, at a price.
    result: Callable[[Snapshot, State, Decimal], Decimal]
    #: How a sentence names it.
    result_name: str
    #: Where an automatic range lies.
    range_type: Callable[[P], GridType]
    #: Which directions the intervals have.
    grid_type: Callable[[P], GridType]


def decide(snapshot: Snapshot, state: State, params: P, market: GridMarket[P]) -> Decision[State]:
    """Return the orders of every interval, or the end of the run with its reason."""
    if snapshot.system_fills:
        return Decision(quotes=(), state=state, stop_reason=_system_reason(snapshot))
    price = snapshot.price
    if price is None or not quoting.is_two_sided(snapshot.book):
        return Decision(quotes=(), state=state)
    if state.grid is None:
        if not _is_withdrawn(snapshot):
            return Decision(quotes=(), state=state)
        try:
            state = market.first(snapshot, price, params)
        except GridImpossible as impossible:
            return Decision(quotes=(), state=state, stop_reason=str(impossible))
    reason = _barrier(market.result(snapshot, state, price), market.result_name, price, snapshot, params)
    if reason:
        return Decision(quotes=(), state=state, stop_reason=reason, unwind=True)
    return _inside_boundary(snapshot, state, params, market, price)


def first_levels(
    price: Decimal, params: GridParams, range_type: GridType, instrument: Instrument
) -> tuple[Decimal, ...]:
    """Return the levels as configured, or around `price`. Raises `GridImpossible`."""
    lower, upper = params.grid_lower_price, params.grid_upper_price
    if params.auto_price_range or lower is None or upper is None:
        wanted = automatic_range(price, params.price_range_percent, range_type)
    else:
        wanted = PriceRange(lower=lower, upper=upper)
    return level_prices(wanted, params.grid_num, params.grid_mode, instrument)


def _inside_boundary(
    snapshot: Snapshot, state: State, params: P, market: GridMarket[P], price: Decimal
) -> Decision[State]:
    left = state.adjusting or _left(price, state, params)
    if left and params.boundary_action is not BoundaryAction.ADJUST_RANGE:
        return Decision(
            quotes=(),
            state=state,
            stop_reason=f"{left}: {params.boundary_action}",
            unwind=params.boundary_action is BoundaryAction.EMERGENCY_CLOSE,
        )
    if left and not _is_withdrawn(snapshot):
        return Decision(quotes=(), state=state.model_copy(update={"adjusting": left}))
    if left:
        try:
            state = _moved(snapshot, state, params, market, price, left)
        except GridImpossible as impossible:
            reason = f"{left}: {params.boundary_action} impossible, so closed: {impossible}"
            return Decision(quotes=(), state=state, stop_reason=reason, unwind=True)
    quotes = () if state.grid is None else market.quotes(snapshot, state.grid, params)
    return Decision(quotes=quotes, state=state)


def _moved(
    snapshot: Snapshot, state: State, params: P, market: GridMarket[P], price: Decimal, left: str
) -> State:
    """Return the state with a grid around `price` that takes over what the run holds."""
    if state.grid is None:
        return state
    instrument, quantity = snapshot.instrument, state.grid.quantity
    net = state.stock + snapshot.profit.net
    # What is held needs levels to be closed at, also where a fresh grid of this type would have none.
    is_held = abs(net) >= instrument.min_quantity and net != 0
    wanted = automatic_range(
        price, params.price_range_percent, GridType.NEUTRAL if is_held else market.range_type(params)
    )
    levels = level_prices(wanted, params.grid_num, params.grid_mode, instrument)
    long_intervals, holdings = intervals.assign(
        net,
        levels,
        price,
        quantity=quantity,
        grid_type=market.grid_type(params),
        min_quantity=instrument.min_quantity,
    )
    return state.model_copy(
        update={
            "grid": intervals.make_grid(levels, quantity, long_intervals, holdings, snapshot.totals),
            "adjusting": "",
            "adjustments": state.adjustments + 1,
            "last_adjustment": left,
        }
    )


def _is_withdrawn(snapshot: Snapshot) -> bool:
    """Tell whether no own order rests and all that were are accounted for."""
    return not snapshot.unsettled and not any(own.order.status.is_open for own in snapshot.open_orders)


def _left(price: Decimal, state: State, params: GridParams) -> str:
    """Return the sentence that `price` has left the range, empty while it has not."""
    if not params.enable_boundary_check or state.grid is None:
        return ""
    levels = state.grid.levels
    if not is_outside(price, levels, params.boundary_tolerance):
        return ""
    return (
        f"price {shown(price)} left the range {shown(levels[0])} to {shown(levels[-1])} "
        f"by more than boundary_tolerance {shown(params.boundary_tolerance)}"
    )


def _barrier(result: Decimal, name: str, price: Decimal, snapshot: Snapshot, params: GridParams) -> str:
    """Return the sentence that stop-loss or take-profit is reached, empty while neither is."""
    if params.stop_loss is not None and result <= -params.stop_loss:
        barrier = f"stop_loss {shown(params.stop_loss)}"
    elif params.take_profit is not None and result >= params.take_profit:
        barrier = f"take_profit {shown(params.take_profit)}"
    else:
        return ""
    instrument = snapshot.instrument
    return (
        f"{barrier} reached: {name} {shown(round(result, 4))} {instrument.quote_asset} at price "
        f"{shown(price)}, net {shown(snapshot.profit.net)} {instrument.base_asset}"
    )


def _system_reason(snapshot: Snapshot) -> str:
    fills = snapshot.system_fills
    net = sum((fill.quantity if fill.side is Side.BUY else -fill.quantity) for fill in fills)
    return (
        f"the exchange itself traded {shown(Decimal(net))} {snapshot.instrument.base_asset} on this account, "
        f"last at {shown(fills[-1].price)} (liquidation or auto-deleveraging): what the grid holds is "
        "no longer what it bought and sold"
    )
