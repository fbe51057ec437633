"""Starts that wait for the proof of a stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import redis
import structlog

from runner.context import Context
from runner.starting import CALLED_OFF, start_one
from state.connection import AWAY
from state.record import Phase, RecordUnreadable

log = structlog.get_logger(__name__)

#: A stop that takes longer needs people; so does what comes after it.
PATIENCE_S = 180.0
LOOK_EVERY_S = 0.1
#: Restarts that wait at the same time; others wait for these.
AT_ONCE = 16

#: Gets instance, run, who asked, result and why.
Report = Callable[[str, int, str, str, str], None]


class Restarts:
    """Waits in threads of its own, so that requests need not."""

    def __init__(self, context: Context, report: Report) -> None:
        self._context = context
        self._report = report
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="restart")
        self._ended = threading.Event()

    def begin(self, instance_id: str, *, epoch: int, by: str, mark: str) -> None:
        """Start an instance again once its run is stopped clean, as long as `mark` stands in its record."""
        self._threads.submit(self._run, instance_id, epoch, by, mark)

    def end(self) -> None:
        """Wait for no more stops. What was not started stays stopped."""
        self._ended.set()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _run(self, instance_id: str, epoch: int, by: str, mark: str) -> None:
        try:
            why = self._wait(instance_id, epoch, mark) or self._start(instance_id, by, mark)
        except Exception as error:  # noqa: BLE001 - a thread's boundary: whatever it is, people have to see it
            log.warning("restart failed", instance=instance_id, error=type(error).__name__)
            why = str(error)
        try:
            self._report(instance_id, epoch, by, "not_started" if why else "started", why)
        except redis.RedisError as error:
            log.warning("restart not recorded", instance=instance_id, why=why, error=str(error))

    def _wait(self, instance_id: str, epoch: int, mark: str) -> str:
        """Return why it must not be started, empty when it may."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            try:
                record = self._context.instances.read(instance_id)
            except (*AWAY, RecordUnreadable):
                record = None  # it comes back, or the time is over
            if record is not None and record.epoch != epoch:
                return f"run {record.epoch} has begun meanwhile"
            if record is not None and record.phase is Phase.RUNNING:
                return "the state server has lost the request in a crash, and the run goes on; ask again"
            if record is not None and record.restart != mark:
                return CALLED_OFF
            if record is not None and record.phase is Phase.STOPPED:
                return ""
            if self._ended.wait(LOOK_EVERY_S):
                return "the server ended before the stop was proven; the instance is not started again"
        return f"the stop was not proven clean within {PATIENCE_S:g} s; it goes on, and nothing was started"

    def _start(self, instance_id: str, by: str, mark: str) -> str:
        outcome = start_one(self._context, instance_id, by=by, accept=None, restart=mark)
        return "" if outcome.is_running else outcome.message
