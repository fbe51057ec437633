"""Who is due for a sweep, and the wake-up call for sweepers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import redis

from state import keys
from state.record import Phase
from state.scripts import Scripts

#: The first repeated message after this long without a claim; each further one waits twice as long.
RESEND_MS = 1_000
LONGEST_RESEND_MS = 30_000
#: What could not be sent is tried again after this; a broker that was away long must not make anybody wait.
UNSENT_RETRY_MS = 500
#: Calls that are kept, by the scripts that make them.
MOST_CALLS = 1_000
#: The client takes a longer silence for a dead server (`FAILOVER_TIMEOUT_S`).
LONGEST_WAIT_S = 2.0


@dataclass(frozen=True, kw_only=True)
class IterateAgain:
    """An iteration nobody works on: publish it (again)."""

    instance_id: str
    account: str
    epoch: int
    #: None: a wake-up that nobody has taken.
    tick: int | None
    task_id: str


@dataclass(frozen=True, kw_only=True)
class CleanUp:
    """A stop nobody works on: publish its cleanup (again)."""

    instance_id: str
    epoch: int
    #: The scheduled iteration that should be revoked, empty when there is none.
    pending_task_id: str


@dataclass(frozen=True, kw_only=True)
class Damaged:
    """An instance whose record cannot be used: take it for failed."""

    instance_id: str
    why: str


class Due:
    """Find what has to be published, safely run by every worker at once."""

    def __init__(self, client: redis.Redis, scripts: Scripts, *, grace_ms: int) -> None:
        self._client = client
        self._scripts = scripts
        self._grace_ms = grace_ms

    def wait(self, *, timeout_s: float) -> str | None:
        """Return an instance for which a sweep is asked, None when none is within `timeout_s` or 2 s.

        There may be more of them: `take_calls`.
        """
        call = cast("Any", self._client.blpop([keys.WAKE], timeout=min(timeout_s, LONGEST_WAIT_S)))
        return str(call[1]) if call else None

    def take_calls(self) -> tuple[str, ...]:
        """Take what was asked for so far, the oldest call first, each instance once.

        Each call was made after its instance had become due, so one that is taken and lost is swept all the
        same, behind everybody who is due for longer.
        """
        calls = cast("list[str] | None", self._client.rpop(keys.WAKE, MOST_CALLS))
        return tuple(dict.fromkeys(calls or ()))

    def ids(self, *, now_ms: int, limit: int = 5000) -> tuple[str, ...]:
        """Return the instances that are due at `now_ms`, the most overdue first."""
        found = self._client.zrange(keys.DUE, "-inf", now_ms, byscore=True, offset=0, num=limit)
        return tuple(cast("list[str]", found))

    def next_ms(self, *, after_ms: int) -> int | None:
        """Return when the first one becomes due behind `after_ms`, None where nothing is waited for."""
        found = self._client.zrange(
            keys.DUE, f"({after_ms}", "+inf", byscore=True, offset=0, num=1, withscores=True
        )
        return next((int(score) for _, score in cast("list[tuple[str, float]]", found)), None)

    def takes_turn(self, *, every_s: float) -> bool:
        """Tell whether this caller is the one of all that looks again: one is, about every `every_s`."""
        # A little less, or who comes round exactly then would be too early each second time.
        return bool(self._client.set(keys.LOOKED, 1, nx=True, px=int(every_s * 900)))

    def look_again(self, *, now_ms: int, at_once: bool = False) -> int:
        """Have a sweep look at every instance that goes on and that it has lost; return how many there were.

        `at_once`: also at the others, whatever they wait for: the state server may be another process, so
        that leases have ended. Nothing but what a script then says comes of it.
        """
        names = self._instances()
        if not names:
            return 0
        found = self._client.zmscore(keys.DUE, names)
        lost = [name for name, score in zip(names, found, strict=True) if score is None]
        pipeline = self._client.pipeline(transaction=False)
        for name in lost:
            pipeline.hget(keys.record(name), "phase")
        phases = pipeline.execute(raise_on_error=False)
        back = {name for name, phase in zip(lost, phases, strict=True) if phase != Phase.STOPPED}
        if at_once:
            back |= set(names) - set(lost)
        if back:
            self._client.zadd(keys.DUE, dict.fromkeys(back, now_ms), lt=True)
        return len(back & set(lost))

    def _instances(self) -> list[str]:
        """Return every instance that has a record, also where the list of them is lost."""
        known = cast("set[str]", self._client.smembers(keys.INSTANCES))
        records = self._client.scan_iter(keys.record("*"), count=1000)
        there = {name for name in (keys.instance_of(str(key)) for key in records) if name}
        if there - known:
            self._client.sadd(keys.INSTANCES, *(there - known))
        return sorted(known | there)

    def sweep(self, instance_id: str, *, task_id: str) -> IterateAgain | CleanUp | Damaged | None:
        """Look at one instance; of many sweepers at most one gets something to publish."""
        reply = self._scripts.call(
            "sweep",
            [keys.record(instance_id), keys.DUE, keys.BACKLOG],
            [instance_id, task_id, RESEND_MS, LONGEST_RESEND_MS, self._grace_ms],
        )
        if not reply:
            return None
        if reply[0] == "damaged":
            return Damaged(instance_id=instance_id, why=str(reply[1]))
        kind, epoch, rest = reply[:3]
        if kind == "iterate":
            tick = int(rest)
            return IterateAgain(
                instance_id=instance_id,
                account=str(reply[3]),
                epoch=int(epoch),
                tick=None if tick < 0 else tick,
                task_id=task_id,
            )
        return CleanUp(instance_id=instance_id, epoch=int(epoch), pending_task_id=str(rest))

    def not_sent(self, instance_id: str, task_id: str = "") -> None:
        """Give back what could not be published, so that the next sweep may try again soon.

        `task_id` is that of an iteration, empty for a cleanup.
        """
        arguments: list[str | int] = [instance_id, UNSENT_RETRY_MS, task_id]
        self._scripts.call_int("unsent", [keys.record(instance_id), keys.DUE], arguments)
