"""What a stop that is not clean has left, in words, and as whoever starts over it accepts it."""

from __future__ import annotations

from runner.kept_receipts import receipt_in
from state.record import UNKNOWN_LEFT, Phase, Record

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
        return f"run {record.epoch} is being stopped, and no cleanup attempt has reported yet"
    state = (
        "is being stopped and is not clean yet" if record.phase is Phase.STOPPING else "never became clean"
    )
    if record.left == UNKNOWN_LEFT:
        left = "own orders left: unknown, the exchange could not be asked"
    else:
        left = f"own orders left: {ids_shown(record.left).replace(',', ', ')}"
    return f"run {record.epoch} {state}{result}; {left}"
