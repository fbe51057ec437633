"""What several starts of one command ask alike, looked at once for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from types import TracebackType
from typing import TypeVar, cast

from runner.lost_state import LastRuns
from settings import Settings

#: So long an answer stands for those that start after the one that asked.
FRESH_S = 5.0

T = TypeVar("T")


class Looks:
    """Remembers answers for a few seconds or more, and keeps the ledger open. For one command and one thread.

    A thousand starts are then some hundred requests: an account allows two thousand in a minute.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is asked yet."""
        self.last_runs = LastRuns(settings)
        self._clock = clock
        self._seen: dict[Hashable, tuple[float, object]] = {}

    def __enter__(self) -> Looks:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.last_runs.close()

    def once(self, what: Hashable, look: Callable[[], T], *, fresh_s: float = FRESH_S) -> T:
        """Return what `look` answers, or has answered `fresh_s` ago at most. Raises what it raises."""
        now_s, seen = self._clock(), self._seen.get(what)
        if seen is not None and now_s - seen[0] <= fresh_s:
            return cast("T", seen[1])
        answer = look()
        # As of before the question: what happened since may not be in it.
        self._seen[what] = (now_s, answer)
        return answer
