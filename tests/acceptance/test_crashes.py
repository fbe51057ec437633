"""Processes die without a word: the instances go on within seconds, each in exactly one chain."""

from __future__ import annotations

import pytest

from tests.acceptance.simulated_exchange import FILLS, fault
from tests.acceptance.world import World, assert_one_chain, crash_server, eventually, tell

pytestmark = pytest.mark.acceptance

#: Promised are 5 s to a machine that has time; four tests share two cores here. What it takes is told, and
#: measured in bench/CRASH_MATRIX.md.
PATIENCE_S = 20.0
#: An iteration counts as pending when it is at least this far from being due.
MARGIN_MS = 400
ORDERS_PER_INSTANCE = 6


def start_many(world: World, prefix: str, count: int) -> list[str]:
    """Start instances with a pace that leaves all of them pending most of the time."""
    return [world.run(f"{prefix}_{number:02}", interval="1.5") for number in range(1, count + 1)]


def wait_until_all_are_pending(world: World, instances: list[str]) -> None:
    """Return at a moment when every instance waits in a worker for its next iteration."""

    def all_pending() -> bool:
        now_ms = world.context.instances.now_ms()
        records = [world.record(instance_id) for instance_id in instances]
        return all(
            record.lease_until_ms == 0 and (record.due_at_ms or 0) - now_ms > MARGIN_MS for record in records
        )

    eventually(all_pending, what="a moment with every iteration pending")


def assert_all_iterate(world: World, instances: list[str], since_ms: int, within_s: float) -> None:
    """Check that each iterates again in time, and keeps its pace in one chain."""
    waits_ms = [world.wait_for_commit_after(i, since_ms, within_s) for i in instances]
    tell(f"iterating again after {', '.join(str(wait) for wait in waits_ms)} ms")
    assert max(waits_ms) <= within_s * 1000
    two_later = {instance_id: len(world.commits(instance_id)) + 2 for instance_id in instances}
    eventually(
        lambda: all(len(world.commits(name)) >= count for name, count in two_later.items()),
        what="two further iterations of each",
    )
    for instance_id in instances:
        trace = world.context.events.trace(instance_id)
        assert_one_chain(trace, lease_ms=world.context.settings.lease_ms)
        assert world.exchange.most_open_at_once(world.slot(instance_id)) == ORDERS_PER_INSTANCE


def test_instances_go_on_after_the_iteration_worker_was_killed(world: World) -> None:
    instances = start_many(world, "orphan", 3)
    wait_until_all_are_pending(world, instances)
    killed_at_ms = world.context.instances.now_ms()
    world.stack.processes["iterate"].kill()
    assert_all_iterate(world, instances, killed_at_ms, PATIENCE_S)
    for instance_id in instances:
        assert world.stop(instance_id).is_clean


@pytest.mark.parametrize("down_s", [1.5, 7.0])
def test_instances_go_on_soon_after_an_outage_of_the_state_server_however_long(
    world: World, down_s: float
) -> None:
    instances = start_many(world, f"outage_{down_s:.0f}", 3)
    workers = {name: world.stack.processes[name].pid for name in ("iterate", "cleanup")}
    wait_until_all_are_pending(world, instances)
    restarted_at_ms = crash_server(world, down_s=down_s)
    assert_all_iterate(world, instances, restarted_at_ms, PATIENCE_S)
    assert {name: world.stack.processes[name].pid for name in workers} == workers
    for instance_id in instances:
        assert world.stop(instance_id).is_clean


def test_a_stop_asked_for_just_before_the_state_server_was_killed_is_carried_out(world: World) -> None:
    instance_id = world.run("outage_stop_01")
    world.request_stop(instance_id)
    crash_server(world, down_s=0.5)
    outcome = world.wait_stopped(instance_id)
    assert outcome.is_clean
    assert world.exchange.open_order_ids(slot=world.slot(instance_id)) == set()


def test_an_iteration_killed_in_the_middle_runs_again_once_its_lease_is_over(world: World) -> None:
    world.configure("cut_01")
    world.exchange.set_faults(fault(FILLS, "hang"))
    world.start("cut_01")
    # The feed asks for fills, too, and may be the first.
    trace_of = world.context.events.trace
    eventually(lambda: [e for e in trace_of("cut_01") if e["event"] == "claimed"], what="an iteration")
    world.wait_for_request(FILLS)
    killed_at_ms = world.context.instances.now_ms()
    world.stack.processes["iterate"].kill()
    world.exchange.clear_faults()
    settings = world.context.settings
    recovery_s = (settings.lease_ms + settings.sweep_grace_ms) / 1000 + PATIENCE_S
    waited_ms = world.wait_for_commit_after("cut_01", killed_at_ms, recovery_s)
    tell(f"iterating again after {waited_ms} ms")
    trace = trace_of("cut_01")
    claimed_ms, again_ms, *_ = [int(entry["at_ms"]) for entry in trace if entry["event"] == "claimed"]
    assert claimed_ms + settings.lease_ms <= again_ms, "nobody may take over before the lease is over"
    assert_one_chain(trace, lease_ms=settings.lease_ms)
    assert world.stop("cut_01").is_clean
