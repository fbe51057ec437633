"""The record of an instance, its phases, and the operations that move it between them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, cast

import redis

from state import keys
from state.bookings import MOST_WAITING
from state.client_ids import client_order_ids
from state.connection import StateError
from state.durability import Keeps, save
from state.scripts import Scripts

#: The longest window that an exchange of ours allows, and a second.
LONGEST_REACH_MS = 61_000

if TYPE_CHECKING:
    from state.stop_story import AcceptedLeft

#: What stands for the ids of own orders left when nobody knows them.
UNKNOWN_LEFT = "?"


class Phase(StrEnum):
    """Where an instance stands."""

    #: No run; after a clean stop no own order is left or can still arrive.
    STOPPED = "stopped"
    #: Iterations may be claimed.
    RUNNING = "running"
    #: The gate is closed, a cleanup is on its way.
    STOPPING = "stopping"
    #: Cleanups did not end clean; they go on with back-off, and people have to know.
    FAILED = "failed"


#: Numbers in a record: times in ms, counts.
_WHOLE = re.compile(r"-?[0-9]{1,18}")

#: Every legal change of phase and the operation that makes it; the scripts know no other.
TRANSITIONS: Mapping[tuple[Phase, Phase], str] = {
    (Phase.STOPPED, Phase.RUNNING): "start",
    (Phase.FAILED, Phase.RUNNING): "start",
    # Also `commit`, for an iteration that decides so.
    (Phase.RUNNING, Phase.STOPPING): "request_stop",
    # Only where a stop kept orders, and another one asks for them to be cancelled.
    (Phase.STOPPED, Phase.STOPPING): "request_stop",
    (Phase.STOPPING, Phase.STOPPED): "finish",
    (Phase.STOPPING, Phase.FAILED): "finish",
    (Phase.FAILED, Phase.STOPPED): "finish",
}


class RecordUnreadable(StateError, ValueError):
    """Raised when a record is damaged, or of a version that this one does not know."""


@dataclass(frozen=True, kw_only=True)
class StopPolicy:
    """What a stop does with what the instance has on the exchange."""

    #: False: own orders stay on the book.
    cancel_orders: bool = True
    #: True: the account's whole position in the symbol is brought to zero after the orders are gone.
    close_position: bool = False
    #: True: what this run opened is brought back to where its strategy leaves it, after the orders are gone.
    unwind: bool = False

    def to_json(self) -> str:
        """Return the policy as kept in the record."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> StopPolicy:
        """Return the policy that `to_json` wrote; the default for an empty text.

        And for one that is damaged: a stop has to go on, and cancels then.
        """
        try:
            policy = cls(**json.loads(text)) if text else cls()
        except (ValueError, TypeError, RecursionError):
            return cls()
        return policy if all(isinstance(value, bool) for value in asdict(policy).values()) else cls()


@dataclass(frozen=True, kw_only=True)
class StartResult:
    """Answer of `start`: `started`, or what stood in the way."""

    #: ``started``, ``running``, ``stopping``, ``failed``, ``cleaning`` (a cleanup of it works just now) or
    #: ``changed`` (it has left something else than what was accepted).
    result: str
    epoch: int

    @property
    def started(self) -> bool:
        """Tell whether a new run began."""
        return self.result == "started"


@dataclass(frozen=True, kw_only=True)
class StopResult:
    """Answer of `request_stop`."""

    #: ``stopping`` (this call did it), ``joined`` (under way already), ``stopped``, ``failed`` or ``stale``.
    result: str
    epoch: int
    #: The state server's time of the request, ms.
    at_ms: int


@dataclass(frozen=True, kw_only=True)
class Record:
    """An instance as it stands in Redis; times in ms of the state server's clock, None when never."""

    instance_id: str
    phase: Phase
    epoch: int
    tick: int
    seq: int
    due_at_ms: int | None
    started_at_ms: int | None
    committed_at_ms: int | None
    stop_requested_at_ms: int | None
    stopped_at_ms: int | None
    stop_by: str
    stop_reason: str
    errors: int
    last_error: str
    slot: int
    account: str
    config_version: str
    attempts: int
    #: The last cleanup's outcome (JSON), empty before the first.
    outcome: str
    lease_until_ms: int
    fence_ms: int
    #: Ids of own orders that the last cleanup left, sorted, comma separated; `UNKNOWN_LEFT`: nobody knows.
    left: str
    #: End of a live cleanup lease; 0 for none, or past when it is over.
    cleanup_until_ms: int


@dataclass(frozen=True, kw_only=True)
class RunData:
    """What the iterations of a run leave behind for its cleanup."""

    books_json: str
    state_json: str
    daily_json: str
    started_at_ms: int
    #: Client order ids that were given and whose fate nobody told: to when, ms.
    intents: Mapping[int, int]
    #: Likewise, of runs before this one that ended by a forced start.
    strays: frozenset[int] = frozenset()


class Instances:
    """Start, stop and read instances."""

    def __init__(self, client: redis.Redis, scripts: Scripts) -> None:
        self._client = client
        self._scripts = scripts

    def now_ms(self) -> int:
        """Return the state server's time in ms."""
        seconds, microseconds = self._client.time()
        return seconds * 1000 + microseconds // 1000

    def start(
        self,
        instance_id: str,
        *,
        config_version: str,
        config_json: str,
        slot: int,
        account: str,
        by: str,
        accept: AcceptedLeft | None = None,
        keeps: Keeps = Keeps.UNSURE,
        reach_ms: int = LONGEST_REACH_MS,
    ) -> StartResult:
        """Begin a run: epoch + 1, tick 0. The next sweep publishes its first iteration at once.

        With `accept` also from failed, as long as the run has left just that. `keeps` is what the state
        server keeps when it crashes. `reach_ms` is how long after its permission a request of this run may be
        accepted; so long nothing is placed after such a crash.
        """
        result, epoch, *_ = self._scripts.call(
            "start",
            [
                keys.record(instance_id),
                keys.stop(instance_id),
                keys.config(instance_id),
                keys.released(instance_id),
                keys.DUE,
                keys.EVENTS,
                keys.WAKE,
                keys.INSTANCES,
                keys.intents(instance_id),
                keys.BOOKINGS,
            ],
            [
                instance_id,
                config_version,
                config_json,
                slot,
                account,
                f"{accept.epoch}:{accept.left}" if accept else "",
                by,
                keeps,
                reach_ms,
                MOST_WAITING,
                accept.booking if accept else "",
            ],
        )
        return StartResult(result=str(result), epoch=int(epoch))

    def request_stop(
        self, instance_id: str, *, by: str, reason: str, policy: StopPolicy, epoch: int = 0
    ) -> StopResult:
        """Close the gate; when this returns, no `authorize` of the run succeeds any more.

        With `epoch`, only that run is stopped. The next sweep, woken by this, publishes the cleanup.
        """
        result, stopped_epoch, at_ms = self._scripts.call(
            "request_stop",
            [keys.record(instance_id), keys.stop(instance_id), keys.DUE, keys.EVENTS, keys.WAKE],
            [instance_id, epoch, by, reason, policy.to_json()],
        )
        return StopResult(result=str(result), epoch=int(stopped_epoch), at_ms=int(at_ms))

    def save_stop(self, instance_id: str) -> bool:
        """Tell whether a stop that was requested is on disk by now, waiting for that where it matters."""
        what = self._client.hget(keys.record(instance_id), "unsaved")
        return what is None or save(self._client, self._scripts, instance_id, str(what))

    def read(self, instance_id: str) -> Record | None:
        """Return the record, or None when the instance was never started. Changes nothing.

        Raises `RecordUnreadable`.
        """
        values = cast("list[str | None]", self._client.hmget(keys.record(instance_id), RECORD_FIELDS))
        return _record(instance_id, values)

    def read_all(self, unreadable: Callable[[str, ValueError], None] | None = None) -> tuple[Record, ...]:
        """Return the record of every instance ever started, by id.

        A record that cannot be read, a newer version's perhaps, is told to `unreadable` and left out; without
        that its `RecordUnreadable` is raised.
        """
        names = sorted(cast("set[str]", self._client.smembers(keys.INSTANCES)))
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.hmget(keys.record(name), RECORD_FIELDS)
        found = []
        for name, values in zip(names, pipeline.execute(), strict=True):
            try:
                record = _record(name, values)
            except ValueError as error:
                if unreadable is None:
                    raise
                unreadable(name, error)
                continue
            if record is not None:
                found.append(record)
        return tuple(found)

    def run_data(self, instance_id: str, slot: int) -> RunData:
        """Return what the run has saved by now. Changes nothing."""
        pipeline = self._client.pipeline()
        pipeline.hmget(keys.record(instance_id), "books", "state", "daily", "started_at", "strays")
        pipeline.hgetall(keys.intents(instance_id))
        (books, state, daily, started_at, strays), intents = cast("Any", pipeline.execute())
        fields = [text for pair in intents.items() for text in pair]
        undated = [text for name in (strays or "").split(",") if name for text in (name, "0")]
        return RunData(
            books_json=books or "",
            state_json=state or "",
            daily_json=daily or "",
            started_at_ms=int(started_at or 0),
            intents=client_order_ids(slot, fields),
            strays=frozenset(client_order_ids(slot, undated)),
        )

    def config_json(self, instance_id: str) -> str:
        """Return the configuration the current run was started with, empty when there is none."""
        return cast("str | None", self._client.get(keys.config(instance_id))) or ""


#: What a `Record` is made of; books and strategy state, which may be long, are read where they are needed.
RECORD_FIELDS = [
    *(
        "phase",
        "epoch",
        "tick",
        "seq",
        "due",
        "started_at",
        "committed_at",
        "stop_requested_at",
        "stopped_at",
    ),
    *("stop_by", "stop_reason", "errors", "last_error", "slot", "account", "config_version", "attempts"),
    *("outcome", "lease_until", "fence", "left", "cleanup_until"),
]


def _record(instance_id: str, values: Sequence[str | None]) -> Record | None:
    """Return the record that `RECORD_FIELDS` say, None when the instance has none."""
    pairs = zip(RECORD_FIELDS, values, strict=True)
    fields: dict[str, str] = {name: value for name, value in pairs if value is not None}
    if not fields:
        return None

    def number(name: str) -> int:
        text = fields.get(name, "0")
        if not _WHOLE.fullmatch(text):
            raise RecordUnreadable(f"{instance_id}: {name} is {text[:40]!r} in its record, no whole number")
        return int(text)

    def time_or_none(name: str) -> int | None:
        return number(name) if name in fields else None

    phase = fields.get("phase", "stopped")
    if phase not in list(Phase):
        raise RecordUnreadable(
            f"{instance_id}: phase is {phase[:40]!r} in its record, none of this version's"
        )
    return Record(
        instance_id=instance_id,
        phase=Phase(phase),
        epoch=number("epoch"),
        tick=number("tick"),
        seq=number("seq"),
        due_at_ms=time_or_none("due"),
        started_at_ms=time_or_none("started_at"),
        committed_at_ms=time_or_none("committed_at"),
        stop_requested_at_ms=time_or_none("stop_requested_at"),
        stopped_at_ms=time_or_none("stopped_at"),
        stop_by=fields.get("stop_by", ""),
        stop_reason=fields.get("stop_reason", ""),
        errors=number("errors"),
        last_error=fields.get("last_error", ""),
        slot=number("slot"),
        account=fields.get("account", ""),
        config_version=fields.get("config_version", ""),
        attempts=number("attempts"),
        outcome=fields.get("outcome", ""),
        lease_until_ms=number("lease_until"),
        fence_ms=number("fence"),
        left=fields.get("left", UNKNOWN_LEFT),
        cleanup_until_ms=number("cleanup_until"),
    )
