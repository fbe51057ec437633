"""The auditor against itself: a story in which all is well, and every way of breaking it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.chaos.auditor import judge
from tests.chaos.evidence import Evidence, FaultTime, KeptReceipt, Receipt, Round, Run, Step, journal_fills
from tests.chaos.recovery import BOUND_MS, Violation, graver_than_late
from tests.chaos.tampering import unnoticed

SLOT = 21
NAME = "maker_1"
OTHER = "maker_2"
T0 = 1_700_000_000_000


def _entry(number: int, at_ms: int, event: str, order_id: str, **more: Any) -> dict[str, Any]:
    return {
        "n": number,
        "at_ms": T0 + at_ms,
        "event": event,
        "account": "demo",
        "symbol": "SOL_USDC",
        "order_id": order_id,
        "client_id": SLOT << 20 | number,
        "side": "Bid",
        "signed_at_ms": T0 + at_ms - 5,
        "status": "New",
        **more,
    }


def _fill(number: int, at_ms: int, order_id: str) -> dict[str, Any]:
    figures = {"price": "150", "quantity": "0.1", "executed": "0.1", "fee": "0.01", "fee_asset": "USDC"}
    more = {**figures, "status": "Filled", "trade_id": number, "maker": True}
    return _entry(number, at_ms, "fill", order_id, **more)


def _iterations(name: str, epoch: int, times_ms: list[int]) -> list[Step]:
    found = []
    for seq, at_ms in enumerate(times_ms, start=1):
        token = f"{name}:{epoch}:{seq}"
        for kind, after_ms in (("claimed", 0), ("committed", 100)):
            found.append(
                Step(
                    kind=kind,
                    instance_id=name,
                    epoch=epoch,
                    seq=seq,
                    token=token,
                    at_ms=T0 + at_ms + after_ms,
                    failed=False,
                )
            )
    return found


def story() -> Evidence:
    """Return a run with a fault, a stop with its receipt, and another start, in which all is well."""
    journal = [
        _entry(1, 50, "order_accepted", "1"),
        _entry(2, 60, "order_accepted", "2"),
        _fill(3, 500, "1"),
        _entry(4, 1060, "order_accepted", "4"),
        _entry(5, 7100, "order_cancelled", "2"),
        _entry(6, 7110, "order_cancelled", "4"),
        _entry(7, 9050, "order_accepted", "7"),
        _entry(8, 30_100, "order_cancelled", "7"),
    ]
    receipts = [
        Receipt(at_ms=T0 + 7050, result="retry", is_clean=False),
        Receipt(at_ms=T0 + 7200, result="stopped", is_clean=True),
    ]
    last = [Receipt(at_ms=T0 + 30_200, result="stopped", is_clean=True)]
    runs = [
        Run(
            instance_id=NAME,
            epoch=1,
            started_at_ms=T0,
            stop_requested_at_ms=T0 + 7000,
            receipts=receipts,
        ),
        Run(instance_id=OTHER, epoch=1, started_at_ms=T0),
        Run(
            instance_id=NAME,
            epoch=2,
            started_at_ms=T0 + 9000,
            stop_requested_at_ms=T0 + 30_000,
            receipts=last,
        ),
    ]
    fault = FaultTime(name="pool child killed", detail="", begun_at_ms=T0 + 2000, ended_at_ms=T0 + 5000)
    steps = [
        *_iterations(NAME, 1, [10, 1010, 6000]),
        *_iterations(OTHER, 1, [15, 1015, 6010, 12_000, 16_000]),
        *_iterations(NAME, 2, [9010, 10_010]),
    ]
    the_round = Round(
        number=1,
        row=fault.name,
        faults=[fault],
        begun_at_ms=fault.begun_at_ms,
        ended_at_ms=fault.ended_at_ms,
    )
    return Evidence(
        lease_ms=5000,
        names={SLOT: NAME, SLOT + 1: OTHER},
        journal=journal,
        runs=runs,
        steps=sorted(steps, key=lambda step: step.at_ms),
        rounds=[the_round],
        ledger_fills=journal_fills(journal),
        ledger_receipts=[
            KeptReceipt(
                instance_id=NAME,
                epoch=epoch,
                result="clean",
                updated_at_ms=T0 + at_ms,
                fence_ms=T0 + at_ms - 60,
                lists=[(T0 + at_ms - 50, 0), (T0 + at_ms - 10, 0)],
            )
            for epoch, at_ms in ((1, 7200), (2, 30_200))
        ],
        until_ms=T0 + 31_000,
    )


def test_a_story_in_which_all_is_well_has_no_violation() -> None:
    assert judge(story()).violations == []


def test_whatever_is_broken_the_auditor_notices() -> None:
    assert unnoticed(story()) == []


def test_whatever_is_broken_the_auditor_notices_where_the_next_run_never_got_to_work() -> None:
    whole = story()
    stopped_at_once = [
        replace(
            each,
            stop_requested_at_ms=T0 + 9005,
            receipts=[Receipt(at_ms=T0 + 9200, result="stopped", is_clean=True)],
        )
        if each.epoch == 2
        else each
        for each in whole.runs
    ]
    receipts = [
        replace(each, updated_at_ms=T0 + 9200, fence_ms=0, lists=[(T0 + 9150, 0), (T0 + 9190, 0)])
        if each.epoch == 2
        else each
        for each in whole.ledger_receipts or ()
    ]
    found = replace(
        whole,
        runs=stopped_at_once,
        ledger_receipts=receipts,
        steps=[each for each in whole.steps if (each.instance_id, each.epoch) != (NAME, 2)],
        journal=[each for each in whole.journal if each["order_id"] != "7"],
    )
    assert unnoticed(found) == []


def test_whatever_is_broken_the_auditor_notices_where_the_evidence_ends_soon_after_the_last_fault() -> None:
    whole = story()
    ended_ms = whole.until_ms - BOUND_MS // 2
    fault = replace(whole.rounds[0].faults[0], ended_at_ms=ended_ms)
    found = replace(whole, rounds=[replace(whole.rounds[0], faults=[fault], ended_at_ms=ended_ms)])
    assert unnoticed(found) == []


def test_recovery_is_counted_from_the_end_of_the_fault_and_from_a_later_start() -> None:
    recovery = judge(story()).recoveries[1]
    assert sorted(recovery.again_ms) == [110, 1100, 1110]
    assert recovery.clean_ms == [200, 200]


def test_a_stop_that_met_a_fault_is_counted_from_the_faults_end() -> None:
    found = story()
    runs = [replace(run, stop_requested_at_ms=T0 + 3000) if run.epoch == 1 else run for run in found.runs]
    verdict = judge(replace(found, runs=runs[:1]))
    assert verdict.recoveries[1].clean_ms == [2200]


def test_a_stop_that_was_over_before_the_fault_was_says_nothing_of_the_recovery() -> None:
    found = story()
    fault = replace(found.rounds[0].faults[0], ended_at_ms=T0 + 8000)
    long = replace(found.rounds[0], faults=[fault], ended_at_ms=fault.ended_at_ms)
    runs = [run for run in found.runs if (run.instance_id, run.epoch) == (NAME, 1)]
    verdict = judge(replace(found, runs=runs, rounds=[long]))
    assert verdict.recoveries[1].clean_ms == []
    assert [each for each in verdict.violations if each.rule == "f"] == []


def test_who_was_asked_to_stop_before_the_bound_need_not_iterate_again() -> None:
    found = story()
    quiet = [step for step in found.steps if (step.instance_id, step.at_ms < T0 + 5000) != (NAME, False)]
    assert [v.rule for v in judge(replace(found, steps=quiet)).violations if v.epoch == 1] == []


def test_what_is_missing_while_the_bound_is_not_over_is_waited_for() -> None:
    found = story()
    early = replace(
        found,
        until_ms=T0 + 5000 + BOUND_MS,
        runs=[run for run in found.runs if run.instance_id == OTHER],
        steps=[step for step in found.steps if step.at_ms <= T0 + 5000],
    )
    verdict = judge(early)
    assert [v for v in verdict.violations if v.rule in "ef"] == []
    assert verdict.recoveries[1].waiting == [f"{OTHER} iterates"]
    assert [
        v.rule for v in judge(replace(early, until_ms=early.until_ms + 1)).violations if v.rule in "ef"
    ] == ["e"]


def test_what_never_came_is_graver_than_what_came_late() -> None:
    late = Violation(rule="f", at_ms=T0, instance_id=NAME, epoch=1, text="", took_ms=BOUND_MS + 1)
    never = replace(late, took_ms=None)
    other = replace(never, rule="a")
    assert graver_than_late([late, never, other], BOUND_MS + 1) == [never, other]
    assert graver_than_late([late], BOUND_MS) == [late]


def _with_forgotten_claim(*, signed_ms: int) -> Evidence:
    """Return a story in which the third claim of a run was lost and given again, and an order of then."""
    whole = story()
    lost = next(each for each in whole.steps if each.instance_id == NAME and each.seq == 3)
    again = [
        replace(each, token="again", at_ms=each.at_ms + 600)
        for each in whole.steps
        if each.token == lost.token
    ]
    steps = [each for each in whole.steps if each.token != lost.token]
    order = _entry(9, 6800, "order_accepted", "9", signed_at_ms=T0 + signed_ms)
    ended = _entry(10, 7100, "order_cancelled", "9")
    return replace(
        whole,
        steps=sorted([*steps, lost, *again], key=lambda step: step.at_ms),
        journal=[*whole.journal, order, ended],
    )


def test_a_claim_that_its_server_forgot_may_be_given_again_and_nobody_may_send_meanwhile() -> None:
    assert judge(_with_forgotten_claim(signed_ms=6599)).violations == []
    # Behind the end of either of them there is one again.
    assert judge(_with_forgotten_claim(signed_ms=6700)).violations == []
    for signed_ms in (6600, 6699):
        (found,) = judge(_with_forgotten_claim(signed_ms=signed_ms)).violations
        assert (found.rule, found.instance_id, found.journal_lines) == ("c", NAME, (9, 10))
