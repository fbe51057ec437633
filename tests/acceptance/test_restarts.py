"""Start and stop in quick succession: one chain, clean each time."""

from __future__ import annotations

import statistics
import time

import pytest

from tests.acceptance.world import World, assert_one_chain, holds_for, tell

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
            world.wait_for_event(instance_id, "started")
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


def test_starting_a_running_instance_changes_nothing(world: World) -> None:
    instance_id = world.run("again_01")
    before = world.record(instance_id)
    world.configure(instance_id, spread="2")
    result = world.try_start(instance_id)
    assert not result.started
    after = world.record(instance_id)
    assert (after.epoch, after.config_version) == (before.epoch, before.config_version)
    assert world.stop(instance_id).is_clean
