"""Refused messages: counted each, told of now and then, so that a flood of them fills no disk."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping

import redis
import structlog

from state.refusals import count_refusals

log = structlog.get_logger(__name__)

#: The least time between two lines about the same reason.
QUIET_S = 10.0
#: How much of a message a line shows.
SHOWN_CHARACTERS = 160


class Refusals:
    """The refusals of one process. `note` does no I/O but for a log line: the event loop calls it."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._lock = threading.Lock()
        self._uncounted: Counter[str] = Counter()
        self._untold: Counter[str] = Counter()
        self._told_at_s: dict[str, float] = {}

    def note(self, reason: str, what: object) -> None:
        """Count a refused message under one of few reasons; `what` is shown, shortened."""
        with self._lock:
            self._uncounted[reason] += 1
            now_s = self._clock_s()
            if now_s - self._told_at_s.get(reason, -QUIET_S) < QUIET_S:
                self._untold[reason] += 1
                return
            self._told_at_s[reason] = now_s
            untold = self._untold.pop(reason, 0)
        log.warning("message refused", reason=reason, message=shortened(what), more_untold=untold)

    def flush(self, client: redis.Redis) -> None:
        """Add what was noted to the counters of the state server; a failure keeps it for the next time."""
        with self._lock:
            counts, self._uncounted = self._uncounted, Counter()
        if not counts:
            return
        try:
            count_refusals(client, counts)
        except redis.RedisError:
            self._keep(counts)
            raise

    def _keep(self, counts: Mapping[str, int]) -> None:
        with self._lock:
            self._uncounted.update(counts)


def shortened(what: object) -> str:
    """Return the beginning of a value as Python would write it; bytes and texts are cut before that."""
    if isinstance(what, str | bytes):
        what = what[:SHOWN_CHARACTERS]
    text = repr(what)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


#: This process's.
REFUSALS = Refusals()
