"""What a cleanup waits for: the iteration in flight, and requests that can still arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from market.orders import CancelOutcome, OpenOrder
from runner import cleanup
from runner.receipt import Result
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.factories import INSTANCE_ID, loaded_instance, open_order
from tests.integration.cleanup_bench import SETTINGS, WINDOW_MS
from tests.integration.runner_bench import RunnerBench

#: For tests that wait one out.
LONG_WINDOW_MS = 2_000


@pytest.fixture
def make(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunnerBench]:
    """Start an instance; the arguments replace settings."""

    def start(**settings: object) -> RunnerBench:
        monkeypatch.setattr(cleanup, "INTERRUPT_AFTER_S", 0.05)
        instance = loaded_instance(window_ms=WINDOW_MS)
        return RunnerBench(valkey_server.url, monkeypatch, instance, replace(SETTINGS, **settings))  # type: ignore[arg-type]

    return start


@pytest.fixture
def bench(make: Callable[..., RunnerBench]) -> RunnerBench:
    """A started instance."""
    return make()


def test_half_a_second_is_what_an_iteration_gets_to_end_by_itself() -> None:
    assert cleanup.INTERRUPT_AFTER_S == 0.5


def test_an_iteration_that_does_not_end_is_interrupted_once_by_its_task_id(bench: RunnerBench) -> None:
    interrupted: list[str] = []
    at_each_wait: list[int] = []
    lease = bench.claim()
    wait = bench.context.cleanup_leases.wait_released

    def wait_and_end_at_last(*args: object, timeout_s: float) -> None:
        at_each_wait.append(len(interrupted))
        wait(*args, timeout_s=timeout_s)  # type: ignore[arg-type]
        if len(at_each_wait) == 4:
            bench.commit(lease)

    bench.context.cleanup_leases.wait_released = wait_and_end_at_last  # type: ignore[method-assign, assignment]
    bench.stop()
    outcome = bench.clean_up(interrupt=interrupted.append)
    assert outcome is not None
    assert outcome.is_clean
    assert interrupted == ["its-task"]
    assert (at_each_wait[0], at_each_wait[-1]) == (0, 1)
    assert ("iteration_released", "interrupted") in [(step.step, step.detail) for step in outcome.steps]


def test_orders_are_cancelled_before_the_iteration_in_flight_is_waited_for(bench: RunnerBench) -> None:
    bench.venue.rest(open_order("5"))
    bench.knows("5")
    lease = bench.claim()
    cancelled_first: list[list[str]] = []

    def end(_: str) -> None:
        cancelled_first.append(bench.venue.names())
        bench.commit(lease)

    bench.stop()
    outcome = bench.clean_up(interrupt=end)
    assert cancelled_first == [["cancel"]]
    assert outcome is not None
    assert outcome.is_clean


def test_an_iteration_that_ends_in_time_is_not_interrupted(bench: RunnerBench) -> None:
    interrupted: list[str] = []
    lease = bench.claim()
    bench.stop()
    bench.commit(lease)
    outcome = bench.clean_up(interrupt=interrupted.append)
    assert outcome is not None
    assert (outcome.is_clean, interrupted) == (True, [])


def test_orders_that_the_iteration_in_flight_still_placed_are_cancelled(bench: RunnerBench) -> None:
    lease = bench.claim()

    def end(_: str) -> None:
        bench.venue.rest(open_order("its last"))
        bench.commit(lease, order_ids=("its last",))

    bench.stop()
    outcome = bench.clean_up(interrupt=end)
    assert outcome is not None
    assert (outcome.is_clean, outcome.cancelled_order_ids) == (True, ("its last",))


def test_orders_that_the_iteration_in_flight_still_placed_are_cancelled_though_no_list_shows_them(
    bench: RunnerBench,
) -> None:
    bench.venue.always["open_orders"] = lambda _: ()
    lease = bench.claim()

    def end(_: str) -> None:
        bench.venue.rest(open_order("its last"))
        bench.commit(lease, order_ids=("its last",))

    bench.stop()
    outcome = bench.clean_up(interrupt=end)
    assert outcome is not None
    assert outcome.is_clean
    assert bench.venue.resting == {}


def test_a_dead_iteration_is_waited_for_until_its_lease_is_over(bench: RunnerBench) -> None:
    bench.authorize(bench.claim(), window_ms=1)
    until_ms = bench.context.instances.now_ms() + 300
    bench.set_field("lease_until", until_ms)
    bench.stop()
    outcome = bench.clean_up()
    assert outcome is not None
    assert outcome.is_clean
    assert outcome.had_unresolved
    released = next(step for step in outcome.steps if step.step == "iteration_released")
    assert released.at_ms >= until_ms


def test_nothing_is_called_clean_before_the_fence_and_what_arrives_meanwhile_is_cancelled(
    bench: RunnerBench,
) -> None:
    fence_ms = bench.leave_unresolved(window_ms=LONG_WINDOW_MS)
    steps_before_cancel: list[list[str]] = []

    def arrive(_: str) -> tuple[OpenOrder, ...]:
        bench.venue.rest(open_order("late"))
        return tuple(bench.venue.resting.values())

    def cancel(order_id: str) -> CancelOutcome:
        events = bench.context.events.of_instance(INSTANCE_ID)
        steps_before_cancel.append([event.fields.get("step", "") for event in events])
        del bench.venue.resting[order_id]
        return CancelOutcome.CANCELLED

    bench.venue.faults["open_orders"].append(arrive)
    bench.venue.always["cancel"] = cancel
    outcome = bench.stop_and_clean_up()
    assert outcome.is_clean
    assert (outcome.fence_ms, outcome.had_unresolved) == (fence_ms, True)
    assert len(outcome.last_lists) == 2
    assert all(each.at_ms >= fence_ms and not each.own_orders for each in outcome.last_lists)
    assert outcome.cancelled_order_ids == ("late",)
    assert all("fence_passed" not in steps for steps in steps_before_cancel)


def test_a_policy_that_keeps_orders_waits_for_the_fence_too(bench: RunnerBench) -> None:
    fence_ms = bench.leave_unresolved(window_ms=LONG_WINDOW_MS)
    outcome = bench.stop_and_clean_up(StopPolicy(cancel_orders=False))
    assert outcome.is_clean
    assert outcome.last_lists[-1].at_ms >= fence_ms
    assert bench.venue.names("open_orders", "cancel") == ["open_orders"]


def test_a_fence_that_is_past_costs_no_time(bench: RunnerBench) -> None:
    bench.leave_unresolved(window_ms=1)
    bench.set_field("fence", bench.context.instances.now_ms() - 1)
    outcome = bench.stop_and_clean_up()
    assert outcome.is_clean
    assert not outcome.had_unresolved
    assert bench.venue.names("open_orders", "cancel") == ["open_orders"] * 2


def test_a_fence_too_far_ahead_ends_the_attempt_without_calling_it_clean(
    make: Callable[..., RunnerBench],
) -> None:
    bench = make(cleanup_soft_limit_s=0.2)
    bench.leave_unresolved(window_ms=60_000)
    outcome = bench.stop_and_clean_up()
    assert outcome.result is Result.UNVERIFIED
    assert "out of time" in outcome.problem
    assert bench.phase is Phase.STOPPING
