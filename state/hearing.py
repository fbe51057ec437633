"""What feeds have heard of an account, and until when they have told everything: so that nobody need ask.

An iteration that knows how everything stood, and that nothing has been heard since over a stream that was
never interrupted, has nothing to ask the exchange for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import redis

from state import keys
from state.scripts import Scripts

if TYPE_CHECKING:
    from redis.client import Pipeline

#: Since when one stream stands; none does where it is missing.
SINCE = "since"
#: When something was heard last, of whatever kind: everything of before has been told.
HEARD = "heard"
#: When anything of the account was executed last.
FILLED = "filled"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What has been heard of an account, state server's time, ms; 0: nothing of the kind."""

    #: Since when one stream stands.
    since_ms: int
    #: When something came over it last.
    heard_ms: int
    #: When something of the account was executed last, whoever's order it was.
    filled_ms: int
    #: When something happened to an order of the instance last.
    touched_ms: int


class Hearing:
    """Written by feeds; `claim` reads it."""

    def __init__(self, client: redis.Redis, scripts: Scripts) -> None:
        self._client = client
        self._scripts = scripts

    def note(self, account: str, *names: str) -> None:
        """Note that something was heard just now."""
        self._scripts.call("heard", [keys.heard(account)], names)

    def queue(
        self, pipeline: Pipeline, account: str, *, is_filled: bool, instance_ids: Sequence[str]
    ) -> None:
        """Note fills of the account, and what happened to orders, when `pipeline` is executed."""
        names = [*([FILLED] if is_filled else []), *(touched(name) for name in instance_ids)]
        if names:
            self._scripts.queue(pipeline, "heard", [keys.heard(account)], names)

    def interrupt(self, account: str) -> None:
        """Note that no stream stands: who wants to know has to ask."""
        self._client.hdel(keys.heard(account), SINCE)


def touched(instance_id: str) -> str:
    """Return the name under which it is kept when something happened to an order of an instance."""
    return f"orders of {instance_id}"


def heard_of(times: Sequence[str | None]) -> Heard | None:
    """Return what `claim.lua` read, in its order; None where that is damaged."""
    try:
        since, heard, filled, touched_at = (int(text or 0) for text in times)
    except ValueError:
        return None
    return Heard(since_ms=since, heard_ms=heard, filled_ms=filled, touched_ms=touched_at)
