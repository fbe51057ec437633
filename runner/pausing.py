"""Pause a run, resume it, and wait until a paused run has no order left. For the command line and the web."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from runner.loaded import parse_books
from state.connection import StateError
from state.instances import Instances
from state.record import Record
from state.run_changes import ChangeResult, RunChanges
from wording import said

#: How often a record is read while its orders are withdrawn.
LOOK_EVERY_S = 0.05


class PauseRefused(Exception):
    """Raised when an instance cannot be paused or resumed as it stands; nothing has changed."""


class Withdrawal(StrEnum):
    """What is known of the orders of a run that was paused."""

    #: None is left, and none can still arrive.
    DONE = "withdrawn"
    #: Not proven yet.
    GOES_ON = "withdrawing"
    #: Somebody has stopped the run meanwhile; the receipt of that stop tells of its orders.
    STOPPED = "stopped"
    #: Somebody has resumed it meanwhile.
    RESUMED = "resumed"


@dataclass(frozen=True, kw_only=True)
class Paused:
    """A run that is paused."""

    epoch: int
    #: False: it was paused before.
    is_new: bool
    #: Since when, state server's time, ms.
    at_ms: int
    #: False: a crash of the state server may take it back.
    is_saved: bool


#: Asks for each name in turn and returns the answers.
AskEach = Callable[
    [Sequence[str], Callable[[str], ChangeResult]], Mapping[str, "ChangeResult | PauseRefused"]
]


def _in_turn(
    names: Sequence[str], ask: Callable[[str], ChangeResult]
) -> dict[str, ChangeResult | PauseRefused]:
    return {name: ask(name) for name in names}


def pause_instance(
    instances: Instances, changes: RunChanges, instance_id: str, *, by: str, reason: str
) -> Paused:
    """Close the gate of the run at once, and have its orders withdrawn; `wait_withdrawn` tells when they are.

    Raises `PauseRefused` when nothing runs, and `redis.RedisError`.
    """
    found = pause_instances(instances, changes, [instance_id], by=by, reason=reason)[instance_id]
    if isinstance(found, PauseRefused):
        raise found
    return found


def pause_instances(
    instances: Instances,
    changes: RunChanges,
    names: Sequence[str],
    *,
    by: str,
    reason: str,
    ask_each: AskEach = _in_turn,
) -> dict[str, Paused | PauseRefused]:
    """Close the gate of every run before anything is waited for; then one wait for the disk stands for all.

    Raises `redis.RedisError`, as far as `ask_each` does.
    """
    results = ask_each(names, lambda name: changes.pause(name, by=by, reason=reason))
    paused = {
        name: result
        for name, result in results.items()
        if isinstance(result, ChangeResult) and result.result in {"paused", "joined"}
    }
    is_saved = instances.save_stops(list(paused))
    found: dict[str, Paused | PauseRefused] = {}
    for name, result in results.items():
        if name in paused:
            is_new = paused[name].result == "paused"
            found[name] = Paused(
                epoch=paused[name].epoch, is_new=is_new, at_ms=paused[name].at_ms, is_saved=is_saved
            )
        elif isinstance(result, PauseRefused):
            found[name] = result
        else:
            found[name] = PauseRefused(
                said(
                    "{name}: only a running instance can be paused; {result}", name=name, result=_why(result)
                )
            )
    return found


def resume_instance(changes: RunChanges, instance_id: str, *, by: str) -> ChangeResult:
    """Let a paused run quote again, beginning now; `running` is the result where it was not paused.

    Raises `PauseRefused` when nothing runs, and `redis.RedisError`.
    """
    result = changes.resume(instance_id, by=by)
    if result.result not in {"resumed", "running"}:
        raise PauseRefused(
            said(
                "{instance_id}: only a paused instance can be resumed; {result}",
                instance_id=instance_id,
                result=_why(result),
            )
        )
    return result


def withdrawal_of(record: Record | None, epoch: int) -> Withdrawal:
    """Return what is known of the orders of paused run `epoch`."""
    if record is None or record.epoch != epoch or record.phase != "running":
        return Withdrawal.STOPPED
    if not record.is_paused:
        return Withdrawal.RESUMED
    return Withdrawal.GOES_ON if record.withdrawn_at_ms is None else Withdrawal.DONE


def wait_withdrawn(
    instances: Instances, instance_id: str, *, epoch: int, timeout_s: float
) -> tuple[Withdrawal, Record | None]:
    """Wait until the orders of a paused run are withdrawn, or something else became of it."""
    end_s = time.monotonic() + timeout_s
    while True:
        record = instances.read(instance_id)
        found = withdrawal_of(record, epoch)
        if found is not Withdrawal.GOES_ON or time.monotonic() >= end_s:
            return found, record
        threading.Event().wait(LOOK_EVERY_S)


def held_by_run(instances: Instances, record: Record) -> Decimal | None:
    """Return the net quantity that a run has made, base units; None where its books cannot be read."""
    try:
        data = instances.run_data(record.instance_id, record.slot)
        return parse_books(data.books_json).profit.net
    except (StateError, ValueError):
        return None


def _why(result: ChangeResult) -> str:
    return {
        "stopped": said("this one is stopped"),
        "stopping": said("run {epoch} is being stopped", epoch=result.epoch),
        "failed": said("the stop of run {epoch} has failed", epoch=result.epoch),
    }.get(result.result, said("it answers {result}", result=result.result))
