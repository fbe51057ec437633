"""The cleanup's lease on a real server: claims, its own authorisation, and how it ends."""

from __future__ import annotations

import json

import pytest
import redis

from market.orders import Role
from state import keys
from state.events import Events
from state.instances import Instances, Phase, Record, StopPolicy
from state.leases import AuthorizationRefused, CleanupLease, Granted, Lease, LeaseLost, Leases, Refusal
from tests.store_clock import START_MS, StoreClock

NAME = "mm_01"
LEASE_MS = 2_000
CLEANUP_LEASE_MS = 3_000
GRACE_MS = 500
WINDOW_MS = 5_000
MARGIN_MS = 1_000
ATTEMPTS = 3


class Bench:
    """An instance that was told to stop, at will with an iteration in flight."""

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self.clock = StoreClock(client)
        self.instances = Instances(client, self.clock.scripts)
        self.events = Events(client)
        self.leases = Leases(
            client,
            self.clock.scripts,
            lease_ms=LEASE_MS,
            cleanup_lease_ms=CLEANUP_LEASE_MS,
            grace_ms=GRACE_MS,
            fence_margin_ms=MARGIN_MS,
        )
        self.instances.start(NAME, config_version="v1", config_json="{}", slot=7, account="acc", by="test")

    @property
    def record(self) -> Record:
        """Return the instance's record."""
        record = self.instances.read(NAME)
        assert record is not None
        return record

    def due_score(self) -> int | None:
        """Return when a sweep has to look at the instance."""
        score = self.client.zscore(keys.DUE, NAME)
        return None if score is None else int(score)

    def iteration(self) -> Lease:
        """Put an iteration in flight."""
        claimed = self.leases.claim(NAME, epoch=1, tick=0, task_id="its-task")
        assert isinstance(claimed, Lease)
        return claimed

    def authorize(self, lease: Lease) -> int:
        """Authorise an order of the iteration; return the fence that it needs."""
        granted = self.leases.authorize(lease, window_ms=WINDOW_MS, orders=[(0, Role.QUOTE)])
        return granted.at_ms + WINDOW_MS + MARGIN_MS

    def commit(self, lease: Lease, *, resolved: bool = True) -> None:
        """End the iteration."""
        self.leases.commit(lease, resolved=resolved, state_json="", interval_ms=1, next_task_id="n")

    def stop(self, policy: StopPolicy | None = None) -> None:
        """Close the gate."""
        self.instances.request_stop(NAME, by="test", reason="test", policy=policy or StopPolicy())

    def claim(self) -> CleanupLease:
        """Take the cleanup lease."""
        claimed = self.leases.claim_cleanup(NAME, epoch=1, by="test")
        assert isinstance(claimed, CleanupLease), claimed
        return claimed

    def close(self, lease: CleanupLease) -> Granted:
        """Authorise an order that closes the position."""
        return self.leases.authorize_cleanup(lease, window_ms=WINDOW_MS, orders=[(0, Role.CLEANUP)])

    def finish(self, lease: CleanupLease, *, clean: bool) -> str:
        """End the attempt."""
        return self.leases.finish(
            lease,
            clean=clean,
            outcome_json='{"told":1}',
            retry_after_ms=700,
            attempts_until_failed=ATTEMPTS,
        )


@pytest.fixture
def bench(redis_client: redis.Redis) -> Bench:
    """A running instance."""
    return Bench(redis_client)


def test_a_running_or_stopped_instance_is_not_cleaned_up(bench: Bench) -> None:
    refused = Refusal(reason="stale", detail="phase")
    assert bench.leases.claim_cleanup(NAME, epoch=1, by="test") == refused
    bench.stop()
    bench.finish(bench.claim(), clean=True)
    assert bench.leases.claim_cleanup(NAME, epoch=1, by="test") == refused


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_cleanup_of_another_run_is_stale(bench: Bench, epoch: int) -> None:
    bench.stop()
    refused = Refusal(reason="stale", detail="epoch")
    assert bench.leases.claim_cleanup(NAME, epoch=epoch, by="test") == refused


def test_a_claim_hands_over_policy_slot_and_the_number_of_the_attempt(bench: Bench) -> None:
    policy = StopPolicy(cancel_orders=True, close_position=True)
    bench.stop(policy)
    first = bench.claim()
    assert (first.policy, first.slot, first.account, first.attempt) == (policy, 7, "acc", 1)
    bench.finish(first, clean=False)
    assert bench.claim().attempt == 2


def test_one_cleanup_at_a_time_until_its_lease_is_over(bench: Bench) -> None:
    bench.stop()
    first = bench.claim()
    bench.clock.advance(CLEANUP_LEASE_MS - 1)
    assert bench.leases.claim_cleanup(NAME, epoch=1, by="other") == Refusal(reason="busy")
    bench.clock.advance(1)
    bench.claim()
    with pytest.raises(LeaseLost):
        bench.leases.renew_cleanup(first)
    with pytest.raises(AuthorizationRefused, match="token"):
        bench.close(first)
    with pytest.raises(LeaseLost):
        bench.finish(first, clean=True)


def test_a_renewal_prolongs_the_lease(bench: Bench) -> None:
    bench.stop()
    lease = bench.claim()
    for _ in range(3):
        bench.clock.advance(CLEANUP_LEASE_MS - 1)
        bench.leases.renew_cleanup(lease)
    assert bench.leases.claim_cleanup(NAME, epoch=1, by="other") == Refusal(reason="busy")
    assert bench.due_score() == bench.clock.now_ms + CLEANUP_LEASE_MS + GRACE_MS


def test_a_lease_that_is_over_stays_lost_even_if_nobody_took_it(bench: Bench) -> None:
    bench.stop()
    lease = bench.claim()
    bench.clock.advance(CLEANUP_LEASE_MS)
    with pytest.raises(LeaseLost):
        bench.leases.renew_cleanup(lease)
    with pytest.raises(AuthorizationRefused, match="lease over"):
        bench.close(lease)
    with pytest.raises(LeaseLost):
        bench.finish(lease, clean=False)


def test_a_renewal_tells_what_is_in_flight(bench: Bench) -> None:
    iteration = bench.iteration()
    fence_ms = bench.authorize(iteration)
    bench.stop()
    lease = bench.claim()
    in_flight = bench.leases.renew_cleanup(lease)
    assert (in_flight.lease_until_ms, in_flight.running_task_id) == (START_MS + LEASE_MS, "its-task")
    assert (in_flight.fence_ms, in_flight.now_ms) == (fence_ms, START_MS)
    bench.commit(iteration)
    in_flight = bench.leases.renew_cleanup(lease)
    assert (in_flight.lease_until_ms, in_flight.fence_ms) == (0, 0)


def test_an_iteration_whose_lease_is_over_is_not_waited_for_but_its_fence_is(bench: Bench) -> None:
    fence_ms = bench.authorize(bench.iteration())
    bench.stop()
    lease = bench.claim()
    bench.clock.advance(LEASE_MS)
    in_flight = bench.leases.renew_cleanup(lease)
    assert (in_flight.lease_until_ms, in_flight.fence_ms) == (0, fence_ms)


def test_nothing_is_closed_while_an_iteration_is_in_flight(bench: Bench) -> None:
    iteration = bench.iteration()
    bench.stop()
    lease = bench.claim()
    with pytest.raises(AuthorizationRefused, match="in flight"):
        bench.close(lease)
    bench.commit(iteration)
    bench.close(lease)


def test_a_closing_order_moves_the_fence_and_its_answer_moves_it_back(bench: Bench) -> None:
    bench.stop()
    lease = bench.claim()
    bench.clock.advance(10)
    granted = bench.close(lease)
    bench.clock.advance(10)
    bench.close(lease)
    assert granted.at_ms == START_MS + 10
    assert bench.record.fence_ms == START_MS + 20 + WINDOW_MS + MARGIN_MS
    assert bench.leases.renew_cleanup(lease).fence_ms == START_MS + 20 + WINDOW_MS + MARGIN_MS
    assert bench.leases.renew_cleanup(lease, settled=True).fence_ms == 0
    assert bench.record.fence_ms == 0


def test_a_closing_order_never_shortens_the_fence_of_the_run(bench: Bench) -> None:
    iteration = bench.iteration()
    fence_ms = bench.authorize(iteration)
    bench.commit(iteration, resolved=False)
    bench.stop()
    lease = bench.claim()
    bench.leases.authorize_cleanup(lease, window_ms=1, orders=[(0, Role.CLEANUP)])
    assert bench.record.fence_ms == fence_ms
    assert bench.leases.renew_cleanup(lease, settled=True).fence_ms == fence_ms


def test_a_closing_order_without_an_answer_is_waited_for_by_the_next_attempt(bench: Bench) -> None:
    bench.stop()
    first = bench.claim()
    fence_ms = bench.close(first).at_ms + WINDOW_MS + MARGIN_MS
    bench.clock.advance(CLEANUP_LEASE_MS)
    second = bench.claim()
    assert bench.leases.renew_cleanup(second, settled=True).fence_ms == fence_ms


def test_a_commit_that_comes_after_its_lease_was_over_leaves_the_fence_of_a_closing_order(
    bench: Bench,
) -> None:
    iteration = bench.iteration()
    bench.authorize(iteration)
    bench.stop()
    bench.clock.advance(LEASE_MS)
    lease = bench.claim()
    fence_ms = bench.close(lease).at_ms + WINDOW_MS + MARGIN_MS
    bench.commit(iteration)
    assert bench.leases.renew_cleanup(lease).fence_ms == fence_ms
    assert bench.finish(lease, clean=True) == "early"


def test_nothing_is_called_clean_while_an_iteration_is_in_flight(bench: Bench) -> None:
    bench.iteration()
    bench.stop()
    assert bench.finish(bench.claim(), clean=True) == "early"
    assert bench.record.phase is Phase.STOPPING


def test_nothing_is_called_clean_before_the_fence(bench: Bench) -> None:
    iteration = bench.iteration()
    fence_ms = bench.authorize(iteration)
    bench.commit(iteration, resolved=False)
    bench.stop()
    bench.clock.advance(fence_ms - START_MS - 1)
    lease = bench.claim()
    assert bench.finish(lease, clean=True) == "early"
    bench.clock.advance(1)
    assert bench.finish(lease, clean=True) == "stopped"


def test_a_clean_end_leaves_nothing_to_do_and_nobody_with_permission(bench: Bench) -> None:
    bench.stop()
    lease = bench.claim()
    assert bench.finish(lease, clean=True) == "stopped"
    assert (bench.record.phase, bench.record.outcome) == (Phase.STOPPED, '{"told":1}')
    assert bench.due_score() is None
    assert not bench.client.exists(keys.stop(NAME))
    with pytest.raises(LeaseLost):
        bench.finish(lease, clean=True)


def test_an_unclean_end_is_tried_again_and_from_the_given_attempt_on_called_failed(bench: Bench) -> None:
    bench.stop()
    results = []
    for _ in range(ATTEMPTS + 1):
        lease = bench.claim()
        bench.clock.advance(100)
        results.append(bench.finish(lease, clean=False))
        assert bench.due_score() == bench.clock.now_ms + 700
    assert results == ["retry", "retry", "failed", "failed"]
    assert bench.record.phase is Phase.FAILED
    assert bench.client.exists(keys.stop(NAME))


def test_a_failed_instance_can_still_end_clean(bench: Bench) -> None:
    bench.stop()
    for _ in range(ATTEMPTS):
        bench.finish(bench.claim(), clean=False)
    assert bench.finish(bench.claim(), clean=True) == "stopped"


def test_every_step_of_a_stop_is_in_the_events(bench: Bench) -> None:
    bench.stop()
    lease = bench.claim()
    bench.events.cleanup_step(NAME, epoch=1, at_ms=START_MS, step="looked")
    bench.finish(lease, clean=True)
    events = bench.events.of_instance(NAME)
    assert [event.event for event in events] == [
        "started",
        "stop_requested",
        "cleanup_claimed",
        "cleanup_step",
        "finished",
    ]
    assert {event.epoch for event in events} == {1}
    assert json.loads(events[-1].fields["outcome"]) == {"told": 1}
