"""What a receipt tells: the ledger, the scripts, the log, and those who have to be alarmed."""

from __future__ import annotations

import structlog

from ledger.bookings import ReceiptBooking
from metrics import families
from runner.receipt import Acceptance, OpenOrderSeen, Receipt, Result
from runner.receipt_reading import read_receipt
from state.record import UNKNOWN_LEFT, Record
from state.stop_story import AcceptedLeft

log = structlog.get_logger(__name__)

#: Of a failed run the ledger is told the first attempts, then each so many: one comes every few seconds.
FIRST_TOLD = 3
TOLD_EVERY = 12
#: Ids that one sentence names.
MOST_NAMED = 20


def left_text(receipt: Receipt) -> str:
    """Return the own orders left as the scripts keep and compare them: ids, sorted; or that nobody knows."""
    if receipt.orders_left is None and not receipt.orders_kept:
        return UNKNOWN_LEFT
    return ",".join(sorted(order.order_id for order in receipt.orders_left or ()))


def receipt_bookings(receipt: Receipt, *, was_failed: bool) -> list[str]:
    """Return what the ledger is told of a receipt (JSON): its story, not each of the many attempts."""
    count = receipt.attempt_count
    if was_failed and not receipt.is_clean and count > FIRST_TOLD and count % TOLD_EVERY:
        return []
    return [receipt_booking(receipt)]


def receipt_booking(receipt: Receipt) -> str:
    """Return the booking of a receipt (JSON)."""
    return ReceiptBooking(
        account=receipt.account,
        instance_id=receipt.instance_id,
        epoch=receipt.epoch,
        symbol=receipt.symbol,
        started_at_ms=receipt.started_at_ms,
        requested_at_ms=receipt.requested_at_ms,
        updated_at_ms=receipt.updated_at_ms,
        result=str(receipt.result),
        attempts=receipt.attempt_count,
        receipt=receipt.model_dump_json(),
    ).model_dump_json()


def accept_left(record: Record, *, by: str, now_ms: int) -> AcceptedLeft:
    """Return that `by` accepts what the failed run in `record` has left, with the receipt that says so."""
    order_ids = (
        None if record.left == UNKNOWN_LEFT else tuple(name for name in record.left.split(",") if name)
    )
    booking = ""
    try:
        receipt = read_receipt(record.outcome)
    except ValueError:
        pass  # a newer version's: the event of the start says what was accepted all the same
    else:
        accepted = Acceptance(by=by, order_ids=order_ids)
        booking = receipt_booking(
            receipt.model_copy(
                update={"accepted": accepted, "updated_at_ms": now_ms, "account": record.account}
            )
        )
    return AcceptedLeft(epoch=record.epoch, left=record.left, booking=booking)


def what_is_left(receipt: Receipt) -> str:
    """Return in words what a stop has left, as far as anybody knows."""
    match receipt.result:
        case Result.CLEAN:
            return "nothing is left" if not receipt.orders_kept else f"kept: {_ids(receipt.orders_kept)}"
        case Result.ORDERS_LEFT:
            return f"own orders left: {_ids(receipt.orders_left or ())}"
        case Result.POSITION_LEFT:
            after = receipt.position_after
            return "the position is left" if after is None else f"position left: {after}"
        case Result.UNVERIFIED:
            return "own orders left: unknown, the exchange could not be asked"


def alert_text(receipt: Receipt) -> str:
    """Return what an alert says of a run that becomes failed with this receipt, or clean after that."""
    if receipt.is_clean:
        return f"run {receipt.epoch} is clean at last, after {receipt.attempt_count} attempts"
    problem = f" ({receipt.problem})" if receipt.problem else ""
    return (
        f"run {receipt.epoch} was stopped and is not clean: {what_is_left(receipt)}{problem}; "
        f"cleanups go on, manage.py receipt {receipt.instance_id} shows what they find"
    )


def count_receipt(receipt: Receipt) -> None:
    """Count the attempt that reports with this receipt, and the time of each of its steps."""
    families.RECEIPTS.add(receipt.result)
    attempt, asked_at_ms = receipt.attempts[-1], receipt.requested_at_ms
    if asked_at_ms is None:
        asked_at_ms = attempt.claimed_at_ms
    elif attempt.number == 1 and len(receipt.asked) == 1:
        families.STOP_PHASE_S.observe((attempt.claimed_at_ms - asked_at_ms) / 1000, "claimed")
    before_ms = attempt.claimed_at_ms
    for step in attempt.steps:
        families.STOP_PHASE_S.observe((step.at_ms - before_ms) / 1000, step.step)
        before_ms = step.at_ms
    if receipt.is_clean:
        families.STOP_S.observe((attempt.ended_at_ms - asked_at_ms) / 1000)


def log_receipt(receipt: Receipt, *, kept_as: str, was_failed: bool) -> None:
    """Log the end of an attempt; as an error only where the run becomes failed."""
    if kept_as == "failed" and not was_failed:
        log.error("alert: stop failed", **_where(receipt), says=alert_text(receipt))
    elif receipt.is_clean and was_failed:
        log.warning("alert: stop clean at last", **_where(receipt), says=alert_text(receipt))
    (log.info if receipt.is_clean else log.warning)(
        "cleanup",
        **_where(receipt),
        attempt=receipt.attempt,
        result=str(receipt.result),
        kept_as=kept_as,
        cancelled=receipt.attempts[-1].cancelled,
        problem=receipt.problem,
    )


def _where(receipt: Receipt) -> dict[str, str | int]:
    return {"instance": receipt.instance_id, "epoch": receipt.epoch}


def _ids(orders: tuple[OpenOrderSeen, ...]) -> str:
    names = [order.order_id for order in orders]
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more
