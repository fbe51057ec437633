"""Ask the exchange, order by order, what neither a list nor the fills explain."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import structlog

from exchanges.clock import StoreClockReading
from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.instrument import Instrument
from market.orders import OpenOrder
from market.position import Fill
from runner.books import LONGEST_HISTORY_LAG_MS, Books
from runner.known_orders import CLOCK_SLACK_MS, KnownOrder
from runner.parallel import MOST_AT_ONCE, in_parallel

log = structlog.get_logger(__name__)

#: Time for the questions of one iteration, or of one round of a cleanup: well below any lease. What is not
#: asked by then is taken for resting until the next.
LOOKUP_S = 1.5

T = TypeVar("T")


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
    #: How long behind the fence an order that nobody shows may still turn up in the history.
    history_lag_ms: int = LONGEST_HISTORY_LAG_MS
    #: True: no order of the run rests any more, so that only histories have to be asked.
    is_proven_gone: bool = False
    #: What a feed has seen: the exchange's history may not show it yet.
    streamed_fills: tuple[Fill, ...] = ()
    #: None: not read yet.
    instrument: Instrument | None = None

    @property
    def elapsed_ms(self) -> int:
        """Return how long ago this began, ms."""
        return int((time.monotonic() - self.reading.monotonic_s) * 1000)

    @property
    def unasked(self) -> bool:
        """Tell whether there are intents that were not asked for yet behind their fence."""
        return not self.intents.keys() <= set(self.books.doubtful)

    def signed_at_ms(self, venue: Venue) -> dict[int, int]:
        """Return each intent with the exchange time it was signed with, ms."""
        return {
            client_order_id: venue.clock.signing_time_ms(at_ms, self.reading)
            for client_order_id, at_ms in self.intents.items()
        }


def clear_up_intents(venue: Venue, symbol: str, standing: Standing, fills: Iterable[Fill]) -> None:
    """Find what became of orders that were authorised by an iteration that did not tell.

    Behind the fence each is asked for once; one that is not found is doubtful, and asked for again when a
    fill shows it, and at last when even a late history would have. Then it never arrived.
    """
    books, signed = standing.books, standing.signed_at_ms(venue)
    for order in books.orders.values():
        since_ms = signed.get(order.client_order_id)
        if since_ms is not None and order.accepted_at_ms >= since_ms - CLOCK_SLACK_MS:
            del standing.intents[order.client_order_id]
            del signed[order.client_order_id]
    if standing.fence_ms <= standing.now_ms:
        is_last_time = standing.now_ms >= standing.fence_ms + standing.history_lag_ms
        filled = {fill.client_order_id for fill in fills}
        due = [each for each in signed if is_last_time or each not in books.doubtful or each in filled]

        def ask(client_order_id: int) -> OpenOrder | None:
            return venue.resolve_placement(symbol, client_order_id, not_before_ms=signed[client_order_id])

        for client_order_id, found in _asked(due, ask):
            _note_answer(standing, client_order_id, found, is_last_time=is_last_time)
    books.doubtful = tuple(each for each in books.doubtful if each in standing.intents)


def _note_answer(
    standing: Standing, client_order_id: int, found: OpenOrder | None, *, is_last_time: bool
) -> None:
    if found is not None:
        standing.books.adopt(found, standing.now_ms)
    if found is not None or is_last_time:
        del standing.intents[client_order_id]
    elif client_order_id not in standing.books.doubtful:
        standing.books.doubtful = (*standing.books.doubtful, client_order_id)


def look_up_vanished(
    venue: Venue, symbol: str, standing: Standing, listed: Sequence[OpenOrder]
) -> tuple[KnownOrder, ...]:
    """Ask how orders ended that are gone from the list without enough fills; return those nobody explains."""
    books = standing.books
    vanished = {order.order_id: order for order in books.vanished(listed)}
    unanswered: set[str] = set()

    def ask(order: KnownOrder) -> OpenOrder | None:
        try:
            return _find(venue, symbol, order, is_proven_gone=standing.is_proven_gone)
        except ExchangeError as error:
            # One order that cannot be asked for must not keep all the others from being known.
            log.warning("order unknown", order_id=order.order_id, error=str(error))
            unanswered.add(order.order_id)
            return None

    for order, found in _asked(list(vanished.values()), ask):
        if found is not None:
            books.add(found)
        elif order.order_id not in unanswered and books.miss(order.order_id, standing.now_ms):
            log.warning("order without a trace given up", order_id=order.order_id, filled=str(order.filled))
            books.end(order.order_id, order.filled)
        else:
            continue
        del vanished[order.order_id]
    return tuple(vanished.values())


def _find(venue: Venue, symbol: str, order: KnownOrder, *, is_proven_gone: bool) -> OpenOrder | None:
    resting = None if is_proven_gone else venue.find_order(symbol, order.client_order_id)
    if resting is not None and resting.order_id == order.order_id:
        return resting
    ended = venue.find_ended(symbol, order.order_id)
    # A history that still shows it as open lags behind: nothing is known.
    return ended if ended is not None and not ended.status.is_open else None


def _asked(items: Sequence[T], ask: Callable[[T], OpenOrder | None]) -> Iterator[tuple[T, OpenOrder | None]]:
    """Yield the items with their answers, as many as there is time for."""
    end_s = time.monotonic() + LOOKUP_S
    for first in range(0, len(items), MOST_AT_ONCE):
        if first and time.monotonic() >= end_s:
            return
        chunk = items[first : first + MOST_AT_ONCE]
        yield from zip(chunk, in_parallel(ask, chunk), strict=True)
