"""The events of one instance from the ledger and then from Redis, without gap or duplicate."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import redis

from cli.language import tr
from cli.ledger_access import LedgerSession
from feed.bookkeeper import EVENTS_CURSOR, require_its_ledger
from ledger import queries
from ledger.queries import EventRecord
from state.bookings import BookingQueue
from state.events import Event

#: Longest wait for an event, shorter than the client's time-out.
BLOCK_MS = 1000
#: Pause between two tries while the state server does not answer.
RECONNECT_S = 0.5


class EventStream:
    """Reads old events first, new ones then."""

    def __init__(self, books: LedgerSession, instance_id: str) -> None:
        self._books = books
        self._instance_id = instance_id
        #: All up to here are in the ledger. Read before the ledger is asked for them: what is booked in
        #: between is in its answer and in the stream, and told apart by `_told`.
        self._position = books.ledger.cursor(EVENTS_CURSOR) or "0-0"
        self._told = (0, 0)

    def old(self, limit: int) -> Iterator[EventRecord]:
        """Yield the newest events that the ledger has, oldest first. Raises `LedgerError`."""
        for event in queries.events(self._books.ledger, self._instance_id, limit=limit):
            self._told = _place(event.stream_id)
            yield event

    def new(self, *, warn: Callable[[str], None]) -> Iterator[EventRecord]:
        """Yield what comes, for ever; a state server that is away is waited for. Raises `AnotherLedger`."""
        is_away, is_ours = False, self._books.up_to_date
        while True:
            try:
                if not is_ours:
                    require_its_ledger(BookingQueue(self._books.session.client), self._books.ledger)
                    is_ours = True
                found = self._books.session.events.read(self._position, block_ms=BLOCK_MS)
            except (redis.ConnectionError, redis.TimeoutError):
                if not is_away:
                    warn(tr("the state server does not answer; trying on"))
                is_away = True
                threading.Event().wait(RECONNECT_S)
                continue
            is_away = False
            for event in found:
                self._position = event.stream_id
                if event.instance_id == self._instance_id and _place(event.stream_id) > self._told:
                    yield _record(event)


def _place(stream_id: str) -> tuple[int, int]:
    first, _, second = stream_id.partition("-")
    return int(first), int(second or 0)


def _record(event: Event) -> EventRecord:
    return EventRecord(
        account=event.fields.get("account", ""),
        instance_id=event.instance_id,
        epoch=event.epoch,
        stream_id=event.stream_id,
        event=event.event,
        at_ms=event.at_ms,
        fields=event.details,
    )
