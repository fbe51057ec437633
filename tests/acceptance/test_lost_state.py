"""State taken away from under real workers: nothing of it goes on unseen, and every order is found again."""

from __future__ import annotations

import json

import pytest

from runner.receipt import Receipt
from state import keys
from state.record import Phase, RecordUnreadable
from tests.acceptance.command import Command
from tests.acceptance.world import World, eventually, tell

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(240)]


def test_a_damaged_record_is_cleaned_up_by_workers_alone(world: World) -> None:
    instance_id = world.run("damaged_01")
    other = world.run("damaged_other")
    slot = world.slot(instance_id)
    world.context.client.hset(keys.record(instance_id), "due", "soon")
    receipt = eventually(lambda: ended(world, instance_id), what="the cleanup of a damaged record")
    assert receipt.is_clean
    assert "due is soon" in receipt.reason
    assert world.exchange.open_order_ids(slot=slot) == set()
    # The other went on all the while.
    assert world.record(other).phase is Phase.RUNNING
    assert len(world.exchange.open_order_ids(slot=world.slot(other))) == 6
    epoch = world.start(instance_id)
    assert epoch > receipt.epoch
    world.wait_for_orders(instance_id)


def ended(world: World, instance_id: str) -> Receipt | None:
    """Return the receipt of a run that has ended."""
    try:
        record = world.context.instances.read(instance_id)
    except RecordUnreadable:
        return None
    if record is None or record.phase is not Phase.STOPPED:
        return None
    return world.wait_stopped(instance_id)


def test_without_the_lists_of_the_sweep_instances_go_on(world: World) -> None:
    instance_id = world.run("listless_01")
    world.context.client.delete(keys.DUE, keys.INSTANCES)
    at_ms = world.context.instances.now_ms()
    # What is pending in a worker would do for a while; this is for when that dies, too.
    eventually(lambda: world.context.client.zscore(keys.DUE, instance_id), what="a place on the list")
    eventually(
        lambda: world.context.client.sismember(keys.INSTANCES, instance_id), 90, what="the list of instances"
    )
    world.wait_for_commit_after(instance_id, at_ms, 60)
    assert world.stop(instance_id).is_clean


def test_a_record_that_vanishes_is_found_again_by_its_orders(world: World, manage: Command) -> None:
    instance_id = world.run("vanished_01")
    slot = world.slot(instance_id)
    client = world.context.client
    client.delete(*(of(instance_id) for of in (keys.record, keys.config, keys.intents, keys.generations)))
    client.zrem(keys.DUE, instance_id)
    # Nothing says for how long its requests may arrive: the longest that any may.
    receipt = eventually(lambda: ended(world, instance_id), 120, what="the cleanup of a lost record")
    assert receipt.is_clean
    assert world.exchange.open_order_ids(slot=slot) == set()
    listed = json.loads(manage("list", "--json").out)["instances"]
    assert [each["state"] for each in listed if each["instance_id"] == instance_id] == ["stopped"]
    world.start(instance_id)
    world.wait_for_orders(instance_id)


def test_nothing_is_started_on_top_of_orders_that_nobody_knows(world: World, manage: Command) -> None:
    instance_id = world.run("forgotten_01")
    slot = world.slot(instance_id)
    client = world.context.client
    client.zrem(keys.DUE, instance_id)
    client.srem(keys.INSTANCES, instance_id)
    client.delete(*(of(instance_id) for of in (keys.record, keys.config, keys.intents, keys.generations)))
    refused = manage("start", instance_id)
    assert refused.code != 0
    assert "taken for failed" in refused.err + refused.out
    cleaned = manage("cleanup", instance_id, "--json")
    tell(cleaned.err.strip()[-200:])
    assert cleaned.code == 0, cleaned.err
    assert world.exchange.open_order_ids(slot=slot) == set()
    world.start(instance_id)
    world.wait_for_orders(instance_id)
