"""What an incoming order can take: other orders at rest and the outside market's levels. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from heapq import merge

from simulator.accounts import Account
from simulator.book import OutsideBook
from simulator.errors import Refusal
from simulator.orders import Order, Wanted


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A quantity that can be taken at a price."""

    price: Decimal
    quantity: Decimal
    #: None: the outside market's.
    order: Order | None = None


def offers(wanted: Wanted, book: OutsideBook, resting: Sequence[Order]) -> list[Offer]:
    """Return what `wanted` may take, best price first, at one price oldest first.

    `resting` is the other side in price-time priority. What the outside market displays at a price counts as
    older than any account's order there.
    """
    outside = (Offer(price=price, quantity=quantity) for price, quantity in book.levels(bids=not wanted.buys))
    accounts = (Offer(price=order.price, quantity=order.remaining, order=order) for order in resting)
    sign = 1 if wanted.buys else -1
    found = []
    for offer in merge(outside, accounts, key=lambda offer: sign * offer.price):
        if wanted.price is not None and sign * offer.price > sign * wanted.price:
            break
        found.append(offer)
    return found


def takeable(wanted: Wanted, owner: Account, found: Sequence[Offer]) -> Iterator[Offer]:
    """Yield the offers that can fill `wanted` before self-trade prevention ends it."""
    for offer in found:
        if offer.order is None or offer.order.account is not owner:
            yield offer
        elif wanted.self_trade_prevention != "RejectMaker":
            return


def fillable(wanted: Wanted, owner: Account, found: Sequence[Offer]) -> Decimal:
    """Return how much could be executed at once."""
    return sum((offer.quantity for offer in takeable(wanted, owner, found)), Decimal(0))


def cost(quantity: Decimal, found: Sequence[Offer]) -> Decimal:
    """Return what taking `quantity` costs in quote units."""
    total = Decimal(0)
    for offer in found:
        part = min(quantity, offer.quantity)
        total += part * offer.price
        quantity -= part
    return total


def wanted_quantity(wanted: Wanted, found: Sequence[Offer]) -> Decimal:
    """Return the quantity in base units, rounded down to a step where a market order gives it in quote units.

    Raises:
        Refusal: the quote quantity buys less than the smallest order.
    """
    if wanted.quantity is not None:
        return wanted.quantity
    budget, quantity = wanted.quote_quantity or Decimal(0), Decimal(0)
    for offer in found:
        part = min(offer.quantity, budget / offer.price)
        quantity += part
        budget -= part * offer.price
        if budget <= 0:
            break
    quantity = wanted.market.in_steps(quantity)
    if quantity < wanted.market.min_quantity:
        raise Refusal("INVALID_CLIENT_REQUEST", "Quantity is below the minimum allowed value")
    return quantity
