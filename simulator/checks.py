"""What an order has to pass before the engine takes it: filters, reduce-only, funds."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from simulator.accounts import Account, Position
from simulator.book import OutsideBook
from simulator.errors import Refusal
from simulator.orders import Order, Wanted

#: Simple margin: this part of the notional of position and open orders must be covered by USDC. The real
#: exchange's formula (base + factor x sqrt of the size) is not verified, so this stays simple.
INITIAL_MARGIN = Decimal("0.05")


def check_filters(wanted: Wanted, book: OutsideBook) -> None:
    """Raise `Refusal` when price or quantity does not fit the market."""
    market = wanted.market
    if wanted.quantity is not None:
        if wanted.quantity < market.min_quantity:
            raise Refusal("INVALID_CLIENT_REQUEST", "Quantity is below the minimum allowed value")
        if wanted.quantity % market.step != 0:
            raise Refusal("INVALID_CLIENT_REQUEST", "Quantity decimal too long")
    price = wanted.price
    if price is None:
        return
    if price <= 0:
        raise Refusal("INVALID_PRICE", "Price is below the minimum allowed value")
    if price % market.tick != 0:
        raise Refusal("INVALID_CLIENT_REQUEST", "Price decimal too long")
    middle = book.mid
    if middle > 0 and not market.min_multiplier <= price / middle <= market.max_multiplier:
        raise Refusal("INVALID_PRICE", "Price is too far from the last active price")


def reduced_quantity(account: Account, wanted: Wanted, quantity: Decimal) -> Decimal:
    """Return the quantity that only makes the position smaller. Raises `Refusal` when there is none."""
    if not wanted.market.perp:
        raise Refusal("INVALID_ORDER", "Reduce only is not allowed on spot markets")
    net = account.positions.get(wanted.market.symbol, Position()).net
    if net == 0 or (net > 0) == wanted.buys:
        raise Refusal("INVALID_ORDER", "Reduce only order not reduced")
    return min(quantity, abs(net))


def check_funds(
    account: Account,
    wanted: Wanted,
    quantity: Decimal,
    worst_price: Decimal | None,
    open_orders: Sequence[Order],
) -> None:
    """Raise `Refusal` when balance (spot) or margin (perpetuals) does not cover the order.

    `worst_price` is the last price that the order could take, for orders without a limit.
    """
    market = wanted.market
    price = wanted.price or worst_price or Decimal(0)
    if not market.perp:
        asset, needed = (market.quote, price * quantity) if wanted.buys else (market.base, quantity)
        if account.available(asset) < needed:
            raise Refusal("INSUFFICIENT_FUNDS", "Insufficient funds")
        return
    if wanted.reduce_only:
        return
    net = account.positions.get(market.symbol, Position()).net
    same_side = sum((o.remaining for o in open_orders if o.wanted.buys == wanted.buys), Decimal(0))
    sign = 1 if wanted.buys else -1
    worst = abs(net + sign * (same_side + quantity))
    if worst > abs(net) and account.available("USDC") < worst * price * INITIAL_MARGIN:
        raise Refusal("INSUFFICIENT_MARGIN", "Insufficient margin")
