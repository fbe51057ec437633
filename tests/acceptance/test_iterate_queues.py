"""Iterations divided by account: each worker for some accounts, and another division while instances run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from cli.stack.processes import ManagedProcess
from state import keys
from state.queues import CLEANUP, all_queues, iterate_queue
from tests.acceptance.conftest import LIVE_KEYS
from tests.acceptance.other_stack import own_world
from tests.acceptance.workers import Worker
from tests.acceptance.world import World, eventually, holds_for

pytestmark = pytest.mark.acceptance

#: Into so many the simulated exchange's two accounts go to two queues.
QUEUES = 8
#: Longer than the sweep waits before it sends what nobody claims again.
SWEPT_S = 3.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A stack whose iterations are divided."""
    with own_world(tmp_path, LIVE_KEYS | {"CLEANBOOK_ITERATE_QUEUES": str(QUEUES)}) as world:
        yield world


@contextmanager
def worker_of(world: World, *queues: str, divided_into: int = QUEUES) -> Iterator[Worker]:
    """Run a worker of some queues, which ends with the block."""
    spec = world.stack.processes["iterate"].spec
    name = queues[0]
    begin = spec.command[: spec.command.index("-X")]
    command = (*begin, "-Q", ",".join(queues), "-c", "1", "-n", f"{name}@%h", "--without-gossip")
    environ = {**spec.environ, "CLEANBOOK_ITERATE_QUEUES": str(divided_into)}
    process = ManagedProcess(replace(spec, name=name, command=command, environ=environ), world.stack.log_dir)
    process.start()
    worker = Worker(world, process)
    try:
        worker.wait_ready()
        yield worker
    finally:
        process.stop()


def run_both(world: World) -> tuple[str, str]:
    """Run an instance on each of the two accounts, and return them."""
    demo = world.run("queue_demo_01")
    keys = {"api_key": "${BACKPACK_KEY}", "secret_key": "${BACKPACK_SECRET}"}
    other = world.configure(
        "queue_other_01", exchange={**keys, "base_url": world.stack.simulator_url}, top={"live": True}
    )
    world.start(other)
    eventually(lambda: world.commits(other), what="an iteration on the other account")
    return demo, other


def queue_for(world: World, instance_id: str, divided_into: int = QUEUES) -> str:
    """Return the queue of an instance's iterations."""
    return iterate_queue(world.record(instance_id).account, divided_into)


def iterates(world: World, instance_id: str) -> bool:
    """Tell whether there is an iteration after this moment."""
    now_ms = world.context.instances.now_ms()
    return world.wait_for_commit_after(instance_id, now_ms, 60) > 0


def who_iterated(worker: Worker) -> set[str]:
    """Return whose iterations a worker has logged."""
    return {line["instance"] for line in worker.iterations()}


def test_an_iteration_knows_which_queue_it_came_through(world: World) -> None:
    for name in run_both(world):
        assert world.context.client.hget(keys.record(name), "queue") == queue_for(world, name)


def test_a_worker_iterates_for_the_accounts_of_its_queues_alone(world: World) -> None:
    # Given a worker for everything but cleanups, it serves every part.
    assert world.serving_queues() == set(all_queues(QUEUES))
    demo, other = run_both(world)
    with ExitStack() as workers:
        of_demo = workers.enter_context(worker_of(world, queue_for(world, demo)))
        of_other = workers.enter_context(worker_of(world, queue_for(world, other)))
        # When only those for some accounts are left,
        world.stack.processes["iterate"].stop()
        eventually(lambda: {demo} <= who_iterated(of_demo), what="iterations of the one")
        eventually(lambda: {other} <= who_iterated(of_other), what="iterations of the other")
        # Then each keeps to its own, and the end of one is nothing to the other.
        assert who_iterated(of_demo) == {demo}
        assert who_iterated(of_other) == {other}
        of_other.process.stop()
        seq = world.record(other).seq
        assert iterates(world, demo)
        holds_for(lambda: world.record(other).seq == seq, SWEPT_S, what="the rest of the other")
        assert who_iterated(of_demo) == {demo}
        assert world.stop(demo).is_clean
        assert world.stop(other).is_clean, "cleanups have one queue for all"


def test_another_number_of_queues_loses_nothing(world: World) -> None:
    demo, other = run_both(world)
    world.stack.processes["iterate"].stop()
    for count in (3, 1):
        # Messages wait in queues that nobody serves any more.
        queues = {queue_for(world, each, count) for each in (demo, other)}
        with worker_of(world, *sorted(queues), divided_into=count):
            assert iterates(world, demo)
            assert iterates(world, other)
            assert world.serving_queues() == {*queues, CLEANUP}
    with worker_of(world, "iterate", divided_into=1):
        assert world.stop(demo).is_clean
        assert world.stop(other).is_clean
