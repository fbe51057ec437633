"""A receipt: what it adds up to, how large it gets, and what older versions wrote."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from runner.evidence import Evidence
from runner.receipt import (
    FIRST_ATTEMPTS_KEPT,
    LATEST_ATTEMPTS_KEPT,
    FlightEnd,
    OpenOrderSeen,
    Receipt,
    RequestFate,
    Result,
)
from runner.receipt_reading import read_receipt
from runner.receipt_reports import TOLD_EVERY, alert_text, left_text, receipt_bookings
from state.cleanup_leases import CleanupLease, InFlight
from state.stop_policy import StopPolicy
from state.stop_story import FlightAtStop, StopAsked, flight_from_json, requests_from_json

T0 = 1_767_312_000_000
ASKED = StopAsked(by="cli", reason="maintenance", at_ms=T0 - 5, policy=StopPolicy())
FLIGHT = FlightAtStop(seq=12, tick=9, task_id="its-task", lease_until_ms=T0 + 8000)


def lease(attempt: int = 1, *, earlier: Receipt | None = None, **changed: Any) -> CleanupLease:
    """Return the permission of an attempt that goes on with an earlier receipt."""
    values: dict[str, Any] = {
        "instance_id": "mm_01",
        "epoch": 3,
        "token": "t",
        "claimed_at_ms": T0 + attempt * 1000,
        "attempt": attempt,
        "slot": 7,
        "account": "backpack:0123456789",
        "config_version": "v1",
        "policy": StopPolicy(),
        "order_ids": (),
        "started_at_ms": T0 - 60_000,
        "asked": (ASKED,),
        "receipt_json": earlier.model_dump_json() if earlier else "",
    }
    return CleanupLease(**{**values, **changed})


def evidence(attempt: int = 1, *, earlier: Receipt | None = None, **changed: Any) -> Evidence:
    return Evidence(lease(attempt, earlier=earlier, **changed), by=f"worker {attempt}", tell=lambda _: None)


def seen(order_id: str) -> OpenOrderSeen:
    return OpenOrderSeen(order_id=order_id, client_order_id=1, side="buy", price="1", remaining_quantity="1")


def in_flight(flight_end: str = "", ended_at_ms: int = 0) -> InFlight:
    return InFlight(
        now_ms=T0,
        lease_until_ms=0,
        running_task_id="",
        fence_ms=0,
        order_ids=(),
        flight_end=flight_end,
        flight_ended_at_ms=ended_at_ms,
    )


def test_attempts_add_up_and_the_last_one_counts() -> None:
    first = evidence(1)
    first.symbol = "SOL_USDC"
    first.fence_ms, first.had_unresolved = T0 + 500, True
    first.order_cancelled("1", None)
    first.list_read((seen("2"),), T0 + 1100)
    one = first.receipt(Result.ORDERS_LEFT, "out of time", ended_at_ms=T0 + 1500)
    second = evidence(2, earlier=one)
    second.order_cancelled("2", None)
    second.order_gone("1")
    second.order_gone("3")
    second.list_read((), T0 + 2100)
    second.step("verified", T0 + 2200)
    two = second.receipt(Result.CLEAN, "")

    assert (one.is_clean, two.is_clean) == (False, True)
    assert (two.attempt, two.attempt_count, two.lost_attempts, two.by) == (2, 2, 0, "worker 2")
    assert [attempt.result for attempt in two.attempts] == [Result.ORDERS_LEFT, Result.CLEAN]
    assert two.cancelled_order_ids == ("1", "2")
    # That it was cancelled is known from the first attempt.
    assert two.gone_order_ids == ("3",)
    assert [each.at_ms for each in two.last_lists] == [T0 + 1100, T0 + 2100]
    assert (two.fence_ms, two.had_unresolved, two.symbol) == (T0 + 500, True, "SOL_USDC")
    assert (two.updated_at_ms, two.verified_at_ms, one.verified_at_ms) == (T0 + 2200, T0 + 2200, None)
    assert (two.reason, two.requested_at_ms, two.asked[0].by) == ("maintenance", T0 - 5, "cli")
    assert (two.orders_left, two.problem) == ((), "")
    assert read_receipt(two.model_dump_json()) == two


def test_an_attempt_that_died_is_counted_as_lost() -> None:
    one = evidence(1).receipt(Result.UNVERIFIED, "down")
    three = evidence(3, earlier=one).receipt(Result.CLEAN, "")
    assert (three.attempt_count, three.lost_attempts) == (3, 1)


def test_attempts_after_a_further_request_are_counted_on() -> None:
    two = evidence(2, earlier=evidence(1).receipt(Result.UNVERIFIED, "")).receipt(Result.UNVERIFIED, "")
    # The request starts the count of the record at 1 again.
    three = evidence(1, earlier=two).receipt(Result.CLEAN, "")
    assert (three.attempt, three.attempt_count, three.lost_attempts) == (1, 3, 0)


def test_a_receipt_of_another_run_is_not_gone_on_with() -> None:
    other = evidence(1, epoch=2).receipt(Result.UNVERIFIED, "")
    assert evidence(1, earlier=other).receipt(Result.CLEAN, "").attempt_count == 1


def test_an_earlier_receipt_that_cannot_be_read_does_not_hold_up_a_cleanup() -> None:
    receipt = evidence(2, receipt_json='{"version": 99}').receipt(Result.CLEAN, "")
    assert (receipt.is_clean, receipt.attempt_count) == (True, 2)


def test_an_outage_of_hours_does_not_make_a_receipt_grow_for_ever() -> None:
    receipt = None
    for number in range(1, 200):
        attempt = evidence(number, earlier=receipt)
        for trouble in range(200):
            attempt.step("held_up", T0 + number * 1000, f"trouble {trouble} " + "x" * 500)
        receipt = attempt.receipt(Result.UNVERIFIED, "p" * 9000)
    assert receipt is not None
    numbers = [attempt.number for attempt in receipt.attempts]
    assert numbers == [1, 2, 3, 195, 196, 197, 198, 199]
    assert len(numbers) == FIRST_ATTEMPTS_KEPT + LATEST_ATTEMPTS_KEPT
    assert (receipt.attempt_count, receipt.lost_attempts) == (199, 0)
    assert len(receipt.model_dump_json()) < 100_000
    assert [attempt.number for attempt in receipt.brief().attempts] == [199]


@pytest.mark.parametrize(
    ("said", "interrupted", "ended"),
    [
        ("", False, FlightEnd.RUNNING),
        ("committed", False, FlightEnd.COMMITTED),
        ("committed", True, FlightEnd.INTERRUPTED),
        ("lease_ran_out", True, FlightEnd.LEASE_RAN_OUT),
    ],
)
def test_how_the_iteration_in_flight_ended(said: str, interrupted: bool, ended: FlightEnd) -> None:
    found = evidence(flight=FLIGHT)
    if interrupted:
        found.interrupted(T0 + 500)
    found.flight_ended(in_flight(said, T0 + 600 if said else 0))
    flight = found.receipt(Result.CLEAN, "").in_flight
    assert flight is not None
    assert (flight.ended, flight.seq, flight.tick, flight.task_id) == (ended, 12, 9, "its-task")
    assert flight.ended_at_ms == (T0 + 600 if said else None)
    assert flight.interrupted_at_ms == (T0 + 500 if interrupted else None)


def test_what_a_later_attempt_learns_of_the_iteration_in_flight_is_kept() -> None:
    first = evidence(1, flight=FLIGHT)
    first.interrupted(T0 + 500)
    second = evidence(2, flight=FLIGHT, earlier=first.receipt(Result.UNVERIFIED, "out of time"))
    second.flight_ended(in_flight("committed", T0 + 30_000))
    flight = second.receipt(Result.CLEAN, "").in_flight
    assert flight is not None
    assert (flight.ended, flight.ended_at_ms) == (FlightEnd.INTERRUPTED, T0 + 30_000)


def test_no_iteration_in_flight_and_not_knowing_are_told_apart() -> None:
    none = evidence().receipt(Result.CLEAN, "").in_flight
    assert none is not None
    assert none.ended is FlightEnd.NONE
    assert evidence(knows_flight=False).receipt(Result.CLEAN, "").in_flight is None


def test_requests_without_an_answer_are_named_with_what_became_of_them() -> None:
    first = evidence(1)
    first.unanswered({41: T0 - 3, 42: T0 - 2, 43: T0 - 1})
    first.looked_up(41, "7")
    first.looked_up(42, "")
    one = first.receipt(Result.UNVERIFIED, "down")
    fates = {each.client_order_id: (each.fate, each.order_id) for each in one.unanswered}
    assert fates == {
        41: (RequestFate.RESTED, "7"),
        42: (RequestFate.NOT_OPEN, ""),
        43: (RequestFate.UNKNOWN, ""),
    }
    # Cancelled by the first attempt, it is not open any more: that it rested is still true.
    second = evidence(2, earlier=one)
    second.unanswered({41: T0 - 3, 43: T0 - 1})
    second.looked_up(41, "")
    second.looked_up(43, "")
    two = second.receipt(Result.CLEAN, "")
    fates = {each.client_order_id: (each.fate, each.order_id) for each in two.unanswered}
    assert fates[41] == (RequestFate.RESTED, "7")
    assert fates[43] == (RequestFate.NOT_OPEN, "")


def test_a_position_brought_down_in_several_attempts_is_told_from_the_first_to_the_last() -> None:
    first = evidence(1)
    first.position = ("3", "2", "account")
    second = evidence(2, earlier=first.receipt(Result.POSITION_LEFT, ""))
    second.position = ("2", "0", "account")
    receipt = second.receipt(Result.CLEAN, "")
    assert (receipt.position_before, receipt.position_after, receipt.position_of) == ("3", "0", "account")


def test_what_is_left_is_compared_by_sorted_ids_and_not_knowing_is_no_ids() -> None:
    found = evidence()
    found.list_read((seen("9"), seen("10")), T0)
    assert left_text(found.receipt(Result.ORDERS_LEFT, "")) == "10,9"
    assert left_text(found.receipt(Result.UNVERIFIED, "")) == "?"
    found = evidence()
    found.list_read((), T0)
    assert left_text(found.receipt(Result.POSITION_LEFT, "")) == ""


def test_the_ledger_is_told_of_the_first_attempts_of_some_later_ones_and_of_the_clean_one() -> None:
    def told(number: int, result: Result, *, was_failed: bool) -> bool:
        return bool(receipt_bookings(evidence(number).receipt(result, ""), was_failed=was_failed))

    assert told(1, Result.UNVERIFIED, was_failed=False)
    # One that is failed from the start, since its state was damaged.
    assert told(1, Result.UNVERIFIED, was_failed=True)
    # With this one it becomes failed.
    assert told(3, Result.UNVERIFIED, was_failed=False)
    assert not told(TOLD_EVERY + 1, Result.UNVERIFIED, was_failed=True)
    assert told(2 * TOLD_EVERY, Result.UNVERIFIED, was_failed=True)
    assert told(TOLD_EVERY + 1, Result.CLEAN, was_failed=True)


def test_an_alert_says_what_is_left_and_where_to_look() -> None:
    found = evidence()
    found.list_read(tuple(seen(str(number)) for number in range(30)), T0)
    text = alert_text(found.receipt(Result.ORDERS_LEFT, "out of time"))
    assert "own orders left: 0, 1, 2" in text
    assert "and 10 more" in text
    assert "manage.py receipt mm_01" in text
    assert "unknown, the exchange could not be asked" in alert_text(evidence().receipt(Result.UNVERIFIED, ""))


def test_what_the_version_before_receipts_wrote_can_be_read_and_gone_on_with() -> None:
    old = {
        "result": "orders_left",
        "instance_id": "mm_01",
        "epoch": 3,
        "attempt": 2,
        "by": "worker old",
        "reason": "tired",
        "steps": [{"step": "unwound", "at_ms": T0, "detail": ""}],
        "cancelled_order_ids": ["1"],
        "last_lists": [{"at_ms": T0 + 5, "own_orders": [seen("2").model_dump()]}],
        "orders_left": [seen("2").model_dump()],
        "orders_kept": [],
        "fence_ms": 0,
        "had_unresolved": False,
        "position_before": "1",
        "position_after": "0",
        "problem": "out of time",
    }
    receipt = read_receipt(json.dumps(old))
    assert (receipt.result, receipt.attempt_count, receipt.by) == (Result.ORDERS_LEFT, 2, "worker old")
    assert (receipt.reason, receipt.cancelled_order_ids, receipt.updated_at_ms) == ("tired", ("1",), T0 + 5)
    assert (receipt.in_flight, receipt.position_of) == (None, "run")
    later = evidence(3, receipt_json=json.dumps(old), knows_flight=False).receipt(Result.CLEAN, "")
    assert (later.attempt_count, later.cancelled_order_ids) == (3, ("1",))
    assert read_receipt(later.model_dump_json()) == later


@pytest.mark.parametrize("text", ["", "[]", "1", "no JSON", '{"version": 3}', '{"result": "clean"}'])
def test_what_is_no_receipt_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read_receipt(text)


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"by": 1}', '{"by": "a", "reason": "b", "at_ms": 1, "policy": 5}']
)
def test_a_damaged_story_does_not_hold_up_a_cleanup(text: str) -> None:
    assert requests_from_json(text) == ()
    assert flight_from_json(text) is None


def test_a_reason_may_have_any_character() -> None:
    line = json.dumps(
        {"by": "a", "reason": "x\u2028y\nz", "at_ms": 1, "policy": {"cancel_orders": True}},
        ensure_ascii=False,
    )
    assert [each.reason for each in requests_from_json(f"{line}\n{line}")] == ["x\u2028y\nz"] * 2


def test_an_order_that_a_list_shows_has_rested_though_nobody_could_be_asked_about_it() -> None:
    found = evidence()
    found.unanswered({1: T0, 2: T0})
    found.looked_up(1, "")
    found.list_read((seen("7"),), T0 + 1)
    found.list_read((), T0 + 2)
    fates = {
        each.client_order_id: (each.fate, each.order_id)
        for each in found.receipt(Result.CLEAN, "").unanswered
    }
    assert fates == {1: (RequestFate.RESTED, "7"), 2: (RequestFate.UNKNOWN, "")}


def test_a_position_that_the_stop_was_about_is_not_told_in_another_way() -> None:
    found = evidence()
    found.position = ("3", "0", "account")
    receipt = found.receipt(Result.CLEAN, "")
    assert receipt.with_net(Decimal(1), Decimal(2)) == receipt


def test_what_the_run_made_is_a_later_state_of_the_same_proof() -> None:
    receipt = evidence().receipt(Result.CLEAN, "")
    counted = receipt.with_net(Decimal("1.50"), None)
    assert (counted.position_before, counted.position_after, counted.position_of) == ("1.50", None, "left")
    assert counted.updated_at_ms > receipt.updated_at_ms
    assert counted.verified_at_ms == receipt.verified_at_ms


@pytest.mark.parametrize("number", [1, 3])
def test_an_attempt_that_was_handed_over_gives_its_number_to_the_next_and_none_is_lost(number: int) -> None:
    earlier = evidence(number).receipt(Result.UNVERIFIED, "its worker shut down")
    later = evidence(number, earlier=earlier).receipt(Result.CLEAN, "")
    assert later.attempt_count == earlier.attempt_count + 1
    assert later.lost_attempts == earlier.lost_attempts
