"""Market makers' snapshots, fills and parameters with defaults, and shorthands for what is decided."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

import pytest

from market.book import OrderBook
from market.instrument import Instrument, MarketType
from market.net_range import NetRange
from market.orders import Quote, Role, Side
from market.position import Balance, Fill, Position
from market.profit import Profit
from market.snapshot import LevelRole, OwnOrder, Snapshot
from strategies.base import Decision
from strategies.maker_rules import MakerParams
from strategies.perp_maker_params import Params
from strategies.perp_market_maker import State, decide
from tests.unit.strategies.market_values import NOW_MS, book, instrument, snapshot

#: What a test may give for a quantity or a price.
Number = str | int | D

#: Bid, ask, tick and spread, with the prices of each side's layers that the old program makes of them.
OLD_LADDERS = [
    pytest.param(
        "149.97",
        "150.03",
        "0.01",
        "0.2",
        [("149.85", "150.15"), ("149.84", "150.16"), ("149.81", "150.19"), ("149.77", "150.23")],
        id="four layers at 150",
    ),
    pytest.param(
        "60000",
        "60001",
        "0.1",
        "0.05",
        [("59985.5", "60015.5"), ("59985.4", "60015.6"), ("59985.1", "60015.9")],
        id="three layers at 60000",
    ),
    pytest.param(
        "99.5",
        "100.5",
        "0.05",
        "0.3",
        [("99.85", "100.15"), ("99.80", "100.20"), ("99.65", "100.35")],
        id="three layers with a coarse tick",
    ),
]


def perp_instrument(
    *,
    tick_size: str = "0.01",
    step_size: str = "0.01",
    min_quantity: str = "0.01",
    max_quantity: str | None = None,
) -> Instrument:
    spot = instrument(
        tick_size=tick_size, step_size=step_size, min_quantity=min_quantity, max_quantity=max_quantity
    )
    return replace(spot, symbol="SOL_USDC_PERP", market_type=MarketType.PERP)


def fill(
    order_id: str,
    side: Side,
    quantity: Number = "0.20",
    price: Number = "150",
    *,
    is_maker: bool = True,
    is_system: bool = False,
) -> Fill:
    return Fill(
        trade_id=f"{order_id}-{quantity}",
        order_id=order_id,
        client_order_id=1,
        symbol="SOL_USDC",
        side=side,
        price=D(price),
        quantity=D(quantity),
        fee=D(0),
        fee_asset="USDC",
        is_maker=is_maker,
        filled_at_ms=NOW_MS - 500,
        is_system=is_system,
    )


def position(
    net: Number,
    *,
    entry: Number | None = None,
    mark: Number | None = None,
    unrealized: Number = 0,
) -> Position:
    return Position(
        symbol="SOL_USDC_PERP",
        net_quantity=D(net),
        entry_price=None if entry is None else D(entry),
        mark_price=None if mark is None else D(mark),
        unrealized_pnl=D(unrealized),
    )


def perp_snapshot(
    held: Position | Number | None = 0,
    *,
    of: Instrument | None = None,
    order_book: OrderBook | None = None,
    open_orders: Sequence[OwnOrder] = (),
    fills: Sequence[Fill] = (),
    system_fills: Sequence[Fill] = (),
    own_net: Number = 0,
    realized: Number = 0,
    fees: Number = 0,
    unsettled: Iterable[LevelRole] = (),
    available: Number | None = None,
    taken_at_ms: int = NOW_MS,
    is_exclusive: bool = True,
    bounds: tuple[Number, Number] | None = None,
) -> Snapshot:
    """Return a snapshot; `held` is the exchange's position, `own_net` what own fills make of it, at 150.

    `bounds` are those of the net quantity where one of the two lags.
    """
    balances = {}
    if available is not None:
        balances["USDC"] = Balance(asset="USDC", available=D(available), locked=D(0))
    return Snapshot(
        taken_at_ms=taken_at_ms,
        started_at_ms=NOW_MS - 60_000,
        instrument=of or perp_instrument(),
        book=order_book or book(),
        open_orders=tuple(open_orders),
        balances=balances,
        position=held if held is None or isinstance(held, Position) else position(held),
        fills=tuple(fills),
        system_fills=tuple(system_fills),
        profit=Profit(net=D(own_net), average_price=D(150), realized=D(realized), fees=D(fees)),
        unsettled=frozenset(unsettled),
        exclusive_symbol=is_exclusive,
        net_bounds=None if bounds is None else NetRange(low=D(bounds[0]), high=D(bounds[1])),
    )


#: The level and role of every taker's client order id.
TAKER: LevelRole = (0, int(Role.HEDGE))


def maker_params(**given: Any) -> MakerParams:
    return MakerParams.model_validate({"spread": "0.2", "quantity": "0.2", **given})


def at(
    after_s: float = 0,
    *,
    fills: Sequence[Fill] = (),
    realized: str = "0",
    fees: str = "0",
    mid: str = "150",
    open_orders: Sequence[OwnOrder] = (),
    unsettled: Sequence[LevelRole] = (),
    min_quantity: str = "0.01",
) -> Snapshot:
    """Return what is seen `after_s` seconds."""
    return replace(
        snapshot(
            of=instrument(min_quantity=min_quantity),
            order_book=book(D(mid) - D("0.03"), D(mid) + D("0.03")),
            open_orders=open_orders,
            taken_at_ms=NOW_MS + round(after_s * 1000),
        ),
        fills=tuple(fills),
        profit=Profit(realized=D(realized), fees=D(fees)),
        unsettled=frozenset(unsettled),
    )


def perp_params(**given: Any) -> Params:
    return Params.model_validate({"spread": "0.2", "quantity": "0.5", "max_position": 5, **given})


def decided(of: Snapshot, state: State | None = None, **given: Any) -> Decision[State]:
    """Return what the perpetual market maker decides with `perp_params`."""
    return decide(of, state or State(), perp_params(**given))


def prices(quotes: Sequence[Quote], side: Side) -> list[D]:
    return [quote.price for quote in quotes if quote.side is side]


def quantities(quotes: Sequence[Quote], side: Side) -> list[D]:
    return [quote.quantity for quote in quotes if quote.side is side]


#: Parameters with which a position up to `max_position` is left alone.
LOOSE: dict[str, Any] = {"target_position": 5}
