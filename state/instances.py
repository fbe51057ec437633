"""The operations that move an instance between its phases, and what is read of it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from state import keys
from state.bookings import MOST_WAITING
from state.client_ids import client_order_ids
from state.durability import Keeps, save
from state.record import RECORD_FIELDS, Phase, Record, damaged, record_of
from state.scripts import Scripts
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft

#: The longest window that an exchange of ours allows, and a second.
LONGEST_REACH_MS = 61_000

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
    # Only where the state is damaged, or orders rest that it does not know of.
    (Phase.RUNNING, Phase.FAILED): "fail",
    (Phase.STOPPED, Phase.FAILED): "fail",
}


@dataclass(frozen=True, kw_only=True)
class StartResult:
    """Answer of `start`: `started`, or what stood in the way."""

    #: ``started``, ``running``, ``stopping``, ``failed``, ``cleaning`` (a cleanup of it works just now),
    #: ``changed`` (it has left something else than what was accepted) or ``called_off`` (a stop came
    #: after the restart).
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
class Failed:
    """An instance was taken for failed."""

    epoch: int
    #: What is wrong with its state.
    why: str


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


def new_restart_mark() -> str:
    """Return what one restart, of anybody, is known by."""
    return secrets.token_hex(8)


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
        least_epoch: int = 0,
        restart: str = "",
    ) -> StartResult:
        """Begin a run: epoch + 1, tick 0. The next sweep publishes its first iteration at once.

        With `accept` also from failed, as long as the run has left just that. `keeps` is what the state
        server keeps when it crashes. `reach_ms` is how long after its permission a request of this run may be
        accepted; so long nothing is placed after such a crash. The run comes after `least_epoch`, of which
        something else may know. With `restart`, the mark that a stop has left, only if no stop was asked for
        since.
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
                least_epoch,
                restart,
            ],
        )
        return StartResult(result=str(result), epoch=int(epoch))

    def request_stop(
        self,
        instance_id: str,
        *,
        by: str,
        reason: str,
        policy: StopPolicy,
        epoch: int = 0,
        restart: str = "",
    ) -> StopResult:
        """Close the gate; when this returns, no `authorize` of the run succeeds any more.

        With `epoch`, only that run is stopped. The next sweep, woken by this, publishes the cleanup.
        `restart` marks that who asks means to start it again once it is clean; every stop without it, of
        anybody, takes the mark away.
        """
        names = [keys.record(instance_id), keys.stop(instance_id), keys.DUE, keys.EVENTS, keys.WAKE]
        arguments: list[str | int] = [instance_id, epoch, by, reason, policy.to_json(), restart]
        result, stopped_epoch, at_ms = self._scripts.call("request_stop", names, arguments)
        if result == "damaged":
            self.fail(instance_id)
            result, stopped_epoch, at_ms = self._scripts.call("request_stop", names, arguments)
        return StopResult(result=str(result), epoch=int(stopped_epoch), at_ms=int(at_ms))

    def fail(
        self,
        instance_id: str,
        *,
        why: str = "",
        epoch: int = 0,
        phase: Phase = Phase.RUNNING,
        least_epoch: int = 0,
        policy: StopPolicy | None = None,
        reach_ms: int = LONGEST_REACH_MS,
    ) -> Failed | None:
        """Take an instance for failed whose state is missing or damaged, so that cleanups begin.

        Without `why` only if its record is, else None. With `why` also if it stands as it was seen, in
        `phase` of run `epoch`. The epoch stays at `least_epoch` or above. `reach_ms` is how long after its
        permission a request may be accepted, where the record does not say.
        """
        result, *rest = self._scripts.call(
            "fail",
            [
                keys.record(instance_id),
                keys.stop(instance_id),
                keys.DUE,
                keys.EVENTS,
                keys.WAKE,
                keys.INSTANCES,
                keys.generations(instance_id),
                keys.trace(instance_id),
            ],
            [instance_id, why, least_epoch, (policy or StopPolicy()).to_json(), reach_ms, epoch, phase],
        )
        return Failed(epoch=int(rest[0]), why=str(rest[1])) if result == "failed" else None

    def save_stops(self, instance_ids: Sequence[str]) -> bool:
        """Tell whether stops that were requested are on disk by now, waiting for that where it matters.

        One wait stands for all: it comes behind every request.
        """
        for instance_id in instance_ids:
            what = self._client.hget(keys.record(instance_id), "unsaved")
            if what is not None:
                return save(self._client, self._scripts, instance_id, str(what))
        return True

    def read(self, instance_id: str) -> Record | None:
        """Return the record, or None when the instance was never started. Changes nothing.

        Raises `RecordUnreadable`.
        """
        try:
            values = cast("list[str | None]", self._client.hmget(keys.record(instance_id), RECORD_FIELDS))
        except redis.ResponseError as error:
            raise damaged(instance_id, str(error)) from error
        return record_of(instance_id, values)

    def account_of(self, instance_id: str) -> str:
        """Return the account of an instance, empty when it was never started."""
        return cast("str | None", self._client.hget(keys.record(instance_id), "account")) or ""

    def read_all(self, unreadable: Callable[[str, ValueError], None] | None = None) -> tuple[Record, ...]:
        """Return the record of every instance ever started, by id.

        A record that cannot be read, a newer version's perhaps, is told to `unreadable` and left out; without
        that its `RecordUnreadable` is raised.
        """
        return self.read_many(sorted(cast("set[str]", self._client.smembers(keys.INSTANCES))), unreadable)

    def read_many(
        self, names: Sequence[str], unreadable: Callable[[str, ValueError], None] | None = None
    ) -> tuple[Record, ...]:
        """Return the records of `names` that were ever started, as `read_all` does."""
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.hmget(keys.record(name), RECORD_FIELDS)
        found = []
        for name, values in zip(names, pipeline.execute(raise_on_error=False), strict=True):
            try:
                if isinstance(values, redis.ResponseError):
                    raise damaged(name, str(values))
                record = record_of(name, values)
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
        """Return the configuration of the current run, empty when there is none to be read."""
        try:
            return cast("str | None", self._client.get(keys.config(instance_id))) or ""
        except redis.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return ""
