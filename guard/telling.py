"""What the guard says: to the log at once, to the stream of events as soon as the state server takes it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import redis
import structlog

from guard.account import Act
from guard.watched import Watched
from metrics import families
from state.events import Events

log = structlog.get_logger(__name__)

#: Events that wait for the state server; beyond, the oldest go, and the log has them.
MOST_WAITING = 1_000


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    event: str
    watched: Watched
    details: Mapping[str, str]


class Telling:
    """For the guard's own thread and those of its accounts."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        self._events = Events(client)
        self._name = name
        self._waiting: deque[_Waiting] = deque(maxlen=MOST_WAITING)
        self._lock = threading.Lock()

    def watching(self, one: Watched, after_s: float) -> None:
        """Tell that a run is watched from now on."""
        log.info("instance watched", instance=one.instance_id, epoch=one.epoch, account=one.account)
        self._add("guard_watching", one, {"after_s": f"{after_s:g}"})

    def act(self, act: Act) -> None:
        """Tell what was done."""
        one = act.watched
        families.GUARD_ACTS.add(act.event)
        families.ORDERS_CANCELLED.add("guard", amount=len(act.cancelled))
        log.warning(
            act.event,
            instance=one.instance_id,
            epoch=one.epoch,
            why=act.silence.why,
            cancelled=act.cancelled,
            gone=act.gone,
            unsure=act.unsure,
        )
        lists = {"cancelled": act.cancelled, "gone": act.gone, "unsure": act.unsure}
        said = {name: ",".join(ids) for name, ids in lists.items() if ids}
        silence = act.silence
        # For people and, as what it is and with its figures, for whoever puts it into other words.
        why = {"why": silence.why, "silence": str(silence.reason), "silent_s": f"{silence.lasts_s:.0f}"}
        self._add(act.event, one, {**why, **({"queue": silence.queue} if silence.queue else {}), **said})

    def flush(self, now_ms: int) -> None:
        """Write what waits, with the state server's time of now. Raises `redis.RedisError`."""
        while True:
            with self._lock:
                if not self._waiting:
                    return
                first = self._waiting[0]
            self._events.guard(
                first.event,
                first.watched.instance_id,
                epoch=first.watched.epoch,
                at_ms=now_ms,
                by=self._name,
                details=first.details,
            )
            with self._lock:
                if self._waiting and self._waiting[0] is first:
                    self._waiting.popleft()

    def _add(self, event: str, one: Watched, details: Mapping[str, str]) -> None:
        with self._lock:
            self._waiting.append(_Waiting(event=event, watched=one, details=details))
