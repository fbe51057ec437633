"""Which feed process listens to which account, and how far each account's histories have been read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import redis

from state import keys
from state.events import UNREADABLE
from state.scripts import Scripts

#: A holder that says nothing for so long loses its accounts to another.
LEASE_MS = 3_000


@dataclass(frozen=True, kw_only=True)
class FeedProcess:
    """A feed process that told us lately that it lives."""

    name: str
    #: The accounts it listens to, with how each stands.
    accounts: Mapping[str, str]
    #: State server's time of its last heartbeat, ms.
    seen_at_ms: int
    #: Accounts that it has no keys for.
    cannot_open: tuple[str, ...] = ()


class Feeds:
    """Leases, heartbeats and cursors.

    A lease does not fence: a holder that was frozen may tell things after another took over. They are told
    twice then, which changes nothing.
    """

    def __init__(self, client: redis.Redis, scripts: Scripts) -> None:
        self._client = client
        self._scripts = scripts

    def hold(self, account: str, token: str) -> bool:
        """Take or prolong an account's lease; tell whether it is ours."""
        reply = self._scripts.call("hold_lease", [keys.feed_lease(account)], [token, LEASE_MS])
        return reply[0] == "held"

    def release(self, account: str, token: str) -> None:
        """Give an account up."""
        self._scripts.call("release_lease", [keys.feed_lease(account)], [token])

    def heartbeat(
        self, name: str, accounts: Mapping[str, str], *, at_ms: int, cannot_open: Sequence[str] = ()
    ) -> None:
        """Tell that a feed process lives, how each of its accounts stands, and which it cannot open."""
        beat = {"accounts": dict(accounts), "cannot_open": list(cannot_open), "at_ms": at_ms}
        text = json.dumps(beat)
        self._client.hset(keys.FEEDS, name, text)

    def forget(self, name: str) -> None:
        """Tell that a feed process ended properly."""
        self._client.hdel(keys.FEEDS, name)

    def processes(self, *, now_ms: int, within_ms: int = LEASE_MS) -> tuple[FeedProcess, ...]:
        """Return the feed processes whose last heartbeat is younger than `within_ms`."""
        found = cast("dict[str, str]", self._client.hgetall(keys.FEEDS))
        beats = (_process(name, text) for name, text in sorted(found.items()))
        return tuple(beat for beat in beats if beat is not None and now_ms - beat.seen_at_ms <= within_ms)

    def cursor(self, account: str, history: str) -> int | None:
        """Return until when a history of an account has been read, exchange time, ms; None: never."""
        at_ms = cast("str | None", self._client.hget(keys.feed_cursor(account), history))
        return None if at_ms is None else int(at_ms)

    def move_cursor(self, account: str, history: str, at_ms: int) -> None:
        """Note until when a history of an account has been read."""
        self._client.hset(keys.feed_cursor(account), history, at_ms)


def _process(name: str, text: str) -> FeedProcess | None:
    """Return what a heartbeat says, None for another version's or a damaged one."""
    try:
        beat = json.loads(text)
        return FeedProcess(
            name=name,
            accounts={str(account): str(standing) for account, standing in beat["accounts"].items()},
            seen_at_ms=int(beat["at_ms"]),
            cannot_open=tuple(map(str, beat["cannot_open"])),
        )
    except UNREADABLE:
        return None
