"""Break what a crash test has left behind, one thing at a time: the auditor has to notice each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.chaos.auditor import ALL_BUT_GUARD, GUARD_ACTS_S, judge
from tests.chaos.evidence import (
    OWN_ACCOUNT,
    Entry,
    Evidence,
    FaultTime,
    KeptReceipt,
    Order,
    Run,
    Step,
    own_orders,
)
from tests.chaos.plant import GUARD_AFTER_S
from tests.chaos.recovery import BOUND_MS

CRUMB = Decimal("0.000000001")


def unnoticed(found: Evidence) -> list[str]:
    """Return what was broken without anybody noticing; `found` itself must be in order."""
    assert not judge(found).violations
    missed = []
    for rule, what, broken in _broken(found):
        noticed = judge(broken).violations
        if not any(violation.rule == rule for violation in noticed):
            missed.append(f"({rule}) {what}: {[each.text for each in noticed][:3]}")
    return missed


def _broken(found: Evidence) -> Iterator[tuple[str, str, Evidence]]:
    """Yield the rule that is broken, how, and the evidence in which it is so."""
    run, order = _stopped_with_orders(found)
    clean_ms = run.clean_at_ms
    assert clean_ms is not None
    yield "a", "accepted just after the clean receipt", _moved(found, order, clean_ms + 1)
    yield "a", "receipt before the last order", _with_clean_at(found, run, order.accepted_at_ms - 1)
    yield "a", "accepted in the next run, signed in the last one", _late_in_next_run(found)
    yield "b", "never cancelled", _with_journal(found, lambda e: None if _ends(e, order) else e)
    yield (
        "b",
        "cancelled after the clean receipt",
        _with_journal(found, lambda e: {**e, "at_ms": clean_ms + 1} if _ends(e, order) else e),
    )
    claim, after = _claim_and_next(found)
    yield "c", "claimed while another held it", _with_step(found, after, at_ms=claim.at_ms + 1, before=claim)
    yield "c", "committed by another", _with_step(found, _commit_of(found, claim), token="another's")
    yield "c", "an order that nobody can have sent", _signed_in_peace(found)
    for account, client_id in (("other", None), (OWN_ACCOUNT, None), (OWN_ACCOUNT, 4090 << 20)):
        for event in ("order_cancelled", "order_expired", "order_modified"):
            yield "d", f"{event} of {account}", _foreign_touched(found, account, client_id, event)
    yield from _too_late(found)
    yield from _receipts_broken(found)
    yield from _guard_asleep(found)
    assert found.ledger_fills
    fills = list(found.ledger_fills)
    yield "g", "fill lost", replace(found, ledger_fills=fills[1:])
    yield "g", "fill twice", replace(found, ledger_fills=[*fills, fills[-1]])
    other = fills[0]._replace(quantity=fills[0].quantity + CRUMB)
    yield "g", "another quantity", replace(found, ledger_fills=[other, *fills[1:]])


def _receipts_broken(found: Evidence) -> Iterator[tuple[str, str, Evidence]]:
    kept = list(found.ledger_receipts or ())
    clean = next(each for each in kept if each.result == "clean")
    others = [each for each in kept if each is not clean]
    (first_ms, _), (second_ms, _) = clean.lists[-2:]
    changes: list[tuple[str, str, list[KeptReceipt]]] = [
        ("g", "receipt lost", []),
        ("g", "receipt not clean", [replace(clean, result="orders_left")]),
        ("b", "an order in its last list", [replace(clean, lists=[(first_ms, 0), (second_ms, 1)])]),
        ("b", "one list alone", [replace(clean, lists=[(second_ms, 0)])]),
        ("b", "a list before the fence", [replace(clean, fence_ms=second_ms)]),
    ]
    for rule, what, instead in changes:
        yield rule, what, replace(found, ledger_receipts=[*others, *instead])
    stopped, _ = _stopped_with_orders(found)
    never = [replace(each, is_clean=False) for each in stopped.receipts]
    yield "g", "receipt made up", _with_run(found, replace(stopped, receipts=never))


def _guard_asleep(found: Evidence) -> Iterator[tuple[str, str, Evidence]]:
    """Yield an order that rests through a time in which nobody but the guard was alive."""
    order = next(iter(own_orders(found.orders().values(), found.names).values()))[0]
    begun_ms = order.accepted_at_ms + 1
    ended_ms = begun_ms + (GUARD_AFTER_S + GUARD_ACTS_S + 1) * 1000
    fault = FaultTime(name=ALL_BUT_GUARD, detail="", begun_at_ms=begun_ms, ended_at_ms=ended_ms)
    alone = replace(found.rounds[0], faults=[fault], begun_at_ms=begun_ms, ended_at_ms=ended_ms)
    resting = _with_journal(found, lambda e: None if _is_end(e, order) else e)
    yield "h", "an order that nobody cancels", replace(resting, rounds=[alone])


def _is_end(entry: Entry, order: Order) -> bool:
    return entry.get("order_id") == order.order_id and entry["event"] != "order_accepted"


def _too_late(found: Evidence) -> Iterator[tuple[str, str, Evidence]]:
    last = found.rounds[-1]
    running = next(
        run
        for run in found.runs
        if run.started_at_ms < last.begun_at_ms
        and (run.stop_requested_at_ms or found.until_ms) > last.ended_at_ms
    )
    # Nobody asks it to stop, so that it has to go on.
    going_on = _with_run(found, replace(running, stop_requested_at_ms=None, receipts=[]))

    def without_commits(until_ms: int) -> Evidence:
        return replace(
            going_on,
            until_ms=max(found.until_ms, until_ms + 1),
            steps=[
                step
                for step in found.steps
                if (step.instance_id, step.epoch) != (running.instance_id, running.epoch)
                or not last.ended_at_ms < step.at_ms <= until_ms
            ],
        )

    # What a short test leaves may end before the bound is over: until then the auditor waits.
    yield "e", "never again", without_commits(max(found.until_ms, last.ended_at_ms + BOUND_MS))
    yield "e", "a moment too late", without_commits(last.ended_at_ms + BOUND_MS)
    stopped, _ = _stopped_with_orders(found)
    long_after_ms = found.until_ms + BOUND_MS + 1
    never = replace(_with_run(found, replace(stopped, receipts=[])), until_ms=long_after_ms)
    yield "f", "never clean", never
    assert stopped.clean_at_ms is not None
    ends = [fault.ended_at_ms for each in found.rounds for fault in each.faults]
    late_ms = max(stopped.clean_at_ms, *ends) + BOUND_MS + 1
    yield "f", "a moment too late", _with_clean_at(found, stopped, late_ms)


def _stopped_with_orders(found: Evidence) -> tuple[Run, Order]:
    """Return a run in a round that ended clean, and an order that its cleanup cancelled."""
    own = own_orders(found.orders().values(), found.names)
    for run in reversed(found.runs):
        asked_ms, clean_ms = run.stop_requested_at_ms, run.clean_at_ms
        if asked_ms is None or clean_ms is None or asked_ms < found.rounds[0].begun_at_ms:
            continue
        for order in own.get(run.instance_id, []):
            ended_ms = order.ended_at_ms or 0
            if order.ending == "order_cancelled" and asked_ms <= ended_ms <= clean_ms:
                return run, order
    raise AssertionError("no stop in this evidence has cancelled an order")


def _claim_and_next(found: Evidence) -> tuple[Step, Step]:
    """Return the claim of an iteration that sent no order, and the same instance's next claim."""
    claims: dict[str, Step] = {}
    for step in found.steps:
        if step.kind != "claimed":
            continue
        before = claims.get(step.instance_id)
        if before is not None and before.epoch == step.epoch and _commit_of(found, before) is not before:
            return before, step
        claims[step.instance_id] = step
    raise AssertionError("no instance has iterated twice")


def _commit_of(found: Evidence, claim: Step) -> Step:
    """Return the commit of a claim; the claim itself where it has none."""
    return next((s for s in found.steps if s.kind == "committed" and s.token == claim.token), claim)


def _late_in_next_run(found: Evidence) -> Evidence:
    """Return an order that was signed in one run and accepted early in the next one."""
    own = own_orders(found.orders().values(), found.names)
    for run in found.runs:
        later = [r for r in found.runs if r.instance_id == run.instance_id and r.epoch == run.epoch + 1]
        orders = [
            each
            for each in own.get(run.instance_id, [])
            if run.started_at_ms <= each.accepted_at_ms <= (run.stop_requested_at_ms or 0)
        ]
        if not later or not orders or run.clean_at_ms is None:
            continue
        # A run that is stopped before its first iteration never claims; its cleanup may place, too.
        at_work = [
            s.at_ms for s in found.steps if (s.instance_id, s.epoch) == (run.instance_id, run.epoch + 1)
        ]
        at_work += [later[0].stop_requested_at_ms or found.until_ms]
        if min(at_work) > later[0].started_at_ms:
            return _moved(found, orders[-1], later[0].started_at_ms)
    raise AssertionError("no instance in this evidence was started again")


def _signed_in_peace(found: Evidence) -> Evidence:
    """Return an order that was signed and accepted while its instance waited for its next iteration."""
    own = own_orders(found.orders().values(), found.names)
    for number, step in enumerate(found.steps):
        following = next((s for s in found.steps[number + 1 :] if s.instance_id == step.instance_id), None)
        if step.kind != "committed" or following is None or following.at_ms - step.at_ms < 20:
            continue
        if following.kind != "claimed" or following.epoch != step.epoch:
            continue
        stop_ms = next(
            r.stop_requested_at_ms or found.until_ms
            for r in found.runs
            if (r.instance_id, r.epoch) == (step.instance_id, step.epoch)
        )
        for order in own.get(step.instance_id, []):
            if step.at_ms + 10 < stop_ms:
                return _moved(found, order, step.at_ms + 10, signed_at_ms=step.at_ms + 9)
    raise AssertionError("no instance in this evidence has ever waited")


def _foreign_touched(found: Evidence, account: str, client_id: int | None, event: str) -> Evidence:
    first, last = found.journal[0], found.journal[-1]
    placed = {
        "event": "order_accepted",
        "account": account,
        "client_id": client_id,
        "order_id": "foreign",
        "symbol": "SOL_USDC",
        "side": "Bid",
        "status": "New",
        "at_ms": first["at_ms"],
        "signed_at_ms": first["at_ms"],
        "n": last["n"] + 1,
    }
    ended = {**placed, "event": event, "n": last["n"] + 2, "at_ms": last["at_ms"]}
    return replace(found, journal=[*found.journal, placed, ended])


def _moved(found: Evidence, order: Order, at_ms: int, *, signed_at_ms: int | None = None) -> Evidence:
    """Return an order accepted at another time; its end, where it has one, comes with it."""

    def change(entry: Entry) -> Entry:
        if entry.get("order_id") != order.order_id:
            return entry
        signed = entry["signed_at_ms"] if signed_at_ms is None else signed_at_ms
        return {**entry, "at_ms": at_ms, "signed_at_ms": signed}

    return _with_journal(found, change)


def _ends(entry: Entry, order: Order) -> bool:
    return entry.get("order_id") == order.order_id and entry["event"] == "order_cancelled"


def _with_journal(found: Evidence, change: Callable[[Entry], Entry | None]) -> Evidence:
    return replace(found, journal=[new for new in map(change, found.journal) if new is not None])


def _with_step(found: Evidence, step: Step, *, before: Step | None = None, **changes: Any) -> Evidence:
    """Return evidence with a changed step, moved to just behind `before` if given."""
    changed = replace(step, **changes)
    if before is None:
        return replace(found, steps=[changed if each is step else each for each in found.steps])
    rest = [each for each in found.steps if each is not step]
    place = rest.index(before) + 1
    return replace(found, steps=[*rest[:place], changed, *rest[place:]])


def _with_run(found: Evidence, run: Run) -> Evidence:
    key = (run.instance_id, run.epoch)
    return replace(found, runs=[run if (r.instance_id, r.epoch) == key else r for r in found.runs])


def _with_clean_at(found: Evidence, run: Run, at_ms: int) -> Evidence:
    receipts = [replace(each, at_ms=at_ms) if each.is_clean else each for each in run.receipts]
    return replace(_with_run(found, replace(run, receipts=receipts)), until_ms=max(found.until_ms, at_ms + 1))
