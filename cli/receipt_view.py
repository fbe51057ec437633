"""A receipt for people and for scripts. Nothing here knows a secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.output import clock, iso, seconds
from runner.stop_progress import STEPS

if TYPE_CHECKING:
    from runner.receipt import Attempt, Flight, OpenOrderSeen, Receipt, Unanswered
    from state.instances import StopPolicy

#: Name, text and style of a line.
Line = tuple[str, str, str]

FLIGHT_ENDS = {
    "running": "had not ended yet",
    "committed": "committed",
    "interrupted": "cut short by the cleanup, and committed",
    "lease_ran_out": "never came back: its lease ran out",
}
FATES = {
    "rested": "rested, and was cancelled",
    "not_open": "not open once it could not arrive any more",
    "unknown": "the exchange could not be asked; the lists have to do",
}


def headline(receipt: Receipt, phase: str) -> tuple[str, str]:
    """Return what a receipt comes to, and its style; `phase` is the run's, empty where it is not known."""
    if receipt.is_clean:
        kept = " (its orders were kept as asked for)" if receipt.orders_kept else ""
        return f"stopped clean{kept}", "good"
    if receipt.accepted is not None:
        return f"NOT clean ({receipt.result}) when {receipt.accepted.by} forced a new run over it", "bad"
    goes_on = {"stopping": "; the stop goes on", "failed": "; it has failed, cleanups go on"}.get(phase, "")
    return f"NOT clean yet ({receipt.result}){goes_on}", "bad"


def receipt_lines(receipt: Receipt) -> Iterator[Line]:
    """Yield the whole story."""
    for asked in receipt.asked:
        reason = f": {asked.reason}" if asked.reason else ""
        yield "asked for", f"{iso(asked.at_ms)} by {asked.by or 'somebody'}{reason}", ""
    yield "policy", policy_text(receipt.policy), ""
    if receipt.account:
        yield "where", f"{receipt.symbol or '?'} of account {receipt.account}, slot {receipt.slot}", ""
        yield "run", f"started {iso(receipt.started_at_ms)}, configuration {receipt.config_version}", ""
    if receipt.paused_at_ms is not None:
        yield "paused", f"since {iso(receipt.paused_at_ms)}", ""
    yield "iteration in flight", flight_text(receipt.in_flight, receipt.requested_at_ms), ""
    yield unresolved_line(receipt)
    for unanswered in receipt.unanswered:
        yield "", _unanswered_text(unanswered), ""
    yield "own orders cancelled", _counted(receipt.cancelled_order_ids), ""
    if receipt.gone_order_ids:
        yield "gone when cancelled", _counted(receipt.gone_order_ids), ""
    yield left_line(receipt)
    for seen in receipt.last_lists:
        names = _ids(seen.own_orders)
        yield "list of open orders", f"{iso(seen.at_ms)}: {names or 'no own order'}", ""
    yield position_line(receipt)
    if receipt.accepted is not None:
        accepted = receipt.accepted.order_ids
        what = "without knowing which" if accepted is None else _counted(accepted)
        yield "accepted as left", f"{what}, by {receipt.accepted.by}", "bad"
    lost = f", {receipt.lost_attempts} without a report" if receipt.lost_attempts else ""
    yield "cleanup attempts", f"{receipt.attempt_count}{lost}", ""
    if receipt.problem:
        yield "problem", receipt.problem, "bad"


def attempt_lines(receipt: Receipt, attempt: Attempt) -> Iterator[Line]:
    """Yield the phases of one attempt with their times since the stop was asked for."""
    asked_at_ms = receipt.requested_at_ms or attempt.claimed_at_ms
    yield _after(attempt.claimed_at_ms, asked_at_ms), "claimed", ""
    for step in attempt.steps:
        detail = f"  {step.detail}" if step.detail else ""
        yield _after(step.at_ms, asked_at_ms), f"{STEPS.get(step.step, step.step)}{detail}", ""
    ended = f"ended {attempt.result}" + (f": {attempt.problem}" if attempt.problem else "")
    yield _after(attempt.ended_at_ms, asked_at_ms), ended, "good" if attempt.result == "clean" else "bad"


def policy_text(policy: StopPolicy) -> str:
    """Return in words what a stop does with what is on the exchange."""
    orders = "cancel own orders" if policy.cancel_orders else "keep own orders"
    if policy.close_position:
        return f"{orders}, close the position of the account"
    return f"{orders}, {'unwind what the run opened' if policy.unwind else 'leave the position'}"


def flight_text(flight: Flight | None, asked_at_ms: int | None) -> str:
    """Return in words which iteration was in flight, and how it ended."""
    if flight is None:
        return "not known: an older version was asked for this stop"
    if flight.ended == "none":
        return "none"
    which = "wake-up" if flight.tick is None else f"tick {flight.tick}"
    when = ""
    if flight.ended_at_ms and asked_at_ms:
        late_ms = flight.ended_at_ms - asked_at_ms
        when = f" {seconds(abs(late_ms))} {'after' if late_ms >= 0 else 'before'} the stop was asked for"
    return f"seq {flight.seq} ({which}, task {flight.task_id}): {FLIGHT_ENDS[str(flight.ended)]}{when}"


def unresolved_line(receipt: Receipt) -> Line:
    """Return whether requests of the run never got an answer, and until when they could have arrived."""
    if not receipt.had_unresolved:
        old = len(receipt.unanswered)
        return "requests unresolved", f"{old}, expired before the stop" if old else "none", ""
    return "requests unresolved", f"there were; none can arrive after {clock(receipt.fence_ms)}", ""


def left_line(receipt: Receipt) -> Line:
    """Return what is left on the book, by the last list."""
    name = "own orders left"
    if receipt.orders_kept:
        return name, f"{len(receipt.orders_kept)}, kept as asked for: {_ids(receipt.orders_kept)}", "warn"
    if receipt.orders_left is None:
        if receipt.is_clean:
            return name, "0 were there to be kept", "good"
        return name, "unknown: the exchange did not answer", "bad"
    if receipt.orders_left:
        return name, f"{len(receipt.orders_left)}: {_ids(receipt.orders_left)}", "bad"
    lists = " and ".join(clock(seen.at_ms) for seen in receipt.last_lists)
    return name, f"0, by the exchange's own word at {lists}", "good" if receipt.is_clean else ""


def position_line(receipt: Receipt) -> Line:
    """Return what became of the position."""
    if not receipt.position_of:
        return "position", "left as it is", ""
    if receipt.position_of == "left":
        after = receipt.position_after or "not every fill could be counted"
        return "position", f"of this run, left as it is: {receipt.position_before} -> {after}", ""
    done = "of this run, unwound" if receipt.position_of == "run" else "closed"
    return "position", f"{done}: {receipt.position_before} -> {receipt.position_after}", ""


def _unanswered_text(each: Unanswered) -> str:
    order = f" as order {each.order_id}" if each.order_id else ""
    return f"client id {each.client_order_id}, {iso(each.authorised_at_ms)}: {FATES[str(each.fate)]}{order}"


def _counted(order_ids: tuple[str, ...]) -> str:
    return f"{len(order_ids)}: {', '.join(order_ids)}" if order_ids else "0"


def _ids(orders: tuple[OpenOrderSeen, ...]) -> str:
    return ", ".join(order.order_id for order in orders)


def _after(at_ms: int, asked_at_ms: int) -> str:
    return f"{(at_ms - asked_at_ms) / 1000:+.3f} s"
