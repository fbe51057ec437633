"""The proof behind the word clean, for people and as JSON. Nothing here knows a secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from cli.outcomes import read_outcome
from cli.output import Output, clock, iso, seconds
from cli.stop_progress import Ending, StopProgress

if TYPE_CHECKING:
    from runner.outcome import OpenOrderSeen, Outcome

#: Endings after which no own order is left.
CLEAN_ENDINGS = frozenset({Ending.CLEAN, Ending.ALREADY_STOPPED, Ending.NEVER_STARTED})


def show_stop(output: Output, stop: StopProgress) -> None:
    """Print how one stop ended, with its proof."""
    headline, style = _headline(stop)
    output.line(f"{stop.instance_id}: {headline}", style)
    outcome = read_outcome(stop.outcome_json)
    if outcome is None:
        if stop.ending is Ending.NOT_CLEAN:
            output.line(f"  {'own orders left':<22}unknown: no cleanup has reported yet", "bad")
        return
    for name, text, line_style in proof_lines(outcome, cancelled=len(stop.cancelled_order_ids)):
        output.line(f"  {name:<22}{text}", line_style)


def proof_lines(outcome: Outcome, *, cancelled: int | None = None) -> Iterator[tuple[str, str, str]]:
    """Yield what an outcome proves: name, text, style.

    `cancelled` counts the orders that all attempts cancelled; None when only this one is known.
    """
    count = len(outcome.cancelled_order_ids) if cancelled is None else cancelled
    yield "own orders cancelled", str(count), ""
    if outcome.orders_kept:
        kept = f"{len(outcome.orders_kept)}, kept as asked for: {_ids(outcome.orders_kept)}"
        yield "own orders left", kept, "warn"
    else:
        yield "own orders left", *_left(outcome)
    if outcome.had_unresolved:
        unresolved = f"there were; none can arrive after {clock(outcome.fence_ms)}"
    else:
        unresolved = "none"
    yield "requests unresolved", unresolved, ""
    if outcome.position_before is None and outcome.position_after is None:
        yield "position", "left as it is", ""
    else:
        unwound = any(step.step == "unwound" for step in outcome.steps)
        done = "of this run, unwound" if unwound else "closed"
        yield "position", f"{done}: {outcome.position_before} -> {outcome.position_after}", ""
    yield "cleaned up by", f"{outcome.by}, attempt {outcome.attempt}", "dim"
    if outcome.problem:
        yield "problem", outcome.problem, "bad"


def stop_json(stop: StopProgress) -> dict[str, Any]:
    """Return one stop with its proof, keys and values stable for scripts."""
    return {
        "instance_id": stop.instance_id,
        "epoch": stop.epoch,
        "result": None if stop.ending is None else str(stop.ending),
        "clean": stop.ending in CLEAN_ENDINGS,
        "joined": stop.joined,
        "requested_at": iso(stop.requested_at_ms) if stop.requested_at_ms else None,
        "finished_at": iso(stop.finished_at_ms),
        "duration_ms": duration_ms(stop),
        "phases": [
            {"phase": seen.phase, "at": iso(seen.at_ms), "after_ms": seen.after_ms, "detail": seen.detail}
            for seen in stop.phases
        ],
        "cancelled_order_ids": list(stop.cancelled_order_ids),
        "outcome": outcome_json(read_outcome(stop.outcome_json)),
    }


def outcome_json(outcome: Outcome | None) -> dict[str, Any] | None:
    """Return an outcome with its times as ISO 8601."""
    if outcome is None:
        return None
    value = outcome.model_dump(mode="json", exclude={"fence_ms", "steps", "last_lists", "instance_id"})
    return value | {
        "unresolved_until": iso(outcome.fence_ms) if outcome.had_unresolved else None,
        "steps": [
            {"step": step.step, "at": iso(step.at_ms), "detail": step.detail} for step in outcome.steps
        ],
        "last_lists": [
            {
                "at": iso(seen.at_ms),
                "own_orders": [order.model_dump(mode="json") for order in seen.own_orders],
            }
            for seen in outcome.last_lists
        ],
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
            return f"stopped clean{'' if took is None else f' in {seconds(took)}'} (run {stop.epoch})", "good"
        case Ending.ALREADY_STOPPED:
            when = f" at {iso(stop.finished_at_ms)}" if stop.finished_at_ms else ""
            return f"was stopped already{when} (run {stop.epoch}); nothing to do", ""
        case Ending.NEVER_STARTED:
            return "was never started; nothing to do", ""
        case Ending.REQUESTED:
            return f"stop requested (run {stop.epoch}); no new order is allowed from now on", ""
        case Ending.SUPERSEDED:
            return f"run {stop.epoch} was not clean when somebody forced a new one", "bad"
        case _:
            rest = "no new order is allowed; cleanups go on while a worker runs, stop follows them again"
            return f"NOT clean yet (run {stop.epoch}); {rest}", "bad"


def _left(outcome: Outcome) -> tuple[str, str]:
    if outcome.orders_left is None:
        return "unknown: the exchange did not answer", "bad"
    if outcome.orders_left:
        return f"{len(outcome.orders_left)}: {_ids(outcome.orders_left)}", "bad"
    lists = " and ".join(clock(seen.at_ms) for seen in outcome.last_lists)
    return f"0, by the exchange's own word at {lists}", "good" if outcome.is_clean else ""


def _ids(orders: tuple[OpenOrderSeen, ...]) -> str:
    return ", ".join(order.order_id for order in orders)
