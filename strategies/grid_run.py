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
    only_waits,
    shown,
)
from strategies.grid_params import GridParams, State
from strategies.intervals import Grid
from wording import said

P = TypeVar("P", bound=GridParams)


@dataclass(frozen=True, kw_only=True)
class GridMarket(Generic[P]):
    """What differs between the markets a grid runs on."""

    #: Makes the first grid at a price, or none while what is held is not sure. Raises `GridImpossible`.
    first: Callable[[Snapshot, Decimal, P], State]
    quotes: Callable[[Snapshot, Grid, P], tuple[Quote, ...]]
    #: What stop-loss and take-profit look at, quote units, at a price.
    result: Callable[[Snapshot, State, Decimal], Decimal]
    #: How a sentence names it.
    result_name: str
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
    result = market.result(snapshot, state, price)
    reason = barrier(result, market.result_name, price, snapshot, state, params)
    if reason:
        return Decision(quotes=(), state=state, stop_reason=reason, is_loss=result < 0, unwind=True)
    return _inside_boundary(snapshot, state, params, market, price)


def first_levels(price: Decimal, params: GridParams, instrument: Instrument) -> tuple[Decimal, ...]:
    """Return the levels as configured, or around `price`. Raises `GridImpossible`."""
    lower, upper = params.grid_lower_price, params.grid_upper_price
    if lower is None or upper is None:
        wanted = automatic_range(price, params.price_range_percent, params.range_type)
    else:
        wanted = PriceRange(lower=lower, upper=upper)
    return level_prices(wanted, params.grid_num, params.grid_mode, instrument)


def _inside_boundary(
    snapshot: Snapshot, state: State, params: P, market: GridMarket[P], price: Decimal
) -> Decision[State]:
    left = state.adjusting or _left(snapshot, price, state, params)
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
            reason = said(
                "{left}: {boundary_action} impossible, so closed: {impossible}",
                left=left,
                boundary_action=params.boundary_action,
                impossible=impossible,
            )
            return Decision(quotes=(), state=state, stop_reason=reason, unwind=True)
    quotes = () if state.grid is None else market.quotes(snapshot, state.grid, params)
    return Decision(quotes=quotes, state=state)


def _moved(
    snapshot: Snapshot, state: State, params: P, market: GridMarket[P], price: Decimal, left: str
) -> State:
    """Return the state with a grid around `price` that takes over what the run holds.

    Moves do not add up: what is held counts towards the most that the first grid could have come to hold.
    """
    if state.grid is None:
        return state
    instrument, quantity = snapshot.instrument, state.grid.quantity
    net = state.stock + snapshot.profit.net
    # What is held needs levels to be closed at, also where a fresh grid of this type would have none.
    wanted = automatic_range(
        price,
        params.price_range_percent,
        GridType.NEUTRAL if _is_holding(snapshot, state) else params.range_type,
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
            "grid": intervals.make_grid(
                levels,
                quantity,
                long_intervals,
                holdings,
                snapshot.totals,
                most_held=state.grid.limit,
            ),
            "adjusting": "",
            "adjustments": state.adjustments + 1,
            "last_adjustment": left,
        }
    )


def _is_withdrawn(snapshot: Snapshot) -> bool:
    """Tell whether no own order rests and all that were are accounted for."""
    return not snapshot.unsettled and not any(own.order.status.is_open for own in snapshot.open_orders)


def _is_holding(snapshot: Snapshot, state: State) -> bool:
    """Tell whether the grid holds enough for an order."""
    net = state.stock + snapshot.profit.net
    return net != 0 and abs(net) >= snapshot.instrument.min_quantity


def _left(snapshot: Snapshot, price: Decimal, state: State, params: GridParams) -> str:
    """Return the sentence that `price` has left the range, empty while it has not.

    A range that was put around the price has no end where a one-sided grid with nothing held only waits.
    """
    if not params.enable_boundary_check or state.grid is None:
        return ""
    levels = state.grid.levels
    if not is_outside(price, levels, params.boundary_tolerance):
        return ""
    is_automatic = not params.has_given_range or state.adjustments > 0
    follows = params.boundary_action is BoundaryAction.ADJUST_RANGE
    may_wait = is_automatic and not _is_holding(snapshot, state)
    if may_wait and only_waits(price, levels, params.range_type, follows=follows):
        return ""
    return said(
        "price {price} left the range {lower} to {upper} by more than boundary_tolerance "
        "{boundary_tolerance}",
        price=shown(price),
        lower=shown(levels[0]),
        upper=shown(levels[-1]),
        boundary_tolerance=shown(params.boundary_tolerance),
    )


def barrier(
    result: Decimal, name: str, price: Decimal, snapshot: Snapshot, state: State, params: GridParams
) -> str:
    """Return the sentence that stop-loss or take-profit is reached, empty while neither is."""
    if params.stop_loss is not None and result <= -params.stop_loss:
        reached = f"stop_loss {shown(params.stop_loss)}"
    elif params.take_profit is not None and result >= params.take_profit:
        reached = f"take_profit {shown(params.take_profit)}"
    else:
        return ""
    instrument = snapshot.instrument
    taken_over = said(" beside {stock} taken over", stock=shown(state.stock)) if state.stock else ""
    return said(
        "{reached} reached: {name} {result} {quote_asset} at price {price}, net {net} "
        "{base_asset}{taken_over}",
        reached=reached,
        name=name,
        result=shown(round(result, 4)),
        quote_asset=instrument.quote_asset,
        price=shown(price),
        net=shown(snapshot.profit.net),
        base_asset=instrument.base_asset,
        taken_over=taken_over,
    )


def _system_reason(snapshot: Snapshot) -> str:
    fills = snapshot.system_fills
    net = sum((fill.quantity if fill.side is Side.BUY else -fill.quantity) for fill in fills)
    return said(
        "the exchange itself traded {net} {base_asset} on this account, last at {price} (liquidation or "
        "auto-deleveraging): what the grid holds is no longer what it bought and sold",
        net=shown(Decimal(net)),
        base_asset=snapshot.instrument.base_asset,
        price=shown(fills[-1].price),
    )
