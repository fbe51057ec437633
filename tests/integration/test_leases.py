"""Leases, authorisations and commits on a real server, rule by rule as the design's table says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from state import keys
from state.bookings import BookingQueue
from state.leases import EARLY_MS, Committed, LeaseLost, Refusal
from state.permissions import AuthorizationRefused
from state.record import Phase
from state.stop_story import AcceptedLeft
from tests.integration.state_bench import GRACE_MS, INTERVAL_MS, LEASE_MS, NAME, StateBench
from tests.store_clock import START_MS


def test_a_claim_takes_the_lease_and_says_what_the_run_is(bench: StateBench) -> None:
    bench.clock.advance(30)
    lease = bench.claim()
    assert (lease.epoch, lease.tick, lease.seq, lease.errors) == (1, 0, 1, 0)
    assert (lease.slot, lease.account, lease.config_version, lease.state_json) == (7, "acc", "v1", "")
    assert lease.claimed_at_ms == START_MS + 30
    assert lease.due_at_ms == lease.started_at_ms == START_MS
    assert bench.record.lease_until_ms == lease.claimed_at_ms + LEASE_MS


@pytest.mark.parametrize(
    ("epoch", "tick", "why"), [(0, 0, "epoch"), (2, 0, "epoch"), (1, 1, "tick"), (2, None, "epoch")]
)
def test_a_message_of_another_run_or_tick_is_stale(
    bench: StateBench, epoch: int, tick: int | None, why: str
) -> None:
    assert bench.try_claim(epoch=epoch, tick=tick) == Refusal(reason="stale", detail=why)
    assert bench.record.seq == 0


def test_a_message_that_comes_again_after_its_iteration_is_stale(bench: StateBench) -> None:
    bench.iterate(0)
    assert bench.try_claim(tick=0) == Refusal(reason="stale", detail="tick")


def test_a_live_lease_refuses_everybody_else_until_it_is_over(bench: StateBench) -> None:
    bench.claim()
    bench.clock.advance(LEASE_MS - 1)
    assert bench.try_claim(tick=0) == Refusal(reason="busy")
    bench.clock.advance(1)
    assert bench.claim(0).seq == 2


def test_a_wake_up_that_was_answered_before_its_message_came_is_stale(bench: StateBench) -> None:
    answered = Refusal(reason="stale", detail="answered")
    lease = bench.claim(None)
    assert bench.try_claim(tick=None) == answered
    assert not bench.commit(lease).wake_up
    assert bench.leases.claim(NAME, epoch=1, tick=None, task_id="late") == answered
    assert bench.record.seq == 1


def test_a_lease_that_is_over_authorises_nothing_even_if_nobody_took_it(bench: StateBench) -> None:
    lease = bench.claim()
    bench.clock.advance(LEASE_MS)
    with pytest.raises(AuthorizationRefused, match="lease over"):
        bench.authorize(lease)


def test_who_was_taken_over_can_neither_authorise_nor_commit(bench: StateBench) -> None:
    old = bench.claim()
    bench.clock.advance(LEASE_MS)
    new = bench.claim()
    with pytest.raises(AuthorizationRefused, match="token"):
        bench.authorize(old)
    before = bench.record
    with pytest.raises(LeaseLost):
        bench.commit(old)
    assert bench.record == before
    bench.authorize(new)


def test_a_scheduled_iteration_leads_to_the_next_at_a_fixed_rate(bench: StateBench) -> None:
    lease = bench.claim()
    bench.clock.advance(1_500)
    assert bench.commit(lease) == Committed(
        running=True, epoch=1, tick=1, countdown_ms=INTERVAL_MS - 1_500, task_id="next"
    )
    assert (bench.record.tick, bench.record.due_at_ms) == (1, START_MS + INTERVAL_MS)


def test_iterations_that_were_missed_are_not_made_up_for(bench: StateBench) -> None:
    bench.clock.advance(5 * INTERVAL_MS)
    assert bench.iterate(0).countdown_ms == INTERVAL_MS
    assert bench.record.tick == 1


def test_a_message_that_comes_early_is_told_how_long_to_wait(bench: StateBench) -> None:
    bench.iterate(0)
    bench.clock.advance(3_000)
    assert bench.try_claim(tick=1) == Refusal(reason="early", wait_ms=INTERVAL_MS - 3_000)
    assert bench.record.seq == 1


def test_a_message_only_a_little_early_is_run(bench: StateBench) -> None:
    bench.iterate(0)
    bench.clock.advance(INTERVAL_MS - EARLY_MS)
    bench.claim(1)


def test_a_hop_that_meets_a_wake_up_goes_on_hopping(bench: StateBench) -> None:
    bench.iterate(0)
    bench.clock.advance(3_000)
    wake_up = bench.claim(None)
    assert bench.try_claim(tick=1) == Refusal(reason="early", wait_ms=INTERVAL_MS - 3_000)
    assert not bench.commit(wake_up).wake_up


def test_a_wake_up_leaves_the_scheduled_message_alone(bench: StateBench) -> None:
    bench.iterate(0)
    bench.clock.advance(3_000)
    committed = bench.iterate(None)
    assert committed == Committed(running=True, epoch=1, tick=1, countdown_ms=None, task_id="next")
    assert bench.due_score() == START_MS + INTERVAL_MS + GRACE_MS


def test_a_wake_up_during_which_the_schedule_came_due_sends_that_message_again(bench: StateBench) -> None:
    bench.iterate(0)
    bench.clock.advance(INTERVAL_MS - 1_000)
    wake_up = bench.claim(None)
    bench.clock.advance(1_000)
    assert bench.try_claim(tick=1) == Refusal(reason="busy")
    committed = bench.commit(wake_up)
    assert (committed.tick, committed.countdown_ms, committed.wake_up) == (1, 0, False)
    bench.claim(1)


def test_who_came_while_the_lease_was_held_is_answered_by_one_wake_up(bench: StateBench) -> None:
    lease = bench.claim()
    for _ in range(3):
        bench.try_claim(tick=0)
    assert bench.commit(lease).wake_up
    assert not bench.iterate(None).wake_up


def test_an_error_is_counted_and_makes_the_next_iteration_wait(bench: StateBench) -> None:
    committed = bench.commit(bench.claim(0), error="boom", delay_ms=25_000)
    assert (committed.errors, committed.countdown_ms) == (1, 25_000)
    assert (bench.record.errors, bench.record.last_error) == (1, "boom")
    bench.clock.advance(25_000)
    assert bench.claim(1).errors == 1


def test_what_failed_is_tried_again_soon_however_long_the_interval(bench: StateBench) -> None:
    assert bench.commit(bench.claim(0), error="boom", delay_ms=1_000).countdown_ms == 1_000
    assert bench.due_score() == START_MS + 1_000 + GRACE_MS


def test_a_wake_up_must_not_undercut_the_wait_after_an_error(bench: StateBench) -> None:
    lease = bench.claim(0)
    bench.try_claim(tick=0)
    assert not bench.commit(lease, error="boom", delay_ms=25_000).wake_up


def test_a_failed_wake_up_is_tried_again_in_place_of_what_was_scheduled(bench: StateBench) -> None:
    bench.iterate(0)
    wake_up = bench.claim(None)
    bench.clock.advance(1_000)
    committed = bench.commit(wake_up, error="boom", delay_ms=4_000)
    assert (committed.tick, committed.countdown_ms) == (2, 4_000)
    assert bench.record.due_at_ms == START_MS + 5_000
    assert bench.try_claim(tick=1) == Refusal(reason="stale", detail="tick")
    bench.clock.advance(4_000)
    assert bench.claim(2).errors == 1


def test_a_success_ends_the_row_of_errors(bench: StateBench) -> None:
    for tick in range(3):
        committed = bench.commit(bench.claim(tick), error="boom")
        bench.clock.advance(INTERVAL_MS)
        assert committed.errors == tick + 1
    assert bench.iterate(3).errors == bench.record.errors == 0


def test_state_and_order_ids_are_kept_until_new_ones_come(bench: StateBench) -> None:
    bench.commit(bench.claim(0), state_json='{"a":1}', order_ids=["11", "12"])
    wake_up = bench.claim(None)
    assert wake_up.state_json == '{"a":1}'
    bench.commit(wake_up)
    bench.stop()
    cleanup = bench.claim_cleanup()
    assert cleanup.order_ids == ("11", "12")
    assert bench.client.hget(keys.record(NAME), "state") == '{"a":1}'


def test_an_iteration_that_ends_without_open_orders_leaves_no_ids(bench: StateBench) -> None:
    bench.commit(bench.claim(0), order_ids=[])
    bench.stop()
    assert bench.claim_cleanup().order_ids == ()


def test_wait_released_returns_as_soon_as_the_iteration_ends(bench: StateBench) -> None:
    lease = bench.claim()
    bench.stop()
    cleanup = bench.claim_cleanup()
    bench.commit(lease)
    # With nothing there this would wait for ever, and the test's own time limit would end it.
    bench.cleanup_leases.wait_released(cleanup, timeout_s=0)


def test_a_new_run_is_not_woken_by_the_end_of_an_old_one(bench: StateBench) -> None:
    lease = bench.claim()
    bench.stop()
    bench.commit(lease)
    bench.finish(bench.claim_cleanup(), clean=True)
    bench.start()
    assert not bench.client.exists(keys.released(NAME))


def test_a_run_that_follows_begins_anew(bench: StateBench) -> None:
    bench.commit(bench.claim(0), error="boom")
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=True)
    assert bench.start() == 2
    record = bench.record
    assert (record.tick, record.seq, record.errors) == (0, 0, 0)
    assert (record.outcome, record.last_error, record.stop_reason) == ("", "", "")
    assert bench.try_claim(epoch=1, tick=0) == Refusal(reason="stale", detail="epoch")
    assert bench.claim(0, epoch=2).seq == 1


def test_a_forced_start_keeps_the_fence_of_the_failed_run(bench: StateBench) -> None:
    fence_ms = bench.authorize(bench.claim())
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
    bench.start(force=True)
    assert bench.record.phase is Phase.RUNNING
    assert bench.record.fence_ms == fence_ms


@pytest.mark.parametrize(
    ("do", "score_ms"),
    [
        (lambda bench: None, 0),
        (lambda bench: bench.claim(0), LEASE_MS + GRACE_MS),
        (lambda bench: bench.iterate(0), INTERVAL_MS + GRACE_MS),
        (lambda bench: bench.commit(bench.claim(0), error="e", delay_ms=60_000), 60_000 + GRACE_MS),
        (lambda bench: bench.stop(), 0),
    ],
    ids=["start", "claim", "commit", "commit after an error", "request_stop"],
)
def test_each_operation_says_when_a_sweep_has_to_look_again(
    bench: StateBench, do: Callable[[StateBench], object], score_ms: int
) -> None:
    do(bench)
    assert bench.due_score() == START_MS + score_ms


@pytest.mark.parametrize(
    "accept",
    [
        AcceptedLeft(epoch=1, left="41"),
        AcceptedLeft(epoch=1, left="?"),
        AcceptedLeft(epoch=1, left=""),
        AcceptedLeft(epoch=2, left="41,42"),
    ],
)
def test_a_forced_start_over_anything_but_what_is_left_changes_nothing(
    bench: StateBench, accept: AcceptedLeft
) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
    bench.client.hset(keys.record(NAME), "left", "41,42")
    before = bench.record
    result = bench.instances.start(
        NAME, config_version="v2", config_json="{}", slot=7, account="acc", by="test", accept=accept
    )
    assert (result.result, result.started, result.epoch) == ("changed", False, 1)
    assert bench.record == before


def test_a_forced_start_tells_the_ledger_in_the_same_step(bench: StateBench) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
    accept = AcceptedLeft(epoch=1, left="?", booking='{"kind": "receipt"}')
    bench.instances.start(
        NAME, config_version="v2", config_json="{}", slot=7, account="acc", by="test", accept=accept
    )
    assert bench.record.epoch == 2
    assert [waiting.text for waiting in BookingQueue(bench.client).oldest(9)] == ['{"kind": "receipt"}']
