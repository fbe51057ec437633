"""The stream of lifecycle events, and the heartbeats of the workers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from state import keys

#: What reading JSON of another version, or a damaged one, raises.
UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
#: Of a time or an epoch.
MOST_DIGITS = 18
#: Events kept of all instances together; beyond, the oldest go.
MOST_EVENTS = 100_000
#: What every event in the stream says.
COMMON_FIELDS = frozenset({"event", "instance", "epoch", "at_ms"})
#: What says for programs what another field says for people.
FOR_PROGRAMS = frozenset({"facts", "silence", "silent_s", "queue"})


@dataclass(frozen=True, kw_only=True)
class Event:
    """One thing that happened to an instance."""

    #: Position in the stream; pass it to `read` to go on behind it.
    stream_id: str
    #: ``started``, ``limits``, ``stop_requested``, ``cleanup_claimed``, ``cleanup_step``, ``finished``,
    #: ``alert``, ``paused``, ``withdrawn``, ``resumed``, ``config_changed``, ``guard_watching``,
    #: ``guard_acted``, ``guard_verified``, ``audit``.
    event: str
    instance_id: str
    epoch: int
    #: State server's time, ms.
    at_ms: int
    fields: Mapping[str, str]

    @property
    def details(self) -> dict[str, str]:
        """Return what it says beyond what every event says."""
        return {name: text for name, text in self.fields.items() if name not in COMMON_FIELDS}


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A worker that told us lately that it lives."""

    name: str
    queues: tuple[str, ...]
    #: State server's time of its last heartbeat, ms.
    seen_at_ms: int


class Events:
    """Write and read the stream."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def cleanup_step(self, instance_id: str, *, epoch: int, at_ms: int, step: str, detail: str = "") -> None:
        """Record that a cleanup has come to `step`; watchers see it at once."""
        self._client.xadd(
            keys.EVENTS,
            {
                "event": "cleanup_step",
                "instance": instance_id,
                "epoch": epoch,
                "at_ms": at_ms,
                "step": step,
                "detail": detail,
            },
            maxlen=MOST_EVENTS,
        )

    def limits_changed(
        self,
        instance_id: str,
        *,
        epoch: int,
        at_ms: int,
        cuts: Sequence[str],
        facts: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Record what the limits of an instance cut now, a sentence each; none when they no longer do.

        `facts` has for each sentence what it is made of, for whoever puts it into other words.
        """
        self._client.xadd(
            keys.EVENTS,
            {
                "event": "limits",
                "instance": instance_id,
                "epoch": epoch,
                "at_ms": at_ms,
                "cuts": json.dumps(list(cuts)),
                "facts": json.dumps([dict(each) for each in facts]),
            },
            maxlen=MOST_EVENTS,
        )

    def guard(
        self, event: str, instance_id: str, *, epoch: int, at_ms: int, by: str, details: Mapping[str, str]
    ) -> None:
        """Record what a guard did or saw: ``guard_watching``, ``guard_acted``, ``guard_verified``."""
        common = {"event": event, "instance": instance_id, "epoch": str(epoch), "at_ms": str(at_ms), "by": by}
        self._client.xadd(keys.EVENTS, cast("Any", {**common, **details}), maxlen=MOST_EVENTS)

    def audit(
        self,
        instance_id: str,
        *,
        epoch: int,
        by: str,
        action: str,
        result: str,
        details: Mapping[str, str],
    ) -> None:
        """Record that somebody asked for a change, and what came of it."""
        seconds, microseconds = self._client.time()
        common = {
            "event": "audit",
            "instance": instance_id,
            "epoch": str(epoch),
            "at_ms": str(seconds * 1000 + microseconds // 1000),
            "by": by,
            "action": action,
            "result": result,
        }
        self._client.xadd(keys.EVENTS, cast("Any", {**common, **details}), maxlen=MOST_EVENTS)

    def last_id(self) -> str:
        """Return the position of the newest event, to follow from here on."""
        newest = cast("list[tuple[str, dict[str, str]]]", self._client.xrevrange(keys.EVENTS, count=1))
        return newest[0][0] if newest else "0-0"

    def read(self, after: str, *, block_ms: int | None = None, count: int = 1000) -> tuple[Event, ...]:
        """Return events behind `after`, waiting up to `block_ms` for the first."""
        reply = cast("Any", self._client.xread({keys.EVENTS: after}, count=count, block=block_ms))
        if not reply:
            return ()
        entries = reply[keys.EVENTS][0] if isinstance(reply, dict) else reply[0][1]
        return tuple(_event(stream_id, fields) for stream_id, fields in entries)

    def of_instance(self, instance_id: str, *, limit: int = 1000) -> tuple[Event, ...]:
        """Return the newest events of one instance, oldest first."""
        entries = cast(
            "list[tuple[str, dict[str, str]]]", self._client.xrevrange(keys.EVENTS, count=limit * 10)
        )
        found = [_event(i, f) for i, f in entries if f.get("instance") == instance_id]
        return tuple(reversed(found[:limit]))

    def trace(self, instance_id: str) -> tuple[Mapping[str, str], ...]:
        """Return the newest claims and commits of an instance, oldest first."""
        entries = cast("list[tuple[str, dict[str, str]]]", self._client.xrange(keys.trace(instance_id)))
        return tuple(fields for _, fields in entries)

    def heartbeat(self, worker: str, queues: tuple[str, ...], at_ms: int) -> None:
        """Tell that a worker lives."""
        self._client.hset(keys.WORKERS, worker, json.dumps({"queues": list(queues), "at_ms": at_ms}))

    def forget_worker(self, worker: str) -> None:
        """Tell that a worker ended properly."""
        self._client.hdel(keys.WORKERS, worker)

    def workers(self, *, now_ms: int, within_ms: int = 5_000) -> tuple[Worker, ...]:
        """Return the workers whose last heartbeat is younger than `within_ms`."""
        found = cast("dict[str, str]", self._client.hgetall(keys.WORKERS))
        workers = []
        for name, text in sorted(found.items()):
            try:
                beat = json.loads(text)
                worker = Worker(
                    name=name, queues=tuple(map(str, beat["queues"])), seen_at_ms=int(beat["at_ms"])
                )
            except UNREADABLE:
                continue  # Another version's, or damaged: nobody whose life can be told.
            if now_ms - worker.seen_at_ms <= within_ms:
                workers.append(worker)
        return tuple(workers)


def _event(stream_id: str, fields: Mapping[str, str]) -> Event:
    return Event(
        stream_id=stream_id,
        event=fields.get("event", ""),
        instance_id=fields.get("instance", ""),
        epoch=_whole(fields.get("epoch", "")),
        at_ms=_whole(fields.get("at_ms", "")),
        fields=fields,
    )


def _whole(text: str) -> int:
    """Return a number of an event; 0 for none: an event that is damaged must not hold up those behind it."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else 0
