"""What to tell the user of a grid before it starts, the same on both markets. Pure functions."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from market.snapshot import Snapshot
from strategies.grid_levels import BoundaryAction, GridType, is_outside, nearest_level, shown, smallest_order
from strategies.grid_params import GridParams
from strategies.intervals import Grid
from strategies.quoting import BPS
from wording import said

NO_BOOK = said("the book has no two sides now: neither levels nor funds could be checked")


def warnings(
    snapshot: Snapshot, grid: Grid, params: GridParams, price: Decimal, *, held: Decimal = Decimal(0)
) -> list[str]:
    """Return sentences about the levels, the range and the quantity at `price`.

    `held` is the position, base units, that the grid takes over.
    """
    found = []
    if params.auto_price_range and params.has_given_range:
        found.append(said("auto_price_range has no effect: grid_lower_price and grid_upper_price are given"))
    elif params.auto_price_range and (params.grid_lower_price or params.grid_upper_price):
        given = "grid_lower_price" if params.grid_lower_price else "grid_upper_price"
        found.append(
            said("{given} has no effect: with auto_price_range it takes both ends, or none", given=given)
        )
    if len(grid.levels) < params.grid_num:
        found.append(
            said(
                "grid_num {grid_num} levels fall on {levels} prices at a tick of {tick_size}: the grid has "
                "{intervals} intervals",
                grid_num=params.grid_num,
                levels=len(grid.levels),
                tick_size=shown(snapshot.instrument.tick_size),
                intervals=grid.intervals,
            )
        )
    least = smallest_order(snapshot.instrument)
    if grid.quantity < 2 * least:
        found.append(
            said(
                "order_quantity {quantity} is less than two of the smallest orders, {least} each: an order "
                "filled in part can leave parts that are too small to trade",
                quantity=shown(grid.quantity),
                least=shown(least),
            )
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
        said(
            "the interval {below} to {above} is {width} bps wide, and its two maker fees come to {fees} "
            "bps: a round trip gains nothing (break-even); lower grid_num or widen the range",
            below=shown(below),
            above=shown(above),
            width=f"{(above - below) / below * BPS:.1f}",
            fees=f"{2 * fee_bps:.1f}",
        )
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
    advice = "" if params.stop_loss else said("; set stop_loss to bound the loss")
    return [
        said(
            "adjust_range keeps what is held: at {end} a full grid is {direction} {held} {base_asset} from "
            "{average} on average, a loss of {lost} {quote_asset}, and closes it around the new price. Each "
            "further {percent} % lose about {further} {quote_asset} more{advice}",
            end=shown(end),
            direction=said("long") if is_long else said("short"),
            held=shown(held),
            base_asset=instrument.base_asset,
            average=shown(round(average, 4)),
            lost=shown(lost),
            quote_asset=instrument.quote_asset,
            percent=shown(percent),
            further=shown(further),
            advice=advice,
        )
    ]


def _range_warnings(grid: Grid, params: GridParams, price: Decimal, harmless: int | None) -> list[str]:
    """Say so when the price is outside of the range or at an end; `harmless` is a level that is no end."""
    lower, upper = grid.levels[0], grid.levels[-1]
    ends = said("the range {lower} to {upper}", lower=shown(lower), upper=shown(upper))
    is_ending = params.enable_boundary_check and params.boundary_action is not BoundaryAction.ADJUST_RANGE
    if not lower <= price <= upper:
        found = said("the price {price} is outside of {ends}", price=shown(price), ends=ends)
        if is_ending and is_outside(price, grid.levels, params.boundary_tolerance):
            return [
                said(
                    "{found}: boundary_action {boundary_action} ends the run at its first decision",
                    found=found,
                    boundary_action=params.boundary_action,
                )
            ]
        return [said("{found}: every order stands on one side of it", found=found)]
    end = nearest_level(grid.levels, price)
    if is_ending and end in (0, grid.intervals) and end != harmless:
        limit = upper * (1 + params.boundary_tolerance) if end else lower * (1 - params.boundary_tolerance)
        percent = abs(limit - price) / price * 100
        return [
            said(
                "the price {price} is at the {end} end of {ends}: a move of {percent} % ends the run "
                "(boundary_action {boundary_action})",
                price=shown(price),
                end=said("upper") if end else said("lower"),
                ends=ends,
                percent=f"{percent:.2f}",
                boundary_action=params.boundary_action,
            )
        ]
    return []
