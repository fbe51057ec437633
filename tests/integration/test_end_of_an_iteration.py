"""What an iteration that ends leaves behind, and when a sweep looks after its run.

Who was to publish the next iteration may have died.
"""

from __future__ import annotations

import pytest

from state import keys
from state.bookings import BookingQueue
from state.leases import EARLY_MS, Committed, Lease, Refusal
from state.own_fills import OwnFills
from state.run_changes import RunChanges
from tests.integration.state_bench import GRACE_MS, INTERVAL_MS, LEASE_MS, NAME, StateBench

#: How long after a wake-up a sweep looks whether anybody took it.
WOKEN_MS = 1_000


def wake(bench: StateBench) -> None:
    """Ask for an iteration while one runs."""
    assert OwnFills(bench.client, bench.clock.scripts).wake(NAME) == "again"


def pause(bench: StateBench) -> None:
    """Close the gate, with a look at what rests owed."""
    assert RunChanges(bench.client, bench.clock.scripts).pause(NAME, by="test", reason="").result == "paused"


def look(bench: StateBench, lease: Lease, *, pause_ms: int, error: str = "") -> Committed:
    """End an iteration of a paused run that found an order."""
    return bench.leases.commit(
        lease,
        resolved=True,
        state_json="",
        interval_ms=INTERVAL_MS,
        next_task_id="next",
        error=error,
        error_delay_ms=3_000,
        is_quiet=False,
        look_again_ms=pause_ms,
    )


def scheduled(bench: StateBench) -> tuple[int, int | None, object]:
    """Return the tick that is next, when it is due, and the task that was announced for it."""
    task_id = bench.client.hget(keys.record(NAME), "pending_task_id")
    return bench.record.tick, bench.record.due_at_ms, task_id


def test_the_next_iteration_is_looked_after_when_it_is_overdue(bench: StateBench) -> None:
    bench.clock.advance(40)
    due_ms = bench.clock.now_ms - 40 + INTERVAL_MS
    assert bench.iterate().countdown_ms == due_ms - bench.clock.now_ms
    assert scheduled(bench) == (1, due_ms, "next")
    assert bench.due_score() == due_ms + GRACE_MS


def test_a_wake_up_leaves_the_one_that_is_scheduled_to_its_time(bench: StateBench) -> None:
    bench.iterate()
    before, due_ms = scheduled(bench), bench.clock.now_ms + INTERVAL_MS
    bench.client.hset(keys.record(NAME), "pending_task_id", "the first")
    bench.clock.advance(40)
    assert bench.iterate(None).countdown_ms is None
    assert scheduled(bench) == (before[0], due_ms, "the first")
    assert bench.due_score() == due_ms + GRACE_MS


@pytest.mark.parametrize("to_due_ms", [EARLY_MS, 30, 0, -30])
def test_a_scheduled_message_that_may_have_met_a_wake_up_is_sent_again(
    bench: StateBench, to_due_ms: int
) -> None:
    bench.iterate()
    due_ms = bench.clock.now_ms + INTERVAL_MS
    bench.client.hset(keys.record(NAME), "pending_task_id", "the first")
    bench.clock.advance(INTERVAL_MS - to_due_ms)
    committed = bench.iterate(None)
    assert (committed.countdown_ms, committed.tick) == (max(0, to_due_ms), 1)
    assert scheduled(bench) == (1, due_ms, "next")
    assert bench.due_score() == max(due_ms, bench.clock.now_ms) + GRACE_MS


def test_a_wake_up_that_comes_sooner_than_that_leaves_it_alone(bench: StateBench) -> None:
    bench.iterate()
    bench.clock.advance(INTERVAL_MS - EARLY_MS - 1)
    assert bench.iterate(None).countdown_ms is None


def test_an_iteration_that_was_asked_for_meanwhile_is_looked_after_in_a_moment(bench: StateBench) -> None:
    lease = bench.claim()
    wake(bench)
    bench.clock.advance(40)
    assert bench.commit(lease).wake_up
    assert bench.client.hget(keys.record(NAME), "woken") == str(bench.clock.now_ms)
    assert bench.due_score() == bench.clock.now_ms + WOKEN_MS


def test_but_no_later_than_the_scheduled_one(bench: StateBench) -> None:
    lease = bench.claim()
    wake(bench)
    assert bench.commit(lease, interval_ms=200).wake_up
    assert bench.due_score() == bench.clock.now_ms + 200 + GRACE_MS


@pytest.mark.parametrize("asked", [True, False])
def test_nothing_is_woken_beside_an_iteration_that_follows_at_once(bench: StateBench, asked: bool) -> None:
    lease = bench.claim()
    if asked:
        wake(bench)
    committed = bench.commit(lease, interval_ms=0)
    assert (committed.countdown_ms, committed.wake_up) == (0, False)
    assert scheduled(bench) == (1, bench.clock.now_ms, "next")
    assert bench.client.hget(keys.record(NAME), "woken") is None
    assert bench.due_score() == bench.clock.now_ms + GRACE_MS


def test_after_an_error_a_wake_up_does_not_undercut_the_back_off(bench: StateBench) -> None:
    lease = bench.claim()
    wake(bench)
    committed = bench.commit(lease, error="broken", delay_ms=3_000)
    assert (committed.countdown_ms, committed.wake_up) == (3_000, False)
    assert bench.client.hget(keys.record(NAME), "woken") is None
    assert bench.due_score() == bench.clock.now_ms + 3_000 + GRACE_MS


class TestOfAPausedRun:
    """Until it is known that nothing is left, one look follows another."""

    def test_the_next_look_is_a_wake_up_where_it_is_due_at_once(self, bench: StateBench) -> None:
        bench.iterate()
        pause(bench)
        assert look(bench, bench.claim(None), pause_ms=0).wake_up
        assert bench.due_score() == bench.clock.now_ms + WOKEN_MS

    def test_else_it_comes_by_a_sweep(self, bench: StateBench) -> None:
        bench.iterate()
        pause(bench)
        assert not look(bench, bench.claim(None), pause_ms=1).wake_up
        assert bench.due_score() == bench.clock.now_ms + 1

    def test_but_no_later_than_the_scheduled_one(self, bench: StateBench) -> None:
        bench.iterate()
        pause(bench)
        assert not look(bench, bench.claim(None), pause_ms=2 * INTERVAL_MS).wake_up
        assert bench.due_score() == bench.clock.now_ms + INTERVAL_MS + GRACE_MS

    @pytest.mark.parametrize("pause_ms", [0, 5_000, 7_000])
    def test_it_comes_when_nothing_can_arrive_any_more(self, bench: StateBench, pause_ms: int) -> None:
        lease = bench.claim()
        fence_ms = bench.authorize(lease)
        bench.commit(lease, resolved=False)
        pause(bench)
        assert not look(bench, bench.claim(None), pause_ms=pause_ms).wake_up
        assert bench.due_score() == max(fence_ms, bench.clock.now_ms + pause_ms)

    def test_one_that_was_asked_for_meanwhile_waits_for_neither(self, bench: StateBench) -> None:
        bench.iterate()
        pause(bench)
        lease = bench.claim(None)
        wake(bench)
        assert look(bench, lease, pause_ms=5_000).wake_up
        assert bench.due_score() == bench.clock.now_ms + WOKEN_MS

    def test_after_an_error_it_waits_for_the_back_off(self, bench: StateBench) -> None:
        bench.iterate()
        pause(bench)
        committed = look(bench, bench.claim(None), pause_ms=0, error="broken")
        assert (committed.countdown_ms, committed.wake_up) == (3_000, False)
        assert bench.due_score() == bench.clock.now_ms + 3_000 + GRACE_MS

    def test_a_scheduled_one_that_follows_at_once_is_that_look(self, bench: StateBench) -> None:
        bench.iterate()
        pause(bench)
        bench.clock.advance(INTERVAL_MS)
        assert look(bench, bench.claim(None), pause_ms=0).wake_up is False
        assert bench.due_score() == bench.clock.now_ms + GRACE_MS

    def test_a_run_that_is_not_paused_owes_none(self, bench: StateBench) -> None:
        lease = bench.claim()
        fence_ms = bench.authorize(lease)
        assert fence_ms < bench.clock.now_ms + INTERVAL_MS
        assert not look(bench, lease, pause_ms=0).wake_up
        assert bench.due_score() == bench.clock.now_ms + INTERVAL_MS + GRACE_MS


def test_a_late_message_of_a_wake_up_does_not_undercut_it_either(bench: StateBench) -> None:
    lease = bench.claim()
    wake(bench)
    bench.commit(lease, error="broken", delay_ms=3_000)
    assert bench.leases.claim(NAME, epoch=1, tick=None, task_id="late") == Refusal(
        reason="stale", detail="answered"
    )


def test_nothing_of_a_lease_is_left_when_its_iteration_has_ended(bench: StateBench) -> None:
    lease = bench.claim()
    wake(bench)
    names = ["lease_token", "lease_until", "lease_kind", "running_task_id", "again"]
    assert None not in bench.client.hmget(keys.record(NAME), names)
    bench.commit(lease)
    assert bench.client.hmget(keys.record(NAME), names) == [None] * len(names)


def test_what_an_iteration_books_waits_for_the_ledger_in_its_order(bench: StateBench) -> None:
    bench.leases.commit(
        bench.claim(),
        resolved=True,
        state_json="",
        interval_ms=INTERVAL_MS,
        next_task_id="next",
        bookings=["first", "second", "third"],
    )
    waiting = BookingQueue(bench.client).oldest(10)
    assert [entry.text for entry in waiting] == ["first", "second", "third"]


def test_a_word_to_the_cleanup_that_waits_is_kept_for_a_while_and_not_for_ever(bench: StateBench) -> None:
    lease = bench.claim()
    bench.stop()
    bench.clock.advance(LEASE_MS // 2)
    bench.commit(lease)
    assert bench.client.lrange(keys.released(NAME), 0, -1) == [lease.token]
    assert bench.client.pttl(keys.released(NAME)) > 0
