"""What an incoming order can take: other accounts' resting orders and the outside market's levels. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from simulator.book import OutsideBook
from simulator.errors import Refusal
from simulator.orders import Order, Wanted


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A quantity that can be taken at a price."""

    price: Decimal
    quantity: Decimal
    #: None: the outside market's.
    order: Order | None


def offers(wanted: Wanted, book: OutsideBook, resting: Iterable[Order]) -> list[Offer]:
    """Return what `wanted` may take: best price first, at one price oldest first.

    What the outside market displays at a price counts as older than any account's order there.
    """
    outside = [
        Offer(price=price, quantity=quantity, order=None)
        for price, quantity in book.levels(bids=not wanted.buys)
    ]
    accounts = [
        Offer(price=order.price, quantity=order.remaining, order=order)
        for order in resting
        if order.wanted.buys != wanted.buys
    ]
    found = [*outside, *accounts]
    limit = wanted.price
    if limit is not None:
        found = [offer for offer in found if (offer.price <= limit if wanted.buys else offer.price >= limit)]
    sign = 1 if wanted.buys else -1
    return sorted(found, key=lambda offer: (sign * offer.price, offer.order.order_id if offer.order else 0))


def fillable(wanted: Wanted, owner: object, found: Sequence[Offer]) -> Decimal:
    """Return how much would be executed before self-trade prevention stops it."""
    total = Decimal(0)
    for offer in found:
        if offer.order is not None and offer.order.account is owner:
            if wanted.self_trade_prevention == "RejectMaker":
                continue
            break
        total += offer.quantity
    return total


def wanted_quantity(wanted: Wanted, found: Sequence[Offer]) -> Decimal:
    """Return the quantity in base units; a market order may give it in quote units. Raises `Refusal`."""
    if wanted.quantity is not None:
        return wanted.quantity
    budget = wanted.quote_quantity or Decimal(0)
    quantity = Decimal(0)
    for offer in found:
        part = min(offer.quantity, budget / offer.price)
        quantity += part
        budget -= part * offer.price
        if part < offer.quantity:
            break
    quantity = quantity // wanted.market.step * wanted.market.step
    if found and quantity < wanted.market.min_quantity:
        raise Refusal("INVALID_CLIENT_REQUEST", "Quantity is below the minimum allowed value")
    return quantity
