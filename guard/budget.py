"""The guard's own request budget: it has to work when the shared one, in the state server, is gone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from exchanges.budget import RequestKind
from exchanges.errors import RateLimited

#: Backpack allows an account 2000 requests a minute; the fleet, if it lives, keeps to 1800 by default.
PER_SECOND = 10.0
AT_ONCE = 60.0


class OwnBudget:
    """A bucket of requests for one account. May be used by several threads."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._left = AT_ONCE
        self._at_s = monotonic()
        self._lock = threading.Lock()

    def take(self, kind: RequestKind, count: int = 1) -> None:
        """Take `count` requests of whatever kind. Raises `RateLimited` when there are none."""
        del kind
        with self._lock:
            now_s = self._monotonic()
            self._left = min(AT_ONCE, self._left + (now_s - self._at_s) * PER_SECOND)
            self._at_s = now_s
            if self._left < count:
                wait_s = (count - self._left) / PER_SECOND
                raise RateLimited("the guard's own request budget is used up", retry_after_s=wait_s)
            self._left -= count
