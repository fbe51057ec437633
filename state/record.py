"""The record of an instance as it stands in Redis."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from state.connection import StateError
from wording import said

#: What stands for the ids of own orders left when nobody knows them.
UNKNOWN_LEFT = "?"
#: Numbers in a record: times in ms, counts.
_WHOLE = re.compile(r"-?[0-9]{1,18}")


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


class RecordUnreadable(StateError, ValueError):
    """Raised when a record is damaged, or of a version that this one does not know."""


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
    #: Since when the run is paused; kept when it is stopped, for its receipt.
    paused_at_ms: int | None = None
    paused_by: str = ""
    pause_reason: str = ""
    #: Of a paused run: when it was known that no own order is left, or can still arrive.
    withdrawn_at_ms: int | None = None
    #: Mark of who means to start it again once it is clean, empty for nobody. Who left it may be gone.
    restart: str = ""

    @property
    def is_paused(self) -> bool:
        """Tell whether this is a run that goes on without orders until it is resumed."""
        return self.phase is Phase.RUNNING and self.paused_at_ms is not None


def damaged(instance_id: str, what: str) -> RecordUnreadable:
    """Return the error for a record of which `what` is wrong."""
    return RecordUnreadable(
        said(
            "{instance_id}: {what} in its record; workers take it for failed and clean up after it, without "
            "one: manage.py cleanup {instance_id}",
            instance_id=instance_id,
            what=what,
        )
    )


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
    *("paused", "paused_by", "pause_reason", "withdrawn", "restart"),
]


def record_of(instance_id: str, values: Sequence[str | None]) -> Record | None:
    """Return the record that `RECORD_FIELDS` say, None for none. Raises `RecordUnreadable`."""
    pairs = zip(RECORD_FIELDS, values, strict=True)
    fields: dict[str, str] = {name: value for name, value in pairs if value is not None}
    if not fields:
        return None

    def number(name: str) -> int:
        text = fields.get(name, "0")
        if not _WHOLE.fullmatch(text):
            raise damaged(
                instance_id, said("{name} is {text}, no whole number", name=name, text=repr(text[:40]))
            )
        return int(text)

    def time_or_none(name: str) -> int | None:
        return number(name) if name in fields else None

    phase = fields.get("phase", "stopped")
    if phase not in list(Phase):
        raise damaged(instance_id, said("phase is {phase}, none of this version's", phase=repr(phase[:40])))
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
        paused_at_ms=time_or_none("paused"),
        paused_by=fields.get("paused_by", ""),
        pause_reason=fields.get("pause_reason", ""),
        withdrawn_at_ms=time_or_none("withdrawn"),
        restart=fields.get("restart", ""),
    )
