"""What a stop that is not clean has left, in words, and as whoever starts over it accepts it."""

from __future__ import annotations

from runner.kept_receipts import receipt_in
from state.record import UNKNOWN_LEFT, Phase, Record
from wording import said

#: What stands for the ids where nobody knows them, and where there are none.
UNKNOWN, NONE = "unknown", "none"


def ids_shown(left: str) -> str:
    """Return `Record.left` as people read it and ``--accept-orders`` takes it."""
    return UNKNOWN if left == UNKNOWN_LEFT else left or NONE


def what_failed(record: Record) -> str:
    """Return in words how the last stop of an instance stands, and what it has left."""
    receipt = receipt_in(record.outcome)
    result = f" ({receipt.result})" if receipt else ""
    if record.phase is Phase.STOPPING and not record.outcome:
        return said(
            "run {epoch} is being stopped, and no cleanup attempt has reported yet", epoch=record.epoch
        )
    state = (
        said("is being stopped and is not clean yet")
        if record.phase is Phase.STOPPING
        else said("never became clean")
    )
    if record.left == UNKNOWN_LEFT:
        left = said("own orders left: unknown, the exchange could not be asked")
    else:
        left = said("own orders left: {names}", names=ids_shown(record.left).replace(",", ", "))
    return said(
        "run {epoch} {state}{result}; {left}", epoch=record.epoch, state=state, result=result, left=left
    )
