"""Snapshots of a run that has traded: what its fills come to, and what the exchange says its position is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

from market.book import OrderBook
from market.instrument import Instrument, MarketType
from market.orders import Role, Side
from market.position import Fill, Position
from market.profit import Profit
from market.snapshot import LevelRole, LevelTotals, OwnOrder, Snapshot
from strategies.base import Decision, TakerOrder
from strategies.maker_hedge import decide
from strategies.maker_hedge_params import PerpParams, SpotParams
from strategies.maker_hedge_state import State
from tests.unit.strategies.market_values import NOW_MS, instrument, snapshot

#: Of a run that began flat.
BEGUN = State(reference=D(0))

#: Bought with plus, sold with minus, by role.
Trade = tuple[Role, str]


def perp_instrument(**filters: Any) -> Instrument:
    return replace(instrument(**filters), market_type=MarketType.PERP, symbol="SOL_USDC_PERP")


def fill(signed: str | D, *, at_ms: int = NOW_MS, fee: str = "0", fee_asset: str = "USDC") -> Fill:
    quantity = D(signed)
    return Fill(
        trade_id=f"{signed}-{at_ms}",
        order_id="1",
        client_order_id=1,
        symbol="SOL_USDC",
        side=Side.BUY if quantity > 0 else Side.SELL,
        price=D(150),
        quantity=abs(quantity),
        fee=D(fee),
        fee_asset=fee_asset,
        is_maker=True,
        filled_at_ms=at_ms,
    )


def booked(of: Snapshot, fills: Iterable[tuple[Role, Fill]]) -> Snapshot:
    """Return the snapshot with `fills` booked as this run's."""
    profit, totals = Profit(), dict[LevelRole, LevelTotals]()
    for role, one in fills:
        profit = profit.after(one, of.instrument)
        totals[0, int(role)] = totals.get((0, int(role)), LevelTotals()).after(one, of.instrument)
    return replace(of, profit=profit, totals=totals)


def having_traded(of: Snapshot, trades: Iterable[Trade]) -> Snapshot:
    """Return the snapshot with `trades` booked as this run's."""
    return booked(of, [(role, fill(signed)) for role, signed in trades])


def spot(*trades: Trade, unsettled: Iterable[Role] = (), **given: Any) -> Snapshot:
    """Return a spot snapshot after `trades`; further words are those of `market_values.snapshot`."""
    of = replace(snapshot(**given), unsettled=frozenset((0, int(role)) for role in unsettled))
    return having_traded(of, trades)


def perp(
    *trades: Trade,
    position: str | D | None = "0",
    unsettled: Iterable[Role] = (),
    of: Instrument | None = None,
    order_book: OrderBook | None = None,
    open_orders: Sequence[OwnOrder] = (),
    taken_at_ms: int = NOW_MS,
) -> Snapshot:
    """Return a snapshot of a perpetual after `trades`, with what the exchange says of the position."""
    bare = snapshot(
        of=of or perp_instrument(), order_book=order_book, open_orders=open_orders, taken_at_ms=taken_at_ms
    )
    net = None if position is None else Position(symbol="SOL_USDC_PERP", net_quantity=D(position))
    levels = frozenset((0, int(role)) for role in unsettled)
    return having_traded(replace(bare, balances={}, position=net, unsettled=levels), trades)


def spot_params(**given: Any) -> SpotParams:
    return SpotParams.model_validate({"quantity": "1", **given})


def perp_params(**given: Any) -> PerpParams:
    return PerpParams.model_validate({"quantity": "1", "max_position": "3", **given})


def sides(decision: Decision[State]) -> set[Side]:
    return {quote.side for quote in decision.quotes}


def size(decision: Decision[State], side: Side) -> D:
    return sum((quote.quantity for quote in decision.quotes if quote.side is side), D(0))


def hedge(side: Side, quantity: str, limit: str, *, reduce_only: bool, reason: str = "hedge") -> TakerOrder:
    return TakerOrder(
        side=side, quantity=D(quantity), limit_price=D(limit), reduce_only=reduce_only, reason=reason
    )


def on_spot(of: Snapshot, state: State = BEGUN, **given: Any) -> Decision[State]:
    return decide(of, state, spot_params(**given))


def on_perp(of: Snapshot, state: State = BEGUN, **given: Any) -> Decision[State]:
    return decide(of, state, perp_params(**given))
