"""One attempt of a cleanup: it keeps the lease, ends in time, and notes what is seen and done."""

from __future__ import annotations

import threading
import time
from decimal import Decimal

import structlog

from metrics import families
from runner.context import Context
from runner.ending import CutShort, IsEnding
from runner.evidence import Evidence
from runner.receipt import OpenOrderSeen, Step
from state.cleanup_leases import CleanupLease, InFlight

log = structlog.get_logger(__name__)

#: Known to be shorter than the lease.
LONGEST_PAUSE_S = 1.0
#: Time that a cleanup in good order has to get done once its worker shuts down; most take a tenth of it.
ENDING_GRACE_S = 1.0


class OutOfTime(Exception):
    """Raised inside a cleanup when its time is over; what is known by then is recorded."""


class CleanupAttempt:
    """What every part of a cleanup asks while it works."""

    def __init__(self, context: Context, lease: CleanupLease, *, by: str, is_ending: IsEnding) -> None:
        self._context = context
        self._is_ending = is_ending
        #: When it was first seen that the worker shuts down; None: it does not.
        self._ending_since_s: float | None = None
        self._deadline_s = time.monotonic() + context.settings.cleanup_soft_limit_s * 0.8
        self.evidence = Evidence(lease, by=by, tell=self._tell)

    def renew(self, *, settled: bool = False) -> InFlight:
        """Prolong the lease and learn what is in flight. Raises `LeaseLost`, `OutOfTime` or `CutShort`."""
        self._end_if_asked()
        if time.monotonic() > self._deadline_s:
            raise OutOfTime
        in_flight = self._context.cleanup_leases.renew(self.evidence.lease, settled=settled)
        self.evidence.flight_ended(in_flight)
        return in_flight

    def _end_if_asked(self) -> None:
        now_s = time.monotonic()
        if self._ending_since_s is None and self._is_ending():
            self._ending_since_s = now_s
        if self._ending_since_s is None:
            return
        # What is held up takes longer than anybody waits for a worker's end.
        if self.evidence.is_held_up or now_s >= self._ending_since_s + ENDING_GRACE_S:
            raise CutShort

    def pause(self, seconds: float) -> None:
        """Wait a moment that is known to be shorter than the lease."""
        threading.Event().wait(min(seconds, LONGEST_PAUSE_S))

    def note_list(self, orders: tuple[OpenOrderSeen, ...]) -> None:
        """Keep the last lists as evidence."""
        self.evidence.list_read(orders, self._context.instances.now_ms())

    def note_cancelled(self, order_id: str, executed_quantity: Decimal | None) -> None:
        """Remember an order this cleanup cancelled."""
        families.ORDERS_CANCELLED.add("cleanup")
        self.evidence.order_cancelled(order_id, executed_quantity)

    def note_trouble(self, trouble: str) -> None:
        """Tell those who follow the stop what holds it up, once for each trouble in a row."""
        if self.evidence.is_news(trouble):
            log.warning("cleanup held up", instance=self.evidence.lease.instance_id, why=trouble)
            self.step("held_up", trouble)

    @property
    def slot(self) -> int:
        """Return the slot that own client order ids carry."""
        return self.evidence.lease.slot

    def step(self, step: str, detail: str = "") -> None:
        """Note what has been done now, and tell those who follow the stop."""
        self.evidence.step(step, self._context.instances.now_ms(), detail)

    def _tell(self, step: Step) -> None:
        lease = self.evidence.lease
        self._context.events.cleanup_step(
            lease.instance_id,
            epoch=lease.epoch,
            at_ms=step.at_ms,
            step=step.step,
            detail=step.detail,
        )
