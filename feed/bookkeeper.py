"""Carry what waits in Redis into the ledger: bookings from the queue, lifecycle events from their stream."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass

import redis
import structlog

from ledger.bookings import Booking, EventBooking, from_json
from ledger.database import Ledger
from ledger.errors import LedgerError
from ledger.folded_days import extend
from ledger.retention import PruneResult, prune
from state.bookings import BookingQueue, Waiting
from state.events import Event, Events
from wording import said

log = structlog.get_logger(__name__)

#: Bookings of one transaction.
BATCH = 500
#: Name of the ledger's cursor in the stream of events.
EVENTS_CURSOR = "events"
#: Longest wait for something new: short, so that the process can end.
WAIT_S = 0.25
#: From the first booking on, others are waited for.
COLLECT_S = 0.05
#: How often old rows are folded.
PRUNE_EVERY_MS = 86_400_000
LOOK_AT_AGE_S = 600.0
PRUNED_CURSOR = "pruned_at_ms"
#: How often what has come since is folded, so that who asks for profit need not.
FOLD_EVERY_S = 600.0
#: Younger fills are left: what comes late, or whose owner does, has mostly come by then.
SETTLED_MS = 600_000
DAY_MS = 86_400_000
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
            said(
                "bookings of this state server go to ledger {registered}, and {shown_url} is ledger "
                "{ledger_id}; set CLEANBOOK_LEDGER_URL to the former, or where that one is gone for good, "
                "take this one: manage.py feed --new-ledger",
                registered=registered,
                shown_url=ledger.shown_url,
                ledger_id=ledger.ledger_id,
            )
        )


def catch_up(queue: BookingQueue, events: Events, ledger: Ledger) -> int:
    """Book everything that waits; return how many bookings and events that were.

    Any number of processes may do so at once. Raises `LedgerError`, `redis.RedisError`.
    """
    taken = 0
    while batch := queue.oldest(BATCH):
        bookings, unreadable = _sorted(batch)
        ledger.book(bookings)
        if unreadable:
            ledger.put_aside(unreadable)
        # Only now: who dies before has it booked again, which changes nothing.
        queue.done(batch)
        taken += len(batch)
    while entries := events.read(ledger.cursor(EVENTS_CURSOR) or "0-0", count=BATCH):
        ledger.book([_booking(entry) for entry in entries], cursors={EVENTS_CURSOR: entries[-1].stream_id})
        taken += len(entries)
    return taken


def _sorted(batch: Sequence[Waiting]) -> tuple[list[Booking], list[tuple[str, str]]]:
    """Return what can be read, and what cannot with the reason: a newer version's, perhaps."""
    bookings: list[Booking] = []
    unreadable = []
    for entry in batch:
        try:
            bookings.append(from_json(entry.text))
        except ValueError as error:
            log.error("booking cannot be read, put aside", stream_id=entry.stream_id, error=str(error)[:500])
            unreadable.append((entry.text, str(error)[:500]))
    return bookings, unreadable


def _booking(event: Event) -> EventBooking:
    return EventBooking(
        account=event.fields.get("account", ""),
        instance_id=event.instance_id,
        epoch=event.epoch,
        stream_id=event.stream_id,
        event=event.event,
        at_ms=event.at_ms,
        fields=event.details,
    )


@dataclass(frozen=True, kw_only=True)
class Retention:
    """How long the ledger keeps what it is told."""

    #: Orders, fills, payments: folded into sums afterwards.
    days: int
    #: Events, balances, positions: dropped afterwards.
    details_days: int


def prune_once_a_day(ledger: Ledger, retention: Retention, *, now_ms: int) -> PruneResult | None:
    """Fold what is old, unless that was done within a day; then None. Raises `LedgerError`."""
    if now_ms - int(ledger.cursor(PRUNED_CURSOR) or 0) < PRUNE_EVERY_MS:
        return None
    result = prune(
        ledger,
        before_ms=now_ms - retention.days * DAY_MS,
        details_before_ms=now_ms - retention.details_days * DAY_MS,
    )
    ledger.book([], cursors={PRUNED_CURSOR: str(now_ms)})
    return result


class Bookkeeper:
    """A thread that keeps the ledger up to date. A database that is away is waited for."""

    def __init__(
        self,
        open_ledger: Callable[[], Ledger],
        client: redis.Redis,
        *,
        retention: Retention,
        replace: bool = False,
    ) -> None:
        self._client = client
        self._retention = retention
        self._open_ledger = open_ledger
        self._queue = BookingQueue(client)
        self._events = Events(client)
        self._replace = replace
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bookkeeper", daemon=True)
        #: None while the database has not been opened yet.
        self.ledger: Ledger | None = None
        self._look_at_age_s = 0.0
        self._fold_again_s = 0.0
        self._folding: Iterator[object] = iter(())
        #: What is wrong, empty when nothing is.
        self._trouble = ""

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
                if self._trouble:
                    log.info("ledger works again", waiting=self._queue.length())
                self._trouble, pause_s = "", FIRST_PAUSE_S
            except Exception as error:  # noqa: BLE001 - the thread's boundary: its death would not be noticed
                self._note_trouble(error)
                self._ended.wait(pause_s)
                pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
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
        # Each time: another one may have taken its place since.
        require_its_ledger(self._queue, self.ledger)
        if catch_up(self._queue, self._events, self.ledger) == 0:
            self._prune(self.ledger)
            if self._fold_some(self.ledger):
                return  # what came meanwhile is booked before more is folded
            self._queue.wait(self.ledger.cursor(EVENTS_CURSOR) or "0-0", timeout_s=WAIT_S)
            # A transaction for what comes together, instead of one for each.
            self._ended.wait(COLLECT_S)

    def _prune(self, ledger: Ledger) -> None:
        if time.monotonic() < self._look_at_age_s:
            return
        self._look_at_age_s = time.monotonic() + LOOK_AT_AGE_S
        seconds, _ = self._client.time()
        pruned = prune_once_a_day(ledger, self._retention, now_ms=seconds * 1000)
        if pruned is not None:
            log.info("ledger pruned", **asdict(pruned))

    def _fold_some(self, ledger: Ledger) -> bool:
        """Fold some thousand fills; tell whether there were any."""
        if time.monotonic() >= self._fold_again_s:
            self._fold_again_s = time.monotonic() + FOLD_EVERY_S
            seconds, _ = self._client.time()
            self._folding = extend(ledger, before_ms=seconds * 1000 - SETTLED_MS)
        return next(self._folding, None) is not None

    def _note_trouble(self, error: Exception) -> None:
        trouble = f"{type(error).__name__}: {error}"
        if trouble != self._trouble:  # one line for an outage, not one for each try
            expected = isinstance(error, (LedgerError, redis.RedisError))
            log.warning("ledger does not book, bookings wait", error=trouble, exc_info=not expected)
        self._trouble = trouble
