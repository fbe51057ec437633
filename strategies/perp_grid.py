"""Trade the intervals of a price grid on a perpetual market, in one netted position.

`long` opens by buys and closes by sells one level higher, `short` the other way round, `neutral` is long
below the level nearest to the first price and short above it. The most it can hold is the quantity times
the intervals of one direction; `max_position` bounds what rests, so outer intervals wait where it is less.

Stop-loss and take-profit look at the unrealised profit of this run's own net, which the exchange's
settlement of profits does not reset.
"""

from __future__ import annotations

from decimal import Decimal

from pydantic import Field

from market.instrument import MarketType
from market.orders import Quote
from market.snapshot import Snapshot
from strategies import grid_preflight, grid_run, intervals, quoting
from strategies.base import Decision, Preflight, Strategy, TakerOrder
from strategies.closing import close_own
from strategies.grid_levels import (
    GridImpossible,
    GridType,
    automatic_perp_quantity,
    configured_quantity,
    nearest_level,
    shown,
)
from strategies.grid_params import GridParams, State
from strategies.grid_run import GridMarket
from strategies.intervals import Grid

__all__ = ["STRATEGY", "Params", "State", "decide", "preflight", "unwind"]


class Params(GridParams):
    """What a user may set in `strategy_config`."""

    grid_type: GridType = Field(
        default=GridType.NEUTRAL,
        description='Which side the grid opens: "neutral" (buys below the first price, sells above it), '
        '"long" or "short".',
    )
    max_position: Decimal = Field(
        default=Decimal(1),
        gt=0,
        description="Largest position that resting orders may lead to, base units. An automatic "
        "order_quantity is 0.8 of it divided by the intervals of one direction.",
    )
    target_position: Decimal = Field(
        default=Decimal(0), ge=0, description="Accepted from old files, without effect in a grid."
    )
    position_threshold: Decimal = Field(
        default=Decimal("0.1"), gt=0, description="Accepted from old files, without effect in a grid."
    )
    inventory_skew: Decimal = Field(
        default=Decimal(0), ge=0, le=1, description="Accepted from old files, without effect in a grid."
    )
    leverage: Decimal = Field(
        default=Decimal(1),
        ge=1,
        description="Accepted from old files, without effect: the account's own leverage applies.",
    )

    @property
    def position_cap(self) -> Decimal | None:
        """Return `max_position`."""
        return self.max_position


def decide(snapshot: Snapshot, state: State, params: Params) -> Decision[State]:
    """Return the orders of every interval, or the end of the run with its reason."""
    return grid_run.decide(snapshot, state, params, _MARKET)


def unwind(snapshot: Snapshot, state: State, params: Params) -> TakerOrder | None:
    """Return the reduce-only order that closes this run's own net; None when nothing of it is left."""
    return close_own(snapshot, slippage_bps=params.close_slippage_bps, reason="close grid")


def preflight(snapshot: Snapshot, params: Params) -> Preflight:
    """Return what is wrong with the parameters at this price, and what the grid may come to hold."""
    price = snapshot.price
    if price is None or not quoting.is_two_sided(snapshot.book):
        return Preflight(warnings=(grid_preflight.NO_BOOK,))
    try:
        grid = _first_grid(snapshot, price, params)
    except GridImpossible as impossible:
        return Preflight(problems=(str(impossible),))
    found = snapshot.position.net_quantity if snapshot.position else Decimal(0)
    problem = _problem(grid, params, found)
    return Preflight(
        problems=(problem,) if problem else (),
        warnings=(
            *grid_preflight.warnings(snapshot, grid, params, price),
            *_exposure_warnings(grid, params, found),
            *_margin_warnings(snapshot, grid, params),
        ),
    )


def _problem(grid: Grid, params: Params, found: Decimal) -> str:
    if grid.quantity > params.max_position:
        return (
            f"one order of {shown(grid.quantity)} is above max_position {shown(params.max_position)}: "
            "lower order_quantity or raise max_position"
        )
    if found != 0 and params.grid_type is (GridType.SHORT if found > 0 else GridType.LONG):
        return (
            f"a {params.grid_type} grid closes by reduce-only orders, which the exchange refuses on a "
            f"position of {shown(found)}: close that position first"
        )
    return ""


def _exposure_warnings(grid: Grid, params: Params, found: Decimal) -> list[str]:
    warnings = []
    count = grid.larger_direction
    worst = grid.quantity * count
    if worst > params.max_position:
        working = int(params.max_position / grid.quantity)
        warnings.append(
            f"{count} intervals of {shown(grid.quantity)} can come to a position of {shown(worst)}, above "
            f"max_position {shown(params.max_position)}: at most {working} of them are open at once, the "
            f"{count - working} farthest from the price wait"
        )
    if found != 0:
        warnings.append(
            f"the account already holds a position of {shown(found)}: it counts towards max_position, and "
            "the grid neither closes nor adopts it"
        )
    return warnings


def _margin_warnings(snapshot: Snapshot, grid: Grid, params: Params) -> list[str]:
    asset = snapshot.instrument.quote_asset
    longs = grid.levels[: grid.long_intervals]
    shorts = grid.levels[grid.long_intervals + 1 :]
    prices = longs if len(longs) >= len(shorts) else shorts
    held = min(params.max_position, grid.quantity * len(prices))
    notional = held * sum(prices) / len(prices)
    balance = snapshot.balances[asset].total if asset in snapshot.balances else Decimal(0)
    full = f"a full grid holds {shown(round(notional, 2))} {asset}"
    if balance <= 0:
        return [f"{full}, and the account has no {asset} as margin"]
    if notional <= balance:
        return []
    leverage = notional / balance
    limit = snapshot.terms.leverage_limit if snapshot.terms else leverage
    above = f", above the account's limit of {shown(limit)}" if leverage > limit else ""
    return [
        f"{full} on a balance of {shown(round(balance, 2))}: it needs a leverage of {leverage:.1f}{above}"
    ]


def _first_grid(snapshot: Snapshot, price: Decimal, params: Params) -> Grid:
    instrument, grid_type = snapshot.instrument, params.grid_type
    levels = grid_run.first_levels(price, params, grid_type, instrument)
    if params.order_quantity is not None:
        quantity = configured_quantity(params.order_quantity, instrument)
    else:
        quantity = automatic_perp_quantity(
            params.max_position, _larger_direction(levels, price, grid_type), instrument
        )
    # Only a grid whose state was lost has traded before it is made: its net is taken over.
    long_intervals, holdings = intervals.assign(
        snapshot.profit.net,
        levels,
        price,
        quantity=quantity,
        grid_type=grid_type,
        min_quantity=instrument.min_quantity,
    )
    return intervals.make_grid(levels, quantity, long_intervals, holdings, snapshot.totals)


def _larger_direction(levels: tuple[Decimal, ...], price: Decimal, grid_type: GridType) -> int:
    count = len(levels) - 1
    if grid_type is not GridType.NEUTRAL:
        return count
    pivot = nearest_level(levels, price)
    return max(pivot, count - pivot)


def _first(snapshot: Snapshot, price: Decimal, params: Params) -> State:
    return State(grid=_first_grid(snapshot, price, params), first_price=price)


def _quotes(snapshot: Snapshot, grid: Grid, params: Params) -> tuple[Quote, ...]:
    # In a neutral grid a long and a short interval may be open at once: the net is less than each closes.
    return intervals.wanted_quotes(grid, snapshot, reduce_only=params.grid_type is not GridType.NEUTRAL)


_MARKET: GridMarket[Params] = GridMarket(
    first=_first,
    quotes=_quotes,
    result=lambda snapshot, _, price: snapshot.profit.unrealized(price),
    result_name="unrealised profit",
    range_type=lambda params: params.grid_type,
    grid_type=lambda params: params.grid_type,
)

STRATEGY: Strategy[Params, State] = Strategy(
    title="PerpGridStrategy",
    config_name="perp_grid",
    market_types=frozenset({MarketType.PERP}),
    params=Params,
    state=State,
    decide=decide,
    summary="Opens at the levels of a price range and closes one level further, on a perpetual market.",
    fixed_levels=True,
    unwind=unwind,
    preflight=preflight,
)
