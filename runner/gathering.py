"""Read everything one decision may know, and bring the run's books up to date on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import structlog

from exchanges.clock import StoreClockReading
from exchanges.registry import Venue
from market.instrument import Instrument, MarketType
from market.orders import OpenOrder, Side
from market.snapshot import OwnOrder, Snapshot
from runner.books import Books, KnownOrder
from runner.context import Context
from runner.loaded import LoadedInstance
from state.client_ids import owns

log = structlog.get_logger(__name__)

#: Orders whose fate is asked for one by one in an iteration; the rest are taken for resting until the next.
MOST_LOOKUPS = 20


@dataclass(kw_only=True)
class Standing:
    """What the run had saved when this began, and the moment it is read at."""

    slot: int
    books: Books
    #: Client order ids given earlier whose fate is not known: to when, ms. Shrinks as they are cleared up.
    intents: dict[int, int]
    now_ms: int
    started_at_ms: int
    #: Until then a request of an earlier iteration can still be accepted, ms.
    fence_ms: int
    reading: StoreClockReading


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """A snapshot, and what does not belong into a decision."""

    snapshot: Snapshot
    #: Resting orders in this instance's slot that this run did not place: to be cancelled, never counted.
    strangers: tuple[OpenOrder, ...] = field(default=())


def gather(
    context: Context, instance: LoadedInstance, venue: Venue, standing: Standing, *, with_balances: bool
) -> Gathered:
    """Return the snapshot of now; `standing` is brought up to date with it.

    Raises `ExchangeError` when anything is unknown; what `standing` learned until then is true all the same.
    """
    instrument = context.venues.instrument(instance.config)
    # This order lets a fill in between count twice in the exposure, never not at all.
    listed = [o for o in venue.open_orders(instrument.symbol) if owns(standing.slot, o.client_order_id)]
    strangers = standing.books.observe_list(listed, standing.intents)
    unexplained = update_books(venue, instrument, standing, listed)
    snapshot = read_snapshot(
        venue,
        instrument,
        standing,
        unexplained,
        with_balances=with_balances,
        exclusive_symbol=instance.config.exclusive_symbol,
    )
    return Gathered(snapshot=snapshot, strangers=strangers)


def update_books(
    venue: Venue, instrument: Instrument, standing: Standing, listed: Sequence[OpenOrder]
) -> tuple[KnownOrder, ...]:
    """Count new fills and clear up what became of orders; return those whose fate nobody tells yet.

    `listed` are the own orders that rest, read before. Raises `ExchangeError`.
    """
    books = standing.books
    books.begin(venue.clock.signing_time_ms(standing.started_at_ms, standing.reading))
    _clear_up_intents(venue, instrument.symbol, standing)
    books.count(venue.fills(instrument.symbol, since_ms=books.fills_since_ms), instrument)
    unexplained = _look_up(venue, instrument.symbol, standing, listed)
    books.close_what_is_over(standing.now_ms)
    return unexplained


def read_snapshot(
    venue: Venue,
    instrument: Instrument,
    standing: Standing,
    unexplained: Sequence[KnownOrder] = (),
    *,
    with_balances: bool = False,
    exclusive_symbol: bool = False,
) -> Snapshot:
    """Read the market and what is held, and return them with the books. Raises `ExchangeError`."""
    symbol, books = instrument.symbol, standing.books
    is_perp = instrument.market_type is MarketType.PERP
    position = venue.position(symbol) if is_perp else None
    balances = venue.balances() if with_balances or not is_perp else {}
    unsettled = books.unsettled(standing.intents, unexplained)
    own_orders = books.open_orders(symbol)
    return Snapshot(
        taken_at_ms=standing.now_ms,
        started_at_ms=standing.started_at_ms,
        instrument=instrument,
        book=venue.order_book(symbol).without(_by_price(own_orders)),
        open_orders=own_orders,
        balances=balances,
        position=position,
        fills=books.unseen,
        totals=books.totals_by_level(),
        profit=books.profit,
        unsettled=unsettled,
        net_bounds=None if position is None else books.net_range(position, unsettled, standing.now_ms),
        exclusive_symbol=exclusive_symbol,
        system_fills=books.unseen_system,
    )


def _by_price(orders: Sequence[OwnOrder]) -> dict[tuple[bool, Decimal], Decimal]:
    """Return what the book shows of own orders, by (is a bid, price)."""
    own: dict[tuple[bool, Decimal], Decimal] = {}
    for order in (each.order for each in orders):
        if order.price is not None:
            place = (order.side is Side.BUY, order.price)
            own[place] = own.get(place, Decimal(0)) + order.remaining_quantity
    return own


def _clear_up_intents(venue: Venue, symbol: str, standing: Standing) -> None:
    """Find what became of orders that were authorised by an iteration that did not tell."""
    for order in standing.books.orders.values():
        standing.intents.pop(order.client_order_id, None)
    if standing.fence_ms > standing.now_ms:
        return
    for client_order_id, at_ms in list(standing.intents.items())[:MOST_LOOKUPS]:
        signed_at_ms = venue.clock.signing_time_ms(at_ms, standing.reading)
        found = venue.resolve_placement(symbol, client_order_id, not_before_ms=signed_at_ms)
        if found is not None:
            standing.books.add(found)
        # Not found behind the fence is final: it never arrived.
        del standing.intents[client_order_id]


def _look_up(
    venue: Venue, symbol: str, standing: Standing, listed: Sequence[OpenOrder]
) -> tuple[KnownOrder, ...]:
    """Ask how orders ended that are gone from the list without enough fills; return those nobody explains."""
    books, unexplained = standing.books, []
    for number, order in enumerate(books.vanished(listed)):
        found = None if number >= MOST_LOOKUPS else _find(venue, symbol, order)
        if found is not None:
            books.add(found)
        elif number < MOST_LOOKUPS and books.miss(order.order_id, standing.now_ms):
            log.warning("order without a trace given up", order_id=order.order_id, filled=str(order.filled))
            books.end(order.order_id, order.filled)
        else:
            unexplained.append(order)
    return tuple(unexplained)


def _find(venue: Venue, symbol: str, order: KnownOrder) -> OpenOrder | None:
    resting = venue.find_order(symbol, order.client_order_id)
    if resting is not None and resting.order_id == order.order_id:
        return resting
    ended = venue.find_ended(symbol, order.order_id)
    # A history that still shows it as open lags behind: nothing is known.
    return ended if ended is not None and not ended.status.is_open else None
