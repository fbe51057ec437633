"""The exact moments at which a lease, a fence or a wait ends: neither a millisecond early nor late."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import redis

from market.orders import Role
from state import keys
from state.due import CleanUp, IterateAgain
from state.leases import EARLY_MS, LeaseLost, Refusal
from state.own_fills import OwnFills
from state.permissions import AuthorizationRefused
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.factories import client_order_id
from tests.integration.state_bench import (
    CLEANUP_LEASE_MS,
    GRACE_MS,
    INTERVAL_MS,
    LEASE_MS,
    MARGIN_MS,
    NAME,
    RETRY_MS,
    WINDOW_MS,
    StateBench,
)
from tests.store_clock import START_MS


def wake(bench: StateBench) -> str:
    """Ask for an iteration now."""
    return OwnFills(bench.client, bench.clock.scripts).wake(NAME)


@pytest.mark.parametrize(("before_end_ms", "answer"), [(1, "again"), (0, "woken")])
def test_a_wake_up_waits_for_a_lease_until_its_last_moment(
    bench: StateBench, before_end_ms: int, answer: str
) -> None:
    bench.claim()
    bench.clock.advance(LEASE_MS - before_end_ms)
    assert wake(bench) == answer


@pytest.mark.parametrize(("before_end_ms", "pulled_back"), [(1, True), (0, False)])
def test_a_commit_pulls_the_fence_back_until_the_last_moment_of_its_lease(
    bench: StateBench, before_end_ms: int, pulled_back: bool
) -> None:
    lease = bench.claim()
    fence_ms = bench.authorize(lease)
    bench.clock.advance(LEASE_MS - before_end_ms)
    bench.commit(lease)
    assert bench.record.fence_ms == (0 if pulled_back else fence_ms)


@pytest.mark.parametrize("too_early_ms", [0, 1])
def test_a_message_may_come_so_much_before_it_is_due_and_no_more(
    bench: StateBench, too_early_ms: int
) -> None:
    bench.iterate(0)
    bench.clock.advance(INTERVAL_MS - EARLY_MS - too_early_ms)
    found = bench.try_claim(tick=1)
    if too_early_ms:
        assert found == Refusal(reason="early", wait_ms=EARLY_MS + too_early_ms)
    else:
        assert not isinstance(found, Refusal)


@pytest.mark.parametrize(("before_end_ms", "published"), [(1, False), (0, True)])
def test_a_sweep_leaves_an_iteration_alone_until_the_last_moment_of_its_lease(
    bench: StateBench, before_end_ms: int, published: bool
) -> None:
    bench.claim()
    bench.clock.advance(LEASE_MS - before_end_ms)
    bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms})
    found = bench.sweep()
    assert isinstance(found, IterateAgain) == published
    if not published:
        assert bench.due_score() == bench.record.lease_until_ms + GRACE_MS


@pytest.mark.parametrize(("before_end_ms", "published"), [(1, False), (0, True)])
def test_a_sweep_leaves_a_cleanup_alone_until_the_last_moment_of_its_lease(
    bench: StateBench, before_end_ms: int, published: bool
) -> None:
    bench.stop()
    bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS - before_end_ms)
    bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms})
    found = bench.sweep()
    assert isinstance(found, CleanUp) == published
    if not published:
        assert bench.due_score() == bench.clock.now_ms + before_end_ms + GRACE_MS


def test_a_sweep_comes_at_the_very_moment_and_not_before(bench: StateBench) -> None:
    bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms + 1})
    assert bench.due.sweep(NAME, task_id="x") is None
    bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms})
    assert bench.due.sweep(NAME, task_id="x") is not None


def test_a_sweep_takes_an_iteration_that_is_due_this_very_moment_for_overdue(bench: StateBench) -> None:
    bench.iterate(0)
    bench.clock.advance(INTERVAL_MS)
    bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms})
    found = bench.sweep()
    assert isinstance(found, IterateAgain)
    assert found.tick == 1


@pytest.mark.parametrize("before_end_ms", [1, 0])
def test_a_cleanup_lease_is_busy_until_its_last_moment(bench: StateBench, before_end_ms: int) -> None:
    bench.stop()
    bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS - before_end_ms)
    assert isinstance(bench.try_claim_cleanup(), Refusal) == bool(before_end_ms)


CleanupWork = Callable[[StateBench], object]


@pytest.mark.parametrize("before_end_ms", [1, 0])
def test_a_cleanup_can_do_everything_until_the_last_moment_of_its_lease_and_nothing_then(
    bench: StateBench, before_end_ms: int
) -> None:
    bench.stop()
    lease = bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS - before_end_ms)
    if before_end_ms:
        bench.close(lease, window_ms=0)
        bench.cleanup_leases.renew(lease, settled=True)
        assert bench.finish(lease, clean=False) == "retry"
        return
    with pytest.raises(AuthorizationRefused, match="lease over"):
        bench.close(lease)
    with pytest.raises(LeaseLost):
        bench.cleanup_leases.renew(lease)
    with pytest.raises(LeaseLost):
        bench.finish(lease, clean=False)


@pytest.mark.parametrize(("before_end_ms", "result"), [(1, "early"), (0, "stopped")])
def test_a_clean_end_waits_for_the_last_moment_of_the_fence(
    bench: StateBench, before_end_ms: int, result: str
) -> None:
    iteration = bench.claim()
    fence_ms = bench.authorize(iteration, window_ms=100)
    bench.commit(iteration, resolved=False)
    bench.stop()
    bench.clock.advance(fence_ms - bench.clock.now_ms - before_end_ms)
    assert bench.finish(bench.claim_cleanup(), clean=True) == result


@pytest.mark.parametrize(("before_end_ms", "result"), [(1, "early"), (0, "stopped")])
def test_a_clean_end_waits_for_the_last_moment_of_an_iteration(
    bench: StateBench, before_end_ms: int, result: str
) -> None:
    bench.claim()
    bench.stop()
    bench.clock.advance(LEASE_MS - before_end_ms)
    assert bench.finish(bench.claim_cleanup(), clean=True) == result


@pytest.mark.parametrize("before_end_ms", [1, 0])
def test_a_cleanup_places_nothing_until_the_last_moment_of_an_iteration(
    bench: StateBench, before_end_ms: int
) -> None:
    bench.claim()
    bench.stop()
    lease = bench.claim_cleanup()
    bench.clock.advance(LEASE_MS - before_end_ms)
    if before_end_ms:
        with pytest.raises(AuthorizationRefused, match="in flight"):
            bench.close(lease)
        assert bench.cleanup_leases.renew(lease).lease_until_ms == bench.clock.now_ms + before_end_ms
    else:
        assert bench.cleanup_leases.renew(lease).lease_until_ms == 0
        bench.close(lease)


@pytest.mark.parametrize(("before_end_ms", "result"), [(1, "cleaning"), (0, "started")])
def test_a_forced_start_waits_for_the_last_moment_of_a_cleanup(
    bench: StateBench, before_end_ms: int, result: str
) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=False, attempts_until_failed=1)
    bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS - before_end_ms)
    assert bench.record.phase is Phase.FAILED
    epoch = bench.start(force=True)
    assert (epoch == 2) == (result == "started")


def test_an_iteration_that_was_due_this_very_moment_is_not_late(bench: StateBench) -> None:
    lease = bench.claim()
    bench.clock.advance(INTERVAL_MS)
    # Its next one is due now: a fixed rate goes on, and nothing is made up for.
    bench.client.hset(keys.record(NAME), "lease_until", bench.clock.now_ms + 1)
    committed = bench.commit(lease)
    assert (committed.tick, committed.countdown_ms) == (1, 0)
    assert bench.record.due_at_ms == bench.clock.now_ms


def test_a_retry_is_looked_at_when_its_time_has_come(bench: StateBench) -> None:
    bench.stop()
    bench.finish(bench.claim_cleanup(), clean=False)
    assert bench.due_score() == bench.clock.now_ms + RETRY_MS


def test_generations_come_round_after_1024_and_never_reach_into_the_role(bench: StateBench) -> None:
    bench.client.hset(keys.generations(NAME), "0:0", 1022)
    lease = bench.claim()
    orders = [(0, Role.QUOTE)] * 3
    given = bench.leases.authorize(lease, window_ms=WINDOW_MS, orders=orders).client_order_ids
    assert [client_order_id & 0x3FF for client_order_id in given] == [1023, 0, 1]
    assert {(client_order_id >> 10) & 0b11 for client_order_id in given} == {0}
    bench.commit(lease)
    bench.stop()
    bench.client.hset(keys.generations(NAME), "0:3", 1022)
    closing = bench.claim_cleanup()
    orders = [(0, Role.CLEANUP)] * 3
    given = bench.cleanup_leases.authorize(closing, window_ms=WINDOW_MS, orders=orders).client_order_ids
    assert [client_order_id & 0x3FF for client_order_id in given] == [1023, 0, 1]


def test_each_permission_is_written_down_with_its_time(bench: StateBench) -> None:
    lease = bench.claim()
    granted = bench.leases.authorize(lease, window_ms=WINDOW_MS, orders=[(1, Role.QUOTE), (2, Role.HEDGE)])
    intents = bench.instances.run_data(NAME, lease.slot).intents
    assert intents == dict.fromkeys(granted.client_order_ids, granted.at_ms)


def test_a_fence_never_moves_back_by_a_later_permission(bench: StateBench) -> None:
    lease = bench.claim()
    far_ms = bench.authorize(lease, window_ms=WINDOW_MS)
    bench.clock.advance(1)
    bench.authorize(lease, window_ms=WINDOW_MS - 100)
    assert bench.record.fence_ms == far_ms
    bench.authorize(lease, window_ms=WINDOW_MS)
    assert bench.record.fence_ms == far_ms + 1 == bench.clock.now_ms + WINDOW_MS + MARGIN_MS


@pytest.mark.parametrize(
    "call",
    ["start", "stop", "stop for more", "wake", "stop by the strategy", "strategy for more", "handed over"],
)
def test_calls_for_a_sweep_that_nobody_answers_do_not_pile_up(
    bench: StateBench, call: str, redis_client: redis.Redis
) -> None:
    lease = bench.claim() if "strategy" in call else None
    if call in {"stop for more", "strategy for more", "handed over"}:
        bench.stop(StopPolicy(cancel_orders=False))
    cleanup = bench.claim_cleanup() if call == "handed over" else None
    redis_client.delete(keys.WAKE)
    redis_client.rpush(keys.WAKE, *["x"] * 1_000)
    match call:
        case "start":
            bench.start("another")
        case "wake":
            wake(bench)
        case "handed over" if cleanup is not None:
            assert bench.cleanup_leases.release(cleanup, receipt_json="{}")
        case _ if lease is not None:
            bench.leases.commit(
                lease, resolved=True, state_json="", interval_ms=1, next_task_id="n", stop_reason="enough"
            )
        case _:
            bench.stop()
    waiting = redis_client.lrange(keys.WAKE, 0, -1)
    assert isinstance(waiting, list)
    assert len(waiting) == 1_000
    assert waiting[0] in {NAME, "another"}


def test_an_iteration_answers_a_wake_up_that_met_a_holder_who_died(bench: StateBench) -> None:
    bench.claim()
    assert wake(bench) == "again"
    bench.clock.advance(LEASE_MS)
    assert not bench.commit(bench.claim()).wake_up


def test_a_claim_gives_back_everything_that_was_saved(bench: StateBench) -> None:
    lease = bench.claim()
    bench.leases.commit(
        lease,
        resolved=True,
        state_json="state",
        interval_ms=INTERVAL_MS,
        next_task_id="next",
        books_json="books",
        daily_json="daily",
        intents={client_order_id(level=3): 77},
    )
    bench.clock.advance(INTERVAL_MS)
    again = bench.claim(1)
    assert (again.state_json, again.books_json, again.daily_json) == ("state", "books", "daily")
    assert again.intents == {client_order_id(level=3): 77}
    # What is not said stays as it was.
    bench.commit(again)
    bench.clock.advance(INTERVAL_MS)
    third = bench.claim(2)
    assert (third.state_json, third.books_json, third.daily_json) == ("state", "books", "daily")
    assert third.intents == again.intents


def test_the_trace_of_an_instance_tells_each_claim_and_commit(bench: StateBench) -> None:
    lease = bench.claim()
    bench.commit(lease, error="broken", delay_ms=1)
    woken = bench.claim(None)
    bench.commit(woken, resolved=False)
    assert [dict(entry) for entry in bench.events.trace(NAME)] == [
        {"event": "claimed", "epoch": "1", "tick": "0", "seq": "1", "kind": "tick", "token": lease.token}
        | {"at_ms": str(START_MS)},
        {"event": "committed", "epoch": "1", "tick": "0", "seq": "1", "token": lease.token, "resolved": "1"}
        | {"failed": "1", "at_ms": str(START_MS)},
        {"event": "claimed", "epoch": "1", "tick": "1", "seq": "2", "kind": "wake", "token": woken.token}
        | {"at_ms": str(START_MS)},
        {"event": "committed", "epoch": "1", "tick": "1", "seq": "2", "token": woken.token, "resolved": "0"}
        | {"failed": "0", "at_ms": str(START_MS)},
    ]


def test_a_wake_up_that_nobody_takes_is_published_again_ever_more_rarely(bench: StateBench) -> None:
    bench.iterate(0)
    due_at_ms = bench.record.due_at_ms
    assert due_at_ms is not None
    assert wake(bench) == "woken"
    for pause_ms in (1_000, 2_000, 4_000):
        found = bench.sweep()
        assert isinstance(found, IterateAgain)
        assert found.tick is None
        assert bench.due_score() == bench.clock.now_ms + pause_ms
        bench.clock.advance(pause_ms)
    # No later than the scheduled one is overdue.
    assert isinstance(bench.sweep(), IterateAgain)
    assert bench.due_score() == due_at_ms + GRACE_MS


def test_a_cleanup_learns_what_is_in_flight_and_what_it_knew(bench: StateBench) -> None:
    bench.commit(bench.claim(), order_ids=["1", "2"])
    bench.claim(None)
    bench.stop()
    found = bench.cleanup_leases.renew(bench.claim_cleanup())
    assert (found.running_task_id, found.order_ids) == ("its-task", ("1", "2"))
    assert found.lease_until_ms == bench.record.lease_until_ms


@pytest.mark.parametrize(("ahead_ms", "countdown_ms"), [(EARLY_MS, None), (EARLY_MS + 1, INTERVAL_MS)])
def test_a_schedule_is_made_anew_only_where_it_is_further_ahead_than_the_interval(
    bench: StateBench, ahead_ms: int, countdown_ms: int | None
) -> None:
    bench.iterate(0)
    due_ms = bench.clock.now_ms + INTERVAL_MS + ahead_ms
    bench.client.hset(keys.record(NAME), "due", due_ms)
    committed = bench.commit(bench.claim(None))
    assert (committed.countdown_ms, committed.tick) == (countdown_ms, 1 if countdown_ms is None else 2)
    assert bench.record.due_at_ms == (due_ms if countdown_ms is None else bench.clock.now_ms + INTERVAL_MS)
