"""Which guard processes watch, and what each can do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import redis

from state import keys
from state.events import UNREADABLE

#: A guard that says nothing for so long is taken for dead.
SILENT_MS = 10_000
#: How an account stands that the guard can act on.
READY = "ready"


@dataclass(frozen=True, kw_only=True)
class GuardProcess:
    """A guard that told us lately that it lives."""

    name: str
    after_s: float
    #: Instances it watches.
    watched: int
    #: Instances whose stored configuration does not say how to reach their account.
    unwatchable: tuple[str, ...] = ()
    #: Instances it acts for at the moment.
    silent: tuple[str, ...]
    #: The accounts of those, with how each stands: `READY`, or why it cannot act there.
    accounts: Mapping[str, str]
    #: State server's time of its last heartbeat, ms.
    seen_at_ms: int


class Guards:
    """Heartbeats of guards; every method raises `redis.RedisError`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def heartbeat(self, process: GuardProcess) -> None:
        """Tell that a guard lives and what it watches."""
        beat = {
            "after_s": process.after_s,
            "watched": process.watched,
            "unwatchable": list(process.unwatchable),
            "silent": list(process.silent),
            "accounts": dict(process.accounts),
            "at_ms": process.seen_at_ms,
        }
        self._client.hset(keys.GUARDS, process.name, json.dumps(beat))

    def forget(self, name: str) -> None:
        """Tell that a guard ended properly."""
        self._client.hdel(keys.GUARDS, name)

    def processes(self, *, now_ms: int, within_ms: int = SILENT_MS) -> tuple[GuardProcess, ...]:
        """Return the guards whose last heartbeat is younger than `within_ms`."""
        found = cast("dict[str, str]", self._client.hgetall(keys.GUARDS))
        beats = (_process(name, text) for name, text in sorted(found.items()))
        return tuple(beat for beat in beats if beat is not None and now_ms - beat.seen_at_ms <= within_ms)


def _process(name: str, text: str) -> GuardProcess | None:
    """Return what a heartbeat says, None for another version's or a damaged one."""
    try:
        beat = json.loads(text)
        return GuardProcess(
            name=name,
            after_s=float(beat["after_s"]),
            watched=int(beat["watched"]),
            unwatchable=tuple(map(str, beat["unwatchable"])),
            silent=tuple(map(str, beat["silent"])),
            accounts={str(account): str(standing) for account, standing in beat["accounts"].items()},
            seen_at_ms=int(beat["at_ms"]),
        )
    except UNREADABLE:
        return None
