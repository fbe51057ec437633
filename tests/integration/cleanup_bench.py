"""What the tests of a cleanup share: a fast one, and venues that answer late or wrongly."""

from __future__ import annotations

import pytest

from runner import cleanup, cleanup_attempt
from settings import Settings

WINDOW_MS = 150
MARGIN_MS = 50
#: Long enough that a slow machine does not lose its lease or run out of time by accident.
SETTINGS = Settings(
    lease_ms=20_000, cleanup_lease_ms=20_000, fence_margin_ms=MARGIN_MS, cleanup_soft_limit_s=60.0
)


class CountingClock:
    """A clock for which each look at it takes a hundredth of a second, and nothing else any time."""

    def __init__(self) -> None:
        self._looks = 0

    def monotonic(self) -> float:
        """Return a later time than before, seconds."""
        self._looks += 1
        return self._looks / 100


def limit_by_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an attempt run out of time after a number of its own steps, however slow the machine is."""
    clock = CountingClock()
    monkeypatch.setattr(cleanup, "time", clock)
    monkeypatch.setattr(cleanup_attempt, "time", clock)
    monkeypatch.setattr(cleanup_attempt, "LONGEST_PAUSE_S", 0.001)


def let_only_attempts_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a stop fail by the number of its attempts alone, however long they take on a slow machine."""
    monkeypatch.setattr(cleanup, "FAILED_AFTER_MS", 3_600_000)
