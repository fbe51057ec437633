"""Workers are restarted one after the other, as a deployment does: no iteration is left out.

With 200 instances, and `celery multi`: bench/rolling_restart.py.
"""

from __future__ import annotations

import signal
import time
from itertools import pairwise

import pytest

from cli.stack.processes import ManagedProcess
from tests.acceptance.workers import Worker, second_worker
from tests.acceptance.world import World, assert_one_chain, eventually, tell

pytestmark = pytest.mark.acceptance

INSTANCES = 10
INTERVAL_MS = 3_000


def claims_ms(world: World, instance_id: str) -> list[int]:
    """Return when the scheduled iterations of an instance began, ms."""
    trace = world.context.events.trace(instance_id)
    return [int(entry["at_ms"]) for entry in trace if entry["event"] == "claimed" and entry["kind"] == "tick"]


def wait_for_further(world: World, names: list[str], count: int) -> None:
    """Return once each instance has begun `count` more iterations."""
    wanted = {name: len(claims_ms(world, name)) + count for name in names}
    eventually(
        lambda: all(len(claims_ms(world, name)) >= wanted[name] for name in names),
        what=f"{count} further iterations of each",
    )


def restart(world: World, process: ManagedProcess) -> float:
    """End a worker by SIGTERM and start another in its place; return how long its end took, s."""
    worker = Worker(world, process)
    asked_s = time.monotonic()
    process.send(signal.SIGTERM)
    worker.wait_ended()
    took_s = time.monotonic() - asked_s
    assert "WorkerLostError" not in worker.log
    # Where a supervisor has not done so already.
    process.start()
    Worker(world, process).wait_ready()
    return took_s


def test_no_iteration_is_left_out_while_workers_are_restarted_in_turn(world: World) -> None:
    names = [
        world.configure(f"rolling_{number}", interval=INTERVAL_MS / 1000, max_orders=1)
        for number in range(INSTANCES)
    ]
    with second_worker(world, "iterate") as second:
        first = Worker(world, world.stack.processes["iterate"])
        first.wait_ready()
        for name in names:
            world.start(name)
        wait_for_further(world, names, 1)
        since_ms = world.context.instances.now_ms()
        took_s = []
        for process in (first.process, second.process, first.process):
            took_s.append(restart(world, process))
            wait_for_further(world, names, 2)
        late_ms = []
        for name in names:
            assert_one_chain(world.context.events.trace(name), lease_ms=world.context.settings.lease_ms)
            gaps = [after - before for before, after in pairwise(claims_ms(world, name)) if after > since_ms]
            late_ms.append(max(gaps) - INTERVAL_MS)
        tell(
            f"{INSTANCES} instances, 3 restarts of {', '.join(f'{each:.1f}' for each in took_s)} s: "
            f"{max(late_ms)} ms late at most"
        )
        assert max(late_ms) < INTERVAL_MS, "an iteration was left out"
        for name in names:
            assert world.stop(name).is_clean
    slots = {world.slot(name) for name in names}
    assert [world.exchange.open_order_ids(slot=slot) for slot in slots] == [set()] * INSTANCES
