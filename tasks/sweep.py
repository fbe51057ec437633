"""The sweep: a thread in the main process of every worker, so that there is no single point of failure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

import redis
import structlog

from runner.context import Context, open_context
from runner.schedule import sweep, sweep_one
from settings import load
from state.connection import AWAY
from tasks.celery import app
from tasks.publishing import BROKER_ERRORS, CeleryPublisher
from tasks.refusing import REFUSALS
from tasks.server_check import tell_of_server

log = structlog.get_logger(__name__)

#: Wait after a failure of the state server; short, since recovery is what the sweep is for.
RETRY_S = 0.2
#: Least time between two sweeps: of many that become due one after the other, each takes some together.
SHORTEST_PAUSE_S = 0.1
#: How much longer the pause is than the sweep: in a backlog all that is late is looked at again and again.
PAUSE_PER_SWEEP = 4
#: Least time between two heartbeats of a worker.
HEARTBEAT_MS = 1_000
#: How often the sweep's own list is compared with what there is, by one worker of all.
LOOK_AGAIN_S = 10.0


class Sweeper:
    """Publishes what nobody works on: as soon as it is due, and whenever a start or stop asks for it."""

    def __init__(self, worker: str, queues: tuple[str, ...]) -> None:
        self._worker = worker
        self._queues = queues
        # No event: its lock would be taken by a signal handler, and a second signal waits for it for ever.
        self._is_ending = False
        self._pause = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweep", daemon=True)
        self._beat_at_ms = 0
        #: 0: at the next chance, and everything.
        self._looked_again_s = 0.0

    def start(self) -> None:
        """Begin sweeping."""
        self._thread.start()

    def end(self) -> None:
        """Let the thread end and take the worker off the list, without waiting for it."""
        self._is_ending = True

    def stop(self) -> None:
        """End the thread and take the worker off the list."""
        self.end()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        settings = load()
        # Its own context: the process's other one belongs to the children that fork later.
        context = open_context(settings)
        publisher = CeleryPublisher(app, iterate_queues=settings.iterate_queues)

        def sweep_until_called() -> None:
            began_s = time.monotonic()
            sweep(context, publisher)
            took_s = time.monotonic() - began_s
            called_now = context.due.wait(timeout_s=_pause_s(context, took_s, settings.sweep_interval_s))
            if called_now is not None:
                # At once, and all the others after it.
                sweep_one(context, publisher, called_now)

        steps = (lambda: self._beat(context), lambda: self._look_again(context), sweep_until_called)
        is_failing = False
        while not self._is_ending:
            error = _first_failure(steps)
            if error is not None:
                if not is_failing:  # one line for an outage, not one for each try
                    expected = isinstance(error, (redis.RedisError, *BROKER_ERRORS))
                    log.warning(
                        "sweep fails, trying on",
                        worker=self._worker,
                        error=f"{type(error).__name__}: {error}",
                        exc_info=None if expected else error,
                    )
                if isinstance(error, AWAY):
                    # It may have been restarted, with what it waited for gone.
                    self._looked_again_s = 0.0
                self._pause.wait(RETRY_S)
            elif is_failing:
                log.info("sweep works again", worker=self._worker)
            is_failing = error is not None
        try:
            context.events.forget_worker(self._worker)
        except redis.RedisError as failed:
            log.info("worker not taken off the list", worker=self._worker, error=str(failed))

    def _look_again(self, context: Context) -> None:
        """Bring back what a sweep would never look at: its list may be lost, or made for another server."""
        if time.monotonic() - self._looked_again_s < LOOK_AGAIN_S:
            return
        at_once = self._looked_again_s == 0.0
        self._looked_again_s = time.monotonic()
        if at_once:
            tell_of_server(context.client, context.settings.state_durability)
        elif not context.due.takes_turn(every_s=LOOK_AGAIN_S):
            return
        lost = context.due.look_again(now_ms=context.instances.now_ms(), at_once=at_once)
        if lost:
            log.warning("instances were not on the sweep's list", count=lost)

    def _beat(self, context: Context) -> None:
        now_ms = context.instances.now_ms()
        if now_ms - self._beat_at_ms >= HEARTBEAT_MS:
            context.events.heartbeat(self._worker, self._queues, now_ms)
            REFUSALS.flush(context.client)
            self._beat_at_ms = now_ms


def _pause_s(context: Context, took_s: float, longest_s: float) -> float:
    """Return how long to wait behind a sweep that `took_s`: until somebody becomes due, if that is soon."""
    now_ms = context.instances.now_ms()
    next_ms = context.due.next_ms(after_ms=now_ms)
    if next_ms is None:
        return longest_s
    return min(longest_s, max(SHORTEST_PAUSE_S, took_s * PAUSE_PER_SWEEP, (next_ms - now_ms) / 1000))


def _first_failure(steps: Iterable[Callable[[], None]]) -> Exception | None:
    """Take every step, and return what failed first.

    One damaged key must not keep the sweep from its work: without it nothing that got lost would come back,
    and no stop would begin.
    """
    first = None
    for step in steps:
        try:
            step()
        except AWAY as error:
            # The others would fail likewise.
            return error
        except Exception as error:  # noqa: BLE001 - the thread's boundary; the caller tells of it
            first = first or error
    return first
