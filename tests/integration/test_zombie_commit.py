"""An iteration that slept beyond its lease changes nothing under the cleanup that went on without it."""

from __future__ import annotations

import pytest
import redis

from market.orders import Role
from state.cleanup_leases import CleanupLease, CleanupLeases
from state.instances import Instances
from state.leases import Lease, LeaseLost, Leases
from state.stop_policy import StopPolicy
from tests.store_clock import StoreClock

NAME = "mm_01"
LEASE_MS = 2_000
WINDOW_MS = 5_000


def test_its_commit_does_not_open_the_fence_of_the_cleanups_own_closing_order(
    redis_client: redis.Redis,
) -> None:
    # Given an iteration whose orders all got their answers, and that sleeps before it says so
    clock = StoreClock(redis_client)
    instances = Instances(redis_client, clock.scripts)
    leases = Leases(
        redis_client,
        clock.scripts,
        lease_ms=LEASE_MS,
        grace_ms=500,
        fence_margin_ms=1_000,
    )
    cleanup_leases = CleanupLeases(
        redis_client, clock.scripts, lease_ms=60_000, grace_ms=500, fence_margin_ms=1_000
    )
    instances.start(NAME, config_version="v", config_json="{}", slot=7, account="a", by="test")
    sleeper = leases.claim(NAME, epoch=1, tick=0, task_id="t")
    assert isinstance(sleeper, Lease)
    leases.authorize(sleeper, window_ms=WINDOW_MS, orders=[(0, Role.QUOTE)])
    # And a cleanup that waited for its lease and for its fence, and then sent an order of its own
    instances.request_stop(NAME, by="test", reason="", policy=StopPolicy(close_position=True))
    cleanup = cleanup_leases.claim(NAME, epoch=1, by="test")
    assert isinstance(cleanup, CleanupLease)
    clock.advance(WINDOW_MS + LEASE_MS)
    assert cleanup_leases.renew(cleanup).lease_until_ms == 0
    cleanup_leases.authorize(cleanup, window_ms=WINDOW_MS, orders=[(0, Role.CLEANUP)])
    fence_ms = cleanup_leases.renew(cleanup).fence_ms
    # When the sleeper wakes up
    with pytest.raises(LeaseLost):
        leases.commit(sleeper, resolved=True, state_json="", interval_ms=1_000, next_task_id="n")
    # Then the closing order, which has no answer yet, is still waited for
    assert cleanup_leases.renew(cleanup).fence_ms == fence_ms
