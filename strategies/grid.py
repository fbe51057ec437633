"""Trade the intervals of a price grid on a spot market: buy at each level below, sell one level higher.

Intervals that lie above the first price start with coins of the account (their stock), as far as there are
any, and are sold out of it; the interval that holds the price opens by a buy. So n levels have n - 1 working
orders and one empty gap. What is sold is bought back one level lower.

Stock stays the account's: what the run does not sell of it level by level is neither measured by stop_loss
and take_profit nor sold by them. They look at what closing now would leave the run with: its fills, after
fees, with sold stock valued at the first price.

Nothing is borrowed, and nothing is quoted that the account cannot pay: closing orders first, then the
opening orders nearest to the price.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import ClassVar

from pydantic import Field

from market.instrument import MarketType
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies import grid_preflight, grid_run, intervals, quoting
from strategies.base import Decision, Preflight, Strategy, TakerOrder
from strategies.effects import LIVE
from strategies.grid_levels import (
    BoundaryAction,
    GridImpossible,
    GridType,
    automatic_spot_quantity,
    configured_quantity,
    shown,
    smallest_order,
)
from strategies.grid_params import GridParams, State
from strategies.grid_run import GridMarket
from strategies.intervals import Grid
from strategies.quoting import BPS, Funds
from strategies.taking import protected_taker
from wording import said

__all__ = ["STRATEGY", "Params", "State", "decide", "preflight", "unwind"]


#: Less than this part of the quote asset in use is worth a warning.
_SMALL_SHARE = Decimal("0.1")

_NO_POSITION = said(
    "a spot account holds coins, no position; order_quantity and grid_num bound what is bought"
)


class Params(GridParams):
    """What a user may set in `strategy_config`."""

    inert: ClassVar[Mapping[str, str]] = {
        **GridParams.inert,
        "grid_type": said("a spot grid buys below the price and sells above it; perp_grid has directions"),
        "max_position": _NO_POSITION,
        "target_position": _NO_POSITION,
        "position_threshold": _NO_POSITION,
        "inventory_skew": _NO_POSITION,
        "leverage": said("a spot account trades what it holds"),
    }

    stop_loss: Decimal | None = Field(
        json_schema_extra=LIVE,
        default=None,
        description="Loss that ends the run and sells what it bought, quote units; the sign is ignored, 0 is "
        "none. Coins the account held before count once they are sold, and are not sold by it.",
    )
    take_profit: Decimal | None = Field(
        json_schema_extra=LIVE,
        default=None,
        ge=0,
        description="Profit that ends the run and sells what it bought, quote units; 0 is none. Measured as "
        "for stop_loss.",
    )
    boundary_action: BoundaryAction = Field(
        json_schema_extra=LIVE,
        default=BoundaryAction.STOP_ONLY,
        description='When the price leaves the range: "emergency_close" (sell what the run bought, stop), '
        '"stop_only" (stop, keep what is held) or "adjust_range" (move the range to the price).',
    )
    enable_boundary_check: bool = Field(
        default=False, description="Whether the range is watched; outside of it the grid only waits."
    )
    auto_borrow: bool = Field(
        default=False, description="Accepted from old files, without effect: nothing is ever borrowed."
    )
    auto_borrow_repay: bool = Field(
        default=False, description="Accepted from old files, without effect: nothing is ever borrowed."
    )


def decide(snapshot: Snapshot, state: State, params: Params) -> Decision[State]:
    """Return the order of every interval that the account can pay."""
    if not snapshot.balances and not snapshot.system_fills:
        # Nobody knows what could be paid.
        return Decision(quotes=(), state=state)
    return grid_run.decide(snapshot, state, params, _MARKET)


def unwind(snapshot: Snapshot, state: State, params: Params) -> TakerOrder | None:
    """Return the order that sells what this run bought and has not sold; None when that is too little.

    Stock that the run sold is not bought back.
    """
    funds = quoting.funds_of(snapshot)
    left = min(snapshot.profit.net, funds.base_spendable if funds else Decimal(0))
    if left <= 0:
        return None
    return protected_taker(snapshot, -left, slippage_bps=params.close_slippage_bps, reason="close grid")


def preflight(snapshot: Snapshot, params: Params) -> Preflight:
    """Return what is wrong with the parameters at this price, and what the account cannot pay."""
    warnings: list[str] = []
    if params.auto_borrow or params.auto_borrow_repay:
        warnings.append(said("auto_borrow and auto_borrow_repay have no effect: nothing is ever borrowed"))
    price, funds = snapshot.price, quoting.funds_of(snapshot)
    if price is None or not quoting.is_two_sided(snapshot.book):
        return Preflight(warnings=(*warnings, grid_preflight.NO_BOOK))
    if funds is None:
        return Preflight(problems=(said("the account holds nothing that this grid could trade"),))
    try:
        state = _first(snapshot, price, params)
    except GridImpossible as impossible:
        return Preflight(problems=(impossible.args[0],), warnings=tuple(warnings))
    if state.grid is None or not _is_payable(state.grid, funds, snapshot):
        return Preflight(
            problems=(said("the account can pay for none of this grid's orders"),), warnings=tuple(warnings)
        )
    warnings += grid_preflight.warnings(snapshot, state.grid, params, price)
    warnings += _fund_warnings(snapshot, state.grid, price, funds)
    warnings += _size_warnings(snapshot, state.grid, params, price, funds)
    if params.stop_loss is not None and state.stock:
        warnings.append(
            said(
                "stop_loss neither measures nor sells the {stock} {base_asset} that the account holds "
                "already: it covers what the run buys",
                stock=shown(state.stock),
                base_asset=snapshot.instrument.base_asset,
            )
        )
    return Preflight(warnings=tuple(warnings))


def _first(snapshot: Snapshot, price: Decimal, params: Params) -> State:
    instrument = snapshot.instrument
    funds = quoting.funds_of(snapshot) or Funds(
        base_total=Decimal(0), quote_total=Decimal(0), base_spendable=Decimal(0), quote_spendable=Decimal(0)
    )
    levels = grid_run.first_levels(price, params, instrument)
    if params.order_quantity is not None:
        quantity = configured_quantity(params.order_quantity, instrument)
    else:
        quantity = automatic_spot_quantity(
            levels,
            price,
            quote_available=funds.quote_spendable,
            base_available=funds.base_spendable,
            instrument=instrument,
        )
    # Only a grid whose state was lost has traded before it is made: its net is part of what is there now.
    net = snapshot.profit.net
    above = sum(level >= price for level in levels[:-1])
    owned = instrument.round_quantity(funds.base_spendable - net)
    stock = max(min(quantity * above, owned), -net, Decimal(0))
    long_intervals, holdings = intervals.assign(
        stock + net,
        levels,
        price,
        quantity=quantity,
        grid_type=GridType.LONG,
        min_quantity=instrument.min_quantity,
    )
    return State(
        grid=intervals.make_grid(levels, quantity, long_intervals, holdings, snapshot.totals),
        first_price=price,
        stock=stock,
    )


def _quotes(snapshot: Snapshot, grid: Grid, params: Params) -> tuple[Quote, ...]:
    """Return the orders of the intervals, cut to what the account can pay."""
    funds = quoting.funds_of(snapshot)
    if funds is None:
        return ()
    # A bid that is kept may stand above its wanted price by the tolerance, and holds more then.
    dearer = 1 + params.refresh_tolerance_bps / BPS
    budgets = {Side.SELL: funds.base_spendable, Side.BUY: funds.quote_spendable / dearer}
    wanted = intervals.wanted_quotes(grid, snapshot, reduce_only=False)
    return tuple(
        quote
        for side, budget in budgets.items()
        for quote in _paid([each for each in wanted if each.side is side], budget, snapshot)
    )


def _paid(quotes: list[Quote], budget: Decimal, snapshot: Snapshot) -> list[Quote]:
    """Return the quotes of one side that `budget` covers, in their order, the crossing one cut to a step."""
    instrument = snapshot.instrument
    paid = []
    for quote in quotes:
        unit_cost = quote.price if quote.side is Side.BUY else Decimal(1)
        if quote.quantity * unit_cost > budget:
            quantity = instrument.round_quantity(budget / unit_cost)
            if quantity <= 0 or quantity < instrument.min_quantity:
                continue
            quote = replace(quote, quantity=quantity)
        budget -= quote.quantity * unit_cost
        paid.append(quote)
    return paid


def _result(snapshot: Snapshot, state: State, price: Decimal) -> Decimal:
    """Return what the run has made once what it bought is sold at `price`, quote units.

    Stock that is left stays out of it; what was sold of it cost the first price.
    """
    profit = snapshot.profit
    sold_stock = max(-profit.net, Decimal(0))
    return profit.total(price) + sold_stock * (price - state.first_price)


def _is_payable(grid: Grid, funds: Funds, snapshot: Snapshot) -> bool:
    """Tell whether at least one smallest order can ever be paid without new funds."""
    least = smallest_order(snapshot.instrument)
    return funds.base_spendable >= least or funds.quote_spendable >= least * grid.levels[0]


def _fund_warnings(snapshot: Snapshot, grid: Grid, price: Decimal, funds: Funds) -> list[str]:
    instrument, quantity = snapshot.instrument, grid.quantity
    openings = [level for level in grid.levels[:-1] if level < price]
    above = grid.intervals - len(openings)
    warnings: list[str] = []
    needed = quantity * sum(openings)
    if needed > funds.quote_spendable:
        warnings.append(
            said(
                "all {openings} buys below the price need {needed} {quote_asset}, {quote_spendable} are "
                "available: the lowest levels wait until there is more",
                openings=len(openings),
                needed=shown(needed),
                quote_asset=instrument.quote_asset,
                quote_spendable=shown(funds.quote_spendable),
            )
        )
    if quantity * above > funds.base_spendable:
        warnings.append(
            said(
                "the {above} intervals above the price need {quantity} {base_asset} to sell, "
                "{base_spendable} are available: the highest start empty, and open by buys once the price "
                "is above them",
                above=above,
                quantity=shown(quantity * above),
                base_asset=instrument.base_asset,
                base_spendable=shown(funds.base_spendable),
            )
        )
    return warnings


def _size_warnings(snapshot: Snapshot, grid: Grid, params: Params, price: Decimal, funds: Funds) -> list[str]:
    """Say so when an automatic size leaves most of the quote asset unused."""
    used = grid.quantity * sum(level for level in grid.levels[:-1] if level < price)
    if params.order_quantity is not None or used >= funds.quote_spendable * _SMALL_SHARE:
        return []
    return [
        said(
            "the automatic order_quantity {quantity} uses {used} of {quote_spendable} {quote_asset} at this "
            "price: set order_quantity, or a range that reaches further below the price",
            quantity=shown(grid.quantity),
            used=shown(round(used, 2)),
            quote_spendable=shown(round(funds.quote_spendable, 2)),
            quote_asset=snapshot.instrument.quote_asset,
        )
    ]


_MARKET: GridMarket[Params] = GridMarket(
    first=_first,
    quotes=_quotes,
    result=_result,
    result_name="result of the run",
    grid_type=lambda _: GridType.LONG,
)

STRATEGY: Strategy[Params, State] = Strategy(
    title="GridStrategy",
    config_name="grid",
    market_types=frozenset({MarketType.SPOT}),
    params=Params,
    state=State,
    decide=decide,
    summary="Buys at each level of a price range and sells one level higher, on a spot market.",
    fixed_levels=True,
    unwind=unwind,
    preflight=preflight,
)
