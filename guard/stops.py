"""The stops that a guard owes: of runs whose orders it has cancelled."""

from __future__ import annotations

import threading
from collections.abc import Mapping

import structlog

from guard.watched import Watched
from state.instances import Instances
from state.stop_policy import StopPolicy

log = structlog.get_logger(__name__)


class OwedStops:
    """Owed by the accounts' threads, asked for where the state server can be written."""

    def __init__(self, guard: str, after_s: float, owed: Mapping[str, int]) -> None:
        """`owed` are instances with their epochs, remembered by a guard before this one."""
        self._guard = guard
        self._after_s = after_s
        self._owed = dict(owed)
        self._lock = threading.Lock()

    def owe(self, watched: Watched) -> None:
        """Note that a run is to be stopped."""
        with self._lock:
            self._owed[watched.instance_id] = watched.epoch

    def settle(self, name: str) -> None:
        """Forget what is owed of an instance."""
        with self._lock:
            self._owed.pop(name, None)

    def epochs(self) -> dict[str, int]:
        """Return the instances that are to be stopped, with their epochs."""
        with self._lock:
            return dict(self._owed)

    def ask_for_all(self, instances: Instances, watched: Mapping[str, Watched]) -> None:
        """Ask for each stop, of that run and of no other. Raises `redis.RedisError`."""
        for name, epoch in self.epochs().items():
            one = watched.get(name)
            result = instances.request_stop(
                name,
                by=f"guard {self._guard}",
                reason=f"no sign of life for {self._after_s:g} s, its orders were cancelled",
                policy=one.stop_policy if one else StopPolicy(),
                epoch=epoch,
            )
            log.warning("guard stopped", instance=name, epoch=epoch, result=result.result)
            self.settle(name)
