"""What the record of an instance says of a stop: its receipt, or that there is none yet."""

from __future__ import annotations

from dataclasses import dataclass

from runner.kept_receipts import receipt_in
from runner.receipt import Receipt
from state.record import Phase, Record
from state.times import iso
from wording import said


@dataclass(frozen=True, kw_only=True)
class Found:
    """A receipt, or why there is none."""

    receipt: Receipt | None = None
    #: Run of the receipt, or of the stop that has none yet; 0 for none.
    epoch: int = 0
    #: Phase of that run, empty where it is over or nobody knows.
    phase: str = ""
    #: ``record`` or ``ledger``, empty where there is no receipt.
    source: str = ""
    message: str = ""
    #: The stop was asked for, and no cleanup attempt has reported yet.
    is_under_way: bool = False


def found_in_record(record: Record | None, epoch: int | None) -> Found | None:
    """Return what the record says of the run asked for, None where it is not about that run."""
    if record is None or (epoch is not None and epoch != record.epoch):
        return None
    phase = str(record.phase)
    receipt = receipt_in(record.outcome)
    if receipt is not None and receipt.epoch == record.epoch:
        return Found(receipt=receipt, epoch=record.epoch, phase=phase, source="record")
    if record.phase is Phase.RUNNING and epoch is not None:
        return Found(
            epoch=record.epoch,
            phase=phase,
            message=said("run {epoch} is running: it was not stopped yet", epoch=epoch),
        )
    if record.phase not in {Phase.STOPPING, Phase.FAILED}:
        return None
    why = said(": {stop_reason}", stop_reason=record.stop_reason) if record.stop_reason else ""
    unreadable = (
        said("this version cannot read what it reported")
        if record.outcome
        else said("no attempt has reported")
    )
    return Found(
        epoch=record.epoch,
        phase=phase,
        is_under_way=True,
        message=said(
            "run {epoch} is NOT clean yet: the stop was asked for at {stop_requested_at_ms} by "
            "{stop_by}{why}; {unreadable} yet",
            epoch=record.epoch,
            stop_requested_at_ms=iso(record.stop_requested_at_ms),
            stop_by=record.stop_by,
            why=why,
            unreadable=unreadable,
        ),
    )
