"""A message that waits for a worker is not taken for a lost one: a sweep is as patient as others are late."""

from __future__ import annotations

import pytest

from state import keys
from state.due import RESEND_MS, CleanUp, IterateAgain
from state.leases import Lease, Refusal
from state.queues import ITERATE
from tests.integration.state_bench import GRACE_MS, INTERVAL_MS, NAME, StateBench

OTHER = "other"
#: As in `parts/backlog.lua`.
BACKLOG_HOLDS_MS = 2_000


def next_is_due(bench: StateBench, *, late_ms: int) -> None:
    """Let the next iteration be due, and `late_ms` pass."""
    bench.iterate()
    bench.clock.advance(INTERVAL_MS + late_ms)


def others_are_late(bench: StateBench, late_ms: int, name: str = OTHER, *, queue: str = ITERATE) -> None:
    """Have another instance begin its first iteration so late, by a message that was sent once."""
    bench.start(name)
    bench.due.sweep(name, task_id="first")
    bench.clock.advance(late_ms)
    claimed = bench.leases.claim(name, epoch=1, tick=0, task_id="first", queue=queue)
    assert not hasattr(claimed, "reason"), claimed


def test_what_is_no_later_than_the_others_is_not_sent_again(bench: StateBench) -> None:
    next_is_due(bench, late_ms=0)
    others_are_late(bench, 1_500)
    assert bench.sweep() is None
    assert bench.due_score() == bench.clock.now_ms + GRACE_MS
    bench.clock.advance(GRACE_MS - 1)
    assert bench.sweep() is None
    bench.clock.advance(1)
    assert isinstance(bench.sweep(), IterateAgain)


@pytest.mark.parametrize(("late_ms", "is_sent"), [(0, True), (500, True), (501, False)])
def test_a_little_lateness_is_no_backlog(bench: StateBench, late_ms: int, is_sent: bool) -> None:
    next_is_due(bench, late_ms=GRACE_MS - late_ms)
    others_are_late(bench, late_ms)
    assert isinstance(bench.sweep(), IterateAgain) is is_sent


@pytest.mark.parametrize("is_sent", [True, False])
def test_what_could_not_be_sent_waits_in_no_backlog(bench: StateBench, is_sent: bool) -> None:
    next_is_due(bench, late_ms=GRACE_MS)
    work = bench.sweep()
    assert isinstance(work, IterateAgain)
    if not is_sent:
        bench.due.not_sent(NAME, work.task_id)
    others_are_late(bench, RESEND_MS + 2_000)
    bench.client.hset(keys.record(NAME), "due", bench.clock.now_ms - GRACE_MS)
    assert (bench.sweep() is None) is is_sent


def test_a_message_that_waits_is_not_forgotten_for_another_that_could_not_be_sent(bench: StateBench) -> None:
    bench.iterate()
    for other in ("another", ""):
        bench.due.not_sent(NAME, other)
        assert bench.client.hget(keys.record(NAME), "pending_task_id") == "next"


def test_who_claims_nothing_keeps_nobody_waiting(bench: StateBench) -> None:
    next_is_due(bench, late_ms=0)
    others_are_late(bench, 9_000)
    assert BACKLOG_HOLDS_MS > GRACE_MS
    bench.client.hset(keys.record(NAME), "due", bench.clock.now_ms)
    for after_ms, is_sent in ((GRACE_MS, False), (BACKLOG_HOLDS_MS - GRACE_MS - 1, False), (1, True)):
        bench.clock.advance(after_ms)
        bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms})
        assert isinstance(bench.sweep(), IterateAgain) is is_sent


@pytest.mark.parametrize(("late_ms", "look_ms"), [(40_000, 10_000), (6_000, BACKLOG_HOLDS_MS)])
def test_who_waits_is_looked_at_again_when_the_others_may_be_late_no_longer(
    bench: StateBench, late_ms: int, look_ms: int
) -> None:
    """All are late once where the state server was away, and a worker may have died with a message."""
    next_is_due(bench, late_ms=0)
    others_are_late(bench, late_ms)
    bench.client.hset(keys.record(NAME), "due", bench.clock.now_ms)
    assert bench.sweep() is None
    assert bench.due_score() == bench.clock.now_ms + look_ms
    bench.clock.advance(look_ms)
    assert isinstance(bench.sweep(), IterateAgain)


def test_the_longest_of_two_seconds_counts(bench: StateBench) -> None:
    for name, late_ms, longest_ms in (("a", 3_000, 3_000), ("b", 600, 3_000), ("c", BACKLOG_HOLDS_MS, 2_000)):
        others_are_late(bench, late_ms, name)
        assert bench.client.hget(keys.BACKLOG, f"late {ITERATE}") == str(longest_ms)


@pytest.mark.parametrize("queue", ["iterate.1of2", "iterate.2of2"])
def test_a_queue_that_is_behind_keeps_only_those_waiting_that_come_through_it(
    bench: StateBench, queue: str
) -> None:
    bench.commit(expect(bench.leases.claim(NAME, epoch=1, tick=0, task_id="t", queue="iterate.2of2")))
    bench.clock.advance(INTERVAL_MS)
    others_are_late(bench, 1_500, queue=queue)
    assert isinstance(bench.sweep(), IterateAgain) is (queue == "iterate.1of2")


def test_who_has_been_through_no_queue_yet_waits_for_the_longest(bench: StateBench) -> None:
    assert isinstance(bench.sweep(), IterateAgain)
    for number, late_ms in ((1, 1_500), (2, 0), (3, 700)):
        others_are_late(bench, late_ms, f"other-{number}", queue=f"iterate.{number}of3")
    bench.client.hset(keys.record(NAME), "due", bench.clock.now_ms - GRACE_MS - 1_500)
    bench.client.hset(keys.BACKLOG, "until iterate.1of3", bench.clock.now_ms + 1)
    bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms})
    assert isinstance(bench.sweep(), IterateAgain)
    bench.client.hset(keys.record(NAME), "due", bench.clock.now_ms - GRACE_MS - 1_499)
    bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms})
    assert bench.sweep() is None


def expect(claimed: Lease | Refusal) -> Lease:
    assert isinstance(claimed, Lease), claimed
    return claimed


def test_patience_ends_after_a_minute(bench: StateBench) -> None:
    next_is_due(bench, late_ms=0)
    others_are_late(bench, 60_000 + GRACE_MS)
    assert isinstance(bench.sweep(), IterateAgain)


@pytest.mark.parametrize(("task_id", "is_backlog"), [("swept", False), ("next", True)])
def test_a_repeat_that_comes_first_tells_of_a_lost_message_and_of_no_backlog(
    bench: StateBench, task_id: str, is_backlog: bool
) -> None:
    next_is_due(bench, late_ms=GRACE_MS)
    assert isinstance(bench.sweep(), IterateAgain)
    bench.clock.advance(RESEND_MS - 1)
    bench.leases.claim(NAME, epoch=1, tick=1, task_id=task_id)
    assert bool(bench.client.exists(keys.BACKLOG)) is is_backlog


@pytest.mark.parametrize(("sent", "is_backlog"), [(1, True), (2, False)])
def test_the_first_message_of_a_run_is_no_repeat(bench: StateBench, sent: int, is_backlog: bool) -> None:
    for _ in range(sent):
        assert isinstance(bench.sweep(), IterateAgain)
        bench.clock.advance(RESEND_MS)
    bench.leases.claim(NAME, epoch=1, tick=0, task_id="swept")
    assert bool(bench.client.exists(keys.BACKLOG)) is is_backlog


def test_a_wake_up_tells_of_no_backlog(bench: StateBench) -> None:
    next_is_due(bench, late_ms=5_000)
    bench.claim(None)
    assert not bench.client.exists(keys.BACKLOG)


def test_a_first_message_and_a_cleanup_wait_for_nobody(bench: StateBench) -> None:
    others_are_late(bench, 5_000)
    bench.start("third")
    assert isinstance(bench.due.sweep("third", task_id="third"), IterateAgain)
    bench.stop()
    assert isinstance(bench.sweep(), CleanUp)


@pytest.mark.parametrize("damage", ["text", "no numbers"])
def test_a_damaged_note_is_none(bench: StateBench, damage: str) -> None:
    next_is_due(bench, late_ms=GRACE_MS)
    if damage == "text":
        bench.client.set(keys.BACKLOG, "text")
    else:
        bench.client.hset(keys.BACKLOG, mapping={f"late {ITERATE}": "x", f"until {ITERATE}": "y"})
    assert isinstance(bench.sweep(), IterateAgain)
    bench.clock.advance(600)
    bench.claim(1)
