"""What to tell the user of a grid before it starts, the same on both markets. Pure functions."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from market.snapshot import Snapshot
from strategies.grid_levels import BoundaryAction, GridType, is_outside, nearest_level, shown, smallest_order
from strategies.grid_params import GridParams
from strategies.intervals import Grid
from strategies.quoting import BPS

NO_BOOK = "the book has no two sides now: neither levels nor funds could be checked"


def warnings(
    snapshot: Snapshot, grid: Grid, params: GridParams, price: Decimal, *, held: Decimal = Decimal(0)
) -> list[str]:
    """Return sentences about the levels, the range and the quantity at `price`.

    `held` is the position, base units, that the grid takes over.
    """
    found = []
    if params.auto_price_range and params.has_given_range:
        found.append("auto_price_range has no effect: grid_lower_price and grid_upper_price are given")
    elif params.auto_price_range and (params.grid_lower_price or params.grid_upper_price):
        given = "grid_lower_price" if params.grid_lower_price else "grid_upper_price"
        found.append(f"{given} has no effect: with auto_price_range it takes both ends, or none")
    if len(grid.levels) < params.grid_num:
        found.append(
            f"grid_num {params.grid_num} levels fall on {len(grid.levels)} prices at a tick of "
            f"{shown(snapshot.instrument.tick_size)}: the grid has {grid.intervals} intervals"
        )
    least = smallest_order(snapshot.instrument)
    if grid.quantity < 2 * least:
        found.append(
            f"order_quantity {shown(grid.quantity)} is less than two of the smallest orders, "
            f"{shown(least)} each: an order filled in part can leave parts that are too small to trade"
        )
    waits = {GridType.LONG: grid.intervals, GridType.SHORT: 0}
    harmless = None if params.has_given_range or held else waits.get(params.range_type)
    return [
        *found,
        *_fee_warnings(snapshot, grid),
        *_range_warnings(grid, params, price, harmless),
        *_following_warnings(snapshot, grid, params, price),
    ]


def _fee_warnings(snapshot: Snapshot, grid: Grid) -> list[str]:
    """Say so when a round trip costs more in maker fees than an interval is wide."""
    if snapshot.terms is None:
        return []
    fee_bps = snapshot.terms.fee_bps(snapshot.instrument.market_type, is_maker=True)
    gains = [
        ((above - below) - (above + below) * fee_bps / BPS, below, above)
        for below, above in pairwise(grid.levels)
    ]
    gain, below, above = min(gains)
    if gain > 0:
        return []
    return [
        f"the interval {shown(below)} to {shown(above)} is {(above - below) / below * BPS:.1f} bps wide, and "
        f"its two maker fees come to {2 * fee_bps:.1f} bps: a round trip gains nothing (break-even); lower "
        "grid_num or widen the range"
    ]


def _following_warnings(snapshot: Snapshot, grid: Grid, params: GridParams, price: Decimal) -> list[str]:
    """Say what a range costs that follows the price away from what the grid holds."""
    if not params.enable_boundary_check or params.boundary_action is not BoundaryAction.ADJUST_RANGE:
        return []
    instrument, percent = snapshot.instrument, params.price_range_percent
    is_long = 2 * grid.long_intervals >= grid.intervals
    if is_long:
        opened = [min(level, price) for level in grid.levels[: grid.long_intervals]]
    else:
        opened = [max(level, price) for level in grid.levels[grid.long_intervals + 1 :]]
    end = grid.levels[0] if is_long else grid.levels[-1]
    held = grid.limit if params.position_cap is None else min(grid.limit, params.position_cap)
    average = sum(opened, Decimal(0)) / len(opened)
    lost, further = (round(held * change, 2) for change in (abs(average - end), end * percent / 100))
    advice = "" if params.stop_loss else "; set stop_loss to bound the loss"
    return [
        f"adjust_range keeps what is held: at {shown(end)} a full grid is {'long' if is_long else 'short'} "
        f"{shown(held)} {instrument.base_asset} from {shown(round(average, 4))} on average, a loss of "
        f"{shown(lost)} {instrument.quote_asset}, and closes it around the new price. Each further "
        f"{shown(percent)} % lose about {shown(further)} {instrument.quote_asset} more{advice}"
    ]


def _range_warnings(grid: Grid, params: GridParams, price: Decimal, harmless: int | None) -> list[str]:
    """Say so when the price is outside of the range or at an end; `harmless` is a level that is no end."""
    lower, upper = grid.levels[0], grid.levels[-1]
    ends = f"the range {shown(lower)} to {shown(upper)}"
    is_ending = params.enable_boundary_check and params.boundary_action is not BoundaryAction.ADJUST_RANGE
    if not lower <= price <= upper:
        found = f"the price {shown(price)} is outside of {ends}"
        if is_ending and is_outside(price, grid.levels, params.boundary_tolerance):
            return [f"{found}: boundary_action {params.boundary_action} ends the run at its first decision"]
        return [f"{found}: every order stands on one side of it"]
    end = nearest_level(grid.levels, price)
    if is_ending and end in (0, grid.intervals) and end != harmless:
        limit = upper * (1 + params.boundary_tolerance) if end else lower * (1 - params.boundary_tolerance)
        percent = abs(limit - price) / price * 100
        return [
            f"the price {shown(price)} is at the {'upper' if end else 'lower'} end of {ends}: a move of "
            f"{percent:.2f} % ends the run (boundary_action {params.boundary_action})"
        ]
    return []
