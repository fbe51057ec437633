"""What feeds have heard of an account, and until when they have told everything: so that nobody need ask.

An iteration that knows how everything stood, and that nothing has been heard since over a stream that was
never interrupted, has nothing to ask the exchange for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from state import keys
from state.market_data import FIELDS
from state.scripts import Scripts

if TYPE_CHECKING:
    import redis
    from redis.client import Pipeline

    from state.leases import Place

#: Since when one stream stands; none does where it is missing.
SINCE = "since"
#: Until when everything that the exchange has said over it has been told.
HEARD = "heard"
#: When anything of the account was executed last.
FILLED = "filled"


@dataclass(frozen=True, kw_only=True)
class Heard:
    """What has been heard of an account, state server's time, ms; 0: nothing of the kind."""

    #: Since when one stream stands.
    since_ms: int
    #: When the exchange said what came last over it: everything of before has been told.
    heard_ms: int
    #: When something of the account was executed last, whoever's order it was.
    filled_ms: int
    #: When something happened to an order of the instance last.
    touched_ms: int


class Hearing:
    """Written by feeds; `claim` reads it."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts

    def begin(self, account: str, token: str) -> None:
        """Note that a stream stands since now, that of the feed with this token."""
        self._scripts.call("listen", [keys.heard(account)], [token, "begins"])

    def go_on(self, account: str, token: str, *, lag_ms: int) -> None:
        """Note that it brings something, the last of which the exchange said `lag_ms` ago; all of it is told.

        Where another stream was noted meanwhile, this one stands since now.
        """
        self._scripts.call("listen", [keys.heard(account)], [token, "lives", lag_ms])

    def interrupt(self, account: str, token: str) -> None:
        """Note that this stream stands no longer: unless another one does, who wants to know has to ask."""
        self._scripts.call("listen", [keys.heard(account)], [token, "ends"])

    def queue(
        self, pipeline: Pipeline, account: str, *, is_filled: bool, instance_ids: Sequence[str]
    ) -> None:
        """Note fills of the account, and what happened to orders, when `pipeline` is executed."""
        names = [*([FILLED] if is_filled else []), *(touched(name) for name in instance_ids)]
        if names:
            self._scripts.queue(pipeline, "heard", [keys.heard(account)], names)


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


def read_place(
    client: redis.Redis, place: Place, instance_id: str
) -> tuple[tuple[str | None, ...], Heard | None]:
    """Return what a claim tells of a place, for an instance: the market (`FIELDS`), and what was heard.

    Either is empty where it is damaged. The market comes first: what is heard after it makes it too old.
    """
    pipeline = client.pipeline(transaction=False)
    pipeline.hmget(keys.market(place.venue, place.symbol), FIELDS)
    pipeline.hmget(keys.heard(place.account), SINCE, HEARD, FILLED, touched(instance_id))
    market, times = pipeline.execute(raise_on_error=False)
    return (
        () if isinstance(market, Exception) else tuple(market),
        None if isinstance(times, Exception) else heard_of(times),
    )
