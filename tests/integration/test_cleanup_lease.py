"""The cleanup's lease on a real server: claims, its own authorisation, and how it ends."""

from __future__ import annotations

import json

import pytest

from state import keys
from state.due import CleanUp
from state.leases import LeaseLost, Refusal
from state.permissions import AuthorizationRefused
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.integration.state_bench import (
    ATTEMPTS,
    CLEANUP_LEASE_MS,
    GRACE_MS,
    LEASE_MS,
    MARGIN_MS,
    NAME,
    RETRY_MS,
    WINDOW_MS,
    StateBench,
)
from tests.store_clock import START_MS


def test_a_running_or_stopped_instance_is_not_cleaned_up(bench: StateBench) -> None:
    refused = Refusal(reason="stale", detail="phase")
    assert bench.try_claim_cleanup() == refused
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=True)
    assert bench.try_claim_cleanup() == refused


@pytest.mark.parametrize("epoch", [0, 2])
def test_a_cleanup_of_another_run_is_stale(bench: StateBench, epoch: int) -> None:
    bench.stop()
    refused = Refusal(reason="stale", detail="epoch")
    assert bench.try_claim_cleanup(epoch=epoch) == refused


def test_a_claim_hands_over_policy_slot_and_the_number_of_the_attempt(bench: StateBench) -> None:
    policy = StopPolicy(cancel_orders=True, close_position=True)
    bench.stop(policy)
    first = bench.claim_cleanup()
    assert (first.policy, first.slot, first.account, first.attempt) == (policy, 7, "acc", 1)
    bench.finish(first, clean=False)
    assert bench.claim_cleanup().attempt == 2


def test_one_cleanup_at_a_time_until_its_lease_is_over(bench: StateBench) -> None:
    bench.stop()
    first = bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS - 1)
    assert bench.try_claim_cleanup() == Refusal(reason="busy")
    bench.clock.advance(1)
    bench.claim_cleanup()
    with pytest.raises(LeaseLost):
        bench.cleanup_leases.renew(first)
    with pytest.raises(AuthorizationRefused, match="token"):
        bench.close(first)
    with pytest.raises(LeaseLost):
        bench.finish(first, clean=True)


def test_a_renewal_prolongs_the_lease(bench: StateBench) -> None:
    bench.stop()
    lease = bench.claim_cleanup()
    for _ in range(3):
        bench.clock.advance(CLEANUP_LEASE_MS - 1)
        bench.cleanup_leases.renew(lease)
    assert bench.try_claim_cleanup() == Refusal(reason="busy")
    assert bench.due_score() == bench.clock.now_ms + CLEANUP_LEASE_MS + GRACE_MS


def test_a_lease_that_is_over_stays_lost_even_if_nobody_took_it(bench: StateBench) -> None:
    bench.stop()
    lease = bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS)
    with pytest.raises(LeaseLost):
        bench.cleanup_leases.renew(lease)
    with pytest.raises(AuthorizationRefused, match="lease over"):
        bench.close(lease)
    with pytest.raises(LeaseLost):
        bench.finish(lease, clean=False)


def test_a_renewal_tells_what_is_in_flight(bench: StateBench) -> None:
    iteration = bench.claim()
    fence_ms = bench.authorize(iteration)
    bench.stop()
    lease = bench.claim_cleanup()
    in_flight = bench.cleanup_leases.renew(lease)
    assert (in_flight.lease_until_ms, in_flight.running_task_id) == (START_MS + LEASE_MS, "its-task")
    assert (in_flight.fence_ms, in_flight.now_ms) == (fence_ms, START_MS)
    bench.commit(iteration)
    in_flight = bench.cleanup_leases.renew(lease)
    assert (in_flight.lease_until_ms, in_flight.fence_ms) == (0, 0)


def test_an_iteration_whose_lease_is_over_is_not_waited_for_but_its_fence_is(bench: StateBench) -> None:
    fence_ms = bench.authorize(bench.claim())
    bench.stop()
    lease = bench.claim_cleanup()
    bench.clock.advance(LEASE_MS)
    in_flight = bench.cleanup_leases.renew(lease)
    assert (in_flight.lease_until_ms, in_flight.fence_ms) == (0, fence_ms)


def test_nothing_is_closed_while_an_iteration_is_in_flight(bench: StateBench) -> None:
    iteration = bench.claim()
    bench.stop()
    lease = bench.claim_cleanup()
    with pytest.raises(AuthorizationRefused, match="in flight"):
        bench.close(lease)
    bench.commit(iteration)
    bench.close(lease)


def test_a_closing_order_moves_the_fence_and_its_answer_moves_it_back(bench: StateBench) -> None:
    bench.stop()
    lease = bench.claim_cleanup()
    bench.clock.advance(10)
    granted = bench.close(lease)
    bench.clock.advance(10)
    bench.close(lease)
    assert granted.at_ms == START_MS + 10
    assert bench.record.fence_ms == START_MS + 20 + WINDOW_MS + MARGIN_MS
    assert bench.cleanup_leases.renew(lease).fence_ms == START_MS + 20 + WINDOW_MS + MARGIN_MS
    assert bench.cleanup_leases.renew(lease, settled=True).fence_ms == 0
    assert bench.record.fence_ms == 0


def test_a_closing_order_never_shortens_the_fence_of_the_run(bench: StateBench) -> None:
    iteration = bench.claim()
    fence_ms = bench.authorize(iteration)
    bench.commit(iteration, resolved=False)
    bench.stop()
    lease = bench.claim_cleanup()
    bench.close(lease, window_ms=1)
    assert bench.record.fence_ms == fence_ms
    assert bench.cleanup_leases.renew(lease, settled=True).fence_ms == fence_ms


def test_a_closing_order_without_an_answer_is_waited_for_by_the_next_attempt(bench: StateBench) -> None:
    bench.stop()
    first = bench.claim_cleanup()
    fence_ms = bench.close(first).at_ms + WINDOW_MS + MARGIN_MS
    bench.clock.advance(CLEANUP_LEASE_MS)
    second = bench.claim_cleanup()
    assert bench.cleanup_leases.renew(second, settled=True).fence_ms == fence_ms


def test_a_commit_that_comes_after_its_lease_was_over_leaves_the_fence_of_a_closing_order(
    bench: StateBench,
) -> None:
    iteration = bench.claim()
    bench.authorize(iteration)
    bench.stop()
    bench.clock.advance(LEASE_MS)
    lease = bench.claim_cleanup()
    fence_ms = bench.close(lease).at_ms + WINDOW_MS + MARGIN_MS
    bench.commit(iteration)
    assert bench.cleanup_leases.renew(lease).fence_ms == fence_ms
    assert bench.finish(lease, clean=True) == "early"


def test_nothing_is_called_clean_while_an_iteration_is_in_flight(bench: StateBench) -> None:
    bench.claim()
    bench.stop()
    assert bench.finish(bench.claim_cleanup(), clean=True) == "early"
    assert bench.record.phase is Phase.STOPPING


def test_nothing_is_called_clean_before_the_fence(bench: StateBench) -> None:
    iteration = bench.claim()
    fence_ms = bench.authorize(iteration)
    bench.commit(iteration, resolved=False)
    bench.stop()
    bench.clock.advance(fence_ms - START_MS - 1)
    lease = bench.claim_cleanup()
    assert bench.finish(lease, clean=True) == "early"
    bench.clock.advance(1)
    assert bench.finish(lease, clean=True) == "stopped"


def test_a_clean_end_leaves_nothing_to_do_and_nobody_with_permission(bench: StateBench) -> None:
    bench.stop()
    lease = bench.claim_cleanup()
    assert bench.finish(lease, clean=True) == "stopped"
    assert (bench.record.phase, bench.record.outcome) == (Phase.STOPPED, '{"told":1}')
    assert bench.due_score() is None
    assert not bench.client.exists(keys.stop(NAME))
    with pytest.raises(LeaseLost):
        bench.finish(lease, clean=True)


def test_an_unclean_end_is_tried_again_and_from_the_given_attempt_on_called_failed(bench: StateBench) -> None:
    bench.stop()
    results = []
    for _ in range(ATTEMPTS + 1):
        lease = bench.claim_cleanup()
        bench.clock.advance(100)
        results.append(bench.finish(lease, clean=False))
        assert bench.due_score() == bench.clock.now_ms + RETRY_MS
    assert results == ["retry", "retry", "failed", "failed"]
    assert bench.record.phase is Phase.FAILED
    assert bench.client.exists(keys.stop(NAME))


def test_a_failed_instance_stays_failed_until_it_is_clean(bench: StateBench) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
    assert bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=100) == "failed"
    assert bench.record.phase is Phase.FAILED


def test_a_failed_instance_can_still_end_clean(bench: StateBench) -> None:
    bench.stop()
    for _ in range(ATTEMPTS):
        bench.finish(bench.claim_cleanup(), clean=False)
    assert bench.finish(bench.claim_cleanup(), clean=True) == "stopped"


def test_every_step_of_a_stop_is_in_the_events(bench: StateBench) -> None:
    bench.stop()
    lease = bench.claim_cleanup()
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


def test_a_permission_that_was_left_over_closes_nothing_of_a_running_instance(bench: StateBench) -> None:
    bench.stop()
    lease = bench.claim_cleanup()
    bench.client.hset(keys.record(NAME), "phase", "running")
    with pytest.raises(AuthorizationRefused, match="phase"):
        bench.close(lease)


def test_a_cleanup_that_is_given_back_is_published_at_once_and_does_not_count(bench: StateBench) -> None:
    bench.stop()
    bench.sweep()
    first = bench.claim_cleanup()
    bench.client.delete(keys.WAKE)
    assert bench.cleanup_leases.release(first, receipt_json="{}", left="41,42")
    assert bench.client.lrange(keys.WAKE, 0, -1) == [NAME]
    assert (bench.record.outcome, bench.record.left) == ("{}", "41,42")
    work = bench.sweep()
    assert isinstance(work, CleanUp)
    second = bench.claim_cleanup()
    assert (second.attempt, second.policy) == (1, first.policy)
    # What comes late from the one that gave up changes nothing.
    assert not bench.cleanup_leases.release(first, receipt_json="{}")
    with pytest.raises(LeaseLost):
        bench.cleanup_leases.renew(first)
    bench.cleanup_leases.renew(second)


def test_a_cleanup_that_is_given_back_leaves_the_fence_of_what_it_sent(bench: StateBench) -> None:
    bench.stop()
    first = bench.claim_cleanup()
    bench.close(first)
    fence_ms = START_MS + WINDOW_MS + MARGIN_MS
    bench.cleanup_leases.release(first, receipt_json="{}")
    second = bench.claim_cleanup()
    # Nobody is left who could say that its request was answered.
    assert bench.cleanup_leases.renew(second, settled=True).fence_ms == fence_ms


def test_a_cleanup_lease_that_is_over_cannot_be_given_back(bench: StateBench) -> None:
    bench.stop()
    first = bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS)
    assert not bench.cleanup_leases.release(first, receipt_json="{}")
    assert bench.claim_cleanup().attempt == 2
