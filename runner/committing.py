"""What an iteration has come to, and its commit: all that the next one, or a stop, will know of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import structlog

from metrics import families
from runner.bookings import Teller
from runner.books import Books
from runner.context import Context
from runner.execution import ExecutionReport
from runner.loaded import LoadedInstance
from runner.lookups import Standing
from runner.market_read import Source
from runner.schedule import error_delay_ms, task_id
from state.connection import AWAY
from state.leases import Committed, Lease, LeaseLost
from state.stop_policy import StopPolicy
from state.stop_story import StopCause

log = structlog.get_logger(__name__)

#: Pace of an instance whose configuration cannot be read; its back-off is longer anyway.
UNKNOWN_INTERVAL_MS = 1000
#: So long a commit is tried again while the state server is away: a restart takes about as long. Well within
#: the soft limit, and shorter than a lease.
PATIENCE_S = 2.0
PAUSE_S = 0.1


@dataclass(kw_only=True)
class Outcome:
    """Filled in while the iteration goes, so that however it ends the truth is left behind."""

    lease: Lease
    #: Monotonic.
    began_s: float
    #: None: not loaded yet.
    instance: LoadedInstance | None = None
    standing: Standing | None = None
    report: ExecutionReport = field(default_factory=ExecutionReport)
    state_json: str = ""
    daily_json: str = ""
    #: What was seen on the exchange, empty when nobody looked.
    look_json: str = ""
    error: str = ""
    stop_reason: str = ""
    stop_cause: StopCause = StopCause.STRATEGY
    unwind: bool = False
    #: True: its worker shuts down, and what is left to do is for another.
    is_cut_short: bool = False
    #: True: a stop came, or another has the lease.
    is_ended_by_gate: bool = False
    #: Where the order book came from.
    source: Source = Source.NONE
    #: Of a paused run: nothing rested, and nothing could still arrive. None: it was not looked.
    is_quiet: bool | None = None
    look_again_ms: int = 0

    def end_run(self, reason: str, cause: StopCause, *, unwind: bool = False) -> None:
        """Let the commit stop the run."""
        self.stop_reason, self.stop_cause = reason, cause
        self.unwind |= unwind

    @property
    def stop_policy(self) -> StopPolicy:
        """Return what a stop that this iteration decides does with orders and position."""
        policy = self.instance.stop_policy if self.instance else StopPolicy()
        # What is unwound must not be opened again by an order that was kept.
        return replace(policy, unwind=True, cancel_orders=True) if self.unwind else policy

    def close_books(self) -> Books | None:
        """Enter what was sent into the books and return them; None when there is nothing to save."""
        if self.standing is None:
            return None
        books = self.standing.books
        if self.report.accepted or self.report.cancelled or self.report.uncertain_cancels:
            books.own_changed_at_ms = self.standing.now_ms + self.standing.elapsed_ms
        for order in self.report.accepted:
            books.add(order)
        for order_id, executed in self.report.executed_when_cancelled.items():
            books.end(order_id, executed)
        # Those without an answer count when they are found.
        answered = len(self.report.accepted) + len(self.report.refused)
        books.placed_at_ms += (self.lease.claimed_at_ms,) * answered
        if self.state_json:
            books.forget_unseen()
        books.close_what_is_over(self.lease.claimed_at_ms)
        self.standing.intents |= self.report.unresolved
        return books

    def bookings(self) -> Sequence[str]:
        """Return what the books have learned, for the ledger (JSON)."""
        if self.standing is None:
            return ()
        teller = Teller(
            account=self.lease.account,
            instance_id=self.lease.instance_id,
            epoch=self.lease.epoch,
            slot=self.lease.slot,
            source="iteration",
            at_ms=self.lease.claimed_at_ms,
        )
        return teller.tell(self.standing.books, self.standing.instrument)

    def summary(self) -> str:
        """Return what was done, in a few words."""
        if self.error:
            return f"failed: {self.error[:100]}"
        counts = (("placed", self.report.accepted), ("cancelled", self.report.cancelled))
        done = [f"{len(orders)} {name}" for name, orders in counts if orders]
        return " · ".join([*done, *(["stop"] if self.stop_reason else [])]) or "nothing to do"

    def count(self, tick: int | None, *, is_lost: bool) -> None:
        """Count the iteration by what became of it; `is_lost`: another had its lease at the end."""
        outcomes = (
            ("lost", is_lost),
            ("cut_short", self.is_cut_short),
            ("gate", self.is_ended_by_gate),
            ("failed", bool(self.error)),
        )
        outcome = next((name for name, is_so in outcomes if is_so), "done")
        families.ITERATIONS.add("wake_up" if tick is None else "tick", outcome)
        families.ITERATION_S.observe(time.monotonic() - self.began_s)
        if tick is not None:
            families.LATENESS_S.observe(max(0, self.lease.claimed_at_ms - self.lease.due_at_ms) / 1000)


def commit(context: Context, outcome: Outcome) -> Committed | None:
    """Save what the iteration has come to and give the lease back; None where another had it by then.

    A state server that goes away is waited for a little, or its lease would keep the instance from iterating
    until it is over. Raises `redis.RedisError`.
    """
    lease, instance, report, standing = outcome.lease, outcome.instance, outcome.report, outcome.standing
    books = outcome.close_books()
    if outcome.error and lease.errors + 1 >= _most_errors(context, instance):
        why = f"{lease.errors + 1} iterations failed in a row, the last with {outcome.error}"
        outcome.end_run(why, StopCause.ERRORS)

    def attempt() -> Committed:
        if outcome.is_cut_short:
            # While the lease is held: the commit answers with a wake-up to publish.
            context.own_fills.wake(lease.instance_id)
        return context.leases.commit(
            lease,
            resolved=not report.unresolved,
            state_json=outcome.state_json,
            interval_ms=instance.interval_ms if instance else UNKNOWN_INTERVAL_MS,
            next_task_id=task_id(lease.instance_id, lease.epoch, lease.tick + 1),
            error=outcome.error[:500],
            error_delay_ms=error_delay_ms(lease.errors + 1) if outcome.error else 0,
            order_ids=None if books is None else [o.order_id for o in books.orders.values() if not o.ended],
            books_json="" if books is None else books.model_dump_json(),
            daily_json=outcome.daily_json,
            intents=None if standing is None else standing.intents,
            stop_reason=outcome.stop_reason,
            stop_cause=outcome.stop_cause if outcome.stop_reason else "",
            stop_policy=outcome.stop_policy,
            bookings=outcome.bookings(),
            is_quiet=outcome.is_quiet,
            look_again_ms=outcome.look_again_ms,
            look_json=outcome.look_json,
        )

    try:
        committed = _once_it_answers(attempt)
    except LeaseLost:
        log.warning("lease was taken over", instance=lease.instance_id, epoch=lease.epoch, seq=lease.seq)
        return None
    log.info(
        "iteration",
        instance=lease.instance_id,
        epoch=lease.epoch,
        seq=lease.seq,
        tick=lease.tick,
        late_ms=lease.claimed_at_ms - lease.due_at_ms,
        cancelled=len(report.cancelled),
        placed=len(report.accepted),
        refused=len(report.refused),
        unresolved=len(report.unresolved),
        book=str(outcome.source),
        failed=bool(outcome.error),
        cut_short=outcome.is_cut_short,
        paused=lease.is_paused,
    )
    return committed


def _once_it_answers(attempt: Callable[[], Committed]) -> Committed:
    """Return what `attempt` does, tried again while the state server is away; an answer may be lost."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return attempt()
        except AWAY:
            if time.monotonic() >= end_s:
                raise
            threading.Event().wait(PAUSE_S)


def _most_errors(context: Context, instance: LoadedInstance | None) -> int:
    own = instance.limits.max_consecutive_errors if instance else None
    return context.settings.max_consecutive_errors if own is None else own
