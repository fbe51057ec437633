"""Read everything one decision may know, and bring the run's books up to date on the way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import structlog

from exchanges.registry import Venue
from market.book import OrderBook
from market.instrument import Instrument, MarketType
from market.orders import OpenOrder, Side
from market.position import Balance, Fill, Position
from market.snapshot import OwnOrder, Snapshot
from runner.access import market_venue
from runner.context import Context
from runner.known_orders import CLOCK_SLACK_MS, KnownOrder
from runner.loaded import LoadedInstance
from runner.lookups import Standing, clear_up_intents, look_up_vanished
from runner.market_read import BookRead, Freshness, NoMarketData, Source, read_book
from runner.parallel import both
from state.client_ids import owns

log = structlog.get_logger(__name__)

#: How far back fills of the stream are looked at: by then the exchange's history shows them.
STREAMED_MS = 30_000


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """A snapshot, and what does not belong into a decision."""

    snapshot: Snapshot
    #: Where its order book came from.
    source: Source
    held: Held
    #: Resting orders in this instance's slot that this run did not place: to be cancelled, never counted.
    strangers: tuple[OpenOrder, ...] = ()
    #: True: they have been there for longer than a cancel can take.
    strangers_stay: bool = False

    @property
    def complaint(self) -> str:
        """Return what keeps the run from placing until somebody helps, empty for nothing."""
        if not self.strangers_stay:
            return ""
        ids = ", ".join(order.order_id for order in self.strangers)
        return f"orders of an earlier run cannot be cancelled, so nothing is placed: {ids}"


def gather(
    context: Context,
    instance: LoadedInstance,
    venue: Venue,
    standing: Standing,
    *,
    with_balances: bool,
    needs_book: bool = True,
) -> Gathered:
    """Return the snapshot of now; `standing` is brought up to date with it.

    Unless it `needs_book`, the snapshot has an empty one where the market cannot be read.
    Raises `ExchangeError` when anything is unknown; what `standing` learned until then is true all the same.
    """
    standing.instrument = instrument = context.venues.instrument(instance.config)
    books = standing.books
    books.begin(venue.clock.signing_time_ms(standing.started_at_ms, standing.reading))
    # Orders first: so a fill in between counts twice in the exposure, never not at all. Of fills and what is
    # held either may lag in any case, and the books reckon with that.
    listed = [o for o in venue.open_orders(instrument.symbol) if owns(standing.slot, o.client_order_id)]
    signed = standing.signed_at_ms(venue)
    strangers = books.observe_list(listed, signed, now_ms=standing.now_ms)
    since_ms = books.fills_since_ms
    fills, held = both(
        lambda: venue.fills(instrument.symbol, since_ms=since_ms),
        lambda: read_held(venue, instrument, with_balances=with_balances),
    )
    standing.streamed_fills = context.own_fills.seen(
        instance.config.instance_id, since_ms=standing.now_ms - STREAMED_MS
    )
    unexplained = update_books(venue, instrument, standing, listed, fills)
    try:
        read = _read_book(context, instance, venue, standing, instrument.symbol)
        books.book_at_ms = standing.now_ms
    except NoMarketData:
        if needs_book:
            raise
        read = BookRead(
            book=OrderBook(symbol=instrument.symbol, bids=(), asks=(), updated_at_ms=0), source=Source.NONE
        )
    snapshot = make_snapshot(
        instrument,
        standing,
        held,
        read.book,
        unexplained,
        exclusive_symbol=instance.config.exclusive_symbol,
    )
    stay = books.strangers_stay(are_there=bool(strangers), now_ms=standing.now_ms)
    return Gathered(
        snapshot=snapshot, source=read.source, held=held, strangers=strangers, strangers_stay=stay
    )


def _read_book(
    context: Context, instance: LoadedInstance, venue: Venue, standing: Standing, symbol: str
) -> BookRead:
    streamed = context.market_data.read(market_venue(instance.config), symbol)
    # After the other questions, which took their time.
    return read_book(venue, symbol, streamed, freshness_of(instance, venue, standing))


def freshness_of(instance: LoadedInstance, venue: Venue, standing: Standing) -> Freshness:
    """Return what a streamed book has to be at this moment. Raises `ExchangeError` without a clock."""
    limit_s, elapsed_ms = instance.limits.max_data_age_s, standing.elapsed_ms
    return Freshness(
        now_ms=standing.now_ms + elapsed_ms,
        exchange_ms=venue.clock.signing_time_ms(standing.now_ms, standing.reading) + elapsed_ms,
        limit_ms=None if limit_s is None else int(limit_s * 1000),
        own_changed_at_ms=standing.books.own_changed_at_ms,
        own_filled_ms=max((fill.filled_at_ms for fill in standing.streamed_fills), default=0),
    )


def update_books(
    venue: Venue,
    instrument: Instrument,
    standing: Standing,
    listed: Sequence[OpenOrder],
    fills: Sequence[Fill],
) -> tuple[KnownOrder, ...]:
    """Count new fills and clear up what became of orders; return those whose fate nobody tells yet.

    `listed` are the own orders that rest, read before `fills`, those since `Books.fills_since_ms`. Raises
    `ExchangeError`.
    """
    books = standing.books
    streamed = [fill for fill in standing.streamed_fills if fill.symbol == instrument.symbol]
    clear_up_intents(venue, instrument.symbol, standing, (*fills, *streamed))
    books.count(fills, instrument)
    exchange_ms = venue.clock.signing_time_ms(standing.now_ms, standing.reading)
    # One fill with a time of the future would hide all those of the present from the next reads.
    books.read_until_ms = min(books.read_until_ms, exchange_ms + CLOCK_SLACK_MS)
    books.count_streamed(streamed, instrument)
    unexplained = look_up_vanished(venue, instrument.symbol, standing, listed)
    for order in books.write_off(instrument, standing.now_ms, exchange_ms=exchange_ms):
        log.warning("fills that never came counted", order_id=order.order_id, executed=str(order.executed))
    books.close_what_is_over(standing.now_ms)
    return unexplained


@dataclass(frozen=True, kw_only=True)
class Held:
    """What the account holds: a position on perpetuals, balances on spot or where they are asked for."""

    position: Position | None
    balances: Mapping[str, Balance]


def read_held(venue: Venue, instrument: Instrument, *, with_balances: bool = False) -> Held:
    """Ask the exchange what the account holds. Raises `ExchangeError`."""
    is_perp = instrument.market_type is MarketType.PERP
    return Held(
        position=venue.position(instrument.symbol) if is_perp else None,
        balances=venue.balances() if with_balances or not is_perp else {},
    )


def make_snapshot(
    instrument: Instrument,
    standing: Standing,
    held: Held,
    book: OrderBook,
    unexplained: Sequence[KnownOrder] = (),
    *,
    exclusive_symbol: bool = False,
) -> Snapshot:
    """Return what was read as a decision sees it, together with the books."""
    books = standing.books
    unsettled = books.unsettled(standing.intents, unexplained)
    own_orders = books.open_orders(instrument.symbol)
    return Snapshot(
        taken_at_ms=standing.now_ms,
        started_at_ms=standing.started_at_ms,
        instrument=instrument,
        book=book.without(_by_price(own_orders)),
        open_orders=own_orders,
        balances=held.balances,
        position=held.position,
        fills=books.unseen,
        totals=books.totals_by_level(),
        profit=books.profit,
        unsettled=unsettled,
        net_bounds=books.net_range(held.position, unsettled, standing.now_ms),
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
