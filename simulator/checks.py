"""What the engine asks of a request before it takes it: time, filters, reduce-only, balance."""

from __future__ import annotations

from decimal import Decimal

from simulator.accounts import Account
from simulator.book import OutsideBook
from simulator.errors import Refusal
from simulator.orders import Wanted

#: How far in the future a request may be stamped.
LONGEST_LEAD_MS = 600_000


def check_time(signed_at_ms: int, window_ms: int, at_ms: int) -> None:
    """Raise `Refusal` when a request is, at `at_ms`, too old for its window, or from the future."""
    if at_ms > signed_at_ms + window_ms:
        raise Refusal("INVALID_CLIENT_REQUEST", "Request has expired")
    if signed_at_ms > at_ms + LONGEST_LEAD_MS:
        raise Refusal(
            "INVALID_CLIENT_REQUEST", "Invalid timestamp: must be within 10 minutes of current time"
        )


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
    if middle > 0 and not market.min_multiplier * middle <= price <= market.max_multiplier * middle:
        raise Refusal("INVALID_PRICE", "Price is too far from the last active price")


def reduced_quantity(account: Account, wanted: Wanted, quantity: Decimal) -> Decimal:
    """Return the quantity that only makes the position smaller. Raises `Refusal` when there is none."""
    if not wanted.market.perp:
        raise Refusal("INVALID_ORDER", "Reduce only is not allowed on spot markets")
    net = account.net(wanted.market.symbol)
    if net == 0 or (net > 0) == wanted.buys:
        raise Refusal("INVALID_ORDER", "Reduce only order not reduced")
    return min(quantity, abs(net))


def check_balance(account: Account, wanted: Wanted, quantity: Decimal, market_cost: Decimal) -> None:
    """Raise `Refusal` when the balance does not cover a spot order.

    `market_cost` is what the order costs if it has no limit.
    """
    market = wanted.market
    if wanted.buys:
        asset = market.quote
        needed = market_cost if wanted.price is None else wanted.price * quantity
    else:
        asset, needed = market.base, quantity
    if account.available(asset) < needed:
        raise Refusal("INSUFFICIENT_FUNDS", "Insufficient funds")
