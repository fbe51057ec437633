"""Perpetuals: what positions and open orders need as margin. Simple, and nothing is ever liquidated.

A position in its worst case, that is when all of its open orders on one side fill, needs its notional
divided by the account's leverage limit. The real exchange's formula (base + factor x sqrt of the size) is
not verified.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from simulator.accounts import Account
from simulator.errors import Refusal
from simulator.markets import Market
from simulator.orders import Order, Wanted

#: Returns the mark price of a symbol.
Marks = Callable[[str], Decimal]


def unrealized(account: Account, marks: Marks) -> Decimal:
    """Return the profit of the open positions at their marks."""
    return sum(
        ((marks(symbol) - held.entry) * held.net for symbol, held in account.positions.items()), Decimal(0)
    )


def equity(account: Account, marks: Marks) -> Decimal:
    """Return what counts as margin: free USDC and the open positions' profit."""
    return account.available("USDC") + unrealized(account, marks)


def required(account: Account, orders: Sequence[Order], marks: Marks) -> Decimal:
    """Return the margin that positions and open orders need."""
    symbols = {name for name, held in account.positions.items() if held.net != 0}
    symbols |= {order.symbol for order in orders if order.wanted.market.perp}
    notional = sum((_worst(account, symbol, orders) * marks(symbol) for symbol in symbols), Decimal(0))
    return notional / account.leverage_limit


def check_margin(
    account: Account, wanted: Wanted, quantity: Decimal, orders: Sequence[Order], marks: Marks
) -> None:
    """Raise `Refusal` when the margin does not cover an order. `orders` are the account's open ones."""
    if wanted.reduce_only:
        return
    symbol = wanted.market.symbol
    before = _worst(account, symbol, orders)
    after = _worst(account, symbol, orders, quantity if wanted.buys else -quantity)
    if after <= before:
        return
    price = wanted.price or marks(symbol)
    more = (after - before) * price / account.leverage_limit
    if equity(account, marks) < required(account, orders, marks) + more:
        raise Refusal("INSUFFICIENT_MARGIN", "Insufficient margin")


def largest_order(
    account: Account, market: Market, *, buys: bool, price: Decimal, orders: Sequence[Order], marks: Marks
) -> Decimal:
    """Return the largest order that the margin covers, not rounded."""
    free = max(Decimal(0), equity(account, marks) - required(account, orders, marks))
    room = free * account.leverage_limit / price
    net = account.net(market.symbol)
    # Turning a position around needs nothing until the other side is as large.
    return room + 2 * abs(net) if net != 0 and (net > 0) != buys else room


def _worst(account: Account, symbol: str, orders: Sequence[Order], change: Decimal = Decimal(0)) -> Decimal:
    long = short = account.net(symbol)
    for order in orders:
        if order.symbol != symbol or order.wanted.reduce_only:
            continue
        if order.wanted.buys:
            long += order.remaining
        else:
            short -= order.remaining
    return max(abs(long + max(change, Decimal(0))), abs(short + min(change, Decimal(0))))
