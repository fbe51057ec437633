"""One chain in the bench's own process, where every trip to the state server and to the exchange is seen."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from bench.command_counts import Trips
from cli.stack.stack import Stack
from logs import configure
from metrics.families import REQUESTS_S
from metrics.numbers import NUMBERS
from runner.context import Context, open_context
from runner.iteration import run_iteration
from runner.lifecycle import start_instance
from state.record import Phase
from state.stop_policy import StopPolicy

#: Iterations before those that count: orders are placed, connections opened.
WARM_UP = 5
DEADLINE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class IterationTrips:
    """What iterations that have nothing to do asked others for, each of them."""

    #: Of the runner to the state server; publishing is Celery's.
    state_server: tuple[int, ...]
    exchange: tuple[int, ...]


def one_chain(stack: Stack, name: str, *, rounds: int) -> IterationTrips:
    """Run iterations here, one after the other, as they come due; no worker may do it meanwhile."""
    worker = stack.processes["iterate"]
    worker.stop()
    configure(replace(stack.settings(), log_level="ERROR"))
    context = open_context(stack.settings())
    trips = Trips(context.client)
    start_instance(context, name, by="bench")
    record = context.instances.read(name)
    assert record is not None  # it was started
    tick = record.tick
    of_each: list[int] = []
    requests_of_each: list[int] = []
    for number in range(WARM_UP + rounds):
        before, asked = trips.count, _requests()
        (following,) = run_iteration(
            context, name, epoch=record.epoch, tick=tick, own_task_id=f"bench-{number}"
        )
        if number >= WARM_UP:
            of_each.append(trips.count - before)
            requests_of_each.append(_requests() - asked)
        assert following.tick is not None  # nobody wakes it
        tick = following.tick
        time.sleep(following.countdown_s)
    context.instances.request_stop(name, by="bench", reason="bench", policy=StopPolicy())
    _wait_stopped(context, name)
    worker.start()
    return IterationTrips(state_server=tuple(of_each), exchange=tuple(requests_of_each))


def _requests() -> int:
    """Return how many answers of the exchange this process has counted."""
    return round(sum(sum(v[:-1]) for key, v in NUMBERS.copy().items() if key[0] == REQUESTS_S.name))


def _wait_stopped(context: Context, name: str) -> None:
    end_s = time.monotonic() + DEADLINE_S
    while (record := context.instances.read(name)) is None or record.phase is not Phase.STOPPED:
        if time.monotonic() > end_s:
            raise RuntimeError(f"{name} does not stop")
        time.sleep(0.05)
