"""Start and stop in quick succession: one chain, clean each time."""

from __future__ import annotations

import statistics
import time

import pytest
from celery import Celery

from state.leases import EARLY_MS
from tests.acceptance.simulated_exchange import DEPTH, fault
from tests.acceptance.world import World, assert_one_chain, eventually, holds_for, tell

pytestmark = pytest.mark.acceptance

ROUNDS = 50


def test_fifty_starts_and_stops_in_a_row_end_clean_each_time(world: World) -> None:
    instance_id = world.configure("fifty_01", max_orders=1)
    took_s: list[float] = []
    for number in range(1, ROUNDS + 1):
        began_s = time.monotonic()
        assert world.start(instance_id) == number
        # In turns: stopped before anything happened, in the first iteration, and with orders on the book.
        if number % 3 == 1:
            world.wait_for_orders(instance_id, 2)
        elif number % 3 == 2:
            eventually(lambda: world.record(instance_id).seq > 0, what="the first iteration")
        outcome = world.stop(instance_id)
        took_s.append(time.monotonic() - began_s)
        assert outcome.is_clean
        assert outcome.epoch == number
        assert outcome.orders_left == ()
    slot = world.slot(instance_id)
    assert_one_chain(world.context.events.trace(instance_id), lease_ms=world.context.settings.lease_ms)
    assert world.exchange.most_open_at_once(slot) == 2
    accepted = len(world.exchange.accepted(slot))
    assert accepted >= ROUNDS // 3 * 2
    holds_for(lambda: world.exchange.open_order_ids(slot=slot) == set(), 1.5, what="an empty book")
    assert len(world.exchange.accepted(slot)) == accepted
    tell(f"a round takes {statistics.median(took_s) * 1000:.0f} ms, at most {max(took_s) * 1000:.0f} ms")


def test_messages_that_come_twice_late_or_early_change_nothing(world: World) -> None:
    instance_id = world.configure("doubled_01", interval="0.4")
    # Iterations long enough for a doubled message to meet a running one.
    world.exchange.set_faults(fault(DEPTH, "latency", latency_ms=150))
    epoch = world.start(instance_id)
    world.wait_for_orders(instance_id)
    with Celery(broker=world.stack.broker_url) as sender:
        for _ in range(60):
            tick = world.record(instance_id).tick
            for number in (tick, tick + 1, max(0, tick - 1)):
                sender.send_task("tasks.iterate", args=[instance_id, epoch, number], queue="iterate")
            sender.send_task("tasks.iterate", args=[instance_id, epoch + 1, tick], queue="iterate")
            sender.send_task("tasks.cleanup", args=[instance_id, epoch], queue="cleanup")
            time.sleep(0.05)
    record, trace = world.record(instance_id), world.context.events.trace(instance_id)
    assert_one_chain(trace, lease_ms=world.context.settings.lease_ms)
    for entry in trace:
        if entry.get("kind") == "tick":
            due_ms = (record.started_at_ms or 0) + int(entry["tick"]) * 400
            assert int(entry["at_ms"]) >= due_ms - EARLY_MS, f"before it was due at {due_ms}: {entry}"
    assert world.exchange.most_open_at_once(world.slot(instance_id)) == 6
    assert world.stop(instance_id).is_clean


def test_starting_a_running_instance_changes_nothing(world: World) -> None:
    instance_id = world.run("again_01")
    before = world.record(instance_id)
    world.configure(instance_id, spread="2")
    result = world.try_start(instance_id)
    assert not result.started
    after = world.record(instance_id)
    assert (after.epoch, after.config_version) == (before.epoch, before.config_version)
    assert world.stop(instance_id).is_clean
