"""What `decide.py` measures: a strategy, its parameters, and a snapshot of it in the middle of its work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from market.book import BookLevel, OrderBook
from market.instrument import Instrument, MarketType
from market.orders import OpenOrder, OrderStatus, Quote, Role, Side
from market.position import Balance, Fill, Position
from market.profit import Profit
from market.snapshot import LevelRole, LevelTotals, OwnOrder, Snapshot
from strategies.base import AnyStrategy, Params, State
from strategies.registry import find

_NOW_MS = 1_800_000_000_000
_GRID_QUANTITY = Decimal("0.5")
_GRID = {"grid_lower": 100, "grid_upper": 200, "grid_num": 200, "quantity": str(_GRID_QUANTITY)}
_LADDER = {"spread": "0.2", "max_orders": 5, "quantity": "0.5"}
_RULES = {
    "price_floor": 100,
    "price_ceiling": 200,
    "moving_band_percent": 10,
    "hanging_orders": True,
    "loss_cooldown_trigger": 100,
    "min_spread_bps": 5,
    "inventory_skew": "0.5",
    "size_skew": "0.5",
}
_BOUNDS = {"max_position": 20, "position_threshold": 10, "inventory_skew": "0.5"}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One strategy before its next decision."""

    name: str
    strategy: AnyStrategy
    params: Params
    state: State
    snapshot: Snapshot
    #: What `decide` may take, ms; None: there is no goal.
    goal_ms: float | None = None


def cases() -> tuple[Case, ...]:
    """Return everything that is measured."""
    return (
        _grid("grid", MarketType.SPOT),
        _grid("perp_grid", MarketType.PERP),
        _first_grid(),
        _maker("market maker, spot", MarketType.SPOT, {}),
        _maker("the same, bands, skews, hanging orders", MarketType.SPOT, _RULES),
        _maker("market maker, perpetual", MarketType.PERP, _BOUNDS),
        _hedge(MarketType.SPOT),
        _hedge(MarketType.PERP),
        _two_sided(),
    )


def _grid(config_name: str, market_type: MarketType) -> Case:
    """Return a grid that was made at the upper end of its range and has bought its way down to the middle."""
    strategy = find(config_name, market_type)
    long_only = {"grid_type": "long", "max_position": 1000} if market_type is MarketType.PERP else {}
    params = strategy.params.model_validate({**_GRID, **long_only, "enable_boundary_check": False})
    first = strategy.decide(_snapshot(market_type, price="200", base="0"), strategy.state(), params)
    bought = LevelTotals(bought=_GRID_QUANTITY, paid=_GRID_QUANTITY * 150)
    totals = {(level, int(Role.QUOTE)): bought for level in range(100, 199)}
    held = _GRID_QUANTITY * len(totals)
    profit = Profit(net=held, average_price=Decimal(175))
    snapshot = _snapshot(market_type, price="150", base=str(held), totals=totals, profit=profit)
    return _at_rest(
        f"{config_name}, 200 levels, half filled", strategy, params, first.state, snapshot, goal_ms=5
    )


def _first_grid() -> Case:
    """Return a grid whose levels are not computed yet: once in a run, and dearest with equal ratios."""
    strategy = find("grid", MarketType.SPOT)
    params = strategy.params.model_validate({**_GRID, "grid_mode": "geometric"})
    snapshot = _snapshot(MarketType.SPOT, price="150")
    return Case(
        name="grid, first decision of a run, geometric",
        strategy=strategy,
        params=params,
        state=strategy.state(),
        snapshot=snapshot,
    )


def _maker(name: str, market_type: MarketType, more: Mapping[str, object]) -> Case:
    """Return a market maker with its ladder out, whose market has moved and has hit one of its orders."""
    strategy = find("standard", market_type)
    params = strategy.params.model_validate({**_LADDER, **more})
    state = strategy.state()
    for _ in range(2):
        before = _at_rest(name, strategy, params, state, _snapshot(market_type, price="150"))
        state = before.state
    resting = before.snapshot.open_orders
    hit, rest = resting[0], resting[1:]
    profit = Profit(net=hit.order.quantity, average_price=hit.order.price or Decimal(0))
    snapshot = replace(
        _snapshot(market_type, price="149.9", profit=profit), open_orders=rest, fills=(_fill(hit.order),)
    )
    return replace(before, snapshot=snapshot, goal_ms=1)


def _hedge(market_type: MarketType) -> Case:
    """Return a hedge whose bid was filled, and has to be traded back."""
    name, strategy = f"hedge, {_WORDS[market_type]}", find("maker_hedge", market_type)
    params = strategy.params.model_validate({"quantity": "0.5"})
    begun = _at_rest(name, strategy, params, strategy.state(), _snapshot(market_type, price="150"))
    hit = next(own for own in begun.snapshot.open_orders if own.order.side is Side.BUY)
    profit = Profit(net=hit.order.quantity, average_price=hit.order.price or Decimal(0))
    snapshot = replace(
        _snapshot(market_type, price="150", profit=profit),
        open_orders=tuple(own for own in begun.snapshot.open_orders if own is not hit),
        fills=(_fill(hit.order),),
        totals={(0, int(Role.QUOTE)): LevelTotals(bought=hit.order.quantity)},
    )
    return replace(begun, snapshot=snapshot)


def _two_sided() -> Case:
    strategy = find("two_sided", MarketType.SPOT)
    params = strategy.params.model_validate({"half_spread_bps": 10, "quantity": "0.5"})
    return _at_rest(
        "two-sided quoter, spot", strategy, params, strategy.state(), _snapshot(MarketType.SPOT, price="150")
    )


def _at_rest(
    name: str,
    strategy: AnyStrategy,
    params: Params,
    state: State,
    snapshot: Snapshot,
    *,
    goal_ms: float | None = None,
) -> Case:
    """Return the strategy one decision later, with everything that it wants resting."""
    decision = strategy.decide(snapshot, state, params)
    resting = tuple(_resting(number, quote) for number, quote in enumerate(decision.quotes))
    return Case(
        name=name,
        strategy=strategy,
        params=params,
        state=decision.state,
        snapshot=replace(snapshot, open_orders=resting),
        goal_ms=goal_ms,
    )


_WORDS = {MarketType.SPOT: "spot", MarketType.PERP: "perpetual"}


def _snapshot(
    market_type: MarketType,
    *,
    price: str,
    base: str = "200",
    totals: Mapping[LevelRole, LevelTotals] | None = None,
    profit: Profit | None = None,
) -> Snapshot:
    mid, profit = Decimal(price), profit or Profit()
    is_perp = market_type is MarketType.PERP
    more: dict[str, Any] = {"totals": totals} if totals else {}
    held = {"USDC": Decimal(100_000)}
    if is_perp:
        more["position"] = Position(symbol="SOL", net_quantity=profit.net, mark_price=mid)
    else:
        held["SOL"] = Decimal(base)
    more["balances"] = {
        asset: Balance(asset=asset, available=amount, locked=Decimal(0)) for asset, amount in held.items()
    }
    return Snapshot(
        taken_at_ms=_NOW_MS,
        started_at_ms=_NOW_MS - 60_000,
        instrument=Instrument(
            symbol="SOL",
            market_type=market_type,
            base_asset="SOL",
            quote_asset="USDC",
            tick_size=Decimal("0.01"),
            step_size=Decimal("0.01"),
            min_quantity=Decimal("0.01"),
        ),
        book=OrderBook(
            symbol="SOL",
            bids=(BookLevel(price=mid - Decimal("0.02"), quantity=Decimal(100)),),
            asks=(BookLevel(price=mid + Decimal("0.02"), quantity=Decimal(100)),),
            updated_at_ms=_NOW_MS - 50,
        ),
        open_orders=(),
        profit=profit,
        **more,
    )


def _resting(number: int, quote: Quote) -> OwnOrder:
    order = OpenOrder(
        order_id=str(number),
        client_order_id=number,
        symbol="SOL",
        side=quote.side,
        price=quote.price,
        quantity=quote.quantity,
        executed_quantity=Decimal(0),
        status=OrderStatus.NEW,
        created_at_ms=_NOW_MS - 1000,
    )
    return OwnOrder(order=order, level=quote.level, role=int(quote.role), generation=1)


def _fill(order: OpenOrder) -> Fill:
    return Fill(
        trade_id="1",
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        symbol=order.symbol,
        side=order.side,
        price=order.price or Decimal(0),
        quantity=order.quantity,
        fee=Decimal(0),
        fee_asset="USDC",
        is_maker=True,
        filled_at_ms=_NOW_MS - 100,
    )
