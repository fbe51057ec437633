"""Whether everything came back in time after a fault: judgements (e) and (f), also used while a test runs."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tests.chaos.evidence import Round, Run, Step

#: After a fault is over everything has to be as it should be within this time.
BOUND_MS = 10_000
#: Receipts of an instance that are shown at most.
SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Violation:
    """Something that must not happen, and did."""

    #: The letter of the judgement.
    rule: str
    at_ms: int
    instance_id: str
    epoch: int
    text: str
    #: Lines of the journal that show it.
    journal_lines: tuple[int, ...] = ()
    #: After how long it came at last, where it came too late and that is all that is wrong.
    took_ms: int | None = None


@dataclass(kw_only=True)
class Recovery:
    """How long things took after the end of a round's faults, ms."""

    #: Each running instance, to its next good iteration.
    again_ms: list[int] = field(default_factory=list)
    #: Each stop that was not over before the faults were, to its clean receipt.
    clean_ms: list[int] = field(default_factory=list)
    #: Instances and stops that are still waited for.
    waiting: list[str] = field(default_factory=list)


def graver_than_late(violations: Sequence[Violation], patience_ms: int) -> list[Violation]:
    """Return those that are not just something that came late, within `patience_ms`.

    For tests on machines whose load nobody knows: how late is what `make chaos` and `make drill` measure.
    """
    return [each for each in violations if each.took_ms is None or each.took_ms > patience_ms]


def recover(
    runs: Sequence[Run], steps: Sequence[Step], rounds: Sequence[Round], the_round: Round, *, now_ms: int
) -> tuple[Recovery, list[Violation]]:
    """Return how instances and stops recovered after a round's faults, and who came too late: (e) and (f).

    `now_ms` is until when anything is known: what is missing by then and not late is waited for.
    """
    later = [each.begun_at_ms for each in rounds if each.number > the_round.number]
    until_ms = min(later, default=now_ms)
    recovery = Recovery()
    late: list[Violation] = []
    good: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for step in steps:
        if step.kind == "committed" and not step.failed:
            good[step.instance_id, step.epoch].append(step.at_ms)
    for run in runs:
        if run.started_at_ms >= until_ms:
            continue
        late += _again(recovery, run, good[run.instance_id, run.epoch], the_round, until_ms, now_ms)
        late += _stopped(recovery, run, rounds, the_round, now_ms)
    return recovery, late


def _again(
    recovery: Recovery, run: Run, commits: Sequence[int], the_round: Round, until_ms: int, now_ms: int
) -> Iterator[Violation]:
    """Follow a run to its first good iteration after the faults, (e); the next round begins at `until_ms`."""
    since_ms = max(the_round.ended_at_ms, run.started_at_ms)
    place = bisect_right(commits, since_ms)
    next_ms = commits[place] if place < len(commits) else None
    stop_ms = run.stop_requested_at_ms
    if until_ms < now_ms and until_ms < min(since_ms + BOUND_MS, next_ms or now_ms):
        return  # the next faults came first, and their round counts from their end
    if stop_ms is not None and stop_ms < min(since_ms + BOUND_MS, next_ms or now_ms):
        return  # it was asked to stop first
    if next_ms is not None:
        recovery.again_ms.append(next_ms - since_ms)
    elif now_ms - since_ms <= BOUND_MS:
        recovery.waiting.append(f"{run.instance_id} iterates")
        return
    if next_ms is None or next_ms - since_ms > BOUND_MS:
        took = "never" if next_ms is None else f"after {next_ms - since_ms} ms"
        yield Violation(
            rule="e",
            at_ms=since_ms,
            instance_id=run.instance_id,
            epoch=run.epoch,
            text=f"iterates again {took}, {the_round.row} ended at {the_round.ended_at_ms}; "
            f"load {the_round.load}",
            took_ms=None if next_ms is None else next_ms - since_ms,
        )


def _stopped(
    recovery: Recovery, run: Run, rounds: Sequence[Round], the_round: Round, now_ms: int
) -> Iterator[Violation]:
    """Follow a stop to its clean receipt, (f): in the round whose fault it met last, or was asked for in."""
    asked_ms, clean_ms = run.stop_requested_at_ms, run.clean_at_ms
    if asked_ms is None:
        return
    since_ms, number = asked_ms, max((r.number for r in rounds if r.begun_at_ms <= asked_ms), default=0)
    faults = ((fault, each.number) for each in rounds for fault in each.faults)
    for fault, its_number in sorted(faults, key=lambda each: each[0].begun_at_ms):
        is_met = fault.begun_at_ms <= since_ms + BOUND_MS and fault.ended_at_ms > since_ms
        if is_met and (clean_ms is None or fault.begun_at_ms < clean_ms):
            since_ms, number = fault.ended_at_ms, its_number
    if number != the_round.number:
        return
    if clean_ms is not None:
        if clean_ms > since_ms:  # else it was over before the fault was
            recovery.clean_ms.append(clean_ms - since_ms)
    elif now_ms - since_ms <= BOUND_MS:
        recovery.waiting.append(f"{run.instance_id} stops")
        return
    if clean_ms is None or clean_ms - since_ms > BOUND_MS:
        took = "never" if clean_ms is None else f"after {clean_ms - since_ms} ms"
        yield Violation(
            rule="f",
            at_ms=max(asked_ms, the_round.begun_at_ms),
            instance_id=run.instance_id,
            epoch=run.epoch,
            text=f"clean {took}; counted from {since_ms}, asked at {asked_ms}, "
            f"{len(run.receipts)} receipts: {[receipt.result for receipt in run.receipts][:SHOWN]}; "
            f"load {the_round.load}",
            took_ms=None if clean_ms is None else clean_ms - since_ms,
        )
