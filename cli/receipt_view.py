"""A receipt for people and for scripts. Nothing here knows a secret."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from cli.language import told, tr
from cli.output import clock, iso, seconds
from runner.stop_progress import STEPS

if TYPE_CHECKING:
    from runner.receipt import Attempt, Flight, OpenOrderSeen, Receipt, Unanswered
    from state.stop_policy import StopPolicy

#: Name, text and style of a line.
Line = tuple[str, str, str]

FLIGHT_ENDS = {
    "running": "had not ended yet",
    "committed": "committed",
    "interrupted": "cut short by the cleanup, and committed",
    "lease_ran_out": "never came back: its lease ran out",
}
#: Details of steps, as every cleanup tells them.
DETAILS = ("two lists in a row without own orders", "interrupted", "its worker shuts down")
FATES = {
    "rested": "rested, and was cancelled",
    "not_open": "not open once it could not arrive any more",
    "unknown": "the exchange could not be asked; the lists have to do",
}


def headline(receipt: Receipt, phase: str) -> tuple[str, str]:
    """Return what a receipt comes to, and its style; `phase` is the run's, empty where it is not known."""
    if receipt.is_clean:
        kept = bool(receipt.orders_kept)
        text = tr("stopped clean (its orders were kept as asked for)") if kept else tr("stopped clean")
        return text, "good"
    if receipt.accepted is not None:
        text = tr(
            "NOT clean ({result}) when {by} forced a new run over it",
            result=tr(receipt.result),
            by=receipt.accepted.by,
        )
        return text, "bad"
    result = tr(receipt.result)
    if phase == "stopping":
        return tr("NOT clean yet ({result}); the stop goes on", result=result), "bad"
    if phase == "failed":
        return tr("NOT clean yet ({result}); it has failed, cleanups go on", result=result), "bad"
    return tr("NOT clean yet ({result})", result=result), "bad"


def receipt_lines(receipt: Receipt) -> Iterator[Line]:
    """Yield the whole story."""
    for asked in receipt.asked:
        reason = f": {asked.reason}" if asked.reason else ""
        by = asked.by or tr("somebody")
        yield tr("asked for"), tr("{at} by {by}{reason}", at=iso(asked.at_ms), by=by, reason=reason), ""
    yield tr("policy"), policy_text(receipt.policy), ""
    if receipt.account:
        where = tr(
            "{symbol} of account {account}, slot {slot}",
            symbol=receipt.symbol or "?",
            account=receipt.account,
            slot=receipt.slot,
        )
        yield tr("where"), where, ""
        run = tr(
            "started {at}, configuration {version}",
            at=iso(receipt.started_at_ms),
            version=receipt.config_version,
        )
        yield tr("run"), run, ""
    if receipt.paused_at_ms is not None:
        yield tr("paused"), tr("since {at}", at=iso(receipt.paused_at_ms)), ""
    yield tr("iteration in flight"), flight_text(receipt.in_flight, receipt.requested_at_ms), ""
    yield unresolved_line(receipt)
    for unanswered in receipt.unanswered:
        yield "", _unanswered_text(unanswered), ""
    yield tr("own orders cancelled"), _counted(receipt.cancelled_order_ids), ""
    if receipt.gone_order_ids:
        yield tr("gone when cancelled"), _counted(receipt.gone_order_ids), ""
    yield left_line(receipt)
    for seen in receipt.last_lists:
        names = _ids(seen.own_orders)
        yield tr("list of open orders"), f"{iso(seen.at_ms)}: {names or tr('no own order')}", ""
    yield position_line(receipt)
    if receipt.accepted is not None:
        accepted = receipt.accepted.order_ids
        what = tr("without knowing which") if accepted is None else _counted(accepted)
        yield tr("accepted as left"), tr("{what}, by {by}", what=what, by=receipt.accepted.by), "bad"
    lost = tr(", {count} without a report", count=receipt.lost_attempts) if receipt.lost_attempts else ""
    yield tr("cleanup attempts"), f"{receipt.attempt_count}{lost}", ""
    if receipt.problem:
        yield tr("problem"), receipt.problem, "bad"


def attempt_lines(receipt: Receipt, attempt: Attempt) -> Iterator[Line]:
    """Yield the phases of one attempt with their times since the stop was asked for."""
    asked_at_ms = receipt.requested_at_ms or attempt.claimed_at_ms
    yield _after(attempt.claimed_at_ms, asked_at_ms), tr("claimed"), ""
    for step in attempt.steps:
        detail = f"  {detail_words(step.detail)}" if step.detail else ""
        yield _after(step.at_ms, asked_at_ms), f"{tr(STEPS.get(step.step, step.step))}{detail}", ""
    ended = tr("ended {result}", result=tr(attempt.result))
    ended += f": {attempt.problem}" if attempt.problem else ""
    yield _after(attempt.ended_at_ms, asked_at_ms), ended, "good" if attempt.result == "clean" else "bad"


def detail_words(detail: str) -> str:
    """Return the detail of a step, in the language in use where it is one that every cleanup tells."""
    match detail.split():
        case [count, "orders"]:
            return tr("{count} orders", count=count)
        case [count, "orders", "kept"]:
            return tr("{count} orders kept", count=count)
    return tr(detail) if detail in DETAILS else told(detail)


def policy_text(policy: StopPolicy) -> str:
    """Return in words what a stop does with what is on the exchange."""
    orders = tr("cancel own orders") if policy.cancel_orders else tr("keep own orders")
    if policy.close_position:
        return f"{orders}{tr(', ')}{tr('close the position of the account')}"
    position = tr("unwind what the run opened") if policy.unwind else tr("leave the position")
    return f"{orders}{tr(', ')}{position}"


def flight_text(flight: Flight | None, asked_at_ms: int | None) -> str:
    """Return in words which iteration was in flight, and how it ended."""
    if flight is None:
        return tr("not known: an older version was asked for this stop")
    if flight.ended == "none":
        return tr("none")
    which = tr("wake-up") if flight.tick is None else f"tick {flight.tick}"
    when = ""
    if flight.ended_at_ms and asked_at_ms:
        late_ms = flight.ended_at_ms - asked_at_ms
        time = seconds(abs(late_ms))
        after = late_ms >= 0
        when = (
            tr(" {time} after the stop was asked for", time=time)
            if after
            else tr(" {time} before the stop was asked for", time=time)
        )
    ended = tr(FLIGHT_ENDS[str(flight.ended)])
    task = tr("task {name}", name=flight.task_id)
    return f"seq {flight.seq} ({which}, {task}): {ended}{when}"


def unresolved_line(receipt: Receipt) -> Line:
    """Return whether requests of the run never got an answer, and until when they could have arrived."""
    if not receipt.had_unresolved:
        old = len(receipt.unanswered)
        text = tr("{count}, expired before the stop", count=old) if old else tr("none")
        return tr("requests unresolved"), text, ""
    text = tr("there were; none can arrive after {at}", at=clock(receipt.fence_ms))
    return tr("requests unresolved"), text, ""


def left_line(receipt: Receipt) -> Line:
    """Return what is left on the book, by the last list."""
    name = tr("own orders left")
    if receipt.orders_kept:
        kept = receipt.orders_kept
        text = tr("{count}, kept as asked for: {names}", count=len(kept), names=_ids(kept))
        return name, text, "warn"
    if receipt.orders_left is None:
        if receipt.is_clean:
            return name, tr("0 were there to be kept"), "good"
        return name, tr("unknown: the exchange did not answer"), "bad"
    if receipt.orders_left:
        return name, f"{len(receipt.orders_left)}: {_ids(receipt.orders_left)}", "bad"
    lists = tr(" and ").join(clock(seen.at_ms) for seen in receipt.last_lists)
    text = tr("0, by the exchange's own word at {times}", times=lists)
    return name, text, "good" if receipt.is_clean else ""


def position_line(receipt: Receipt) -> Line:
    """Return what became of the position."""
    if not receipt.position_of:
        return tr("position"), tr("left as it is"), ""
    after = receipt.position_after
    if receipt.position_of == "left":
        done, after = tr("of this run, left as it is"), after or tr("not every fill could be counted")
    else:
        done = tr("of this run, unwound") if receipt.position_of == "run" else tr("closed")
    return tr("position"), f"{done}: {receipt.position_before} -> {after}", ""


def _unanswered_text(each: Unanswered) -> str:
    order = tr(" as order {name}", name=each.order_id) if each.order_id else ""
    client_id = tr("client id {number}", number=each.client_order_id)
    return f"{client_id}, {iso(each.authorised_at_ms)}: {tr(FATES[str(each.fate)])}{order}"


def _counted(order_ids: tuple[str, ...]) -> str:
    return f"{len(order_ids)}: {', '.join(order_ids)}" if order_ids else "0"


def _ids(orders: tuple[OpenOrderSeen, ...]) -> str:
    return ", ".join(order.order_id for order in orders)


def _after(at_ms: int, asked_at_ms: int) -> str:
    return f"{(at_ms - asked_at_ms) / 1000:+.3f} s"
