"""Starts that wait for the proof of a stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor

import redis
import structlog

from runner.context import Context
from runner.own_policy import own_policy
from runner.starting import start_one
from state.connection import AWAY
from state.instances import Phase
from state.record import RecordUnreadable

log = structlog.get_logger(__name__)

#: A stop that takes longer needs people; so does what comes after it.
PATIENCE_S = 180.0
LOOK_EVERY_S = 0.1
#: Restarts that wait at the same time; others wait for these.
AT_ONCE = 16
STOPPED_SINCE = "somebody has asked for a stop since"

#: Gets instance, run, who asked, result and why.
Report = Callable[[str, int, str, str, str], None]


class Restarts:
    """Waits in threads of its own, so that requests need not."""

    def __init__(self, context: Context, report: Report) -> None:
        self._context = context
        self._report = report
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="restart")
        self._lock = threading.Lock()
        #: Instance id to what tells its restart that it is given up.
        self._waiting: dict[str, threading.Event] = {}
        self._ended = threading.Event()

    def begin(self, instance_id: str, *, epoch: int, by: str) -> None:
        """Start an instance again once its run is stopped clean; a second request joins the first."""
        with self._lock:
            before = self._waiting.get(instance_id)
            if before is not None and not before.is_set():
                return
            given_up = self._waiting[instance_id] = threading.Event()
        self._threads.submit(self._run, instance_id, epoch, by, given_up)

    def give_up(self, instance_ids: Collection[str] | None = None) -> None:
        """Have instances (None: all) stay stopped: a stop that is asked for later is the last word.

        To be called before that stop. A start that is just then under way is taken back by its thread.
        """
        with self._lock:
            for name, given_up in self._waiting.items():
                if instance_ids is None or name in instance_ids:
                    given_up.set()

    def end(self) -> None:
        """Wait for no more stops. What was not started stays stopped."""
        self._ended.set()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, instance_id: str, epoch: int, by: str, given_up: threading.Event) -> None:
        try:
            why = self._wait(instance_id, epoch, given_up) or self._start(instance_id, by, given_up)
        except Exception as error:  # noqa: BLE001 - a thread's boundary: whatever it is, people have to see it
            log.warning("restart failed", instance=instance_id, error=type(error).__name__)
            why = str(error)
        finally:
            with self._lock:
                if self._waiting.get(instance_id) is given_up:
                    del self._waiting[instance_id]
        try:
            self._report(instance_id, epoch, by, "not_started" if why else "started", why)
        except redis.RedisError as error:
            log.warning("restart not recorded", instance=instance_id, why=why, error=str(error))

    def _wait(self, instance_id: str, epoch: int, given_up: threading.Event) -> str:
        """Return why it must not be started, empty when it may."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            if given_up.is_set():
                return STOPPED_SINCE
            try:
                record = self._context.instances.read(instance_id)
            except (*AWAY, RecordUnreadable):
                record = None  # it comes back, or the time is over
            if record is not None and record.epoch != epoch:
                return f"run {record.epoch} has begun meanwhile"
            if record is not None and record.phase is Phase.STOPPED:
                return ""
            if self._ended.wait(LOOK_EVERY_S):
                return "the server ended before the stop was proven; the instance is not started again"
        return f"the stop was not proven clean within {PATIENCE_S:g} s; it goes on, and nothing was started"

    def _start(self, instance_id: str, by: str, given_up: threading.Event) -> str:
        outcome = start_one(self._context, instance_id, by=by, accept=None)
        if given_up.is_set() and outcome.result == "started":
            instances = self._context.instances
            policy = own_policy(instances.config_json(instance_id))
            instances.request_stop(
                instance_id, epoch=outcome.epoch, by=by, reason=STOPPED_SINCE, policy=policy
            )
            return STOPPED_SINCE
        return "" if outcome.is_running else outcome.message
