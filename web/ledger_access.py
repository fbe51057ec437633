"""The ledger for many requests: opened once, brought up to date now and then."""

from __future__ import annotations

import threading
import time

import structlog

from feed.bookkeeper import catch_up, require_its_ledger
from ledger.database import Ledger, open_ledger
from runner.context import Context
from settings import Settings
from state.bookings import BookingQueue
from state.connection import AWAY

log = structlog.get_logger(__name__)

#: What waits in the state server is carried over at most so often; a feed does it all the time.
CATCH_UP_EVERY_S = 2.0


class LedgerAccess:
    """Opens the ledger on first use. Safe to use from many threads."""

    def __init__(self, settings: Settings, context: Context) -> None:
        self._url = settings.ledger_url
        self._context = context
        self._lock = threading.Lock()
        self._ledger: Ledger | None = None
        self._caught_up_s = 0.0
        #: False: the state server did not answer, and what waits there is missing.
        self.up_to_date = False

    def open(self, *, fresh: bool = False) -> Ledger:
        """Return the ledger; `fresh` with everything in it that waits just now.

        Raises `LedgerError`, also where bookings go to another one.
        """
        with self._lock:
            if self._ledger is None:
                self._ledger = open_ledger(self._url)
            if fresh or time.monotonic() - self._caught_up_s > CATCH_UP_EVERY_S:
                self._catch_up(self._ledger)
                self._caught_up_s = time.monotonic()
            return self._ledger

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            if self._ledger is not None:
                self._ledger.close()
            self._ledger = None

    def _catch_up(self, ledger: Ledger) -> None:
        queue = BookingQueue(self._context.client)
        try:
            require_its_ledger(queue, ledger)
            catch_up(queue, self._context.events, ledger)
            self.up_to_date = True
        except AWAY as error:
            log.warning("state server away, the ledger may lack what waits there", error=str(error))
            self.up_to_date = False
