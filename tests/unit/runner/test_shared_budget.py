"""How requests of one account share its budget."""

from __future__ import annotations

import pytest
import redis

from exchanges.budget import CleanupBudget, RequestKind
from exchanges.errors import RateLimited
from exchanges.registry import VenueSettings
from runner.venues import PATIENCE_MS, SharedBudget
from settings import Settings
from state.budget import BudgetLimits, take
from state.scripts import Scripts
from tests.store_clock import StoreClock

#: One request in 20 ms.
LIMITS = BudgetLimits(per_minute=3_000, burst=10, reserved_for_cancels=4)


@pytest.fixture
def scripts(redis_client: redis.Redis) -> Scripts:
    # Its clock stands still, so that every wait is known.
    return StoreClock(redis_client).scripts


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return what is waited, s; nobody really does."""
    found: list[float] = []

    class Moment:
        def wait(self, seconds: float) -> None:
            found.append(seconds)

    monkeypatch.setattr("runner.venues.threading.Event", Moment)
    return found


def emptied(scripts: Scripts) -> SharedBudget:
    take(scripts, "account", LIMITS, count=LIMITS.burst, may_use_reserve=True)
    return SharedBudget(scripts, "account", LIMITS)


def test_a_cleanup_waits_for_its_turn_and_an_iteration_does_not(scripts: Scripts, waits: list[float]) -> None:
    budget = emptied(scripts)
    with pytest.raises(RateLimited) as refused:
        budget.take(RequestKind.CANCEL)
    assert refused.value.retry_after_s is not None
    assert waits == []
    for kind in (RequestKind.CANCEL, RequestKind.READ):
        CleanupBudget(budget).take(kind)
    assert waits == [0.02, 0.04]


def test_a_cleanup_does_not_wait_longer_than_its_lease_allows(scripts: Scripts, waits: list[float]) -> None:
    budget = emptied(scripts)
    too_many = PATIENCE_MS // 20 + 1
    with pytest.raises(RateLimited) as refused:
        budget.take_turn(RequestKind.CANCEL, too_many)
    assert (refused.value.retry_after_s or 0) * 1000 > PATIENCE_MS
    assert waits == []


def test_a_wait_for_a_turn_and_a_request_that_times_out_fit_into_the_lease_of_a_cleanup() -> None:
    longest_request_ms = (VenueSettings().connect_timeout_s + VenueSettings().read_timeout_s) * 1000
    assert PATIENCE_MS + longest_request_ms < Settings.cleanup_lease_ms
