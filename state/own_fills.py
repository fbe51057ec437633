"""Own fills as a feed sees them: to the ledger's queue and to the instance first, then a wake-up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import redis
from pydantic import TypeAdapter

from market.position import Fill
from state import keys
from state.bookings import BookingQueue
from state.hearing import Hearing
from state.scripts import Scripts

#: Kept for the next iteration; what is older it finds in the exchange's history.
KEPT = 1000

_FILL: TypeAdapter[Fill] = TypeAdapter(Fill)


@dataclass(frozen=True, kw_only=True)
class News:
    """Something that happened to an account."""

    #: For the ledger, JSON.
    booking: str
    #: Whose matter it is; empty: none of ours.
    instance_id: str = ""
    #: None: nothing was executed, or another piece of news has it.
    fill: Fill | None = None
    #: Whose iterations go by what is heard; empty: nobody's do.
    account: str = ""
    #: True: something was executed, even where nobody can tell yet what.
    is_execution: bool = False


class OwnFills:
    """The way of a fill from a feed to an iteration."""

    def __init__(self, client: redis.Redis, scripts: Scripts) -> None:
        self._client = client
        self._scripts = scripts
        self._queue = BookingQueue(client)
        self._hearing = Hearing(scripts)

    def tell(self, news: Sequence[News]) -> dict[str, str]:
        """Hand over what happened, and wake whose orders were filled; return how each was woken, by instance.

        In one step: a process that dies has told all of it or nothing.
        """
        if not news:
            return {}
        woken = tuple(dict.fromkeys(each.instance_id for each in news if each.fill and each.instance_id))
        pipe = self._client.pipeline(transaction=True)
        for account in dict.fromkeys(each.account for each in news if each.account):
            of_account = [each for each in news if each.account == account]
            self._hearing.queue(
                pipe,
                account,
                is_filled=any(each.fill or each.is_execution for each in of_account),
                instance_ids=tuple(
                    dict.fromkeys(each.instance_id for each in of_account if each.instance_id)
                ),
            )
        self._queue.add([each.booking for each in news], pipe)
        for each in news:
            if each.fill is not None and each.instance_id:
                fill = _FILL.dump_json(each.fill).decode()
                pipe.xadd(keys.own_fills(each.instance_id), {"fill": fill}, maxlen=KEPT, approximate=True)
        for instance_id in woken:
            self._scripts.queue(pipe, "wake", _wake_keys(instance_id), [instance_id])
        replies = pipe.execute()
        answers = replies[len(replies) - len(woken) :]
        return {instance_id: str(answer[0]) for instance_id, answer in zip(woken, answers, strict=True)}

    def wake(self, instance_id: str) -> str:
        """Ask for an iteration now; return what came of it, as `wake.lua` says it."""
        return str(self._scripts.call("wake", _wake_keys(instance_id), [instance_id])[0])

    def run_of(self, instance_id: str) -> tuple[int, int]:
        """Return epoch and begin (state server's time, ms) of an instance's newest run, zeros for none."""
        found = cast("list[str | None]", self._client.hmget(keys.record(instance_id), "epoch", "started_at"))
        epoch, started_at_ms = (int(text or 0) for text in found)
        return epoch, started_at_ms

    def seen(self, instance_id: str, *, since_ms: int) -> tuple[Fill, ...]:
        """Return the fills told since then (state server's time), of earlier runs too, oldest first.

        One that cannot be read is passed over: the exchange's history shows it a little later.
        """
        found = self._client.xrange(keys.own_fills(instance_id), min=since_ms)
        entries = cast("list[tuple[str, dict[str, str]]]", found)
        fills = (_read(fields.get("fill", "")) for _, fields in entries)
        return tuple(fill for fill in fills if fill is not None)


def _read(text: str) -> Fill | None:
    try:
        return _FILL.validate_json(text)
    except ValueError:
        return None


def _wake_keys(instance_id: str) -> list[str]:
    return [keys.record(instance_id), keys.DUE, keys.WAKE]
