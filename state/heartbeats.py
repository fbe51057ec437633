"""Signs of life: what changes in an instance's record when somebody works on it, and who works at all."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import redis

from state import keys
from state.record import Phase
from state.stop_policy import StopPolicy

FIELDS = (
    *("phase", "epoch", "slot", "account", "config_version", "seq", "due", "committed_at"),
    *("lease_until", "cleanup_until", "attempts", "stop_policy", "order_ids", "errors", "last_error"),
)


@dataclass(frozen=True, kw_only=True)
class Pulse:
    """What changes when an iteration or a cleanup begins, goes on or ends."""

    epoch: int
    seq: int
    committed_at_ms: int
    lease_until_ms: int
    cleanup_until_ms: int
    #: Cleanups begun since the last stop was asked for.
    attempts: int

    def is_newer_than(self, other: Pulse) -> bool:
        """Tell whether somebody has worked since `other` was read. Asking for a stop is no work."""
        unchanged = (other.epoch, other.seq, other.committed_at_ms, other.lease_until_ms)
        return (
            (self.epoch, self.seq, self.committed_at_ms, self.lease_until_ms) != unchanged
            or self.cleanup_until_ms != other.cleanup_until_ms
            or self.attempts not in (0, other.attempts)
        )


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """An instance as a guard sees it; times in ms of the state server's clock, 0 when never."""

    instance_id: str
    phase: Phase
    slot: int
    account: str
    config_version: str
    due_at_ms: int
    #: True: the stop that is under way leaves own orders where they are.
    keeps_orders: bool
    #: Own orders that the last commit believed open.
    order_ids: tuple[str, ...]
    pulse: Pulse
    #: Iterations that failed in a row.
    errors: int = 0
    #: What the last one that failed said.
    last_error: str = ""

    def owes_nothing(self, now_ms: int) -> bool:
        """Tell whether nobody has to work on it now, or somebody does under a live lease."""
        if max(self.pulse.lease_until_ms, self.pulse.cleanup_until_ms) > now_ms:
            return True
        return self.phase is Phase.STOPPED or (self.phase is Phase.RUNNING and self.due_at_ms > now_ms)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Everything at one moment."""

    #: State server's time, ms.
    now_ms: int
    #: The records that can be read, by instance. One that was asked for and is not here is gone or damaged.
    beats: Mapping[str, Heartbeat]
    #: By queue: the newest heartbeat of the workers that serve it, ms.
    workers: Mapping[str, int]


class Heartbeats:
    """Reads signs of life. Changes nothing; every method raises `redis.RedisError`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def read(self, known: Collection[str] = ()) -> Reading:
        """Return the signs of life of every instance ever started here, and of those in `known`."""
        names = cast("set[str]", self._client.smembers(keys.INSTANCES))
        return self.read_some(names | set(known))

    def read_some(self, names: Collection[str]) -> Reading:
        """Return the signs of life of some instances."""
        ordered = sorted(names)
        pipeline = self._client.pipeline(transaction=False)
        pipeline.time()
        pipeline.hgetall(keys.WORKERS)
        for name in ordered:
            pipeline.hmget(keys.record(name), FIELDS)
        # A key of the wrong type is one damaged record, not a server out of reach.
        time, workers, *rows = pipeline.execute(raise_on_error=False)
        if isinstance(time, Exception):
            raise time
        seconds, microseconds = time
        beats = {}
        for name, row in zip(ordered, rows, strict=True):
            beat = None if isinstance(row, Exception) else _heartbeat(name, row)
            if beat is not None:
                beats[name] = beat
        return Reading(
            now_ms=int(seconds) * 1000 + int(microseconds) // 1000,
            beats=beats,
            workers={} if isinstance(workers, Exception) else _newest(workers),
        )

    def config_json(self, instance_id: str) -> str:
        """Return the configuration the current run was started with, empty when there is none."""
        return cast("str | None", self._client.get(keys.config(instance_id))) or ""


def _heartbeat(instance_id: str, values: Sequence[str | None]) -> Heartbeat | None:
    """Return what a record says, None for one that is missing or damaged: neither shows life."""
    found = {name: value for name, value in zip(FIELDS, values, strict=True) if value is not None}

    def number(name: str) -> int:
        return int(float(found.get(name, 0)))

    try:
        return Heartbeat(
            instance_id=instance_id,
            phase=Phase(found["phase"]),
            slot=int(found["slot"]),
            account=found["account"],
            config_version=found["config_version"],
            due_at_ms=number("due"),
            keeps_orders=not StopPolicy.from_json(found.get("stop_policy", "")).cancel_orders,
            order_ids=tuple(filter(None, found.get("order_ids", "").split(","))),
            pulse=Pulse(
                epoch=int(found["epoch"]),
                seq=number("seq"),
                committed_at_ms=number("committed_at"),
                lease_until_ms=number("lease_until"),
                cleanup_until_ms=number("cleanup_until"),
                attempts=number("attempts"),
            ),
            errors=number("errors"),
            last_error=found.get("last_error", ""),
        )
    except (KeyError, ValueError, TypeError):
        return None


def _newest(workers: Mapping[str, str]) -> dict[str, int]:
    newest: dict[str, int] = {}
    for text in workers.values():
        try:
            beat = json.loads(text)
            for queue in beat["queues"]:
                newest[queue] = max(newest.get(queue, 0), int(beat["at_ms"]))
        except (KeyError, ValueError, TypeError, RecursionError):
            continue  # what cannot be read shows no life
    return newest
