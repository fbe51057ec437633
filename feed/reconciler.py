"""Ask the exchange, after every reconnect and every minute, for all that a stream may have left out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection

import redis
import structlog

from exchanges.errors import ExchangeError, Refused
from exchanges.registry import Venue
from feed.backoff import Backoff
from feed.telling import Teller
from feed.watched import WatchedAccount
from ledger.bookings import BalanceSnapshot, PositionSnapshot, SnapshotBooking
from ledger.errors import LedgerError
from ledger.queries import OrderRecord
from market.orders import OpenOrder
from state.bookings import MOST_WAITING
from state.feeds import Feeds

log = structlog.get_logger(__name__)

PERIOD_S = 60.0
#: Without a stream that asks for the first one.
FIRST_S = 5.0
#: Histories are read again from this long before where they were read to: they are not written in order.
OVERLAP_MS = 120_000
#: An order that is not on the list is asked for only when it is older: lists lag.
LIST_LAG_MS = 15_000
#: With this part of the queue's room taken, nothing that can be read again is added.
QUEUE_SHARE = 0.5
#: Orders that are asked for at a time, one request each.
MOST_ASKED = 50

#: The orders of the account that the ledger takes for open. Raises `LedgerError`.
BelievedOpen = Callable[[], tuple[OrderRecord, ...]]


class Reconciler:
    """A thread for one account."""

    def __init__(
        self,
        watched: Callable[[], WatchedAccount],
        venue: Venue,
        feeds: Feeds,
        teller: Teller,
        believed_open: BelievedOpen,
        now_ms: Callable[[], int],
        queue_length: Callable[[], int],
    ) -> None:
        self._watched = watched
        self._venue = venue
        self._feeds = feeds
        self._teller = teller
        self._believed_open = believed_open
        #: The state server's clock.
        self._now_ms = now_ms
        #: Bookings that wait for the ledger.
        self._queue_length = queue_length
        #: Symbols of markets that cannot be read.
        self._unreadable: set[str] = set()
        #: How often orders were asked for that no list and no history shows.
        self._asked_for: dict[str, int] = {}
        self._ended = threading.Event()
        self._asked = threading.Event()
        self._backoff = Backoff(first_s=0.5, longest_s=10.0)
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Tell whether the thread runs."""
        return self._thread.is_alive()

    def ask(self) -> None:
        """Reconcile now: something may have been missed."""
        self._asked.set()

    def stop(self) -> None:
        """End the thread as soon as the exchange has answered."""
        self._ended.set()
        self._asked.set()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, at the latest for `timeout_s`."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        wait_s = FIRST_S
        while not self._ended.is_set():
            self._asked.wait(wait_s)
            self._asked.clear()
            if self._ended.is_set():
                return
            try:
                self.reconcile()
            except Exception as error:
                # The thread's boundary: with a dead reconciler no gap would ever be closed.
                wait_s = self._backoff.next_s()
                expected = isinstance(error, (ExchangeError, redis.RedisError))
                log.warning(
                    "not reconciled",
                    account=self._watched().account,
                    error=f"{type(error).__name__}: {error}",
                    exc_info=not expected,
                )
                # Whoever asks meanwhile has to wait as well: the exchange, or the budget, needs the pause.
                self._ended.wait(wait_s)
                self._asked.set()
            else:
                self._backoff.reset()
                wait_s = PERIOD_S

    def reconcile(self) -> int:
        """Tell every fill, order, payment and holding that was not told; return how many fills were new.

        Raises `ExchangeError`, `redis.RedisError`; what was told until then is told.
        """
        self._learn_markets(self._watched().symbols)
        new = self._fills()
        self._funding()
        self._orders()
        self._holdings()
        return new

    def _learn_markets(self, symbols: Collection[str]) -> None:
        """Read what symbols trade, and tell the fills that waited for it."""
        for symbol in sorted({*symbols, *self._teller.unknown_symbols()} - self._unreadable):
            try:
                self._teller.learn(self._venue.instrument(symbol))
            except Refused as error:
                # A market of a kind that cannot be traded here: a person's matter, no reason to miss others.
                log.warning("market unknown, its fills are left out", symbol=symbol, error=str(error))
                self._unreadable.add(symbol)
        self._teller.leave_out(self._unreadable)

    def _fills(self) -> int:
        """Tell the fills since the last time, part by part; return how many were new."""
        account, is_complete, total = self._watched().account, False, 0
        since_ms = self._since_ms("fills")
        while not is_complete and not self._ended.is_set():
            if not self._has_room():
                # The cursor stays: what would push others out of the queue is read again when there is room.
                log.warning("the ledger's queue is full, fills are read later", account=account)
                return total
            began_ms = self._venue.clock.now_ms()
            page = self._venue.account_fills_page(since_ms=since_ms)
            new = self._teller.tell_fills(page.fills, "rest")
            self._learn_markets(())
            total, is_complete = total + new, page.is_complete
            if not is_complete:
                began_ms = since_ms = page.fills[-1].filled_at_ms
            # Only now: what was read is told.
            self._feeds.move_cursor(account, "fills", began_ms)
            log.info("reconciled", account=account, fills=len(page.fills), new=new)
        return total

    def _has_room(self) -> bool:
        """Tell whether the ledger's queue keeps what it is told; else what it lost has to be told again."""
        if self._queue_length() < MOST_WAITING * QUEUE_SHARE:
            return True
        self._teller.forget_told()
        return False

    def _funding(self) -> None:
        began_ms = self._venue.clock.now_ms()
        self._teller.tell_funding(self._venue.funding_payments(since_ms=self._since_ms("funding")))
        self._feeds.move_cursor(self._watched().account, "funding", began_ms)

    def _since_ms(self, history: str) -> int:
        """Return from when on a history has to be read, exchange time."""
        watched = self._watched()
        cursor_ms = self._feeds.cursor(watched.account, history)
        if cursor_ms is None:
            cursor_ms = min(
                (each.started_at_ms for each in watched.instances), default=self._venue.clock.now_ms()
            )
        return cursor_ms - OVERLAP_MS

    def _orders(self) -> None:
        """Tell open orders that the ledger knows otherwise, and how those ended that it takes for open."""
        began_ms = self._venue.clock.now_ms()
        listed = self._venue.account_open_orders()
        try:
            believed = {order.order_id: order for order in self._believed_open()}
        except LedgerError as error:
            log.info("open orders of the ledger not compared", error=str(error))
            return
        self._teller.tell_orders([o for o in listed if _differs(o, believed.get(o.order_id))], began_ms)
        on_list = {order.order_id for order in listed}
        lost = {
            order_id: order
            for order_id, order in believed.items()
            if order_id not in on_list and order.updated_at_ms < began_ms - LIST_LAG_MS
        }
        self._asked_for = {order_id: n for order_id, n in self._asked_for.items() if order_id in lost}
        # Those first that were asked for least: some may never be found.
        for order in sorted(lost.values(), key=lambda o: self._asked_for.get(o.order_id, 0))[:MOST_ASKED]:
            if self._ended.is_set():
                return
            self._ask_for(order, began_ms)

    def _ask_for(self, order: OrderRecord, at_ms: int) -> None:
        self._asked_for[order.order_id] = self._asked_for.get(order.order_id, 0) + 1
        try:
            ended = self._venue.find_ended(order.symbol, order.order_id)
        except Refused as error:
            log.info("order cannot be asked for", order_id=order.order_id, error=str(error))
            return
        if ended is not None and not ended.status.is_open:
            self._teller.tell_orders([ended], at_ms)

    def _holdings(self) -> None:
        balances, positions = self._venue.balances(), self._venue.positions()
        self._teller.tell_snapshot(
            SnapshotBooking(
                account=self._watched().account,
                at_ms=self._now_ms(),
                balances={
                    asset: BalanceSnapshot(available=each.available, locked=each.locked)
                    for asset, each in balances.items()
                },
                positions={
                    each.symbol: PositionSnapshot(
                        net_quantity=each.net_quantity,
                        entry_price=each.entry_price,
                        mark_price=each.mark_price,
                    )
                    for each in positions
                },
            )
        )


def _differs(order: OpenOrder, known: OrderRecord | None) -> bool:
    return known is None or (known.status, known.executed) != (order.status, order.executed_quantity)
