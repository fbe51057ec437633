"""Clean up after a stop, and prove it: cancel, wait out what can still arrive, look twice."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from exchanges.registry import Venue
from metrics import families
from runner.access import require_account
from runner.cleanup_attempt import LONGEST_PAUSE_S, CleanupAttempt, OutOfTime
from runner.context import Context
from runner.ending import CutShort, IsEnding, never
from runner.own_orders import OwnOrders
from runner.place import Place, find_place
from runner.position_at_stop import PositionAtStop
from runner.receipt import Receipt, Result
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

Interrupt = Callable[[str], None]


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
        self._attempt = CleanupAttempt(context, lease, by=by, is_ending=is_ending)
        self._evidence = self._attempt.evidence
        self._position = PositionAtStop(context, self._evidence, self._attempt)

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
        orders = OwnOrders(self._attempt, venue, evidence.symbol, exclusive=place.config.exclusive_symbol)
        if self._lease.policy.cancel_orders:
            orders.cancel_at_once(self._lease.order_ids)
            self._attempt.step("cancels_sent", f"{len(evidence.cancelled)} orders")
        released = self._wait_for_iteration()
        placed_meanwhile = tuple(sorted(set(released.order_ids) - set(self._lease.order_ids)))
        if self._lease.policy.cancel_orders and placed_meanwhile:
            # By their ids, since a list may take longer than this cleanup to show them.
            orders.cancel_at_once(placed_meanwhile)
        self._wait_for_fence(orders)
        if not self._lease.policy.cancel_orders:
            evidence.kept = orders.list()
            self._attempt.step("verified", f"{len(evidence.kept)} orders kept")
            return Result.CLEAN
        data = self._context.instances.run_data(self._lease.instance_id, self._lease.slot)
        evidence.unanswered(data.intents)
        orders.find_by_client_ids(sorted(data.strays | data.intents.keys()))
        if place.is_guess:
            self._cancel_elsewhere(venue)
        orders.cancel_until_gone()
        self._attempt.step("orders_cancelled", f"{len(evidence.cancelled)} orders")
        in_order = self._position.follow_policy(place, venue)
        if self._position.is_touched:
            self._wait_for_fence(orders, settled=self._position.is_settled)
            orders.cancel_until_gone()
        if not in_order:
            return Result.POSITION_LEFT
        self._attempt.step("verified", "two lists in a row without own orders")
        return Result.CLEAN

    def _cancel_elsewhere(self, venue: Venue) -> None:
        """Cancel own orders in other symbols than the one that the instance's file names by now."""
        slot = self._lease.slot
        own = (order for order in venue.account_open_orders() if owns(slot, order.client_order_id))
        for symbol in sorted({order.symbol for order in own} - {self._evidence.symbol}):
            OwnOrders(self._attempt, venue, symbol, exclusive=False).cancel_until_gone()

    def _wait_for_iteration(self) -> InFlight:
        """Wait until no iteration is in flight, woken by its end; cut it short when it takes long.

        Returns what stood when there was none.
        """
        asked_at_s = time.monotonic()
        interrupted = False
        while True:
            in_flight = self._attempt.renew()
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
        self._attempt.step("iteration_released", "interrupted" if interrupted else "")
        return in_flight

    def _wait_for_fence(self, orders: OwnOrders, *, settled: bool = False) -> None:
        """Wait until nothing authorised earlier can be accepted; what arrives meanwhile is cancelled."""
        in_flight = self._attempt.renew(settled=settled)
        evidence = self._evidence
        evidence.fence_ms = max(evidence.fence_ms, in_flight.fence_ms)
        # Not only a fence still ahead: waiting for a dead iteration's lease may have outlasted it.
        evidence.had_unresolved |= in_flight.fence_ms > evidence.requested_at_ms
        while in_flight.fence_ms > in_flight.now_ms:
            if self._lease.policy.cancel_orders:
                orders.cancel_what_is_listed()
            self._attempt.pause(min(LONGEST_PAUSE_S, (in_flight.fence_ms - in_flight.now_ms + 1) / 1000))
            in_flight = self._attempt.renew()
        self._attempt.step("fence_passed")

    def hand_over(self) -> None:
        """Let another worker take over at once, as it would later if this one had died."""
        self._attempt.step("handed_over", "its worker shuts down")
        receipt = self._evidence.receipt(
            self._evidence.what_is_left(), "its worker shut down; another takes over at once"
        )
        released = self._context.cleanup_leases.release(
            self._lease, receipt_json=receipt.model_dump_json(), left=left_text(receipt)
        )
        log.info("cleanup handed over", instance=self._lease.instance_id, in_time=released)

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
