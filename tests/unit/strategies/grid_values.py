"""Snapshots for grids between 120 and 132, so that a test states only what matters to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal as D
from typing import Any

from market.orders import Quote, Side
from market.position import Balance, Fill, Position
from market.profit import Profit
from market.snapshot import LevelTotals, OwnOrder, Snapshot
from market.terms import AccountTerms
from strategies.grid_levels import shown
from tests.unit.strategies.grid_exchange import perp_instrument
from tests.unit.strategies.market_values import NOW_MS, book, snapshot

#: Levels 120, 122, 124, 126, 128, 130, 132.
RANGE = {"grid_lower_price": 120, "grid_upper_price": 132, "grid_num": 7}


def spot_at(
    price: str = "126.3",
    *,
    base: str | None = "10",
    quote: str | None = "10000",
    totals: Mapping[Any, LevelTotals] | None = None,
    profit: Profit | None = None,
    own: tuple[OwnOrder, ...] = (),
    **changes: Any,
) -> Snapshot:
    """Return a snapshot with a spread of two ticks around `price`."""
    order_book = book(D(price) - D("0.01"), D(price) + D("0.01"))
    plain = snapshot(order_book=order_book, base=base, quote=quote, open_orders=own)
    return replace(plain, totals=totals or {}, profit=profit or Profit(), **changes)


def perp_at(
    price: str = "126.3",
    *,
    net: str = "0",
    mark: str | None = None,
    totals: Mapping[Any, LevelTotals] | None = None,
    profit: Profit | None = None,
    own: tuple[OwnOrder, ...] = (),
    usdc: str | None = None,
    **changes: Any,
) -> Snapshot:
    """Return a snapshot with a spread of two ticks around `price`; `net` is the exchange's position."""
    order_book = book(D(price) - D("0.01"), D(price) + D("0.01"))
    plain = snapshot(of=perp_instrument(), order_book=order_book, base=None, quote=None, open_orders=own)
    balances = {} if usdc is None else {"USDC": Balance(asset="USDC", available=D(usdc), locked=D(0))}
    position = Position(
        symbol="SOL_USDC_PERP", net_quantity=D(net), mark_price=None if mark is None else D(mark)
    )
    plain = replace(plain, position=position, balances=balances)
    return replace(plain, totals=totals or {}, profit=profit or Profit(), **changes)


def position(net: str, *, entry: str | None = None) -> Position:
    return Position(
        symbol="SOL_USDC_PERP", net_quantity=D(net), entry_price=None if entry is None else D(entry)
    )


def seen(quotes: tuple[Quote, ...]) -> list[str]:
    return [f"{quote.side} {shown(quote.quantity)} @ {shown(quote.price)}" for quote in quotes]


def liquidation(side: Side, quantity: str, price: str) -> Fill:
    return Fill(
        trade_id="1",
        order_id="1",
        client_order_id=None,
        symbol="SOL_USDC",
        side=side,
        price=D(price),
        quantity=D(quantity),
        fee=D(0),
        fee_asset="USDC",
        is_maker=False,
        filled_at_ms=NOW_MS,
        is_system=True,
    )


def terms(*, spot_maker_bps: str = "0", leverage_limit: str = "1") -> AccountTerms:
    return AccountTerms(
        spot_maker_bps=D(spot_maker_bps),
        spot_taker_bps=D(100),
        perp_maker_bps=D(2),
        perp_taker_bps=D(5),
        leverage_limit=D(leverage_limit),
    )
