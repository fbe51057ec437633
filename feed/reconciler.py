"""Ask the exchange, after every reconnect and every minute, for all that a stream may have left out."""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis
import structlog

from exchanges.errors import ExchangeError
from exchanges.registry import Venue
from feed.backoff import Backoff
from feed.telling import Teller
from feed.watched import WatchedAccount
from ledger.bookings import BalanceSnapshot, PositionSnapshot, SnapshotBooking
from ledger.errors import LedgerError
from ledger.queries import OrderRecord
from state.feeds import Feeds

log = structlog.get_logger(__name__)

PERIOD_S = 60.0
#: Without a stream that asks for the first one.
FIRST_S = 5.0
#: Histories are read again from this long before where they were read to: they are not written in order.
OVERLAP_MS = 120_000
#: An order that is not on the list is asked for only when it is older: lists lag.
LIST_LAG_MS = 15_000
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
    ) -> None:
        self._watched = watched
        self._venue = venue
        self._feeds = feeds
        self._teller = teller
        self._believed_open = believed_open
        #: The state server's clock.
        self._now_ms = now_ms
        self._ended = threading.Event()
        self._asked = threading.Event()
        self._backoff = Backoff(first_s=0.5, longest_s=10.0)
        self._thread = threading.Thread(target=self._run, name="reconcile", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

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
            except (ExchangeError, redis.RedisError) as error:
                wait_s = self._backoff.next_s()
                log.warning("not reconciled", account=self._watched().account, error=str(error))
            else:
                self._backoff.reset()
                wait_s = PERIOD_S

    def reconcile(self) -> int:
        """Tell every fill, order, payment and holding that was not told; return how many fills were new.

        Raises `ExchangeError`, `redis.RedisError`; what was told until then is told.
        """
        for symbol in sorted(self._watched().symbols | self._teller.unknown_symbols()):
            self._teller.learn(self._venue.instrument(symbol))
        new = self._fills()
        self._funding()
        self._orders()
        self._holdings()
        return new

    def _fills(self) -> int:
        account = self._watched().account
        began_ms = self._venue.clock.now_ms()
        fills = self._venue.account_fills(since_ms=self._since_ms("fills"))
        new = self._teller.tell_fills(fills, "rest")
        for symbol in sorted(self._teller.unknown_symbols()):
            self._teller.learn(self._venue.instrument(symbol))
        # Only now: what was read is told.
        self._feeds.move_cursor(account, "fills", began_ms)
        log.info("reconciled", account=account, fills=len(fills), new=new)
        return new

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
        began_ms = self._venue.clock.now_ms()
        listed = self._venue.account_open_orders()
        self._teller.tell_orders(listed, began_ms)
        on_list = {order.order_id for order in listed}
        try:
            believed = self._believed_open()
        except LedgerError as error:
            log.info("open orders of the ledger not compared", error=str(error))
            return
        lost = [
            order
            for order in believed
            if order.order_id not in on_list and order.updated_at_ms < began_ms - LIST_LAG_MS
        ]
        for order in lost[:MOST_ASKED]:
            if self._ended.is_set():
                return
            ended = self._venue.find_ended(order.symbol, order.order_id)
            if ended is not None and not ended.status.is_open:
                self._teller.tell_orders([ended], began_ms)

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
