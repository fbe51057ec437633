"""What a fill does to balances and positions, and what an open order holds."""

from __future__ import annotations

from decimal import Decimal

from simulator.accounts import Account, Position
from simulator.orders import Order


def reserve(order: Order) -> None:
    """Hold what a spot order may cost; perpetuals are covered by margin."""
    market = order.wanted.market
    if market.perp or order.wanted.order_type == "Market":
        return
    if order.wanted.buys:
        order.locked_asset, order.locked = market.quote, order.price * order.quantity
    else:
        order.locked_asset, order.locked = market.base, order.quantity
    order.account.lock(order.locked_asset, order.locked)


def release(order: Order) -> None:
    """Free what an order still holds."""
    if order.locked:
        order.account.lock(order.locked_asset, -order.locked)
        order.locked = Decimal(0)


def settle(
    order: Order, price: Decimal, quantity: Decimal, *, maker: bool, at_ms: int
) -> tuple[Decimal, str]:
    """Book a fill; return the fee and its asset: the received one on spot, USDC on perpetuals."""
    account, market = order.account, order.wanted.market
    rate = account.fee_bps(perp=market.perp, maker=maker) / 10_000
    if market.perp:
        fee = price * quantity * rate
        account.add("USDC", -fee)
        position = account.positions.setdefault(order.symbol, Position())
        position.remember(at_ms)
        _move(position, account, order, price, quantity)
        return fee, "USDC"
    if order.locked:
        freed = min(order.locked, order.price * quantity if order.wanted.buys else quantity)
        order.locked -= freed
        account.lock(order.locked_asset, -freed)
    if order.wanted.buys:
        fee, asset = quantity * rate, market.base
        account.add(market.base, quantity - fee)
        account.add(market.quote, -price * quantity)
    else:
        fee, asset = price * quantity * rate, market.quote
        account.add(market.quote, price * quantity - fee)
        account.add(market.base, -quantity)
    return fee, asset


def _move(position: Position, account: Account, order: Order, price: Decimal, quantity: Decimal) -> None:
    change = quantity if order.wanted.buys else -quantity
    old = position.net
    if old == 0:
        position.position_id = str(order.order_id)
        position.funding = Decimal(0)
    if old == 0 or (old > 0) == (change > 0):
        position.entry = (position.entry * abs(old) + price * quantity) / (abs(old) + quantity)
        position.net = old + change
        return
    closed = min(abs(old), quantity)
    profit = (price - position.entry) * closed * (1 if old > 0 else -1)
    position.realized += profit
    account.add("USDC", profit)
    position.net = old + change
    if position.net == 0:
        position.entry = Decimal(0)
    elif (position.net > 0) != (old > 0):
        position.entry = price
