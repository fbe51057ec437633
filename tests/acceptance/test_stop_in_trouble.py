"""A stop while the exchange misbehaves: it still ends clean, and clean means that nothing comes later."""

from __future__ import annotations

import time
from typing import Any

import pytest

from runner.receipt import Receipt, Result
from tests.acceptance.simulated_exchange import (
    CANCEL_ONE,
    DEPTH,
    EVERYTHING,
    FIND_ONE,
    LIST_OPEN,
    PLACE_BATCH,
    fault,
)
from tests.acceptance.world import WINDOW_MS, World, assert_one_chain, eventually, holds_for, tell

pytestmark = pytest.mark.acceptance

#: Watched after `finished`: longer than any request of the run could still be accepted.
AFTERWARDS_S = (WINDOW_MS + 500) / 1000


def assert_nothing_is_left(world: World, instance_id: str, outcome: Receipt) -> None:
    """Check the proof against the exchange's own memory, now and until nothing could arrive any more."""
    assert outcome.is_clean, outcome
    assert outcome.orders_left == ()
    assert [own.own_orders for own in outcome.last_lists] == [(), ()]
    record = world.record(instance_id)
    stopped_at_ms = record.stopped_at_ms
    assert stopped_at_ms is not None
    holds_for(
        lambda: world.exchange.open_order_ids(slot=record.slot) == set(),
        AFTERWARDS_S if outcome.had_unresolved else 0,
        what="an empty book after the clean stop",
    )
    late = [entry for entry in world.exchange.accepted(record.slot) if entry.at_ms > stopped_at_ms]
    assert late == []
    assert_one_chain(world.context.events.trace(instance_id), lease_ms=world.context.settings.lease_ms)


def stop_while_placing(
    world: World, instance_id: str, *, met: str = PLACE_BATCH, window_ms: int = WINDOW_MS
) -> Receipt:
    """Start an instance, stop it when its first orders have met the fault, and return the outcome."""
    world.configure(instance_id, exchange={"default_window": window_ms})
    world.start(instance_id)
    world.wait_for_request(met)
    return world.stop(instance_id)


def stop_in_time(world: World, prefix: str, *rules: dict[str, Any]) -> Receipt:
    """Stop an instance while it places, and let its iteration end by itself; return the outcome.

    An iteration that a busy machine lets take too long is cut short: then another instance is stopped.
    """
    for number in range(1, 8):
        world.exchange.set_faults(*rules)
        outcome = stop_while_placing(world, f"{prefix}_{number:02}")
        world.exchange.clear_faults()
        assert_nothing_is_left(world, outcome.instance_id, outcome)
        if "interrupted" not in [step.detail for step in outcome.steps]:
            return outcome
    raise AssertionError("the iteration of each was cut short")


def test_a_placement_that_never_gets_an_answer_does_not_delay_the_stop_beyond_its_window(
    world: World,
) -> None:
    world.exchange.set_faults(fault(PLACE_BATCH, "hang"))
    outcome = stop_while_placing(world, "hang_01")
    assert outcome.had_unresolved
    assert_nothing_is_left(world, "hang_01", outcome)
    assert [step.detail for step in outcome.steps if step.step == "iteration_released"] == ["interrupted"]


def test_orders_of_a_placement_whose_answer_was_lost_are_found_and_cancelled(world: World) -> None:
    # The connection ends after the orders are on the book, and asking for them gets no answer either.
    world.exchange.set_faults(fault(PLACE_BATCH, "reset_after"), fault(FIND_ONE, "hang"))
    outcome = stop_while_placing(world, "reset_after_01", met=FIND_ONE)
    assert outcome.had_unresolved
    assert len(outcome.cancelled_order_ids) == 6
    assert_nothing_is_left(world, "reset_after_01", outcome)


def test_a_lost_answer_that_was_cleared_up_in_time_leaves_nothing_unresolved(world: World) -> None:
    # Six questions of 20 ms: the stop arrives among them.
    questions = fault(FIND_ONE, "latency", latency_ms=20)
    outcome = stop_in_time(world, "cleared_up", fault(PLACE_BATCH, "reset_after"), questions)
    assert not outcome.had_unresolved
    assert len(outcome.cancelled_order_ids) == 6


def test_orders_that_the_exchange_accepts_long_after_the_stop_was_asked_for_are_caught(world: World) -> None:
    # Long after an iteration that is cut short could be cleaned up, well before the request expires.
    world.exchange.set_faults(fault(PLACE_BATCH, "late", delay_ms=1200), fault(FIND_ONE, "hang"))
    outcome = stop_while_placing(world, "late_01", met=FIND_ONE, window_ms=2000)
    assert outcome.had_unresolved
    assert len(outcome.cancelled_order_ids) == 6, "the orders have to come, or this shows nothing"
    assert_nothing_is_left(world, "late_01", outcome)


def test_no_order_is_sent_once_the_stop_has_been_asked_for(world: World) -> None:
    # The iteration is still reading when the stop comes; not long enough to be cut short.
    for number in range(1, 8):
        name = world.configure(f"gate_{number:02}")
        world.exchange.set_faults(fault(DEPTH, "latency", latency_ms=350))
        world.start(name)
        world.wait_for_request(DEPTH)
        outcome = world.stop(name)
        world.exchange.clear_faults()
        assert_nothing_is_left(world, name, outcome)
        accepted = world.exchange.accepted(outcome.slot)
        assert [entry for entry in accepted if entry.signed_at_ms > (outcome.requested_at_ms or 0)] == []
        if not accepted:
            return
    # A busy machine may bring a stop too late, but not each time.
    raise AssertionError("none was stopped while its iteration was still reading")


def test_a_second_stop_joins_the_first(world: World) -> None:
    world.exchange.set_faults(fault(PLACE_BATCH, "hang"))
    world.configure("twice_01")
    epoch = world.start("twice_01")
    world.wait_for_request(PLACE_BATCH)
    first, second = world.request_stop("twice_01"), world.request_stop("twice_01")
    assert (first.result, second.result, second.epoch) == ("stopping", "joined", epoch)
    outcome = world.wait_stopped("twice_01")
    assert outcome.is_clean
    assert world.request_stop("twice_01").result == "stopped"
    events = world.context.events.of_instance("twice_01")
    assert [event.event for event in events].count("stop_requested") == 1


def test_cancels_that_are_acknowledged_before_they_happen_are_waited_for(world: World) -> None:
    instance_id = world.run("cancel_202_01")
    world.exchange.set_faults(fault(CANCEL_ONE, "cancel_202", delay_ms=700))
    outcome = world.stop(instance_id)
    assert_nothing_is_left(world, instance_id, outcome)


def test_a_list_that_cannot_be_had_is_never_taken_for_an_empty_one(world: World) -> None:
    instance_id = world.run("no_list_01")
    # The known orders are cancelled at once, so that only the lists stand between here and clean.
    world.exchange.set_faults(fault(LIST_OPEN, "error", status=503, count=5))
    world.request_stop(instance_id)
    failed_at = time.monotonic()
    outcome = world.wait_stopped(instance_id)
    assert time.monotonic() - failed_at > 1, "five failures in a row take their pauses"
    assert_nothing_is_left(world, instance_id, outcome)


def test_while_lists_fail_the_instance_is_not_called_stopped(world: World) -> None:
    instance_id = world.run("no_list_02")
    world.exchange.set_faults(fault(LIST_OPEN, "error", status=503))
    world.request_stop(instance_id)
    world.wait_for_event(instance_id, "cleanup_step", step="fence_passed")
    holds_for(
        lambda: world.record(instance_id).stopped_at_ms is None, 1, what="a stop that nobody can verify"
    )
    world.exchange.clear_faults()
    assert_nothing_is_left(world, instance_id, world.wait_stopped(instance_id))


def test_lists_that_lag_behind_do_not_make_a_stop_look_clean(world: World) -> None:
    # As late as the orders are young: at the stop the lists still show a book without them.
    world.exchange.set_faults(fault(LIST_OPEN, "stale_list", delay_ms=400))
    instance_id = world.run("stale_list_01")
    outcome = world.stop(instance_id)
    assert_nothing_is_left(world, instance_id, outcome)


def test_orders_placed_during_the_stop_are_cancelled_although_lists_do_not_show_them_yet(
    world: World,
) -> None:
    # Their answer arrives after the cleanup has begun and before it cuts the iteration short.
    stale = fault(LIST_OPEN, "stale_list", delay_ms=1500)
    outcome = stop_in_time(world, "stale_placed", fault(PLACE_BATCH, "latency", latency_ms=200), stale)
    assert not outcome.had_unresolved
    assert len(world.exchange.accepted(outcome.slot)) == 6


def test_orders_whose_cancel_failed_are_cancelled_again_although_lists_do_not_show_them_yet(
    world: World,
) -> None:
    instance_id = world.run("stale_list_03", interval="5")
    world.exchange.set_faults(
        fault(CANCEL_ONE, "error", status=503, count=6), fault(LIST_OPEN, "stale_list", delay_ms=3000)
    )
    assert_nothing_is_left(world, instance_id, world.stop(instance_id))


def test_an_exchange_that_hangs_for_seconds_during_the_cleanup_ends_clean(world: World) -> None:
    instance_id = world.run("frozen_01")
    world.exchange.set_faults(fault(EVERYTHING, "hang"))
    world.request_stop(instance_id)
    world.wait_for_event(instance_id, "cleanup_claimed")
    holds_for(lambda: world.record(instance_id).stopped_at_ms is None, 2.5, what="the stop under way")
    world.exchange.clear_faults()
    outcome = world.wait_stopped(instance_id)
    assert outcome.result is Result.CLEAN
    assert_nothing_is_left(world, instance_id, outcome)


def test_a_cleanup_whose_worker_is_killed_is_taken_up_again(world: World) -> None:
    instance_id = world.run("killed_cleanup_01")
    world.exchange.set_faults(fault(CANCEL_ONE, "hang"), fault(LIST_OPEN, "hang"))
    world.request_stop(instance_id)
    world.wait_for_event(instance_id, "cleanup_claimed")
    killed_at_s = time.monotonic()
    world.stack.processes["cleanup"].kill()
    world.exchange.clear_faults()
    outcome = world.wait_stopped(instance_id)
    tell(f"clean {time.monotonic() - killed_at_s:.1f} s after the cleanup's worker was killed")
    assert outcome.attempt == 2
    assert_nothing_is_left(world, instance_id, outcome)


def test_a_stop_survives_the_end_of_the_iteration_worker_in_the_middle_of_a_placement(world: World) -> None:
    world.exchange.set_faults(fault(PLACE_BATCH, "late", delay_ms=1200), fault(FIND_ONE, "hang"))
    world.configure("killed_placing_01", exchange={"default_window": 2000})
    world.start("killed_placing_01")
    world.wait_for_request(FIND_ONE)
    slot = world.slot("killed_placing_01")
    world.stack.processes["iterate"].kill()
    world.request_stop("killed_placing_01")
    eventually(lambda: world.exchange.accepted(slot), what="the orders of the killed iteration")
    outcome = world.wait_stopped("killed_placing_01")
    assert outcome.had_unresolved
    assert len(outcome.cancelled_order_ids) == 6
    assert_nothing_is_left(world, "killed_placing_01", outcome)
