"""Two stops of one run: the second may ask for more than the first, never for less."""

from __future__ import annotations

from dataclasses import astuple
from itertools import product
from typing import Any

import pytest
import redis

from state import keys
from state.cleanup_leases import CleanupLease
from state.due import RESEND_MS, CleanUp
from state.durability import Keeps
from state.leases import Lease, LeaseLost
from state.stop_policy import StopPolicy
from state.stop_story import FlightAtStop
from tests.integration.state_bench import LEASE_MS, NAME, StateBench

POLICIES = [
    StopPolicy(cancel_orders=cancel, close_position=close, unwind=unwind)
    for cancel, close, unwind in product((False, True), repeat=3)
]


def union(old: StopPolicy, new: StopPolicy) -> StopPolicy:
    """Return the policy that asks for what either asks for."""
    cancel, close, unwind = (a or b for a, b in zip(astuple(old), astuple(new), strict=True))
    return StopPolicy(cancel_orders=cancel, close_position=close, unwind=unwind)


class Run:
    """A run of an instance of its own."""

    def __init__(self, bench: StateBench, name: str) -> None:
        self.bench, self.name = bench, name
        bench.start(name)

    def stop(self, policy: StopPolicy) -> str:
        """Ask for a stop."""
        return self.bench.instances.request_stop(self.name, by="test", reason="tested", policy=policy).result

    def claim(self) -> Lease:
        """Take the iteration lease."""
        lease = self.bench.leases.claim(self.name, epoch=1, tick=0, task_id="x")
        assert isinstance(lease, Lease)
        return lease

    def claim_cleanup(self) -> CleanupLease:
        """Take the cleanup lease."""
        lease = self.bench.cleanup_leases.claim(self.name, epoch=1, by="test")
        assert isinstance(lease, CleanupLease)
        return lease

    def field(self, name: str) -> Any:
        """Return one raw field of the record."""
        return self.bench.client.hget(keys.record(self.name), name)

    def assert_follows(self, policy: StopPolicy, first: CleanupLease, *, anew: bool) -> None:
        """Require that the next cleanup follows `policy`, and one under way ends if it is another."""
        assert StopPolicy.from_json(self.field("stop_policy")) == policy
        if not anew:
            self.bench.cleanup_leases.renew(first)
            return
        with pytest.raises(LeaseLost):
            self.bench.cleanup_leases.renew(first)
        assert [self.field(name) for name in ("cleanup_token", "cleanup_until", "kept")] == [None] * 3
        second = self.claim_cleanup()
        assert (second.attempt, second.policy) == (1, policy)


def test_a_second_stop_adds_to_the_first_and_takes_nothing_away(bench: StateBench) -> None:
    for number, (old, new) in enumerate(product(POLICIES, repeat=2)):
        run = Run(bench, f"run-{number}")
        assert run.stop(old) == "stopping"
        first = run.claim_cleanup()
        assert first.policy == old
        assert run.stop(new) == "joined"
        run.assert_follows(union(old, new), first, anew=union(old, new) != old)


def marked_for_restart(bench: StateBench, name: str, policy: StopPolicy | None = None) -> Run:
    """A run that is being stopped to be started again."""
    run = Run(bench, name)
    bench.instances.request_stop(
        name, by="web", reason="restart", policy=policy or StopPolicy(), restart="mark"
    )
    return run


def start_again(bench: StateBench, name: str, mark: str = "mark") -> str:
    """Start as a restart does once the stop is proven."""
    return bench.instances.start(
        name, config_version="v", config_json="{}", slot=7, account="acc", by="web", restart=mark
    ).result


def test_a_restart_begins_a_run_and_its_mark_is_gone(bench: StateBench) -> None:
    run = marked_for_restart(bench, "run")
    bench.finish(run.claim_cleanup(), clean=True)
    assert start_again(bench, "run") == "started"
    assert run.field("restart") is None


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("is_late", [False, True])
def test_a_later_stop_of_anybody_calls_a_restart_off(bench: StateBench, kept: bool, is_late: bool) -> None:
    policy = StopPolicy(cancel_orders=not kept)
    run = marked_for_restart(bench, "run", policy)
    if is_late:
        bench.cleanup_leases.finish(
            run.claim_cleanup(),
            clean=True,
            outcome_json="{}",
            retry_after_ms=1,
            attempts_until_failed=3,
            keeps_orders=kept,
        )
        assert run.stop(policy) == "stopped"
    else:
        assert run.stop(policy) == "joined"
        bench.finish(run.claim_cleanup(), clean=True)
    assert run.field("restart") is None
    assert start_again(bench, "run") == "called_off"
    assert (run.field("phase"), run.field("epoch")) == ("stopped", "1")


def test_a_second_restart_takes_the_place_of_the_first(bench: StateBench) -> None:
    run = marked_for_restart(bench, "run")
    bench.instances.request_stop("run", by="x", reason="", policy=StopPolicy(), restart="second")
    bench.finish(run.claim_cleanup(), clean=True)
    assert start_again(bench, "run") == "called_off"
    assert start_again(bench, "run", "second") == "started"


@pytest.mark.parametrize("decides", [True, False])
def test_an_iteration_in_flight_calls_a_restart_off_if_it_decides_to_stop(
    bench: StateBench, decides: bool
) -> None:
    """What made it stop holds for the next run as well."""
    run = Run(bench, "run")
    iteration = run.claim()
    bench.instances.request_stop("run", by="web", reason="restart", policy=StopPolicy(), restart="mark")
    if decides:
        commit_with_stop(bench, iteration, StopPolicy())
    else:
        bench.commit(iteration)
    bench.finish(run.claim_cleanup(), clean=True)
    assert start_again(bench, "run") == ("called_off" if decides else "started")


def test_a_mark_makes_no_record_of_what_never_ran(bench: StateBench) -> None:
    bench.instances.request_stop("nobody", by="x", reason="", policy=StopPolicy(), restart="mark")
    assert bench.instances.read("nobody") is None


def test_a_stop_that_an_iteration_decides_adds_to_one_that_came_first(bench: StateBench) -> None:
    for number, (old, new) in enumerate(product(POLICIES, repeat=2)):
        run = Run(bench, f"run-{number}")
        iteration = run.claim()
        run.stop(old)
        first = run.claim_cleanup()
        bench.leases.commit(
            iteration,
            resolved=True,
            state_json="",
            interval_ms=1,
            next_task_id="next",
            stop_reason="enough",
            stop_policy=new,
        )
        run.assert_follows(union(old, new), first, anew=union(old, new) != old)


def test_an_iteration_that_ends_during_a_stop_asks_for_nothing(bench: StateBench) -> None:
    for number, policy in enumerate(POLICIES):
        run = Run(bench, f"run-{number}")
        iteration = run.claim()
        run.stop(policy)
        first = run.claim_cleanup()
        bench.leases.commit(iteration, resolved=True, state_json="", interval_ms=1, next_task_id="next")
        run.assert_follows(policy, first, anew=False)


def test_a_stop_that_an_iteration_decides_is_followed_as_it_is(bench: StateBench) -> None:
    for number, policy in enumerate(POLICIES):
        run = Run(bench, f"run-{number}")
        bench.leases.commit(
            run.claim(),
            resolved=True,
            state_json="",
            interval_ms=1,
            next_task_id="next",
            stop_reason="enough",
            stop_policy=policy,
        )
        assert bench.client.get(keys.stop(run.name)) == "enough"
        lease = run.claim_cleanup()
        assert (lease.policy, lease.attempt) == (policy, 1)
        record = bench.instances.read(run.name)
        assert record is not None
        assert (record.phase, record.stop_by, record.stop_reason) == ("stopping", "strategy", "enough")
        assert record.stop_requested_at_ms == bench.clock.now_ms


@pytest.mark.parametrize("keeps_orders", [False, True])
def test_a_run_that_is_stopped_is_stopped_again_only_for_orders_that_it_kept(
    bench: StateBench, keeps_orders: bool
) -> None:
    run = Run(bench, "run")
    run.stop(StopPolicy(cancel_orders=False))
    bench.cleanup_leases.finish(
        run.claim_cleanup(),
        clean=True,
        outcome_json="{}",
        retry_after_ms=1,
        attempts_until_failed=3,
        keeps_orders=keeps_orders,
    )
    assert run.stop(StopPolicy(cancel_orders=False)) == "stopped"
    assert run.stop(StopPolicy()) == ("stopping" if keeps_orders else "stopped")
    record = bench.instances.read("run")
    assert record is not None
    assert record.phase == ("stopping" if keeps_orders else "stopped")


def test_a_stop_of_a_failed_run_leaves_it_failed_and_begins_the_attempts_anew(bench: StateBench) -> None:
    run = Run(bench, "run")
    run.stop(StopPolicy(cancel_orders=False))
    bench.cleanup_leases.finish(
        run.claim_cleanup(), clean=False, outcome_json="{}", retry_after_ms=1, attempts_until_failed=1
    )
    assert run.stop(StopPolicy()) == "failed"
    record = bench.instances.read("run")
    assert record is not None
    assert record.phase == "failed"
    assert run.claim_cleanup().attempt == 1


@pytest.mark.parametrize(("epoch", "result"), [(0, "stopping"), (1, "stopping"), (2, "stale")])
def test_a_stop_of_another_run_changes_nothing(bench: StateBench, epoch: int, result: str) -> None:
    run = Run(bench, "run")
    found = bench.instances.request_stop("run", by="x", reason="y", policy=StopPolicy(), epoch=epoch)
    assert (found.result, found.epoch, found.at_ms) == (result, 1, bench.clock.now_ms)
    assert run.field("phase") == ("running" if result == "stale" else "stopping")


def commit_with_stop(bench: StateBench, lease: Lease, policy: StopPolicy) -> None:
    """Let an iteration end that decides to stop."""
    bench.leases.commit(
        lease,
        resolved=True,
        state_json="",
        interval_ms=1,
        next_task_id="next",
        stop_reason="enough",
        stop_cause="loss",
        stop_policy=policy,
    )


def test_every_request_that_counts_is_told(bench: StateBench) -> None:
    run = Run(bench, "run")
    iteration = run.claim()
    run.stop(StopPolicy(cancel_orders=False))
    bench.clock.advance(5)
    commit_with_stop(bench, iteration, StopPolicy())
    first, second = run.claim_cleanup().asked
    assert (first.by, first.reason, first.policy) == ("test", "tested", StopPolicy(cancel_orders=False))
    assert (second.by, second.reason, second.policy) == ("strategy", "enough", StopPolicy())
    assert second.at_ms == first.at_ms + 5 == bench.clock.now_ms


@pytest.mark.parametrize("meets_another", [False, True])
@pytest.mark.parametrize("keeps", [Keeps.ALWAYS, Keeps.EVERYSEC])
def test_a_stop_that_an_iteration_decides_waits_for_the_disk_where_that_may_forget(
    redis_client: redis.Redis, keeps: Keeps, meets_another: bool
) -> None:
    bench = StateBench(redis_client, keeps)
    run = Run(bench, "run")
    iteration = run.claim()
    if meets_another:
        run.stop(StopPolicy(cancel_orders=False))
    bench.client.hdel(keys.record("run"), "unsaved")
    bench.clock.advance(5)
    commit_with_stop(bench, iteration, StopPolicy())
    assert run.field("unsaved") == (f"stop {bench.clock.now_ms}" if keeps is Keeps.EVERYSEC else None)


def test_a_stop_that_an_iteration_decides_is_published_as_soon_as_any_other(bench: StateBench) -> None:
    iteration = bench.claim()
    bench.client.hset(keys.record(NAME), mapping={"resends": 4, "attempts": 4})
    commit_with_stop(bench, iteration, StopPolicy())
    assert isinstance(bench.sweep(), CleanUp)
    bench.clock.advance(RESEND_MS - 1)
    assert bench.sweep() is None
    bench.clock.advance(1)
    assert isinstance(bench.sweep(), CleanUp)
    assert bench.claim_cleanup().attempt == 1


def test_a_stop_that_an_iteration_decides_tells_of_that_iteration(bench: StateBench) -> None:
    iteration = bench.claim()
    bench.clock.advance(5)
    commit_with_stop(bench, iteration, StopPolicy())
    lease = bench.claim_cleanup()
    assert lease.flight == FlightAtStop(
        seq=1, tick=0, task_id="its-task", lease_until_ms=bench.clock.now_ms - 5 + LEASE_MS
    )
    in_flight = bench.cleanup_leases.renew(lease)
    assert (in_flight.flight_end, in_flight.flight_ended_at_ms) == ("committed", bench.clock.now_ms)
    assert [(each.by, each.reason, each.at_ms) for each in lease.asked] == [
        ("strategy", "enough", bench.clock.now_ms)
    ]


def test_a_stop_that_an_iteration_decides_is_an_event(bench: StateBench) -> None:
    iteration = bench.claim()
    bench.clock.advance(5)
    commit_with_stop(bench, iteration, StopPolicy())
    newest = bench.client.xrevrange(keys.EVENTS, count=1)
    assert [fields for _, fields in newest] == [  # type: ignore[union-attr]
        {"event": "stop_requested", "instance": NAME, "epoch": "1", "at_ms": str(bench.clock.now_ms)}
        | {"by": "strategy", "reason": "enough", "cause": "loss"}
    ]


def test_a_cleanup_that_follows_the_new_policy_is_published_at_once(bench: StateBench) -> None:
    iteration = bench.claim()
    bench.stop(StopPolicy(cancel_orders=False))
    bench.claim_cleanup()
    assert bench.sweep() is None
    commit_with_stop(bench, iteration, StopPolicy())
    assert bench.due_score() == bench.clock.now_ms
    assert isinstance(bench.sweep(), CleanUp)


def test_a_damaged_record_is_told_and_not_worked_with(bench: StateBench) -> None:
    bench.client.hset(keys.record(NAME), "tick", "many")
    names = [keys.record(NAME), keys.stop(NAME), keys.DUE, keys.EVENTS, keys.WAKE]
    asked: list[str | int] = [NAME, 0, "test", "tested", StopPolicy().to_json()]
    assert bench.clock.scripts.call("request_stop", names, asked) == ["damaged", 0, bench.clock.now_ms]
    assert bench.client.get(keys.stop(NAME)) is None
    bench.stop()
    assert bench.record.phase == "failed"
