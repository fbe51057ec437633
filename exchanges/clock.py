"""The exchange's clock, estimated so that the estimate is never later than the truth.

Why early and never late: the exchange accepts a request until `timestamp + window` of its own clock, and a
cleanup trusts that nothing authorised at `t` is accepted after `fence = t + window + margin`. A request that
is signed with a time later than its authorisation would be accepted after the fence, that is, after a stop
was reported clean. A request signed too early only loses a little of its window.

Three errors are therefore all taken on the early side:

- The reply to `/time` has travelled: its time is taken as of the moment the reply *arrived*, when the
  exchange's clock already showed more.
- Both clocks tick at slightly different rates: every second since the measurement takes off
  `MAX_DRIFT_MS_PER_S`.
- Times in whole milliseconds are cut off: the reading of the state server's clock is taken as 1 ms older.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from exchanges.errors import RateLimited, Unavailable

logger = logging.getLogger(__name__)

#: A measurement older than this is replaced at the next use.
REFRESH_S = 60.0
#: When no new measurement can be had, an older one serves until this age: a cancel must not fail for it.
MAX_AGE_S = 600.0
#: Linux slews a clock by at most 500 parts in a million; that is half a millisecond a second.
MAX_DRIFT_MS_PER_S = 0.5


@dataclass(frozen=True, kw_only=True)
class StoreClockReading:
    """The state server's clock beside our own monotonic clock."""

    #: What the state server said, ms since the epoch.
    store_ms: int
    #: The monotonic clock read just *before* the call that returned `store_ms`, s.
    monotonic_s: float


@dataclass(frozen=True, kw_only=True)
class _Measurement:
    exchange_ms: int
    #: When the reply arrived.
    monotonic_s: float

    def at_ms(self, monotonic_s: float) -> int:
        age_s = monotonic_s - self.monotonic_s
        return math.floor(self.exchange_ms + age_s * 1000 - abs(age_s) * MAX_DRIFT_MS_PER_S)


class ExchangeClock:
    """Tells the exchange's time without asking each time. May be used by several threads.

    `read_exchange_ms` asks the exchange (one request); `monotonic` is a clock in seconds that never jumps.
    """

    def __init__(
        self, read_exchange_ms: Callable[[], int], *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._read_exchange_ms = read_exchange_ms
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._measurement: _Measurement | None = None
        self._stale = True

    def now_ms(self) -> int:
        """Return the exchange's time, ms since the epoch: at most the truth, early by a round trip at worst.

        Asks the exchange when the last measurement is over `REFRESH_S` old.

        Raises:
            exchanges.errors.Unavailable: there is no usable measurement and none can be had.
            exchanges.errors.RateLimited: likewise, because the budget is used up.
        """
        return self._current().at_ms(self._monotonic())

    def known_ms(self) -> int | None:
        """Return the exchange's time as `now_ms` does, but ask nobody and wait for nobody.

        None: nothing is known that was measured within `MAX_AGE_S`.
        """
        known, now_s = self._measurement, self._monotonic()
        return None if known is None or now_s - known.monotonic_s > MAX_AGE_S else known.at_ms(now_s)

    def signing_time_ms(self, authorised_at_ms: int, store_clock: StoreClockReading) -> int:
        """Return, by the exchange's clock, the moment that the state server's clock calls `authorised_at_ms`.

        A placement must be signed with the time at which it was authorised, and never with a later one: it
        would still be acceptable after the fence, when a cleanup has already told that nothing can come any
        more. So every error goes to the early side: `store_clock.monotonic_s` was read before the state
        server read its own clock, `at_ms` is never later than the exchange's truth, and 1 ms goes off because
        the state server cuts its time to whole milliseconds. It is never later than the exchange's present
        either: the state server's clock may be stepped, or this machine may sleep, between the reading and
        the authorisation.

        Raises:
            exchanges.errors.Unavailable: the exchange's clock cannot be measured: do not place.
        """
        measurement = self._current()
        before_s = (store_clock.store_ms + 1 - authorised_at_ms) / 1000
        drift_ms = math.ceil(abs(before_s) * MAX_DRIFT_MS_PER_S)
        authorised_ms = measurement.at_ms(store_clock.monotonic_s - before_s) - drift_ms
        return min(authorised_ms, measurement.at_ms(self._monotonic()))

    def invalidate(self) -> None:
        """Measure again before the next use, for example after the exchange called a request expired."""
        self._stale = True

    def _current(self) -> _Measurement:
        with self._lock:
            known = self._measurement
            age_s = math.inf if known is None else self._monotonic() - known.monotonic_s
            if known is not None and not self._stale and age_s <= REFRESH_S:
                return known
            try:
                self._measurement = self._measure()
            except (Unavailable, RateLimited) as error:
                if known is None or age_s > MAX_AGE_S:
                    raise
                logger.warning("exchange clock not measured, going on with one %.0f s old: %s", age_s, error)
                return known
            self._stale = False
            return self._measurement

    def _measure(self) -> _Measurement:
        # However long the trip took: the estimate is early by less than that, and a stop must end on a slow
        # exchange too. What is signed too early for its window is refused, and that measures again.
        exchange_ms = self._read_exchange_ms()
        return _Measurement(exchange_ms=exchange_ms, monotonic_s=self._monotonic())
