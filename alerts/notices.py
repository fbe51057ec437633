"""From the stream of events to what may have to be told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from alerts.kinds import Kind
from alerts.phrases import Words, words
from alerts.sentences import MOST_TEXT, clean_at_last, cut_words, damaged, ended, not_clean, why_silent
from state.events import UNREADABLE, Event
from state.stop_story import StopCause

#: Of runs that end by themselves, what is more than that.
BY_CAUSE: Mapping[str, Kind] = {StopCause.LOSS: Kind.LOSS_LIMIT, StopCause.ERRORS: Kind.INSTANCE_FAILED}
#: Events after which what was cut before is over.
ENDS_OF_CUTS = frozenset({"started", "stop_requested", "finished"})


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
    #: A sentence, by its key; or what another version said.
    text: Words | str
    #: State server's time, ms.
    at_ms: int
    #: Empty: it is not about one.
    instance: str = ""
    #: 0: no run's.
    epoch: int = 0


def notices_of(events: Iterable[Event]) -> list[Notice]:
    """Return what a batch of events says, in their order."""
    found: list[Notice] = []
    before: Mapping[str, str] = {}
    for event in events:
        found += _of(event, before)
        # An alert stands right behind the event that it is about: one script writes both.
        before = event.fields
    return found


def _of(event: Event, before: Mapping[str, str]) -> list[Notice]:
    said = event.fields
    found: list[Notice] = []
    if event.event in ENDS_OF_CUTS:
        found.append(_notice(event, Kind.RISK_LIMIT, Turn.VOID, ""))
    if event.event == "alert":
        found += _of_alert(event, before)
    elif event.event == "limits":
        found.append(_of_limits(event))
    elif event.event == "guard_acted":
        cancelled = [name for name in said.get("cancelled", "").split(",") if name]
        text = words("guard", count=len(cancelled), why=why_silent(said))
        found.append(_notice(event, Kind.GUARD_ACTED, Turn.ONCE, text))
    elif event.event == "stop_requested" and said.get("by") == "strategy":
        cause = said.get("cause", "")
        kind = BY_CAUSE.get(cause, Kind.RUN_ENDED)
        # The reason is the strategy's own words, as the record and the receipt have them.
        found.append(_notice(event, kind, Turn.ONCE, ended(cause, said.get("reason", ""))))
    return found


def _of_alert(event: Event, before: Mapping[str, str]) -> list[Notice]:
    outcome = before.get("outcome", "")
    match event.fields.get("alert", ""):
        case "stop_failed":
            text = not_clean(event, outcome) or _said(event)
            return [_notice(event, Kind.STOP_NOT_CLEAN, Turn.BEGINS, text)]
        case "stop_clean_at_last":
            text = clean_at_last(event, outcome) or _said(event)
            return [_notice(event, Kind.STOP_NOT_CLEAN, Turn.ENDS, text)]
        case "state_damaged":
            return [_notice(event, Kind.INSTANCE_FAILED, Turn.ONCE, damaged(before) or _said(event))]
        case _:
            return []


def _said(event: Event) -> str:
    """Return what an alert says, in the words of whoever wrote it."""
    return event.fields.get("says", "").removeprefix(f"{event.instance_id}: ")[:MOST_TEXT]


def _of_limits(event: Event) -> Notice:
    cuts = _list(event.fields.get("cuts", ""))
    text = cut_words(cuts, _list(event.fields.get("facts", "")))
    return _notice(event, Kind.RISK_LIMIT, Turn.BEGINS if cuts else Turn.ENDS, text)


def _list(text: str) -> list[Any]:
    try:
        found = json.loads(text or "[]")
    except UNREADABLE:
        return []
    return found if isinstance(found, list) else []


def _notice(event: Event, kind: Kind, turn: Turn, text: Words | str) -> Notice:
    return Notice(
        kind=kind,
        turn=turn,
        subject=event.instance_id,
        instance=event.instance_id,
        epoch=event.epoch,
        text=text,
        at_ms=event.at_ms,
    )
