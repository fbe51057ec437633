"""What the scripts write down about a stop when it is asked for, for its receipt."""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum

from state.stop_policy import StopPolicy


class StopCause(StrEnum):
    """What made a run end by itself: for programs, beside the reason for people."""

    #: It has lost as much as its owner allows, in a day or at all.
    LOSS = "loss"
    #: Its iterations failed, one after the other.
    ERRORS = "errors"
    #: It has run as long as it was to.
    DURATION = "duration"
    #: Its strategy decided so for another reason.
    STRATEGY = "strategy"


@dataclass(frozen=True, kw_only=True)
class StopAsked:
    """A request to stop."""

    by: str
    reason: str
    #: State server's time, ms.
    at_ms: int
    #: What was to be done from then on: a further request only adds to it.
    policy: StopPolicy


@dataclass(frozen=True, kw_only=True)
class FlightAtStop:
    """The iteration that held the lease when the stop was asked for."""

    seq: int
    #: None: a wake-up.
    tick: int | None
    task_id: str
    #: End of its lease, ms; before the request where it had died unnoticed.
    lease_until_ms: int


@dataclass(frozen=True, kw_only=True)
class AcceptedLeft:
    """What somebody was shown of a failed run, and accepts: a new run may begin beside it."""

    epoch: int
    #: Ids of the own orders left as the record has them (`Record.left`).
    left: str
    #: The receipt of the failed run that says so, for the ledger (JSON); empty: none.
    booking: str = ""


def requests_from_json(lines: str) -> tuple[StopAsked, ...]:
    """Return the requests that the scripts wrote, one a line, the first one first; those that can be read."""
    return tuple(asked for asked in map(_request, lines.split("\n") if lines else ()) if asked)


def _request(line: str) -> StopAsked | None:
    try:
        said = json.loads(line)
        policy = StopPolicy(**said["policy"])
        return StopAsked(by=said["by"], reason=said["reason"], at_ms=int(said["at_ms"]), policy=policy)
    except (ValueError, KeyError, TypeError, RecursionError):
        # Damaged, or a newer version's: a stop has to end clean whatever its story says.
        return None


def flight_from_json(text: str) -> FlightAtStop | None:
    """Return the iteration that the scripts wrote down, None when there was none or nobody knows."""
    if text in {"", "-"}:
        return None
    try:
        said = json.loads(text)
        return FlightAtStop(
            seq=int(said["seq"]),
            tick=int(said["tick"]) if said["kind"] == "tick" else None,
            task_id=said["task_id"],
            lease_until_ms=int(said["lease_until"]),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
