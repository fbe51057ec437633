"""From the stream of events to what may have to be told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from alerts.kinds import Kind
from state.events import UNREADABLE, Event
from state.stop_story import StopCause

#: Of runs that end by themselves, what is more than that.
BY_CAUSE: Mapping[str, Kind] = {StopCause.LOSS: Kind.LOSS_LIMIT, StopCause.ERRORS: Kind.INSTANCE_FAILED}
#: Events after which what was cut before is over.
ENDS_OF_CUTS = frozenset({"started", "stop_requested", "finished"})
#: Characters of a text that come from elsewhere.
MOST_TEXT = 600


class Turn(StrEnum):
    """What becomes of a thing."""

    #: It happened.
    ONCE = "once"
    #: It began, and lasts.
    BEGINS = "begins"
    #: It is over.
    ENDS = "ends"
    #: It does not matter any more, and nobody has to be told.
    VOID = "void"


@dataclass(frozen=True, kw_only=True)
class Notice:
    """Something that happened, began or ended."""

    kind: Kind
    turn: Turn
    #: What it is about: an instance, an account, a queue.
    subject: str
    #: A sentence.
    text: str
    #: State server's time, ms.
    at_ms: int
    #: Empty: it is not about one.
    instance: str = ""
    #: 0: no run's.
    epoch: int = 0


def notices_of(events: Iterable[Event]) -> list[Notice]:
    """Return what a batch of events says, in their order."""
    return [notice for event in events for notice in _of(event)]


def _of(event: Event) -> list[Notice]:
    said = event.fields
    found: list[Notice] = []
    if event.event in ENDS_OF_CUTS:
        found.append(_notice(event, Kind.RISK_LIMIT, Turn.VOID, ""))
    if event.event == "alert":
        found += _of_alert(event)
    elif event.event == "limits":
        found.append(_of_limits(event))
    elif event.event == "guard_acted":
        cancelled = [name for name in said.get("cancelled", "").split(",") if name]
        text = f"the guard cancelled {len(cancelled)} orders: {said.get('why', 'no sign of life')}"
        found.append(_notice(event, Kind.GUARD_ACTED, Turn.ONCE, text))
    elif event.event == "stop_requested" and said.get("by") == "strategy":
        kind = BY_CAUSE.get(said.get("cause", ""), Kind.RUN_ENDED)
        text = f"the run stops itself: {said.get('reason', '')}"
        found.append(_notice(event, kind, Turn.ONCE, text))
    return found


def _of_alert(event: Event) -> list[Notice]:
    says = event.fields.get("says", "").removeprefix(f"{event.instance_id}: ")
    turns = {
        "stop_failed": (Kind.STOP_NOT_CLEAN, Turn.BEGINS),
        "stop_clean_at_last": (Kind.STOP_NOT_CLEAN, Turn.ENDS),
        "state_damaged": (Kind.INSTANCE_FAILED, Turn.ONCE),
    }
    found = turns.get(event.fields.get("alert", ""))
    return [_notice(event, *found, says)] if found else []


def _of_limits(event: Event) -> Notice:
    try:
        cuts = [str(cut) for cut in json.loads(event.fields.get("cuts", "[]"))]
    except UNREADABLE:
        cuts = []
    turn = Turn.BEGINS if cuts else Turn.ENDS
    return _notice(event, Kind.RISK_LIMIT, turn, "; ".join(cuts))


def _notice(event: Event, kind: Kind, turn: Turn, text: str) -> Notice:
    return Notice(
        kind=kind,
        turn=turn,
        subject=event.instance_id,
        instance=event.instance_id,
        epoch=event.epoch,
        text=text[:MOST_TEXT],
        at_ms=event.at_ms,
    )
