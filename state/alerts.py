"""Which alerts process sends, what it remembers, and what waits to be sent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import redis

from state import keys
from state.scripts import Scripts

#: A sender that says nothing for so long is taken over.
LEASE_MS = 10_000
#: Messages that may wait for a target; beyond, the oldest go.
MOST_WAITING = 500


class Alerts:
    """The lease, the memory and the outboxes; every method raises `redis.RedisError`."""

    def __init__(self, client: redis.Redis, scripts: Scripts) -> None:
        self._client = client
        self._scripts = scripts

    def hold(self, token: str) -> bool:
        """Take or prolong the lease; tell whether it is ours."""
        return self._scripts.call("hold_lease", [keys.ALERTS_LEASE], [token, LEASE_MS])[0] == "held"

    def release(self, token: str) -> None:
        """Give the lease up, so that another process may send at once."""
        self._scripts.call("release_lease", [keys.ALERTS_LEASE], [token])

    def holder(self) -> str:
        """Return the token of the process that sends, empty for none."""
        return cast("str | None", self._client.get(keys.ALERTS_LEASE)) or ""

    def memory(self) -> str:
        """Return what was saved last (JSON), empty before the first time."""
        return cast("str | None", self._client.get(keys.ALERTS_MEMORY)) or ""

    def save(self, token: str, memory: str, messages: Sequence[tuple[str, str]]) -> bool:
        """Save the memory and add `messages` (target and JSON) to the outboxes; False: the lease is lost."""
        targets = list(dict.fromkeys(target for target, _ in messages))
        numbered = [item for target, text in messages for item in (targets.index(target) + 1, text)]
        reply = self._scripts.call(
            "save_alerts",
            [keys.ALERTS_LEASE, keys.ALERTS_MEMORY, *map(keys.alerts_outbox, targets)],
            [token, memory, MOST_WAITING, *numbered],
        )
        return reply[0] == "saved"

    def first(self, target: str) -> str:
        """Return the message (JSON) that waits longest for a target, empty for none."""
        return cast("str | None", self._client.lindex(keys.alerts_outbox(target), 0)) or ""

    def remove(self, target: str, message: str) -> None:
        """Take a message out, once it was sent or given up."""
        self._client.lrem(keys.alerts_outbox(target), 1, message)

    def put_last(self, target: str) -> None:
        """Let the messages behind the first have their turn."""
        self._client.lmove(keys.alerts_outbox(target), keys.alerts_outbox(target), "LEFT", "RIGHT")

    def waiting(self, target: str) -> int:
        """Return how many messages wait for a target."""
        return self._client.llen(keys.alerts_outbox(target))

    def forget(self, target: str) -> None:
        """Drop what waits for a target that is no more."""
        self._client.delete(keys.alerts_outbox(target))
