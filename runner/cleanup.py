"""Clean up after a stop, and prove it: cancel, wait out what can still arrive, look twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from decimal import Decimal

import structlog

from exchanges.registry import Venue
from metrics import families
from runner.access import require_account
from runner.context import Context
from runner.ending import CutShort, IsEnding, never
from runner.evidence import Evidence
from runner.own_orders import LONGEST_PAUSE_S, OwnOrders
from runner.place import Place, find_place
from runner.position_at_stop import PositionAtStop
from runner.receipt import OpenOrderSeen, Receipt, Result, Step
from runner.receipt_reports import (
    alert_text,
    count_receipt,
    left_text,
    log_receipt,
    receipt_bookings,
)
from state.cleanup_leases import CleanupLease, InFlight
from state.client_ids import owns
from state.leases import LeaseLost, Refusal

log = structlog.get_logger(__name__)

#: An iteration that has not ended this long after the stop is cut short; its open request is then unresolved.
INTERRUPT_AFTER_S = 0.5
#: After an unclean attempt the next one follows this soon, doubled each time up to the longest.
FIRST_RETRY_MS = 500
LONGEST_RETRY_MS = 5_000
#: From this attempt on the instance is shown as failed; the attempts go on all the same.
ATTEMPTS_UNTIL_FAILED = 3
#: An attempt that ends not clean this long after the stop was asked for makes it failed, whichever it is.
FAILED_AFTER_MS = 15_000
#: Time that a cleanup in good order has to get done once its worker shuts down; most take a tenth of it.
ENDING_GRACE_S = 1.0

Interrupt = Callable[[str], None]


class OutOfTime(Exception):
    """Raised inside a cleanup when its time is over; what is known by then is recorded."""


def run_cleanup(
    context: Context,
    instance_id: str,
    *,
    epoch: int,
    by: str,
    interrupt: Interrupt | None = None,
    is_ending: IsEnding = never,
) -> Receipt | None:
    """Clean up run `epoch` and record its receipt; None when it is not ours to do (any more).

    `interrupt` cuts short a running iteration, given its task id. An outcome that is not clean has
    been scheduled for another attempt when this returns. Once `is_ending` it has a second to get done;
    then another worker takes over at once.
    """
    lease = context.cleanup_leases.claim(instance_id, epoch=epoch, by=by)
    if isinstance(lease, Refusal):
        families.CLAIMS_REFUSED.add("cleanup", lease.detail or lease.reason)
        log.info(
            "cleanup not claimed", instance=instance_id, epoch=epoch, why=lease.reason, detail=lease.detail
        )
        return None
    cleanup = Cleanup(context, lease, by=by, interrupt=interrupt, is_ending=is_ending)
    try:
        return cleanup.run()
    except CutShort:
        cleanup.hand_over()
        return None
    except LeaseLost as lost:
        log.warning("cleanup lease lost", instance=instance_id, epoch=epoch, why=str(lost))
        return None


class Cleanup:
    """One attempt to make an instance clean, under one cleanup lease."""

    def __init__(
        self,
        context: Context,
        lease: CleanupLease,
        *,
        by: str,
        interrupt: Interrupt | None,
        is_ending: IsEnding,
    ) -> None:
        self._context = context
        self._lease = lease
        self._interrupt = interrupt
        self._is_ending = is_ending
        #: When it was first seen that the worker shuts down; None: it does not.
        self._ending_since_s: float | None = None
        self._deadline_s = time.monotonic() + context.settings.cleanup_soft_limit_s * 0.8
        self._evidence = Evidence(lease, by=by, tell=self._tell)
        self._position = PositionAtStop(context, self._evidence, self)

    def run(self) -> Receipt:
        """Clean up, record the receipt, and return it. Raises `LeaseLost` or `CutShort`."""
        result, problem, instance = Result.UNVERIFIED, "", None
        try:
            place = find_place(self._context, self._lease)
            instance = place.instance
            self._lease = self._evidence.lease = place.lease
            result = self._clean(place)
            problem = self._position.problem
        except (LeaseLost, CutShort):
            raise
        except OutOfTime:
            result, problem = self._evidence.what_is_left(), "out of time; another attempt follows"
        except Exception as error:  # noqa: BLE001 - the boundary: whatever happened, record what is left and retry
            result, problem = self._evidence.what_is_left(), f"{type(error).__name__}: {error}"
        receipt = self._finish(result, problem)
        if instance is not None and receipt.is_clean and not receipt.orders_kept:
            return self._position.complete_books(instance, receipt)
        return receipt

    def _clean(self, place: Place) -> Result:
        evidence = self._evidence
        evidence.symbol = place.config.metadata.symbol
        require_account(place.config, self._context.settings, self._lease.account)
        venue = self._context.venues.of(place.config, for_cleanup=True)
        orders = OwnOrders(self, venue, evidence.symbol, exclusive=place.config.exclusive_symbol)
        if self._lease.policy.cancel_orders:
            orders.cancel_at_once(self._lease.order_ids)
            self._step("cancels_sent", f"{len(evidence.cancelled)} orders")
        released = self._wait_for_iteration()
        placed_meanwhile = tuple(sorted(set(released.order_ids) - set(self._lease.order_ids)))
        if self._lease.policy.cancel_orders and placed_meanwhile:
            # By their ids, since a list may take longer than this cleanup to show them.
            orders.cancel_at_once(placed_meanwhile)
        self._wait_for_fence(orders)
        if not self._lease.policy.cancel_orders:
            evidence.kept = orders.list()
            self._step("verified", f"{len(evidence.kept)} orders kept")
            return Result.CLEAN
        data = self._context.instances.run_data(self._lease.instance_id, self._lease.slot)
        evidence.unanswered(data.intents)
        orders.find_by_client_ids(sorted(data.strays | data.intents.keys()))
        if place.is_guess:
            self._cancel_elsewhere(venue)
        orders.cancel_until_gone()
        self._step("orders_cancelled", f"{len(evidence.cancelled)} orders")
        in_order = self._position.follow_policy(place, venue)
        if self._position.is_touched:
            self._wait_for_fence(orders, settled=self._position.is_settled)
            orders.cancel_until_gone()
        if not in_order:
            return Result.POSITION_LEFT
        self._step("verified", "two lists in a row without own orders")
        return Result.CLEAN

    def _cancel_elsewhere(self, venue: Venue) -> None:
        """Cancel own orders in other symbols than the one that the instance's file names by now."""
        own = (order for order in venue.account_open_orders() if owns(self.slot, order.client_order_id))
        for symbol in sorted({order.symbol for order in own} - {self._evidence.symbol}):
            OwnOrders(self, venue, symbol, exclusive=False).cancel_until_gone()

    def _wait_for_iteration(self) -> InFlight:
        """Wait until no iteration is in flight, woken by its end; cut it short when it takes long.

        Returns what stood when there was none.
        """
        asked_at_s = time.monotonic()
        interrupted = False
        while True:
            in_flight = self.renew()
            if in_flight.lease_until_ms == 0:
                break
            waited_s = time.monotonic() - asked_at_s
            if not interrupted and self._interrupt and waited_s >= INTERRUPT_AFTER_S:
                self._interrupt(in_flight.running_task_id)
                interrupted = True
                self._evidence.interrupted(in_flight.now_ms)
            remaining_s = (in_flight.lease_until_ms - in_flight.now_ms) / 1000
            self._context.cleanup_leases.wait_released(
                self._lease, timeout_s=max(0.01, min(INTERRUPT_AFTER_S, remaining_s))
            )
        self._step("iteration_released", "interrupted" if interrupted else "")
        return in_flight

    def _wait_for_fence(self, orders: OwnOrders, *, settled: bool = False) -> None:
        """Wait until nothing authorised earlier can be accepted; what arrives meanwhile is cancelled."""
        in_flight = self.renew(settled=settled)
        evidence = self._evidence
        evidence.fence_ms = max(evidence.fence_ms, in_flight.fence_ms)
        # Not only a fence still ahead: waiting for a dead iteration's lease may have outlasted it.
        evidence.had_unresolved |= in_flight.fence_ms > evidence.requested_at_ms
        while in_flight.fence_ms > in_flight.now_ms:
            if self._lease.policy.cancel_orders:
                orders.cancel_what_is_listed()
            self.pause(min(LONGEST_PAUSE_S, (in_flight.fence_ms - in_flight.now_ms + 1) / 1000))
            in_flight = self.renew()
        self._step("fence_passed")

    def renew(self, *, settled: bool = False) -> InFlight:
        """Prolong the lease and learn what is in flight. Raises `LeaseLost`, `OutOfTime` or `CutShort`."""
        self._end_if_asked()
        if time.monotonic() > self._deadline_s:
            raise OutOfTime
        in_flight = self._context.cleanup_leases.renew(self._lease, settled=settled)
        self._evidence.flight_ended(in_flight)
        return in_flight

    def _end_if_asked(self) -> None:
        now_s = time.monotonic()
        if self._ending_since_s is None and self._is_ending():
            self._ending_since_s = now_s
        if self._ending_since_s is None:
            return
        # What is held up takes longer than anybody waits for a worker's end.
        if self._evidence.is_held_up or now_s >= self._ending_since_s + ENDING_GRACE_S:
            raise CutShort

    def hand_over(self) -> None:
        """Let another worker take over at once, as it would later if this one had died."""
        self._step("handed_over", "its worker shuts down")
        receipt = self._evidence.receipt(
            self._evidence.what_is_left(), "its worker shut down; another takes over at once"
        )
        released = self._context.cleanup_leases.release(
            self._lease, receipt_json=receipt.model_dump_json(), left=left_text(receipt)
        )
        log.info("cleanup handed over", instance=self._lease.instance_id, in_time=released)

    def pause(self, seconds: float) -> None:
        """Wait a moment that is known to be shorter than the lease."""
        threading.Event().wait(min(seconds, LONGEST_PAUSE_S))

    def note_list(self, orders: tuple[OpenOrderSeen, ...]) -> None:
        """Keep the last lists as evidence."""
        self._evidence.list_read(orders, self._context.instances.now_ms())

    def note_cancelled(self, order_id: str, executed_quantity: Decimal | None) -> None:
        """Remember an order this cleanup cancelled."""
        families.ORDERS_CANCELLED.add("cleanup")
        self._evidence.order_cancelled(order_id, executed_quantity)

    def note_gone(self, order_id: str) -> None:
        """Remember an order that was gone when its cancel came."""
        self._evidence.order_gone(order_id)

    def note_looked_up(self, client_order_id: int, order_id: str) -> None:
        """Remember what the exchange has under a client order id, empty for nothing that is open."""
        self._evidence.looked_up(client_order_id, order_id)

    def note_trouble(self, trouble: str) -> None:
        """Tell those who follow the stop what holds it up, once for each trouble in a row."""
        if self._evidence.is_news(trouble):
            log.warning("cleanup held up", instance=self._lease.instance_id, why=trouble)
            self._step("held_up", trouble)

    @property
    def slot(self) -> int:
        """Return the slot that own client order ids carry."""
        return self._lease.slot

    def _step(self, step: str, detail: str = "") -> None:
        self._evidence.step(step, self._context.instances.now_ms(), detail)

    def _tell(self, step: Step) -> None:
        self._context.events.cleanup_step(
            self._lease.instance_id,
            epoch=self._lease.epoch,
            at_ms=step.at_ms,
            step=step.step,
            detail=step.detail,
        )

    def _finish(self, result: Result, problem: str) -> Receipt:
        lease = self._lease
        books = self._position.books
        if books:
            books.note_sent()
        # Clean is as of the last list; what is not may have ended in a wait of which nothing was noted.
        ended_at_ms = None if result is Result.CLEAN else self._context.instances.now_ms()
        receipt = self._evidence.receipt(result, problem, ended_at_ms=ended_at_ms)
        kept = self._context.cleanup_leases.finish(
            lease,
            clean=receipt.is_clean,
            outcome_json=receipt.model_dump_json(),
            event_json="" if receipt.is_clean else receipt.brief().model_dump_json(),
            left=left_text(receipt),
            retry_after_ms=min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** min(lease.attempt - 1, 10)),
            attempts_until_failed=ATTEMPTS_UNTIL_FAILED,
            failed_after_ms=FAILED_AFTER_MS,
            alert=alert_text(receipt),
            keeps_orders=bool(receipt.orders_kept),
            books_json=books.standing.books.model_dump_json() if books else "",
            intents=books.standing.intents if books else None,
            daily_json=books.daily_json if books else "",
            bookings=[
                *(books.bookings() if books else ()),
                *receipt_bookings(receipt, was_failed=lease.is_failed),
            ],
        )
        if kept == "early":
            # The script knows better: something is in flight after all. The sweep tries again.
            raise LeaseLost(f"{lease.instance_id}: not clean yet, something can still arrive")
        if kept == "unsaved":
            raise LeaseLost(f"{lease.instance_id}: the state server has not written the stop to its disk")
        count_receipt(receipt)
        log_receipt(receipt, kept_as=kept, was_failed=lease.is_failed)
        return receipt
