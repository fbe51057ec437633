"""The receipt of a stop: what was asked for, what was done about it, and the proof behind the word clean.

One receipt for each run that is stopped. Every cleanup attempt adds to it; the last one's `result` counts.
"""

from __future__ import annotations

from decimal import Decimal
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict

from state.stop_policy import StopPolicy

#: Attempts that a receipt has in full: the first ones and the latest. The sums are over all of them.
FIRST_ATTEMPTS_KEPT = 3
LATEST_ATTEMPTS_KEPT = 5


class Result(StrEnum):
    """How a cleanup ended."""

    #: Nothing of the run is on the book (or only what the policy keeps), and nothing can still arrive.
    CLEAN = "clean"
    #: Own orders are still open.
    ORDERS_LEFT = "orders_left"
    #: The orders are gone, the position that should be closed is not.
    POSITION_LEFT = "position_left"
    #: The exchange could not be asked, so nothing is known.
    UNVERIFIED = "unverified"


class FlightEnd(StrEnum):
    """How the iteration ended that was in flight when the stop was asked for."""

    #: No iteration was in flight.
    NONE = "none"
    #: It is in flight still.
    RUNNING = "running"
    #: It ended by itself and saved what it did.
    COMMITTED = "committed"
    #: The cleanup cut it short; it saved what it had done by then.
    INTERRUPTED = "interrupted"
    #: It never came back; what it had sent is covered by the fence.
    LEASE_RAN_OUT = "lease_ran_out"


class RequestFate(StrEnum):
    """What became of an order whose request never got its answer."""

    #: It rested on the book, and was cancelled with the others.
    RESTED = "rested"
    #: Once it could not arrive any more, the exchange knew of no such open order.
    NOT_OPEN = "not_open"
    #: The exchange could not be asked about it; the lists have to do.
    UNKNOWN = "unknown"


class Model(BaseModel):
    """Frozen, strict base of the values kept in Redis as JSON."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Asked(Model):
    """A request to stop; further ones count only where they ask for more than those before."""

    by: str
    reason: str
    #: State server's time, ms.
    at_ms: int
    policy: StopPolicy


class Flight(Model):
    """The iteration that was in flight when the stop was asked for. Times of the state server, ms."""

    ended: FlightEnd
    seq: int = 0
    #: None: a wake-up.
    tick: int | None = None
    task_id: str = ""
    #: End of its lease as it was then; when that is over it cannot send anything any more.
    lease_until_ms: int = 0
    ended_at_ms: int | None = None
    #: When the cleanup cut it short.
    interrupted_at_ms: int | None = None


class Step(Model):
    """A step of a cleanup and when it was reached, ms of the state server's clock."""

    step: str
    at_ms: int
    detail: str = ""


class OpenOrderSeen(Model):
    """An own order as the exchange listed it."""

    order_id: str
    client_order_id: int
    side: str
    price: str
    remaining_quantity: str


class OrderList(Model):
    """One list of own open orders, by the exchange's own word."""

    at_ms: int
    own_orders: tuple[OpenOrderSeen, ...]


class Unanswered(Model):
    """An order that was authorised and whose request nobody has told the answer of."""

    client_order_id: int
    #: When it was authorised, ms.
    authorised_at_ms: int
    fate: RequestFate
    #: The order, where it rested.
    order_id: str = ""


class Attempt(Model):
    """One cleanup attempt. Times of the state server, ms."""

    #: As counted since the last request to stop.
    number: int
    #: Who ran it: a worker's task, or the command line itself.
    by: str
    claimed_at_ms: int
    #: The last moment that it noted; what it says was saved right after that.
    ended_at_ms: int
    result: Result
    #: What stood in the way, empty when clean.
    problem: str
    steps: tuple[Step, ...]
    #: How many orders it cancelled.
    cancelled: int


class Acceptance(Model):
    """Somebody started a new run over what this one left."""

    by: str
    #: The orders that were shown and accepted; None: nobody knew which.
    order_ids: tuple[str, ...] | None


class Receipt(Model):
    """The whole story of one stop of one run, as of its last cleanup attempt."""

    version: Literal[2] = 2
    result: Result
    instance_id: str
    epoch: int
    account: str
    symbol: str
    slot: int
    config_version: str
    #: Start of the run, state server's time, ms.
    started_at_ms: int
    #: State server's time of this state of the receipt, ms.
    updated_at_ms: int
    #: Who asked for the stop and why, the first request first.
    asked: tuple[Asked, ...]
    #: What the last attempt followed.
    policy: StopPolicy
    #: Since when the run was paused as the stop was asked for, ms; None: it was not.
    paused_at_ms: int | None = None
    #: None: not known, the stop was asked for by an older version.
    in_flight: Flight | None
    #: The first and the latest attempts that reported.
    attempts: tuple[Attempt, ...]
    #: How many began; one that died reports nothing.
    attempt_count: int
    #: How many of them died, or lost their lease, without a report.
    lost_attempts: int = 0
    #: Orders that the attempts cancelled, by the exchange's word for each.
    cancelled_order_ids: tuple[str, ...]
    #: Orders that a cancel was sent for and that were gone already: filled, or cancelled by an earlier
    #: request whose answer is missing (of an attempt that died, for example).
    gone_order_ids: tuple[str, ...] = ()
    #: The last lists read; clean takes two empty ones in a row, both read after `fence_ms`.
    last_lists: tuple[OrderList, ...]
    #: Own orders still open by the last attempt's last list; None when it could read no list.
    orders_left: tuple[OpenOrderSeen, ...] | None
    #: Own orders that stay because the policy says so.
    orders_kept: tuple[OpenOrderSeen, ...] = ()
    #: Until then a request authorised by the run could have been accepted, 0 when none was open.
    fence_ms: int
    #: True when a request of the run never got its answer (it has expired since).
    had_unresolved: bool
    #: Those orders, each with what became of it.
    unanswered: tuple[Unanswered, ...] = ()
    #: Net quantity, of what `position_of` says; None: not known (yet).
    position_before: str | None = None
    position_after: str | None = None
    #: ``run``: what this run made, unwound. ``account``: the account's whole position, closed. ``left``: what
    #: this run made, left as it is; counted once the stop was proven, with the fills that came last. Empty:
    #: that was not counted.
    position_of: str = ""
    #: What stood in the way at last, empty when clean.
    problem: str = ""
    #: Set where a new run was forced before this one was clean.
    accepted: Acceptance | None = None

    @property
    def is_clean(self) -> bool:
        """Tell whether the run may be called stopped."""
        return self.result is Result.CLEAN

    @property
    def attempt(self) -> int:
        """Return the number of the last attempt that reported, 0 before the first."""
        return self.attempts[-1].number if self.attempts else 0

    @property
    def by(self) -> str:
        """Return who ran the last attempt that reported."""
        return self.attempts[-1].by if self.attempts else ""

    @property
    def reason(self) -> str:
        """Return why the stop was asked for, in the words of the first who did."""
        return self.asked[0].reason if self.asked else ""

    @property
    def requested_at_ms(self) -> int | None:
        """Return when the stop was first asked for, None when that is not known."""
        return self.asked[0].at_ms if self.asked else None

    @property
    def steps(self) -> tuple[Step, ...]:
        """Return the steps of all attempts that are kept, in order."""
        return tuple(step for attempt in self.attempts for step in attempt.steps)

    @property
    def verified_at_ms(self) -> int | None:
        """Return when it was proven clean, None while it is not."""
        return self.attempts[-1].ended_at_ms if self.is_clean and self.attempts else None

    def with_net(self, before: Decimal, after: Decimal | None) -> Receipt:
        """Return the receipt with what the run made in all, unless the stop was about the position.

        `after` is None where not every fill could be counted.
        """
        if self.position_of not in {"", "left"}:
            return self
        texts = (str(before), None if after is None else str(after))
        # A later state by its time, so that the ledger has it whatever is told first; the proof is no later.
        update = {"position_before": texts[0], "position_after": texts[1], "position_of": "left"}
        return self.model_copy(update={**update, "updated_at_ms": self.updated_at_ms + 1})

    def brief(self) -> Receipt:
        """Return the receipt with its last attempt alone: events are many, and each repeats the others."""
        return self.model_copy(update={"attempts": self.attempts[-1:]})


def kept_attempts(attempts: tuple[Attempt, ...]) -> tuple[Attempt, ...]:
    """Return the attempts that a receipt has in full: an outage of hours must not make it grow for ever."""
    if len(attempts) <= FIRST_ATTEMPTS_KEPT + LATEST_ATTEMPTS_KEPT:
        return attempts
    return attempts[:FIRST_ATTEMPTS_KEPT] + attempts[-LATEST_ATTEMPTS_KEPT:]
