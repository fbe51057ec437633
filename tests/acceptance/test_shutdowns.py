"""A worker is asked to end while it iterates: the iteration ends where it is safe, others go on at once."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
from collections.abc import Iterator

import pytest
from celery import Celery

from tests.acceptance.simulated_exchange import FILLS, LIST_OPEN, PLACE_BATCH, fault
from tests.acceptance.workers import WAYS, Worker, look_for_iteration, two_workers, who_iterates
from tests.acceptance.world import WINDOW_MS, World, assert_one_chain, eventually, holds_for, tell

pytestmark = pytest.mark.acceptance

#: How long a request stays open: time enough to find out who has sent it.
OPEN_MS = 2_500
#: So much of it may be gone when that is known.
FOUND_WITHIN_S = 1.0
#: Much longer than a test waits: what follows sooner follows because somebody was told.
LONG_INTERVAL = "60"
#: Between the usual 0.1 s, on a machine whose cores are taken, and what nobody was told of.
PROMPT_MS = 5_000
#: Iterations that wait in a worker.
PENDING = 200
#: How many requests of a kind a start sends itself; the next one is the iteration's.
OF_A_START = {PLACE_BATCH: 0, LIST_OPEN: 1}


@pytest.fixture
def workers(world: World) -> Iterator[tuple[Worker, Worker]]:
    """Two workers for iterations."""
    with two_workers(world, "iterate") as both:
        yield both


def trace_of(world: World, instance_id: str, event: str) -> list[dict[str, str]]:
    """Return the claims or commits of an instance."""
    return [dict(entry) for entry in world.context.events.trace(instance_id) if entry["event"] == event]


def claims_ms(world: World, instance_id: str) -> list[int]:
    """Return when the iterations of an instance began, ms."""
    return [int(entry["at_ms"]) for entry in trace_of(world, instance_id, "claimed")]


def wait_for_claims(world: World, instance_id: str, count: int) -> list[int]:
    """Return when the iterations of an instance began, once there are `count`."""

    def enough() -> list[int] | None:
        found = claims_ms(world, instance_id)
        return found if len(found) >= count else None

    return eventually(enough, what=f"iteration {count} of {instance_id}")


def wait_for_commit(world: World, instance_id: str) -> dict[str, str]:
    """Return the first commit of an instance."""
    return eventually(lambda: trace_of(world, instance_id, "committed"), what="the first commit")[0]


def begin(
    world: World, prefix: str, workers: tuple[Worker, ...], endpoint: str, interval: str, window_ms: int
) -> tuple[str, Worker, str]:
    """Start an instance; return it, and who runs its first iteration, whose request is open for a while.

    Where a busy machine tells too late who that is, another instance is started.
    """
    for number in range(1, 8):
        name = f"{prefix}_{number}"
        world.configure(name, exchange={"default_window": window_ms}, interval=interval)
        world.exchange.set_faults(fault(endpoint, "latency", latency_ms=OPEN_MS))
        world.start(name)
        wait_for_claims(world, name, 1)
        world.wait_for_request(endpoint, OF_A_START[endpoint] + 1)
        found = look_for_iteration(world, name, workers, FOUND_WITHIN_S)
        if found is not None:
            return name, *found
        world.exchange.clear_faults()
        world.stop(name)
    raise AssertionError(f"nobody told in time who runs {prefix}")


def begin_placing(
    world: World, prefix: str, workers: tuple[Worker, ...], interval: str, window_ms: int = 10_000
) -> tuple[str, Worker, str]:
    """Start an instance; return it, and who runs its first iteration, whose placement is open for a while."""
    return begin(world, prefix, workers, PLACE_BATCH, interval, window_ms)


def end(world: World, worker: Worker, task_id: str, way: str) -> None:
    """End in one of the ways; requests that are not open yet are answered as usual."""
    WAYS[way][0](worker, task_id)
    world.exchange.clear_faults()


def wait_until_over(worker: Worker, way: str) -> None:
    """Check that a worker that has to end does, in time, and that no work of a child got lost."""
    if WAYS[way][1]:
        tell(f"{way}: {worker.hostname} was gone {worker.wait_ended():.1f} s later")
    assert "WorkerLostError" not in worker.log


@pytest.mark.parametrize("way", WAYS)
def test_a_placement_that_is_open_gets_its_answer_and_is_in_the_books(
    world: World, workers: tuple[Worker, Worker], way: str
) -> None:
    name, worker, task_id = begin_placing(world, f"open_{list(WAYS).index(way)}", workers, "4")
    asked_at_ms = world.context.instances.now_ms()
    end(world, worker, task_id, way)
    slot = world.slot(name)
    assert world.exchange.accepted(slot) == [], "too late: the placement was answered already"
    committed = wait_for_commit(world, name)
    assert (committed["resolved"], committed["failed"]) == ("1", "0")
    assert int(committed["at_ms"]) - asked_at_ms <= OPEN_MS + PROMPT_MS
    # The journal is the witness: what was accepted is what the books have.
    accepted = {entry.order_id for entry in world.exchange.accepted(slot)}
    books = json.loads(world.context.instances.run_data(name, slot).books_json)
    assert accepted
    assert set(books["orders"]) == accepted
    first_ms, second_ms, *_ = wait_for_claims(world, name, 2)
    late_ms = second_ms - first_ms - 4_000
    tell(f"{way}: the next iteration was {late_ms} ms late")
    assert late_ms < PROMPT_MS, "the next iteration waited for a sweep"
    wait_until_over(worker, way)
    assert world.stop(name).is_clean
    assert_one_chain(world.context.events.trace(name), lease_ms=world.context.settings.lease_ms)
    assert world.exchange.open_order_ids(slot=slot) == set()


@pytest.mark.parametrize("way", WAYS)
def test_an_iteration_that_has_sent_nothing_yet_sends_nothing_and_another_follows_at_once(
    world: World, workers: tuple[Worker, Worker], way: str
) -> None:
    prefix = f"early_{list(WAYS).index(way)}"
    name, worker, task_id = begin(world, prefix, workers, LIST_OPEN, LONG_INTERVAL, WINDOW_MS)
    end(world, worker, task_id, way)
    assert trace_of(world, name, "committed") == [], "too late: the iteration has ended already"
    committed_ms = int(wait_for_commit(world, name)["at_ms"])
    _, second_ms, *_ = wait_for_claims(world, name, 2)
    tell(f"{way}: another iteration began {second_ms - committed_ms} ms after the one that was cut short")
    assert second_ms - committed_ms < PROMPT_MS
    world.wait_for_orders(name)
    placed = world.exchange.accepted(world.slot(name))
    assert min(entry.at_ms for entry in placed) >= second_ms, "placed by an iteration that was to end"
    wait_until_over(worker, way)
    assert world.stop(name).is_clean


def test_what_waits_in_a_worker_that_ends_is_on_time_elsewhere_while_its_last_task_still_runs(
    world: World, workers: tuple[Worker, Worker]
) -> None:
    ends, takes_over = workers
    # So that everything waits in the worker that will end.
    takes_over.process.send(signal.SIGSTOP)
    waiting = [world.configure(f"waits_{number}", interval="4", max_orders=1) for number in range(10)]
    for name in waiting:
        world.start(name)
        world.wait_for_orders(name, 2)
    slow, _, task_id = begin_placing(world, "slow", (ends,), LONG_INTERVAL)
    takes_over.process.send(signal.SIGCONT)
    takes_over.wait_ready()
    for each in workers:
        each.note_log()
    asked_at_ms = world.context.instances.now_ms()
    end(world, ends, task_id, "SIGTERM to the main process")
    wait_for_commit(world, slow)
    ended_at_ms = world.context.instances.now_ms()
    ends.wait_ended()
    late_ms = []
    for name in waiting:
        known = len([at_ms for at_ms in claims_ms(world, name) if at_ms <= ended_at_ms])
        began_ms = wait_for_claims(world, name, known + 2)
        gaps = [after - before for before, after in itertools.pairwise(began_ms) if after > asked_at_ms]
        late_ms.append(max(gaps) - 4_000)
    tell(f"a shutdown of {ended_at_ms - asked_at_ms} ms: what waited was {max(late_ms)} ms late at most")
    # By their own messages, not by those that a sweep publishes a second later for what nobody has.
    ran = [line for other in workers for line in other.iterations() if line["instance"] in waiting]
    assert {line["instance"] for line in ran} == set(waiting)
    assert [line for line in ran if ".sweep." in line["task_id"]] == []
    for name in (*waiting, slow):
        assert world.stop(name).is_clean


def test_a_worker_that_ends_hands_all_over_in_one_step(world: World, workers: tuple[Worker, Worker]) -> None:
    stays, ends = workers
    client = world.context.client
    # So that all are in the worker that ends; of no run, so that no sweep can help.
    stays.process.send(signal.SIGSTOP)
    with Celery(broker=world.stack.broker_url) as app:
        for number in range(PENDING):
            app.send_task("tasks.iterate", [f"nobody_{number}", 1, 1], queue="iterate", countdown=55)

    def held() -> int:
        return sum("nobody_" in message for message in client.hvals("unacked"))

    # The open request of the other may have got one, which it has not noted yet.
    eventually(lambda: held() >= PENDING - 1, what="all of them in the worker")
    client.config_resetstat()
    ends.process.send(signal.SIGTERM)
    ends.wait_ended()
    # One after the other, each on the condition that nobody takes any meanwhile, they would be late.
    assert "cmdstat_watch" not in client.info("commandstats")
    stays.process.send(signal.SIGCONT)
    eventually(lambda: held() == PENDING, what="all of them in the other worker")


def test_an_idle_child_that_is_asked_to_end_ends(workers: tuple[Worker, Worker]) -> None:
    _, worker = workers
    idle = set(worker.children())
    assert len(idle) == 2

    def others_are_there() -> bool:
        found = set(worker.children())
        # Again: one that has just been forked is not listening yet.
        for child in idle & found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)
        return len(found - idle) == 2

    eventually(others_are_there, what="children in their places")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asking_twice_shortens_nothing(
    world: World, workers: tuple[Worker, Worker], number: signal.Signals
) -> None:
    name, worker, _ = begin_placing(world, f"twice_{number.name.lower()}", workers, "4")
    world.exchange.clear_faults()
    for _ in range(2):
        worker.signal_group(number)
        # Until the first has been heeded.
        holds_for(lambda: trace_of(world, name, "committed") == [], 0.4, what="the open placement")
    committed = wait_for_commit(world, name)
    assert (committed["resolved"], committed["failed"]) == ("1", "0")
    tell(f"{number.name} twice: gone {worker.wait_ended():.1f} s later")
    assert "WorkerLostError" not in worker.log
    assert world.stop(name).is_clean


def test_the_orders_of_a_placement_that_a_cold_shutdown_cut_are_found(
    world: World, workers: tuple[Worker, Worker]
) -> None:
    name, worker, _ = begin_placing(world, "cold", workers, "1", window_ms=3_000)
    slot = world.slot(name)
    worker.signal_group(signal.SIGQUIT)
    world.exchange.clear_faults()
    tell(f"SIGQUIT: gone {worker.wait_ended():.1f} s later")
    wait_for_claims(world, name, 4)
    assert len(world.exchange.accepted(slot)) == 6, "nobody was to send them again"
    assert world.stop(name).is_clean
    assert world.exchange.open_order_ids(slot=slot) == set()
    assert_one_chain(world.context.events.trace(name), lease_ms=world.context.settings.lease_ms)


def test_a_worker_whose_tasks_were_terminated_has_all_its_children_for_others(world: World) -> None:
    # The only one there is: with a child lost each time, nothing would run after the second.
    only = Worker(world, world.stack.processes["iterate"])
    only.wait_ready()
    children = set(only.children())
    world.exchange.set_faults(fault(FILLS, "latency", latency_ms=1_500))
    names = [world.configure(f"terminated_{number}", interval=LONG_INTERVAL) for number in range(3)]
    for name in names:
        world.start(name)
        _, task_id = who_iterates(world, name, (only,))
        WAYS["Terminate in Flower"][0](only, task_id)
        wait_for_commit(world, name)
    world.exchange.clear_faults()
    for name in names:
        world.wait_for_orders(name)
        assert world.stop(name).is_clean
    assert set(only.children()) == children
    assert "WorkerLostError" not in only.log
