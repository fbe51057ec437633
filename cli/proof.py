"""The proof behind the word clean, for people and as JSON. Nothing here knows a secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cli.language import padded, tr
from cli.output import Output, iso, seconds
from cli.receipt_view import flight_text, left_line, position_line, unresolved_line
from runner.kept_receipts import receipt_in
from runner.receipt_json import receipt_json
from runner.stop_progress import Ending, StopProgress

if TYPE_CHECKING:
    from runner.receipt import Receipt

#: Endings after which no own order is left.
CLEAN_ENDINGS = frozenset({Ending.CLEAN, Ending.ALREADY_STOPPED, Ending.NEVER_STARTED})

#: Of an instance without a record whose past nobody can tell.
NOBODY_KNOWS = (
    "not known whether it has run: the state server knows nothing of it, and the ledger cannot be asked; its "
    "orders may rest. manage.py doctor says what is wrong with the ledger; repair that and stop it again"
)


def show_stop(output: Output, stop: StopProgress) -> None:
    """Print how one stop ended, with its proof."""
    headline, style = _headline(stop)
    output.line(f"{stop.instance_id}: {headline}", style)
    receipt = receipt_in(stop.outcome_json)
    if receipt is None:
        if stop.ending is Ending.NOT_CLEAN:
            label = padded(tr("own orders left"), 22)
            output.line(f"  {label}{tr('unknown: no cleanup has reported yet')}", "bad")
        return
    for name, text, line_style in proof_lines(receipt, cancelled=len(stop.cancelled_order_ids)):
        output.line(f"  {padded(name, 22)}{text}", line_style)


def proof_lines(receipt: Receipt, *, cancelled: int | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield what a receipt proves, in short: name, text, style.

    `cancelled` counts the orders cancelled as the event stream told it, which may be more.
    """
    count = max(len(receipt.cancelled_order_ids), cancelled or 0)
    yield tr("own orders cancelled"), str(count), ""
    yield left_line(receipt)
    if receipt.in_flight is None or receipt.in_flight.ended != "none":
        yield tr("iteration in flight"), flight_text(receipt.in_flight, receipt.requested_at_ms), ""
    yield unresolved_line(receipt)
    yield position_line(receipt)
    attempt = tr("{by}, attempt {number}", by=receipt.by, number=receipt.attempt_count)
    yield tr("cleaned up by"), attempt, "dim"
    if receipt.problem:
        yield tr("problem"), receipt.problem, "bad"


def stop_json(stop: StopProgress) -> dict[str, Any]:
    """Return one stop with its proof, keys and values stable for scripts."""
    return {
        "instance_id": stop.instance_id,
        "epoch": stop.epoch,
        "result": None if stop.ending is None else str(stop.ending),
        "clean": stop.ending in CLEAN_ENDINGS,
        "joined": stop.joined,
        "problem": stop.problem or None,
        "requested_at": iso(stop.requested_at_ms) if stop.requested_at_ms else None,
        "finished_at": iso(stop.finished_at_ms),
        "duration_ms": duration_ms(stop),
        "phases": [
            {"phase": seen.phase, "at": iso(seen.at_ms), "after_ms": seen.after_ms, "detail": seen.detail}
            for seen in stop.phases
        ],
        "cancelled_order_ids": list(stop.cancelled_order_ids),
        "receipt": receipt_json(receipt_in(stop.outcome_json)),
    }


def duration_ms(stop: StopProgress) -> int | None:
    """Return how long the stop took by the state server's clock, None while it lasts."""
    if stop.finished_at_ms is None or not stop.requested_at_ms:
        return None
    return stop.finished_at_ms - stop.requested_at_ms


def _headline(stop: StopProgress) -> tuple[str, str]:
    took = duration_ms(stop)
    match stop.ending:
        case Ending.CLEAN:
            if took is None:
                return tr("stopped clean (run {epoch})", epoch=stop.epoch), "good"
            time = seconds(took)
            return tr("stopped clean in {time} (run {epoch})", time=time, epoch=stop.epoch), "good"
        case Ending.ALREADY_STOPPED:
            return _already_stopped(stop), ""
        case Ending.NEVER_STARTED:
            return tr("was never started; nothing to do"), ""
        case Ending.LOST:
            return (
                tr(
                    "the ledger knows run {epoch}, which did not end clean, and the state server knows "
                    "nothing of it: its orders may rest, manage.py cleanup {name} finds them",
                    epoch=stop.epoch,
                    name=stop.instance_id,
                ),
                "bad",
            )
        case Ending.UNKNOWN:
            return tr(NOBODY_KNOWS), "bad"
        case Ending.REFUSED:
            return tr("NOT stopped: {why}", why=stop.problem), "bad"
        case Ending.REQUESTED:
            text = tr("stop requested (run {epoch}); no new order is allowed from now on", epoch=stop.epoch)
            return text, ""
        case Ending.SUPERSEDED:
            text = tr("run {epoch} was not clean when somebody forced a new one", epoch=stop.epoch)
            return text, "bad"
        case _:
            text = tr(
                "NOT clean yet (run {epoch}); no new order is allowed; cleanups go on while a worker runs, "
                "stop follows them again",
                epoch=stop.epoch,
            )
            return text, "bad"


def _already_stopped(stop: StopProgress) -> str:
    if not stop.finished_at_ms:
        return tr("was stopped already (run {epoch}); nothing to do", epoch=stop.epoch)
    at = iso(stop.finished_at_ms)
    return tr("was stopped already at {at} (run {epoch}); nothing to do", at=at, epoch=stop.epoch)
