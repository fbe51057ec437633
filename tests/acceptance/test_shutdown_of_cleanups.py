"""A worker is asked to end in the middle of a cleanup: another goes on at once, and the stop ends clean."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from celery import Celery

from tests.acceptance.simulated_exchange import CANCEL_ONE, LIST_OPEN, fault
from tests.acceptance.workers import WAYS, Worker, active_tasks, two_workers
from tests.acceptance.world import World, eventually, tell

pytestmark = pytest.mark.acceptance

#: The time-outs of one request (4 s) on a busy machine; a cleanup that is not asked to end takes 24 s.
PROMISED_S = 16.0


@pytest.fixture
def workers(world: World) -> Iterator[tuple[Worker, Worker]]:
    """Two workers for cleanups."""
    with two_workers(world, "cleanup") as both:
        yield both


def who_cleans_up(world: World, instance_id: str, workers: tuple[Worker, Worker]) -> tuple[Worker, str]:
    """Return the worker that has claimed the cleanup of an instance, and the task's id."""
    by = world.wait_for_event(instance_id, "cleanup_claimed").fields["by"]
    (worker,) = [worker for worker in workers if by == f"worker {worker.hostname}"]
    worker.note_log()
    with Celery(broker=world.stack.broker_url) as app:
        active = eventually(lambda: active_tasks(app, worker.hostname), what="the running cleanup")
    return worker, str(active[0]["id"])


@pytest.mark.parametrize("way", WAYS)
def test_another_worker_takes_over_a_cleanup_that_hangs(
    world: World, workers: tuple[Worker, Worker], way: str
) -> None:
    name = world.run(f"handed_over_{list(WAYS).index(way)}")
    world.exchange.set_faults(fault(CANCEL_ONE, "hang"), fault(LIST_OPEN, "hang"))
    world.request_stop(name)
    worker, task_id = who_cleans_up(world, name, workers)
    asked_s = time.monotonic()
    WAYS[way][0](worker, task_id)
    handed_over = world.wait_for_event(name, "cleanup_step", step="handed_over")
    tell(f"{way}: handed over after {time.monotonic() - asked_s:.1f} s")
    assert time.monotonic() - asked_s < PROMISED_S
    world.exchange.clear_faults()

    def taken_over_ms() -> int | None:
        claims = [e for e in world.context.events.of_instance(name) if e.event == "cleanup_claimed"]
        return int(claims[1].fields["at_ms"]) if len(claims) > 1 else None

    waited_ms = eventually(taken_over_ms, what="another claim") - int(handed_over.fields["at_ms"])
    tell(f"{way}: taken over {waited_ms} ms later")
    assert waited_ms < 4_000, "it waited for the lease"
    outcome = world.wait_stopped(name)
    assert outcome.is_clean
    assert outcome.attempt == 1, "what was handed over is no failed attempt"
    slot = world.slot(name)
    assert world.exchange.open_order_ids(slot=slot) == set()
    stopped_at_ms = world.record(name).stopped_at_ms or 0
    assert [entry for entry in world.exchange.accepted(slot) if entry.at_ms > stopped_at_ms] == []
    if WAYS[way][1]:
        tell(f"{way}: {worker.hostname} was gone {worker.wait_ended():.1f} s later")
    assert "WorkerLostError" not in worker.log


@pytest.mark.parametrize("way", WAYS)
def test_a_cleanup_that_is_almost_done_is_done(
    world: World, workers: tuple[Worker, Worker], way: str
) -> None:
    name = world.run(f"done_{list(WAYS).index(way)}", interval="5")
    world.exchange.set_faults(fault(CANCEL_ONE, "latency", latency_ms=2_500))
    world.request_stop(name)
    worker, task_id = who_cleans_up(world, name, workers)
    WAYS[way][0](worker, task_id)
    assert world.record(name).stopped_at_ms is None, "too late: the cleanup is over"
    outcome = world.wait_stopped(name)
    assert outcome.is_clean
    assert outcome.by == f"worker {worker.hostname}"
    assert "handed_over" not in [step.step for step in outcome.steps]
    assert world.exchange.open_order_ids(slot=world.slot(name)) == set()
    if WAYS[way][1]:
        worker.wait_ended()
    assert "WorkerLostError" not in worker.log
