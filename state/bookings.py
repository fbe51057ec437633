"""The queue of bookings: what is told here reaches the ledger, however long its database is away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import redis

from state import keys

if TYPE_CHECKING:
    from redis.client import Pipeline

#: Bookings that wait at most, about 150 MB. Beyond, the oldest go: a full server would stop all trading, and
#: a feed finds lost fills in the exchange's history again.
MOST_WAITING = 200_000


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A booking in the queue."""

    stream_id: str
    #: JSON; empty where the entry is damaged.
    text: str


class BookingQueue:
    """Any number of writers; readers may take the same entry twice, for the ledger books it once."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def add(self, bookings: Sequence[str], pipeline: Pipeline | None = None) -> None:
        """Append bookings (JSON), in one step; to `pipeline` where one is given."""
        if not bookings:
            return
        pipe = self._client.pipeline(transaction=True) if pipeline is None else pipeline
        for text in bookings:
            pipe.xadd(keys.BOOKINGS, {"booking": text}, maxlen=MOST_WAITING, approximate=True)
        if pipeline is None:
            pipe.execute()

    def oldest(self, count: int) -> tuple[Waiting, ...]:
        """Return the oldest entries, at most `count`."""
        entries = cast("list[tuple[str, dict[str, str]]]", self._client.xrange(keys.BOOKINGS, count=count))
        return tuple(
            Waiting(stream_id=stream_id, text=fields.get("booking", "")) for stream_id, fields in entries
        )

    def done(self, entries: Sequence[Waiting]) -> None:
        """Take entries off the queue."""
        if entries:
            self._client.xdel(keys.BOOKINGS, *(entry.stream_id for entry in entries))

    def length(self) -> int:
        """Return how many wait."""
        return self._client.xlen(keys.BOOKINGS)

    def wait(self, after_event: str, *, timeout_s: float) -> None:
        """Return when a booking waits, or a lifecycle event stands behind `after_event`."""
        streams: dict[Any, Any] = {keys.BOOKINGS: "0-0", keys.EVENTS: after_event}
        self._client.xread(streams, count=1, block=int(timeout_s * 1000))

    def registered_ledger(self) -> str:
        """Return the id of the ledger that takes bookings here, empty before the first."""
        return str(self._client.get(keys.LEDGER) or "")

    def claim_ledger(self, ledger_id: str, *, replace: bool = False) -> str:
        """Register the ledger that takes bookings here, the first one to ask; return which one it is."""
        if replace:
            self._client.set(keys.LEDGER, ledger_id)
        else:
            self._client.set(keys.LEDGER, ledger_id, nx=True)
        return self.registered_ledger()
