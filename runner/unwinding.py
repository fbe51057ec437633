"""Complete a run's books during its cleanup, and bring what it opened to where its strategy leaves it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from math import inf
from typing import Protocol

import structlog

from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from market.orders import Side
from market.position import Fill
from market.snapshot import Snapshot
from runner.bookings import Teller
from runner.closing import ClosingOrders
from runner.context import Context
from runner.daily import close_daily
from runner.gathering import STREAMED_MS, make_snapshot, read_held, update_books
from runner.loaded import LoadedInstance, parse_books
from runner.lookups import Standing
from state.cleanup_leases import CleanupLease, InFlight
from strategies.base import TakerOrder
from strategies.quoting import is_two_sided

log = structlog.get_logger(__name__)

#: Tries until every fill is known.
TRIES_TO_SETTLE = 12
#: How long behind the fence a stop waits for a history that lags: people wait for it.
HISTORY_LAG_MS = 3_000
#: Time for the last fills of a stop that is over; its worker has other stops to see to.
EPILOGUE_S = 1.0
#: Orders sent until what is left is reported.
MOST_ORDERS = 10
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


class TooLate(Exception):
    """Raised when the last fills are not to be had within the time for them."""


class Cleaner(Protocol):
    """The cleanup that this is done for."""

    def renew(self) -> InFlight:
        """Prolong the lease. Raises `LeaseLost` or `OutOfTime`."""
        ...

    def pause(self, seconds: float) -> None:
        """Wait a moment."""
        ...

    def note_trouble(self, trouble: str) -> None:
        """Tell those who watch what holds the cleanup up."""
        ...


class Epilogue:
    """Stands for a cleanup that has recorded its outcome: it keeps no lease, and takes little time."""

    def __init__(self, fence_ms: int) -> None:
        self._end_s = time.monotonic() + EPILOGUE_S
        self._fence_ms = fence_ms

    def renew(self) -> InFlight:
        """Return that nothing is in flight since the fence. Raises `TooLate`."""
        if time.monotonic() > self._end_s:
            raise TooLate("the exchange did not show every fill in time")
        return InFlight(now_ms=0, lease_until_ms=0, running_task_id="", fence_ms=self._fence_ms, order_ids=())

    def pause(self, seconds: float) -> None:
        """Wait a moment."""
        threading.Event().wait(seconds)

    def note_trouble(self, trouble: str) -> None:
        """Keep it for whoever looks closely."""
        log.info("books held up", why=trouble)


class LastBooks:
    """The books of a run whose orders are gone, completed from the exchange."""

    def __init__(
        self,
        context: Context,
        lease: CleanupLease,
        instance: LoadedInstance,
        venue: Venue,
        closing: ClosingOrders,
        cleaner: Cleaner,
    ) -> None:
        self._instrument = context.venues.instrument(instance.config)
        self._instance = instance
        self._own_fills = context.own_fills
        self._venue = venue
        self._closing = closing
        self._cleaner = cleaner
        data = context.instances.run_data(lease.instance_id, lease.slot)
        #: The strategy's state as last saved.
        self.state_json = data.state_json
        self._daily_json = data.daily_json
        self._epoch = lease.epoch
        reading = closing.read_clock()
        self._teller = Teller(
            account=lease.account,
            instance_id=lease.instance_id,
            epoch=lease.epoch,
            slot=lease.slot,
            source="cleanup",
            at_ms=reading.store_ms,
        )
        self.standing = Standing(
            slot=lease.slot,
            books=parse_books(data.books_json),
            intents=dict(data.intents),
            now_ms=reading.store_ms,
            started_at_ms=data.started_at_ms,
            fence_ms=0,
            reading=reading,
            history_lag_ms=HISTORY_LAG_MS,
            is_proven_gone=True,
        )

    @property
    def daily_json(self) -> str:
        """Return the day's result to save (JSON), empty when it stays as it was."""
        return close_daily(self._daily_json, self._epoch, self.standing.books.profit, self.standing.now_ms)

    def bookings(self) -> list[str]:
        """Return what the ledger is to be told (JSON)."""
        return self._teller.tell(self.standing.books, self._instrument)

    def note_cancelled(self, executed: Mapping[str, Decimal | None]) -> None:
        """Learn from the answers to cancels what was executed of each order in all."""
        for order_id, quantity in executed.items():
            if quantity is not None:
                self.standing.books.end(order_id, quantity)

    def settle(self) -> bool:
        """Count the fills that are still missing; tell whether the exchange has shown all of them in time.

        The orders are proven gone: none is asked for again.
        """
        self.note_sent()
        pause_s, waiting_for = FIRST_PAUSE_S, self._open_ends()
        for _ in range(TRIES_TO_SETTLE):
            in_flight = self._cleaner.renew()
            # Of the run's own requests, or of the cleanup's.
            self.standing.fence_ms = in_flight.fence_ms
            self.standing.reading = self._closing.read_clock()
            self.standing.now_ms = self.standing.reading.store_ms
            self.standing.streamed_fills = self._own_fills.seen(
                self._teller.instance_id, since_ms=self.standing.now_ms - STREAMED_MS
            )
            try:
                unexplained = update_books(self._venue, self._instrument, self.standing, (), self._fills())
            except ExchangeError as error:
                self._cleaner.note_trouble(f"fills unknown: {error}")
            else:
                if not self.standing.books.unsettled(self.standing.intents, unexplained):
                    return True
                self._cleaner.note_trouble("the history does not show every fill yet")
            still = self._open_ends()
            # While there is progress there is no reason to wait longer each time.
            pause_s = FIRST_PAUSE_S if still < waiting_for else min(LONGEST_PAUSE_S, pause_s * 2)
            waiting_for = still
            self._cleaner.pause(min(pause_s, self._until_told_s()))
        return False

    def _until_told_s(self) -> float:
        """Return for how long orders that nobody shows may still turn up; for ever where there is none."""
        standing = self.standing
        left_ms = standing.fence_ms + standing.history_lag_ms - standing.now_ms - standing.elapsed_ms
        return (left_ms + 1) / 1000 if standing.intents and left_ms > 0 else inf

    def _fills(self) -> tuple[Fill, ...]:
        books, standing = self.standing.books, self.standing
        books.begin(self._venue.clock.signing_time_ms(standing.started_at_ms, standing.reading))
        return self._venue.fills(self._instrument.symbol, since_ms=books.fills_since_ms)

    def _open_ends(self) -> int:
        return len(self.standing.books.orders) + len(self.standing.intents)

    def unwind(self) -> tuple[Decimal, Decimal, bool]:
        """Send what `Strategy.unwind` asks for until it asks for nothing more.

        Returns the run's net quantity before and after, and whether it is where the strategy leaves it.
        """
        try:
            return self._unwind()
        finally:
            # Whatever interrupts this, what was sent is in the books: nobody may send it again.
            self.note_sent()

    def _unwind(self) -> tuple[Decimal, Decimal, bool]:
        before, in_order, worst_price = None, False, None
        for _ in range(MOST_ORDERS):
            settled = self.settle()
            before = self.standing.books.profit.net if before is None else before
            if not settled:
                break
            snapshot = self._snapshot()
            if snapshot is None:
                self._cleaner.pause(LONGEST_PAUSE_S)
                continue
            taker = self._next_order(snapshot)
            if taker is None:
                in_order = True
                break
            taker = _within(taker, worst_price)
            worst_price = taker.limit_price
            if not self._closing.send(taker):
                # Nobody takes it at that price: the next one may follow the market, a moment later.
                self._cleaner.pause(LONGEST_PAUSE_S)
                worst_price = None
        after = self.standing.books.profit.net
        return after if before is None else before, after, in_order

    def _snapshot(self) -> Snapshot | None:
        """Return a snapshot whose book can be traded with, None when there is none now."""
        try:
            held = read_held(self._venue, self._instrument)
            book = self._venue.order_book(self._instrument.symbol)
        except ExchangeError as error:
            self._cleaner.note_trouble(f"position or book unknown: {error}")
            return None
        snapshot = make_snapshot(
            self._instrument,
            self.standing,
            held,
            book,
            exclusive_symbol=self._instance.config.exclusive_symbol,
        )
        if not is_two_sided(snapshot.book):
            self._cleaner.note_trouble("the book has only one side")
            return None
        return snapshot

    def _next_order(self, snapshot: Snapshot) -> TakerOrder | None:
        unwind = self._instance.strategy.unwind
        if unwind is None:
            return None
        return unwind(snapshot, self._instance.parse_state(self.state_json), self._instance.params)

    def note_sent(self) -> None:
        """Take the orders that the cleanup has sent since the last call into the books."""
        for report in self._closing.take_reports():
            for order in report.accepted:
                self.standing.books.add(order)
            self.standing.intents |= report.unresolved


def _within(taker: TakerOrder, worst_price: Decimal | None) -> TakerOrder:
    """Return the order with the worst price of the one before it: several must not walk down the book."""
    if worst_price is None:
        return taker
    better = max if taker.side is Side.SELL else min
    return replace(taker, limit_price=better(taker.limit_price, worst_price))
