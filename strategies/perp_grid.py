"""Trade the intervals of a price grid on a perpetual market, in one netted position.

`long` opens by buys and closes by sells one level higher, `short` the other way round, `neutral` is long
below the level nearest to the first price and short above it. The most it can hold is the quantity times
the intervals of one direction; `max_position` bounds what rests, so outer intervals wait where it is less.

Where `exclusive_symbol` says that nothing else trades the symbol, the first grid adopts the position that is
there, for example of a run that was stopped: it gets exits, and stop-loss, take-profit and a close include
it. Otherwise that position counts towards `max_position` and is left alone.

Stop-loss and take-profit look at the unrealised profit of what the run made and adopted, which the exchange's
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
from wording import said

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

    @property
    def range_type(self) -> GridType:
        """Return the side on which the grid opens."""
        return self.grid_type


def decide(snapshot: Snapshot, state: State, params: Params) -> Decision[State]:
    """Return the orders of every interval, or the end of the run with its reason."""
    return grid_run.decide(snapshot, state, params, _MARKET)


def unwind(snapshot: Snapshot, state: State, params: Params) -> TakerOrder | None:
    """Return the reduce-only order that closes this run's own net; None when nothing of it is left.

    Where nothing else trades the symbol: what closes the account's position.
    """
    net = snapshot.profit.net
    if snapshot.exclusive_symbol and snapshot.position is not None:
        # A flat position may lag behind a fill.
        net = snapshot.position.net_quantity or state.stock + net
    return close_own(snapshot, slippage_bps=params.close_slippage_bps, net=net, reason="close grid")


def preflight(snapshot: Snapshot, params: Params) -> Preflight:
    """Return what is wrong with the parameters at this price, and what the grid may come to hold."""
    price = snapshot.price
    if price is None or not quoting.is_two_sided(snapshot.book):
        return Preflight(warnings=(grid_preflight.NO_BOOK,))
    found = snapshot.position.net_quantity if snapshot.position else Decimal(0)
    adopted = found if snapshot.exclusive_symbol else Decimal(0)
    try:
        grid = _first_grid(snapshot, price, params, adopted)
    except GridImpossible as impossible:
        return Preflight(problems=(impossible.args[0],))
    problem = _problem(grid, params, found)
    return Preflight(
        problems=(problem,) if problem else (),
        warnings=(
            *grid_preflight.warnings(snapshot, grid, params, price, held=adopted),
            *_exposure_warnings(grid, params),
            *_found_warnings(snapshot, params, price, found),
            *_margin_warnings(snapshot, grid, params),
        ),
    )


def _problem(grid: Grid, params: Params, found: Decimal) -> str:
    if grid.quantity > params.max_position:
        return said(
            "one order of {quantity} is above max_position {max_position}: lower order_quantity or raise "
            "max_position",
            quantity=shown(grid.quantity),
            max_position=shown(params.max_position),
        )
    if found != 0 and params.grid_type is (GridType.SHORT if found > 0 else GridType.LONG):
        return said(
            "a {grid_type} grid closes by reduce-only orders, which the exchange refuses on a position of "
            "{found}: close that position first",
            grid_type=params.grid_type,
            found=shown(found),
        )
    return ""


def _exposure_warnings(grid: Grid, params: Params) -> list[str]:
    count = grid.larger_direction
    worst = grid.quantity * count
    if worst <= params.max_position:
        return []
    working = int(params.max_position / grid.quantity)
    return [
        said(
            "{count} intervals of {quantity} can come to a position of {worst}, above max_position "
            "{max_position}: at most {working} of them are open at once, the {waiting} farthest from the "
            "price wait",
            count=count,
            quantity=shown(grid.quantity),
            worst=shown(worst),
            max_position=shown(params.max_position),
            working=working,
            waiting=count - working,
        )
    ]


def _found_warnings(snapshot: Snapshot, params: Params, price: Decimal, found: Decimal) -> list[str]:
    """Say what becomes of a position that is there already."""
    if found == 0:
        return []
    holds = said(
        "the account already holds a position of {found}: it counts towards max_position", found=shown(found)
    )
    if not snapshot.exclusive_symbol:
        return [
            said(
                "{holds}, and the grid gives it no exits; stop_loss, take_profit and emergency_close do not "
                'cover it. Set "exclusive_symbol": true to have the grid adopt it, when nothing else trades '
                "it",
                holds=holds,
            )
        ]
    adopting = State(stock=found, stock_price=_adoption_price(snapshot, price))
    result = _unrealized(snapshot, adopting, price)
    reason = grid_run.barrier(result, _MARKET.result_name, price, snapshot, adopting, params)
    adopts = said(
        "{holds}, and the grid adopts it: stop_loss, take_profit and emergency_close cover it", holds=holds
    )
    return [adopts, *([said("the first decision closes it: {reason}", reason=reason)] if reason else [])]


def _margin_warnings(snapshot: Snapshot, grid: Grid, params: Params) -> list[str]:
    asset = snapshot.instrument.quote_asset
    longs = grid.levels[: grid.long_intervals]
    shorts = grid.levels[grid.long_intervals + 1 :]
    prices = longs if len(longs) >= len(shorts) else shorts
    held = min(params.max_position, grid.quantity * len(prices))
    notional = held * sum(prices) / len(prices)
    balance = snapshot.balances[asset].total if asset in snapshot.balances else Decimal(0)
    full = said("a full grid holds {notional} {asset}", notional=shown(round(notional, 2)), asset=asset)
    if balance <= 0:
        return [said("{full}, and the account has no {asset} as margin", full=full, asset=asset)]
    if notional <= balance:
        return []
    leverage = notional / balance
    limit = snapshot.terms.leverage_limit if snapshot.terms else leverage
    above = said(", above the account's limit of {limit}", limit=shown(limit)) if leverage > limit else ""
    return [
        said(
            "{full} on a balance of {balance}: it needs a leverage of {leverage}{above}",
            full=full,
            balance=shown(round(balance, 2)),
            leverage=f"{leverage:.1f}",
            above=above,
        )
    ]


def _first_grid(snapshot: Snapshot, price: Decimal, params: Params, adopted: Decimal) -> Grid:
    instrument, grid_type = snapshot.instrument, params.grid_type
    levels = grid_run.first_levels(price, params, instrument)
    if params.order_quantity is not None:
        quantity = configured_quantity(params.order_quantity, instrument)
    else:
        quantity = automatic_perp_quantity(
            params.max_position, _larger_direction(levels, price, grid_type), instrument
        )
    # Only a grid whose state was lost has traded before it is made: its net is taken over.
    long_intervals, holdings = intervals.assign(
        snapshot.profit.net + adopted,
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
    if not snapshot.exclusive_symbol:
        return State(grid=_first_grid(snapshot, price, params, Decimal(0)), first_price=price)
    if snapshot.position is None or snapshot.net.low != snapshot.net.high:
        # Only a grid whose state was lost: its newest fills and the position still tell different stories.
        return State()
    adopted = snapshot.position.net_quantity - snapshot.profit.net
    return State(
        grid=_first_grid(snapshot, price, params, adopted),
        first_price=price,
        stock=adopted,
        stock_price=_adoption_price(snapshot, price) if adopted else Decimal(0),
    )


def _adoption_price(snapshot: Snapshot, price: Decimal) -> Decimal:
    """Return what a position that is taken over is valued from: its entry, where that is of it alone."""
    entry = snapshot.position.entry_price if snapshot.position else None
    return entry if entry and snapshot.profit.net == 0 else price


def _unrealized(snapshot: Snapshot, state: State, price: Decimal) -> Decimal:
    """Return the unrealised profit of what the run made and adopted, netted, quote units."""
    own, stock = snapshot.profit, state.stock
    if own.net * stock >= 0:
        return own.unrealized(price) + stock * (price - state.stock_price)
    # The smaller of the two has closed its part of the larger one.
    average = state.stock_price if abs(stock) >= abs(own.net) else own.average_price
    return (own.net + stock) * (price - average)


def _quotes(snapshot: Snapshot, grid: Grid, params: Params) -> tuple[Quote, ...]:
    # In a neutral grid a long and a short interval may be open at once: the net is less than each closes.
    return intervals.wanted_quotes(grid, snapshot, reduce_only=params.grid_type is not GridType.NEUTRAL)


_MARKET: GridMarket[Params] = GridMarket(
    first=_first,
    quotes=_quotes,
    result=_unrealized,
    result_name="unrealised profit",
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
