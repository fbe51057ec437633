"""The sweep on a real server: what it finds, how often it repeats, and that sweepers do not double work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from state import due, keys
from state.connection import FAILOVER_TIMEOUT_S, connect
from state.due import LONGEST_RESEND_MS, RESEND_MS, UNSENT_RETRY_MS, CleanUp, Due, IterateAgain
from state.scripts import Scripts
from tests.integration.state_bench import (
    CLEANUP_LEASE_MS,
    GRACE_MS,
    INTERVAL_MS,
    LEASE_MS,
    NAME,
    RETRY_MS,
    StateBench,
)
from tests.store_clock import START_MS, StoreClock

ITERATE = IterateAgain(instance_id=NAME, account="acc", epoch=1, tick=0, task_id="swept")


def test_a_start_is_published_at_once(bench: StateBench) -> None:
    assert bench.sweep() == ITERATE
    assert bench.sweep() is None


def test_an_iteration_nobody_claims_is_sent_again_ever_more_rarely(bench: StateBench) -> None:
    waits = []
    assert bench.sweep() == ITERATE
    for _ in range(8):
        before_ms = bench.clock.now_ms
        while bench.sweep() is None:
            bench.clock.advance(RESEND_MS)
        waits.append(bench.clock.now_ms - before_ms)
    assert waits == [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000]
    assert waits[-1] == LONGEST_RESEND_MS


@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("times", [1, 10])
def test_what_could_not_be_sent_is_tried_again_soon_however_often(
    bench: StateBench, stops: bool, times: int
) -> None:
    if stops:
        bench.stop()
    for _ in range(times):
        assert bench.sweep() is not None
        bench.due.not_sent(NAME)
        assert bench.sweep() is None
        bench.clock.advance(UNSENT_RETRY_MS)
    assert bench.sweep() is not None
    bench.clock.advance(RESEND_MS - 1)
    assert bench.sweep() is None
    bench.clock.advance(1)
    assert bench.sweep() is not None


def test_what_nobody_gave_out_and_nobody_could_send_makes_no_repeat_quicker(bench: StateBench) -> None:
    bench.due.not_sent(NAME)
    assert bench.sweep() is not None
    bench.clock.advance(RESEND_MS - 1)
    assert bench.sweep() is None


def test_what_could_not_be_sent_disturbs_nobody_who_has_the_instance(bench: StateBench) -> None:
    bench.sweep()
    bench.claim(0)
    bench.due.not_sent(NAME)
    bench.clock.advance(UNSENT_RETRY_MS)
    assert bench.sweep() is None
    assert bench.due_score() == START_MS + LEASE_MS + GRACE_MS


def test_what_could_not_be_sent_brings_nobody_back_who_has_been_stopped(bench: StateBench) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=True, attempts_until_failed=1)
    bench.due.not_sent(NAME)
    assert bench.due_score() is None


def test_a_claim_makes_the_repeats_quick_again(bench: StateBench) -> None:
    for _ in range(6):
        bench.sweep()
        bench.clock.advance(LONGEST_RESEND_MS)
    bench.claim(0)
    bench.clock.advance(LEASE_MS + GRACE_MS)
    assert bench.sweep() == ITERATE
    bench.clock.advance(RESEND_MS)
    assert bench.sweep() == ITERATE


def test_an_iteration_in_flight_is_left_alone(bench: StateBench) -> None:
    bench.claim(0)
    bench.clock.advance(LEASE_MS - 1)
    bench.client.zadd(keys.DUE, {NAME: 0})
    assert bench.sweep() is None
    assert bench.due_score() == START_MS + LEASE_MS + GRACE_MS


def test_an_iteration_that_lies_ahead_is_left_alone(bench: StateBench) -> None:
    bench.iterate(0)
    bench.client.zadd(keys.DUE, {NAME: 0})
    assert bench.sweep() is None
    assert bench.due_score() == START_MS + INTERVAL_MS + GRACE_MS


def test_a_dead_iteration_is_sent_again_once_its_lease_and_grace_are_over(bench: StateBench) -> None:
    bench.claim(0)
    bench.clock.advance(LEASE_MS + GRACE_MS - 1)
    assert bench.sweep() is None
    bench.clock.advance(1)
    assert bench.sweep() == ITERATE
    bench.claim(0)


def test_a_scheduled_message_that_was_lost_is_sent_again(bench: StateBench) -> None:
    bench.iterate(0)
    bench.clock.advance(INTERVAL_MS + GRACE_MS - 1)
    assert bench.sweep() is None
    bench.clock.advance(1)
    assert bench.sweep() == IterateAgain(instance_id=NAME, account="acc", epoch=1, tick=1, task_id="swept")


def test_a_stop_is_published_at_once_with_the_message_to_revoke(bench: StateBench) -> None:
    bench.iterate(0)
    bench.stop()
    assert bench.sweep() == CleanUp(instance_id=NAME, epoch=1, pending_task_id="next")
    assert bench.sweep() is None


def test_a_message_that_the_sweep_sent_is_the_one_to_revoke(bench: StateBench) -> None:
    bench.sweep()
    bench.stop()
    assert bench.sweep() == CleanUp(instance_id=NAME, epoch=1, pending_task_id="swept")


def test_a_dead_cleanup_is_sent_again_once_its_lease_and_grace_are_over(bench: StateBench) -> None:
    bench.stop()
    bench.sweep()
    bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS + GRACE_MS - 1)
    assert bench.sweep() is None
    bench.clock.advance(1)
    assert isinstance(bench.sweep(), CleanUp)
    bench.claim_cleanup()


def test_a_cleanup_nobody_claims_is_sent_again_ever_more_rarely(bench: StateBench) -> None:
    bench.stop()
    waits_ms = []
    for _ in range(7):
        assert isinstance(bench.sweep(), CleanUp)
        waits_ms.append((bench.due_score() or 0) - bench.clock.now_ms)
        bench.clock.advance(waits_ms[-1])
    assert waits_ms == [1_000, 2_000, 4_000, 8_000, 16_000, LONGEST_RESEND_MS, LONGEST_RESEND_MS]
    # One that was claimed and died begins anew.
    bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS + GRACE_MS)
    assert isinstance(bench.sweep(), CleanUp)
    assert bench.due_score() == bench.clock.now_ms + RESEND_MS


def test_a_cleanup_at_work_is_looked_at_again_after_its_lease(bench: StateBench) -> None:
    bench.stop()
    lease = bench.claim_cleanup()
    bench.client.zadd(keys.DUE, {NAME: 0})
    assert bench.sweep() is None
    assert bench.client.zscore(keys.DUE, NAME) == lease.claimed_at_ms + CLEANUP_LEASE_MS + GRACE_MS


def test_a_failed_instance_is_cleaned_up_again(bench: StateBench) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
    assert bench.sweep() is None
    bench.clock.advance(RETRY_MS)
    assert isinstance(bench.sweep(), CleanUp)


def test_a_stopped_instance_leaves_the_list(bench: StateBench) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=True, attempts_until_failed=1)
    bench.client.zadd(keys.DUE, {NAME: 0})
    assert bench.sweep() is None
    assert bench.client.zcard(keys.DUE) == 0


def test_the_most_overdue_comes_first(bench: StateBench) -> None:
    bench.client.zadd(keys.DUE, {"late": 5, "later": 3, "latest": 1, "ahead": START_MS + 1})
    assert bench.due.ids(now_ms=START_MS) == ("latest", "later", "late", NAME)
    assert bench.due.ids(now_ms=START_MS, limit=2) == ("latest", "later")


@pytest.mark.parametrize(
    ("after_ms", "next_ms"), [(0, 3), (3, 5), (START_MS, START_MS + 1), (START_MS + 1, None)]
)
def test_who_becomes_due_next_is_known(bench: StateBench, after_ms: int, next_ms: int | None) -> None:
    bench.client.zadd(keys.DUE, {"first": 3, "second": 5, "ahead": START_MS + 1})
    assert bench.due.next_ms(after_ms=after_ms) == next_ms


def test_of_many_sweepers_one_gets_the_work(bench: StateBench, valkey_server: ValkeyServer) -> None:
    names = [f"mm_{number:02}" for number in range(50)]
    for name in names:
        bench.start(name)
    together = threading.Barrier(4)

    def sweep_all() -> list[str]:
        with connect(valkey_server.url) as client:
            sweeper = Due(client, StoreClock(client).scripts, grace_ms=GRACE_MS)
            together.wait()
            return [name for name in names if sweeper.sweep(name, task_id="t")]

    with ThreadPoolExecutor(4) as pool:
        found = [name for each in [pool.submit(sweep_all) for _ in range(4)] for name in each.result()]
    assert sorted(found) == names


def test_a_start_wakes_a_sweeper_and_all_calls_are_taken_at_once(bench: StateBench) -> None:
    bench.stop()
    assert bench.client.llen(keys.WAKE) == 2
    # With nothing there this would wait for ever, and the test's own time limit would end it.
    assert bench.due.wait(timeout_s=0) == NAME
    assert bench.due.take_calls() == (NAME,)
    assert bench.client.llen(keys.WAKE) == 0
    assert bench.due.wait(timeout_s=0.01) is None


def test_a_long_pause_between_sweeps_is_no_failure_of_the_server(
    valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gives up on an answer before the longest pause that settings allow is over."""
    assert due.LONGEST_WAIT_S < FAILOVER_TIMEOUT_S
    monkeypatch.setattr(due, "LONGEST_WAIT_S", 0.05)
    with redis.Redis.from_url(valkey_server.url, socket_timeout=1.0) as client:
        client.flushall()
        due.Due(client, Scripts(client), grace_ms=1).wait(timeout_s=60)
