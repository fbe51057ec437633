"""Snapshots and quotes for tests of limits."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

from market.book import OrderBook
from market.instrument import MarketType
from market.orders import Quote, Role, Side
from market.position import Balance, Position
from market.profit import Profit
from market.snapshot import Snapshot
from strategies.base import TakerOrder
from tests.unit.strategies.market_values import book, instrument, snapshot

BUY, SELL = Side.BUY, Side.SELL


def bid(
    price: str = "149", quantity: str | D = "1", *, level: int = 0, role: Role = Role.QUOTE, side: Side = BUY
) -> Quote:
    return Quote(side=side, price=D(price), quantity=D(quantity), level=level, role=role)


def ask(price: str = "151", quantity: str | D = "1", *, level: int = 0, role: Role = Role.QUOTE) -> Quote:
    return bid(price, quantity, level=level, role=role, side=SELL)


def taker(side: Side, quantity: str | D, price: str = "150") -> TakerOrder:
    return TakerOrder(side=side, quantity=D(quantity), limit_price=D(price), reason="test")


def spot(
    net: str | D = "0",
    *,
    min_quantity: str = "0.01",
    order_book: OrderBook | None = None,
    base: str = "4",
    quote: str | None = "700",
) -> Snapshot:
    """Return a spot market at 150 in which the run bought `net` more than it sold."""
    of = snapshot(of=instrument(min_quantity=min_quantity), order_book=order_book, base=base, quote=quote)
    return replace(of, profit=Profit(net=D(net), average_price=D(150) if D(net) else D(0)))


def perp(
    net: str | D | None = "0",
    *,
    mark: str | None = "150",
    usdc: str | None = None,
    order_book: OrderBook | None = None,
) -> Snapshot:
    """Return a perpetual market at 150 with a position of `net`; None leaves position and mark out."""
    symbol = "SOL_USDC_PERP"
    of = replace(instrument(), symbol=symbol, market_type=MarketType.PERP)
    position = None
    if net is not None:
        position = Position(symbol=symbol, net_quantity=D(net), mark_price=None if mark is None else D(mark))
    balances = {} if usdc is None else {"USDC": Balance(asset="USDC", available=D(usdc), locked=D(0))}
    return replace(snapshot(of=of, order_book=order_book or book()), balances=balances, position=position)
