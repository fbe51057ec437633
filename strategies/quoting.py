"""Building blocks of quotes, shared by strategies: rounding, ladders, clamps, budgets. Pure functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import StrEnum

from market.book import OrderBook
from market.instrument import Instrument
from market.orders import OrderStatus, Quote, Side
from market.snapshot import OwnOrder, Snapshot

#: Basis points in one.
BPS = Decimal(10_000)

# Its own context: the gaps must not depend on the precision some caller has set.
_SQUARE_ROOT = Context(prec=28)


class Rounding(StrEnum):
    """How a computed price is put on a tick."""

    #: Away from the market: bids down, asks up.
    SAFE = "safe"
    #: To the nearest tick, ties to the even one, whatever the side.
    NEAREST = "nearest"


def on_tick(price: Decimal, side: Side, instrument: Instrument, rounding: Rounding) -> Decimal:
    """Return `price` on a tick of `instrument`."""
    if rounding is Rounding.SAFE:
        return instrument.round_price(price, side)
    return (price / instrument.tick_size).to_integral_value(ROUND_HALF_EVEN) * instrument.tick_size


def outwards(price: Decimal, distance: Decimal, side: Side) -> Decimal:
    """Return `price` moved away from the market by `distance`: lower for a buy, higher for a sell."""
    return price - distance if side is Side.BUY else price + distance


def tick_gap(level: int) -> Decimal:
    """Return the distance of a layer from the innermost one in ticks: 1.5 · level^1.5."""
    return Decimal("1.5") * _SQUARE_ROOT.sqrt(Decimal(level**3))


def tick_ladder(
    innermost: Decimal, side: Side, layers: int, instrument: Instrument, rounding: Rounding
) -> tuple[Decimal, ...]:
    """Return `layers` prices outwards from `innermost`, `tick_gap` ticks away, on ticks."""
    first = on_tick(innermost, side, instrument, rounding)
    return tuple(
        on_tick(outwards(first, tick_gap(level) * instrument.tick_size, side), side, instrument, rounding)
        for level in range(layers)
    )


def step_ladder(
    innermost: Decimal, step: Decimal, side: Side, layers: int, instrument: Instrument, rounding: Rounding
) -> tuple[Decimal, ...]:
    """Return `layers` prices outwards from `innermost`, each `step` (quote units) further, on ticks."""
    return tuple(
        on_tick(outwards(innermost, step * level, side), side, instrument, rounding)
        for level in range(layers)
    )


def keep_passive(price: Decimal, side: Side, book: OrderBook, instrument: Instrument) -> Decimal:
    """Return `price`, or the nearest price that does not trade with `book`: one tick off the other side."""
    if side is Side.BUY:
        if book.best_ask is None or price < book.best_ask:
            return price
        return instrument.round_price(book.best_ask - instrument.tick_size, side)
    if book.best_bid is None or price > book.best_bid:
        return price
    return instrument.round_price(book.best_bid + instrument.tick_size, side)


def is_valid_price(price: Decimal, instrument: Instrument) -> bool:
    """Tell whether the exchange's price filter takes `price`."""
    if price <= 0 or (instrument.min_price is not None and price < instrument.min_price):
        return False
    return instrument.max_price is None or price <= instrument.max_price


def is_two_sided(book: OrderBook) -> bool:
    """Tell whether `book` has both sides, uncrossed, so that its mid means something."""
    return book.best_bid is not None and book.best_ask is not None and book.best_bid < book.best_ask


def capped(quantity: Decimal, instrument: Instrument) -> Decimal:
    """Return `quantity` on a step and not above the exchange's maximum."""
    if instrument.max_quantity is not None:
        quantity = min(quantity, instrument.max_quantity)
    return instrument.round_quantity(quantity)


def levels_of(
    prices: Iterable[Decimal], side: Side, book: OrderBook, instrument: Instrument
) -> tuple[tuple[int, Decimal], ...]:
    """Return (level, price) for each of a ladder's prices that can rest, clamped off the other side.

    Of equal prices the innermost level stays; prices outside the exchange's filter are left out.
    """
    levels: dict[Decimal, int] = {}
    for level, wanted in enumerate(prices):
        price = keep_passive(wanted, side, book, instrument)
        if is_valid_price(price, instrument):
            levels.setdefault(price, level)
    return tuple((level, price) for price, level in levels.items())


@dataclass(frozen=True, kw_only=True)
class Funds:
    """What an account holds of an instrument's two assets, and how much of it this instance may use."""

    #: Everything the account has, in base and quote units.
    base_total: Decimal
    quote_total: Decimal
    #: Available, plus what this instance's own resting orders hold.
    base_spendable: Decimal
    quote_spendable: Decimal


def funds_of(snapshot: Snapshot) -> Funds | None:
    """Return the funds of a spot snapshot, None when balances are not known at all.

    An asset that is missing from known balances is held at zero: exchanges list only what is held.
    """
    if not snapshot.balances:
        return None
    instrument = snapshot.instrument
    base = snapshot.balances.get(instrument.base_asset)
    quote = snapshot.balances.get(instrument.quote_asset)
    base_total, base_free = (base.total, base.available) if base else (Decimal(0), Decimal(0))
    quote_total, quote_free = (quote.total, quote.available) if quote else (Decimal(0), Decimal(0))
    # The totals bound the sums: an order filled between the two reads holds nothing any more.
    return Funds(
        base_total=base_total,
        quote_total=quote_total,
        base_spendable=min(base_total, base_free + _held(snapshot.open_orders, Side.SELL)),
        quote_spendable=min(quote_total, quote_free + _held(snapshot.open_orders, Side.BUY)),
    )


def _held(orders: Sequence[OwnOrder], side: Side) -> Decimal:
    held = Decimal(0)
    for own in orders:
        order = own.order
        # A conditional order holds nothing before it triggers, as far as anybody documents.
        if order.side is not side or order.price is None or order.status is OrderStatus.TRIGGER_PENDING:
            continue
        if order.status.is_open:
            held += order.remaining_quantity * (order.price if side is Side.BUY else 1)
    return held


def fit_budget(
    quotes: Iterable[Quote], budget: Decimal, unit_cost: Callable[[Quote], Decimal], instrument: Instrument
) -> tuple[Quote, ...]:
    """Return the quotes that `budget` covers, served in the order given.

    `unit_cost` is what one base unit of a quote takes from the budget. A quote that is covered in part
    is cut down to a step; one that ends below the minimum quantity is left out.
    """
    fitting = []
    for quote in quotes:
        affordable = instrument.round_quantity(budget / unit_cost(quote))
        quantity = min(quote.quantity, affordable)
        if quantity <= 0 or quantity < instrument.min_quantity:
            continue
        budget -= quantity * unit_cost(quote)
        fitting.append(replace(quote, quantity=quantity))
    return tuple(fitting)
