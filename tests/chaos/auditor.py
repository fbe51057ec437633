"""Judges a crash test by the exchange's journal and the receipts, not by what programs think of themselves.

(a) no order is accepted for a run after its clean receipt
(b) no order is open at a clean receipt, which has two empty lists of orders to show
(c) never two iterations of an instance at the same time; where the server that leads now has forgotten
    a claim, never an order while both are at work
(d) no foreign order is touched
(e) every running instance iterates again within the bound after a fault's end
(f) every stop ends clean within the bound after its request, or after the end of the fault it met
(g) the ledger has the journal's fills, all of them, once, and no others; and each clean receipt

(h) where everything is dead but the guard, no own order is left when its time has come

The exchange and the state server run on one machine, so that all times are of one clock.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tests.chaos.evidence import (
    OWN_ACCOUNT,
    Evidence,
    Order,
    Run,
    Step,
    journal_fills,
    own_orders,
)
from tests.chaos.plant import GUARD_AFTER_S
from tests.chaos.recovery import Recovery, Violation, recover

#: The class of fault in which only the guard is left, and how long it may take when its time has come.
ALL_BUT_GUARD = "all killed but the guard"
#: With its first sixty requests used up it sends ten a second, and twenty instances have some 150 orders.
GUARD_ACTS_S = 18


@dataclass(frozen=True, kw_only=True)
class Hold:
    """When an iteration or a cleanup of a run was at work."""

    begin_ms: int
    end_ms: int
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """When two iterations were at work, since the server had forgotten the claim of the first.

    It shows that itself, by giving the number of that one again. The first is refused every permission from
    then on, and the second has to wait for the fence: so nobody may send.
    """

    begin_ms: int
    end_ms: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of an audit."""

    violations: Sequence[Violation]
    #: By number of the round.
    recoveries: dict[int, Recovery]


def judge(found: Evidence) -> Verdict:
    """Judge everything."""
    orders = found.orders()
    runs = _by_instance(found.runs)
    own = own_orders(orders.values(), found.names)
    violations = [
        *_by_whom(found, own, runs),
        *_open_at_receipt(own, runs),
        *_foreign_touched(found, orders),
        *_ledger_differs(found),
        *_receipts_differ(found, runs),
        *_guard_too_late(found, own),
    ]
    recoveries = {}
    for each in found.rounds:
        recovery, late = recover(found.runs, found.steps, found.rounds, each, now_ms=found.until_ms)
        recoveries[each.number] = recovery
        violations += late
    return Verdict(violations=sorted(violations, key=lambda v: v.at_ms), recoveries=recoveries)


def _by_whom(found: Evidence, own: dict[str, list[Order]], runs: dict[str, list[Run]]) -> Iterator[Violation]:
    """Yield orders that a run sent too late, (a), and those that nobody can have sent, (c).

    An order was authorised between the time it is signed with, which is that of the authorisation or a little
    earlier, and its acceptance: by an iteration or a cleanup that was at work then.
    """
    steps: defaultdict[str, list[Step]] = defaultdict(list)
    for step in found.steps:
        steps[step.instance_id].append(step)
    for instance_id in sorted({*steps, *own}):
        mine = runs.get(instance_id, [])
        holds, problems = _holds(steps[instance_id], found.lease_ms)
        yield from problems
        overlaps = list(_overlaps(steps[instance_id], found.lease_ms))
        yield from _sent_in_overlaps(own.get(instance_id, []), instance_id, mine, overlaps)
        holds += [
            Hold(begin_ms=run.stop_requested_at_ms, end_ms=run.clean_at_ms or found.until_ms, epoch=run.epoch)
            for run in mine
            if run.stop_requested_at_ms is not None
        ]
        clean = {run.epoch: run.clean_at_ms for run in mine}
        for order in own.get(instance_id, []):
            yield from _judge_order(order, instance_id, mine, holds, clean)


def _sent_in_overlaps(
    orders: list[Order], instance_id: str, runs: list[Run], overlaps: Sequence[Overlap]
) -> Iterator[Violation]:
    for order in orders:
        for overlap in overlaps:
            if overlap.begin_ms <= order.signed_at_ms < overlap.end_ms:
                text = f"order {order.order_id} was signed at {order.signed_at_ms}, in {overlap}"
                yield _about(order, "c", instance_id, _run_of(runs, order.accepted_at_ms), text)


def _judge_order(
    order: Order, instance_id: str, runs: list[Run], holds: Sequence[Hold], clean: dict[int, int | None]
) -> Iterator[Violation]:
    at_ms = order.accepted_at_ms
    last = _run_of(runs, at_ms)
    if last is not None and last.clean_at_ms is not None and at_ms > last.clean_at_ms:
        late_ms = at_ms - last.clean_at_ms
        text = f"order {order.order_id} was accepted {late_ms} ms after the clean receipt, and no run since"
        yield _about(order, "a", instance_id, last, text)
        return
    senders = {h.epoch for h in holds if h.begin_ms <= at_ms and h.end_ms >= order.signed_at_ms}
    if not senders:
        text = f"order {order.order_id} was signed at {order.signed_at_ms}, while nobody was at work"
        yield _about(order, "c", instance_id, last, text)
        return
    cleaned_ms = clean.get(max(senders))
    if cleaned_ms is not None and at_ms > cleaned_ms:
        text = (
            f"order {order.order_id} of run {max(senders)} was accepted {at_ms - cleaned_ms} ms after its "
            f"clean receipt, signed at {order.signed_at_ms}"
        )
        yield _about(order, "a", instance_id, last, text)


def _open_at_receipt(own: dict[str, list[Order]], runs: dict[str, list[Run]]) -> Iterator[Violation]:
    for instance_id, mine in runs.items():
        for run in mine:
            clean_ms = run.clean_at_ms
            if clean_ms is None:
                continue
            for order in own.get(instance_id, []):
                ended_later = order.ended_at_ms is None or order.ended_at_ms > clean_ms
                if order.accepted_at_ms <= clean_ms and ended_later:
                    text = f"order {order.order_id} was open at the clean receipt of {clean_ms}"
                    yield _about(order, "b", instance_id, run, text)


def _holds(steps: Sequence[Step], lease_ms: int) -> tuple[list[Hold], list[Violation]]:
    """Return when each iteration held the instance, and where two of them met, (c)."""
    holds: list[Hold] = []
    problems: list[Violation] = []
    claim: Step | None = None

    def note(step: Step, text: str) -> None:
        problems.append(
            Violation(rule="c", at_ms=step.at_ms, instance_id=step.instance_id, epoch=step.epoch, text=text)
        )

    def hold(claim: Step, end_ms: int) -> None:
        holds.append(Hold(begin_ms=claim.at_ms, end_ms=end_ms, epoch=claim.epoch))

    for step in steps:
        if step.kind == "claimed":
            if claim is not None:
                hold(claim, claim.at_ms + lease_ms)
                if step.at_ms < claim.at_ms + lease_ms and not _is_forgotten(claim, by=step):
                    note(step, f"seq {step.seq} begins {step.at_ms - claim.at_ms} ms after {claim}")
            claim = step
        elif claim is None or claim.token != step.token:
            note(step, f"seq {step.seq} commits under a lease that is not its own; the last claim is {claim}")
        else:
            hold(claim, min(step.at_ms, claim.at_ms + lease_ms))
            claim = None
    if claim is not None:
        hold(claim, claim.at_ms + lease_ms)
    return holds, problems


def _overlaps(steps: Sequence[Step], lease_ms: int) -> Iterator[Overlap]:
    """Yield when the holder of a claim that was forgotten may have been at work beside the next one."""
    ends = {step.token: step.at_ms for step in steps if step.kind == "committed"}
    claims = [step for step in steps if step.kind == "claimed"]
    for lost, again in pairwise(claims):
        end_ms = min(lost.at_ms + lease_ms, ends.get(again.token, again.at_ms + lease_ms))
        if lost.token not in ends and again.at_ms < end_ms and _is_forgotten(lost, by=again):
            yield Overlap(begin_ms=again.at_ms, end_ms=end_ms)


def _is_forgotten(claim: Step, *, by: Step) -> bool:
    """Tell whether whoever gave a later claim knew nothing of `claim`."""
    return by.epoch == claim.epoch and by.seq <= claim.seq


def _foreign_touched(found: Evidence, orders: dict[str, Order]) -> Iterator[Violation]:
    for order in orders.values():
        is_own = order.account == OWN_ACCOUNT and order.slot in found.names
        if is_own or order.is_system:
            continue
        touched = order.ending if order.ending not in {"", "filled"} else "modified" if order.modified else ""
        if touched:
            text = f"{order.account}'s order {order.order_id}, client id {order.client_id}: {touched}"
            yield _about(order, "d", "", None, text)


def _ledger_differs(found: Evidence) -> Iterator[Violation]:
    if found.ledger_fills is None:
        return
    theirs, ours = Counter(journal_fills(found.journal)), Counter(found.ledger_fills)
    times = {str(e["trade_id"]): e["at_ms"] for e in found.journal if e["event"] == "fill"}
    for kind, fills in (("lost", theirs - ours), ("made up", ours - theirs)):
        for fill in fills.elements():
            at_ms = times.get(fill.trade_id, found.until_ms)
            yield Violation(rule="g", at_ms=at_ms, instance_id="", epoch=0, text=f"fill {kind}: {fill}")


def _receipts_differ(found: Evidence, runs: dict[str, list[Run]]) -> Iterator[Violation]:
    """Yield runs whose clean receipt the ledger lacks, (g), or that it does not show to be clean, (b)."""
    if found.ledger_receipts is None:
        return
    kept = {(each.instance_id, each.epoch): each for each in found.ledger_receipts}

    def violation(rule: str, run: Run, text: str) -> Violation:
        at_ms = run.clean_at_ms or run.started_at_ms
        return Violation(rule=rule, at_ms=at_ms, instance_id=run.instance_id, epoch=run.epoch, text=text)

    for run in (run for each in runs.values() for run in each):
        receipt = kept.get((run.instance_id, run.epoch))
        is_kept_clean = receipt is not None and receipt.result == "clean"
        if is_kept_clean != (run.clean_at_ms is not None):
            yield violation("g", run, f"receipts told {run.receipts}, the ledger has {receipt}")
        elif receipt is not None and is_kept_clean:
            last = receipt.lists[-2:]
            if len(last) < 2 or any(count or at_ms < receipt.fence_ms for at_ms, count in last):
                yield violation(
                    "b", run, f"a clean receipt without two empty lists behind its fence: {receipt}"
                )


def _guard_too_late(found: Evidence, own: dict[str, list[Order]]) -> Iterator[Violation]:
    """Yield orders that rest although everything but the guard has been dead for long enough, (h)."""
    for the_round in found.rounds:
        if [fault.name for fault in the_round.faults] != [ALL_BUT_GUARD]:
            continue  # something else may have kept the guard from it
        fault = the_round.faults[0]
        deadline_ms = fault.begun_at_ms + (GUARD_AFTER_S + GUARD_ACTS_S) * 1000
        for instance_id, orders in own.items():
            for order in orders:
                ended_later = order.ended_at_ms is None or order.ended_at_ms > deadline_ms
                if order.accepted_at_ms <= deadline_ms < fault.ended_at_ms and ended_later:
                    text = f"order {order.order_id} rests {deadline_ms - fault.begun_at_ms} ms after the kill"
                    yield replace(_about(order, "h", instance_id, None, text), at_ms=fault.begun_at_ms)


def _about(order: Order, rule: str, instance_id: str, run: Run | None, text: str) -> Violation:
    return Violation(
        rule=rule,
        at_ms=order.accepted_at_ms,
        instance_id=instance_id,
        epoch=0 if run is None else run.epoch,
        text=text,
        journal_lines=tuple(number for number in (order.number, order.end_number) if number),
    )


def _run_of(runs: Sequence[Run], at_ms: int) -> Run | None:
    """Return the run that had begun last at a time."""
    place = bisect_right([run.started_at_ms for run in runs], at_ms)
    return runs[place - 1] if place else None


def _by_instance(runs: Iterable[Run]) -> dict[str, list[Run]]:
    found: defaultdict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.started_at_ms):
        found[run.instance_id].append(run)
    return dict(found)
