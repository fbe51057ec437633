"""Carry what waits in Redis into the ledger: bookings from the queue, lifecycle events from their stream."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import redis
import structlog

from ledger.bookings import Booking, EventBooking, from_json
from ledger.database import Ledger
from ledger.errors import LedgerError
from state.bookings import BookingQueue, Waiting
from state.events import Event, Events

log = structlog.get_logger(__name__)

#: Bookings of one transaction.
BATCH = 500
#: Name of the ledger's cursor in the stream of events.
EVENTS_CURSOR = "events"
#: Longest wait for something new: short, so that the process can end.
WAIT_S = 0.25
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0


class AnotherLedger(LedgerError):
    """Raised when bookings here belong to another ledger: splitting them between two would lose both."""


def require_its_ledger(queue: BookingQueue, ledger: Ledger, *, replace: bool = False) -> None:
    """Make `ledger` the one that takes bookings here, or raise `AnotherLedger` when there is another.

    `replace` puts it in the place of a ledger that is gone.
    """
    registered = queue.claim_ledger(ledger.ledger_id, replace=replace)
    if registered != ledger.ledger_id:
        raise AnotherLedger(
            f"bookings of this state server go to ledger {registered}, and {ledger.shown_url} is ledger "
            f"{ledger.ledger_id}; set CLEANBOOK_LEDGER_URL to the former, or where that one is gone for "
            "good, take this one: manage.py feed --new-ledger"
        )


def catch_up(queue: BookingQueue, events: Events, ledger: Ledger) -> int:
    """Book everything that waits; return how many bookings and events that were.

    Any number of processes may do so at once. Raises `LedgerError`, `redis.RedisError`.
    """
    taken = 0
    while batch := queue.oldest(BATCH):
        bookings = _readable(batch)
        ledger.book(bookings)
        # Only now: who dies before has it booked again, which changes nothing.
        queue.done(batch)
        taken += len(batch)
    while entries := events.read(ledger.cursor(EVENTS_CURSOR) or "0-0", count=BATCH):
        ledger.book([_booking(entry) for entry in entries], cursors={EVENTS_CURSOR: entries[-1].stream_id})
        taken += len(entries)
    return taken


def _readable(batch: Sequence[Waiting]) -> list[Booking]:
    bookings = []
    for entry in batch:
        try:
            bookings.append(from_json(entry.text))
        except ValueError as error:
            log.error("booking cannot be read, left out", stream_id=entry.stream_id, error=str(error)[:500])
    return bookings


def _booking(event: Event) -> EventBooking:
    known = {"event", "instance", "epoch", "at_ms"}
    return EventBooking(
        account=event.fields.get("account", ""),
        instance_id=event.instance_id,
        epoch=event.epoch,
        stream_id=event.stream_id,
        event=event.event,
        at_ms=event.at_ms,
        fields={name: text for name, text in event.fields.items() if name not in known},
    )


class Bookkeeper:
    """A thread that keeps the ledger up to date. A database that is away is waited for."""

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        client: redis.Redis,
        *,
        replace: bool = False,
    ) -> None:
        self._open_ledger = open_ledger
        self._queue = BookingQueue(client)
        self._events = Events(client)
        self._replace = replace
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bookkeeper", daemon=True)
        #: None while the database has not been opened yet.
        self.ledger: Ledger | None = None
        #: What is wrong, empty when nothing is.
        self.trouble = ""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end. What waits is booked by whoever comes next."""
        self._ended.set()

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended, at the latest for `timeout_s`."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._ended.is_set():
            try:
                self._work()
            except (LedgerError, redis.RedisError) as error:
                self._note_trouble(str(error))
                self._ended.wait(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            else:
                if self.trouble:
                    log.info("ledger works again", waiting=self._queue.length())
                self.trouble, pause_s = "", FIRST_PAUSE_S
        if self.ledger is not None:
            self.ledger.close()

    def _work(self) -> None:
        if self.ledger is None:
            ledger = self._open_ledger()
            try:
                require_its_ledger(self._queue, ledger, replace=self._replace)
            except BaseException:
                ledger.close()
                raise
            self.ledger = ledger
        if catch_up(self._queue, self._events, self.ledger) == 0:
            self._queue.wait(self.ledger.cursor(EVENTS_CURSOR) or "0-0", timeout_s=WAIT_S)

    def _note_trouble(self, trouble: str) -> None:
        if trouble != self.trouble:  # one line for an outage, not one for each try
            log.warning("ledger does not book, bookings wait", error=trouble)
        self.trouble = trouble
