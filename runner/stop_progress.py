"""How far one stop has come, put together from the event stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from runner.kept_receipts import problem_of, receipt_in
from state.events import Event
from wording import said


class Ending(StrEnum):
    """How a command's interest in a stop ended."""

    #: Stopped, and clean by the exchange's own word.
    CLEAN = "clean"
    #: It was stopped before; nothing was done.
    ALREADY_STOPPED = "already_stopped"
    #: Nothing has ever run under this name; nothing was done.
    NEVER_STARTED = "never_started"
    #: The ledger knows a run that did not end clean, and the state server knows nothing of it.
    LOST = "lost"
    #: The state server knows nothing of it, and the ledger cannot be asked.
    UNKNOWN = "unknown"
    #: The state server refused the request; what ran runs on.
    REFUSED = "refused"
    #: Requested; the command did not wait.
    REQUESTED = "requested"
    #: The time was over before the instance was clean.
    NOT_CLEAN = "not_clean"
    #: Somebody forced a new run before this one was clean.
    SUPERSEDED = "superseded"


#: How the name of a worker begins where an event tells whose cleanup it is.
BY_WORKER = "worker "

#: What people read for each step of a cleanup.
STEPS = {
    "cancels_sent": "cancels sent",
    "iteration_released": "iteration released",
    "fence_passed": "fence passed",
    "orders_cancelled": "orders cancelled",
    "held_up": "held up",
    "handed_over": "handed over",
    "unwound": "unwound",
    "position": "position closed",
    "verified": "verified",
}


def told(event: Event) -> tuple[str, str]:
    """Return in words which phase of a stop an event is, and its details; both empty for none."""
    fields = event.fields
    by = fields.get("by", "?")
    if event.event == "stop_requested":
        reason = fields.get("reason", "")
        return "stop requested", said("by {by}: {reason}", by=by, reason=reason) if reason else said(
            "by {by}", by=by
        )
    if event.event == "cleanup_claimed":
        return "cleanup claimed", said("attempt {number}, {by}", number=fields.get("attempt", "?"), by=by)
    if event.event == "cleanup_step":
        step = fields.get("step", "?")
        return STEPS.get(step, step), fields.get("detail", "")
    return _end_told(event) if event.event == "finished" else ("", "")


def _end_told(event: Event) -> tuple[str, str]:
    result = event.fields.get("result", "?")
    if result == "stopped":
        return "stopped", said("clean")
    problem = problem_of(event.fields.get("outcome", ""))
    return "not clean yet", said("{problem}; it is tried again", problem=problem or result)


@dataclass(frozen=True, kw_only=True)
class PhaseSeen:
    """A phase of a stop."""

    phase: str
    #: State server's time, ms.
    at_ms: int
    #: Since the stop was requested.
    after_ms: int
    detail: str


@dataclass(kw_only=True)
class StopProgress:
    """One stop as seen so far."""

    instance_id: str
    epoch: int
    #: State server's time, ms.
    requested_at_ms: int
    #: Somebody else had asked for this stop before.
    joined: bool = False
    #: The run had been given up as failed before.
    was_failed: bool = False
    phases: list[PhaseSeen] = field(default_factory=list)
    #: Somebody claimed the cleanup and has not ended it yet.
    is_claimed: bool = False
    #: Attempts that ended without being clean.
    unclean_attempts: int = 0
    #: Orders that any attempt cancelled, in the order in which they were reported.
    cancelled_order_ids: list[str] = field(default_factory=list)
    #: The last outcome (JSON), empty before the first.
    outcome_json: str = ""
    finished_at_ms: int | None = None
    #: None while it goes on.
    ending: Ending | None = None
    #: Why it was refused, for people.
    problem: str = ""

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more is expected."""
        return self.ending is not None

    def take(self, event: Event) -> PhaseSeen | None:
        """Take in an event of the instance; return its phase, None when it means nothing here."""
        if event.epoch > self.epoch and event.event == "started" and not self.is_over:
            self.ending = Ending.SUPERSEDED
            return self._seen("started anew", event.fields.get("by", ""), event=event)
        if event.epoch != self.epoch or self.is_over:
            return None
        if event.event == "finished":
            return self._finished(event)
        phase, detail = told(event)
        if not phase:
            return None
        if event.event == "stop_requested":
            self.requested_at_ms = event.at_ms
        else:
            self.is_claimed = True
        return self._seen(phase, detail, event=event)

    def stopped(self, *, outcome_json: str, at_ms: int | None) -> None:
        """Take in from the record, not from an event, that the run is stopped."""
        self._report(outcome_json)
        self.finished_at_ms = at_ms
        self.is_claimed = False
        self.ending = Ending.CLEAN

    def refused(self, problem: str) -> None:
        """Take in that the state server refuses what a stop takes."""
        self.problem = problem
        self.ending = Ending.REFUSED

    def _finished(self, event: Event) -> PhaseSeen:
        self._report(event.fields.get("outcome", ""))
        self.is_claimed = False
        if event.fields.get("result") == "stopped":
            self.finished_at_ms = event.at_ms
            self.ending = Ending.CLEAN
        else:
            self.unclean_attempts += 1
        return self._seen(*_end_told(event), event=event)

    def _report(self, outcome_json: str) -> None:
        self.outcome_json = outcome_json
        receipt = receipt_in(outcome_json)
        cancelled = receipt.cancelled_order_ids if receipt else ()
        self.cancelled_order_ids += [name for name in cancelled if name not in self.cancelled_order_ids]

    def _seen(self, phase: str, detail: str, *, event: Event) -> PhaseSeen:
        seen = PhaseSeen(
            phase=phase, at_ms=event.at_ms, after_ms=event.at_ms - self.requested_at_ms, detail=detail
        )
        self.phases.append(seen)
        return seen
