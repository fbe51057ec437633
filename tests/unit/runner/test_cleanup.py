"""One cleanup, step by step: what it waits for and how long, and what its end says."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
from structlog.testing import capture_logs

from runner import cleanup, cleanup_attempt
from runner.cleanup import (
    ATTEMPTS_UNTIL_FAILED,
    FAILED_AFTER_MS,
    INTERRUPT_AFTER_S,
)
from runner.cleanup_attempt import LONGEST_PAUSE_S
from runner.loaded import LoadedInstance
from runner.position_at_stop import PositionAtStop
from runner.receipt import FlightEnd, Receipt, Result
from runner.receipt_reading import read_receipt
from runner.unwinding import LastBooks
from state.leases import Refusal
from state.stop_policy import StopPolicy
from state.stop_story import FlightAtStop, StopAsked
from tests.factories import client_order_id, loaded_instance, open_order
from tests.unit.runner.attempt_bench import EPOCH, LOST, NAME, NOW_MS, Attempt, in_flight, lease


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Attempt:
    return Attempt(monkeypatch)


def test_the_usual_attempt_tells_each_step_and_ends_clean(attempt: Attempt) -> None:
    attempt.lease = lease(order_ids=("1", "2"))
    attempt.venue.rest(open_order("1"), open_order("2"), open_order("3"))
    receipt = attempt.run()
    assert receipt is not None
    assert receipt.result is Result.CLEAN
    assert attempt.asked_for == [(NAME, {"epoch": EPOCH, "by": "test"})]
    assert attempt.steps == [
        ("cancels_sent", "2 orders"),
        ("iteration_released", ""),
        ("fence_passed", ""),
        ("orders_cancelled", "3 orders"),
        ("verified", "two lists in a row without own orders"),
    ]
    assert (receipt.symbol, receipt.slot, receipt.had_unresolved) == ("SOL_USDC", 7, False)
    assert (attempt.waits, attempt.pauses, attempt.interrupted) == ([], [], [])
    assert not any(attempt.settled)


def test_its_end_says_what_there_is_to_say(attempt: Attempt) -> None:
    receipt = attempt.run()
    assert receipt is not None
    told = attempt.finished
    (booking,) = told.pop("bookings")
    assert '"result":"clean"' in booking
    assert read_receipt(told.pop("outcome_json")) == receipt
    assert "is clean at last" in told.pop("alert")
    assert told == {
        "clean": True,
        "event_json": "",
        "left": "",
        "retry_after_ms": 500,
        "keeps_orders": False,
        "attempts_until_failed": ATTEMPTS_UNTIL_FAILED,
        "failed_after_ms": FAILED_AFTER_MS,
        "books_json": "",
        "intents": None,
        "daily_json": "",
    }


@pytest.mark.parametrize(
    ("number", "retry_ms"), [(1, 500), (2, 1_000), (3, 2_000), (4, 4_000), (5, 5_000), (3_000, 5_000)]
)
def test_each_attempt_that_is_not_clean_is_followed_by_a_later_one(
    attempt: Attempt, number: int, retry_ms: int
) -> None:
    attempt.lease = lease(attempt=number)
    attempt.told = [ValueError("whatever")]
    receipt = attempt.run()
    assert receipt is not None
    assert (receipt.result, receipt.problem) == (Result.UNVERIFIED, "ValueError: whatever")
    told = attempt.finished
    assert (told["clean"], told["retry_after_ms"], told["left"]) == (False, retry_ms, "?")
    assert read_receipt(told["event_json"]) == receipt.brief()
    assert receipt.attempts[-1].ended_at_ms == NOW_MS


def test_what_is_not_ours_to_do_is_not_done(attempt: Attempt) -> None:
    attempt.claimed = Refusal(reason="busy")
    assert attempt.run() is None
    assert (attempt.finished, attempt.steps) == ({}, [])


@pytest.mark.parametrize(
    ("kept", "why"), [("early", "something can still arrive"), ("unsaved", "has not written the stop")]
)
def test_an_end_that_the_script_does_not_take_is_none(attempt: Attempt, kept: str, why: str) -> None:
    attempt.kept = kept
    with capture_logs() as logs:
        assert attempt.run() is None
    assert why in logs[-1]["why"]


def test_a_lost_lease_ends_it_without_a_word(attempt: Attempt) -> None:
    attempt.told = [LOST]
    assert attempt.run() is None
    assert attempt.finished == {}


def test_an_iteration_is_waited_for_and_cut_short_once(attempt: Attempt) -> None:
    flight = FlightAtStop(seq=3, tick=4, task_id="its-task", lease_until_ms=NOW_MS + 700)
    attempt.lease = lease(flight=flight)
    busy = in_flight(lease_until_ms=NOW_MS + 700, running_task_id="its-task")
    soon = in_flight(lease_until_ms=NOW_MS + 5, running_task_id="its-task")
    attempt.told = [busy, busy, soon, in_flight(flight_end="committed", flight_ended_at_ms=NOW_MS + 9)]
    receipt = attempt.run()
    assert receipt is not None
    assert attempt.waits == [INTERRUPT_AFTER_S, INTERRUPT_AFTER_S, 0.01]
    assert attempt.interrupted == ["its-task"]
    assert ("iteration_released", "interrupted") in attempt.steps
    assert receipt.in_flight is not None
    assert receipt.in_flight.interrupted_at_ms == NOW_MS
    assert (receipt.in_flight.ended, receipt.in_flight.ended_at_ms) == (FlightEnd.INTERRUPTED, NOW_MS + 9)


def test_half_a_second_is_enough_for_that(attempt: Attempt) -> None:
    attempt.clock_s = 5.0
    busy = in_flight(lease_until_ms=NOW_MS + 700, running_task_id="its-task")
    attempt.told = [busy, busy, in_flight()]
    assert attempt.run() is not None
    assert (attempt.waits, attempt.interrupted) == ([INTERRUPT_AFTER_S] * 2, ["its-task"])


def test_one_that_ends_soon_is_not_cut_short(attempt: Attempt) -> None:
    attempt.clock_s = 5.0
    attempt.told = [in_flight(lease_until_ms=NOW_MS + 300), in_flight()]
    assert attempt.run() is not None
    assert (attempt.waits, attempt.interrupted) == ([0.3], [])
    assert ("iteration_released", "") in attempt.steps


def test_what_it_placed_meanwhile_is_cancelled_by_its_id(attempt: Attempt) -> None:
    attempt.lease = lease(order_ids=("1",))
    attempt.told = [in_flight(order_ids=("3", "1", "2"))]
    attempt.venue.rest(open_order("1"), open_order("2"), open_order("3"))
    attempt.venue.always["open_orders"] = lambda _: ()
    assert attempt.run() is not None
    assert attempt.venue.about("cancel") == ["1", "2", "3"]


@pytest.mark.parametrize("cancels", [True, False])
def test_the_fence_is_waited_for_while_what_arrives_is_cancelled(attempt: Attempt, cancels: bool) -> None:
    attempt.lease = lease(policy=StopPolicy(cancel_orders=cancels))
    ahead, soon, past = (in_flight(fence_ms=NOW_MS + left_ms) for left_ms in (5_000, 99, 0))
    while_listing = [past] if cancels else []
    attempt.told = [past, ahead, *while_listing, soon, *while_listing, past]
    receipt = attempt.run()
    assert receipt is not None
    assert (receipt.fence_ms, receipt.had_unresolved) == (NOW_MS + 5_000, True)
    assert attempt.pauses == [LONGEST_PAUSE_S, pytest.approx(0.1)]
    assert len(attempt.venue.about("open_orders")) == (4 if cancels else 1)


@pytest.mark.parametrize(("fence_ms", "had"), [(NOW_MS - 5, False), (NOW_MS - 4, True)])
def test_a_fence_that_is_past_tells_of_requests_without_an_answer(
    attempt: Attempt, fence_ms: int, had: bool
) -> None:
    asked = StopAsked(by="me", reason="", at_ms=NOW_MS - 5, policy=StopPolicy())
    attempt.lease = lease(asked=(asked,))
    attempt.told = [in_flight(fence_ms=fence_ms)]
    receipt = attempt.run()
    assert receipt is not None
    assert (receipt.had_unresolved, attempt.pauses) == (had, [])


def test_kept_orders_are_listed_and_stay(attempt: Attempt) -> None:
    attempt.lease = lease(policy=StopPolicy(cancel_orders=False), order_ids=("1",))
    attempt.told = [in_flight(order_ids=("1", "2"))]
    attempt.venue.rest(open_order("1"))
    receipt = attempt.run()
    assert receipt is not None
    assert [order.order_id for order in receipt.orders_kept] == ["1"]
    assert attempt.venue.names() == ["open_orders"]
    assert attempt.steps[-1] == ("verified", "1 orders kept")
    assert attempt.finished["keeps_orders"] is True


def test_what_nobody_told_of_is_asked_for_by_its_id(attempt: Attempt) -> None:
    numbers = [client_order_id(level=level) for level in (3, 1, 2)]
    attempt.run_data.intents = {numbers[0]: 5, numbers[1]: 6}
    attempt.run_data.strays = frozenset({numbers[2]})
    attempt.venue.rest(replace(open_order("1"), client_order_id=numbers[0]))
    attempt.venue.always["open_orders"] = lambda _: ()
    receipt = attempt.run()
    assert receipt is not None
    assert sorted(attempt.venue.about("find_order")) == sorted(numbers)
    assert receipt.cancelled_order_ids == ("1",)
    assert {each.client_order_id: each.order_id for each in receipt.unanswered} == {
        numbers[0]: "1",
        numbers[1]: "",
    }


@pytest.mark.parametrize("is_guess", [False, True])
def test_other_symbols_are_looked_at_where_the_place_is_a_guess(attempt: Attempt, is_guess: bool) -> None:
    attempt.is_guess = is_guess
    attempt.venue.rest(
        replace(open_order("1"), symbol="ETH_USDC"), replace(open_order("2", slot=None), symbol="BTC_USDC")
    )
    attempt.venue.always["open_orders"] = lambda symbol: tuple(
        order for order in attempt.venue.resting.values() if order.symbol == symbol
    )
    receipt = attempt.run()
    assert receipt is not None
    assert receipt.is_clean
    assert set(attempt.venue.about("open_orders")) == ({"ETH_USDC", "SOL_USDC"} if is_guess else {"SOL_USDC"})
    assert list(attempt.venue.resting) == (["2"] if is_guess else ["1", "2"])


@pytest.mark.parametrize("is_touched", [True, False])
@pytest.mark.parametrize("in_order", [True, False])
def test_after_orders_of_its_own_it_waits_and_looks_again(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch, in_order: bool, is_touched: bool
) -> None:
    monkeypatch.setattr(PositionAtStop, "follow_policy", lambda *_: in_order)
    monkeypatch.setattr(PositionAtStop, "is_touched", property(lambda _: is_touched))
    monkeypatch.setattr(PositionAtStop, "is_settled", property(lambda _: True))
    receipt = attempt.run()
    assert receipt is not None
    assert receipt.result is (Result.CLEAN if in_order else Result.POSITION_LEFT)
    assert any(attempt.settled) is is_touched
    assert len(attempt.venue.about("open_orders")) == (4 if is_touched else 2)
    assert [step for step, _ in attempt.steps].count("fence_passed") == (2 if is_touched else 1)


@pytest.mark.parametrize(("is_clean", "ended_at_ms"), [(True, NOW_MS), (False, NOW_MS + 50)])
def test_clean_is_as_of_the_last_list_and_what_is_not_as_of_now(
    attempt: Attempt, is_clean: bool, ended_at_ms: int
) -> None:
    attempt.passes_ms = {"verified" if is_clean else "fence_passed": 50}
    if not is_clean:
        attempt.venue.always["open_orders"] = ValueError("whatever")
    receipt = attempt.run()
    assert receipt is not None
    assert receipt.is_clean is is_clean
    assert receipt.attempts[-1].ended_at_ms == ended_at_ms


@pytest.mark.parametrize("kind", ["clean", "nobody knows the instance", "kept", "not clean"])
def test_the_books_are_completed_where_a_run_ended_clean_and_can_be_read(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    completed: list[Receipt] = []

    def complete(_: PositionAtStop, instance: LoadedInstance, receipt: Receipt) -> Receipt:
        assert instance is attempt.instance
        completed.append(receipt)
        return receipt.model_copy(update={"position_of": "left"})

    monkeypatch.setattr(PositionAtStop, "complete_books", complete)
    attempt.instance = None if kind == "nobody knows the instance" else loaded_instance()
    if kind == "kept":
        attempt.lease = lease(policy=StopPolicy(cancel_orders=False))
        attempt.venue.rest(open_order("1"))
    if kind == "not clean":
        attempt.told = [ValueError("whatever")]
    receipt = attempt.run()
    assert receipt is not None
    assert (len(completed), receipt.position_of) == ((1, "left") if kind == "clean" else (0, ""))


def test_a_run_that_is_nowhere_to_be_found_is_not_verified(attempt: Attempt) -> None:
    attempt.nowhere = "put its file back"
    receipt = attempt.run()
    assert receipt is not None
    assert (receipt.result, receipt.problem) == (Result.UNVERIFIED, "StateError: put its file back")
    assert attempt.venue.calls == []


def test_keys_of_another_account_cancel_nothing(attempt: Attempt) -> None:
    attempt.lease = replace(lease(order_ids=("1",)), account="another")
    receipt = attempt.run()
    assert receipt is not None
    assert receipt.result is Result.UNVERIFIED
    assert attempt.venue.calls == []


def test_orders_that_were_gone_already_are_told_as_such(attempt: Attempt) -> None:
    attempt.lease = lease(order_ids=("1", "2"))
    attempt.venue.rest(open_order("1"))
    receipt = attempt.run()
    assert receipt is not None
    assert (receipt.cancelled_order_ids, receipt.gone_order_ids) == (("1",), ("2",))


class Counted:
    """Stands for a counter of the metrics."""

    def __init__(self) -> None:
        self.counted: list[str] = []

    def add(self, label: str) -> None:
        """Count."""
        self.counted.append(label)


@pytest.mark.parametrize(
    ("refusal", "refused", "cancelled"),
    [
        (None, [], ["cleanup", "cleanup"]),
        (Refusal(reason="busy"), ["cleanup busy"], []),
        (Refusal(reason="stale", detail="epoch"), ["cleanup epoch"], []),
    ],
)
def test_refusals_and_cancelled_orders_are_counted(
    attempt: Attempt,
    monkeypatch: pytest.MonkeyPatch,
    refusal: Refusal | None,
    refused: list[str],
    cancelled: list[str],
) -> None:
    orders, claims = Counted(), Counted()
    refuse = SimpleNamespace(add=lambda what, why: claims.add(f"{what} {why}"))
    monkeypatch.setattr(cleanup, "families", SimpleNamespace(CLAIMS_REFUSED=refuse))
    monkeypatch.setattr(cleanup_attempt, "families", SimpleNamespace(ORDERS_CANCELLED=orders))
    attempt.claimed = refusal
    attempt.venue.rest(open_order("1"), open_order("2"))
    attempt.run()
    assert (claims.counted, orders.counted) == (refused, cancelled)


def test_a_lease_that_lacked_its_slot_has_it_from_the_place(attempt: Attempt) -> None:
    attempt.slot_of_place = 8
    attempt.venue.rest(open_order("1", slot=8), open_order("2"))
    receipt = attempt.run()
    assert receipt is not None
    assert (receipt.slot, receipt.cancelled_order_ids) == (8, ("1",))


def test_what_keeps_the_position_is_told(attempt: Attempt, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(position: PositionAtStop, *_: object) -> bool:
        position.problem = "too little of it"
        return False

    monkeypatch.setattr(PositionAtStop, "follow_policy", fail)
    receipt = attempt.run()
    assert receipt is not None
    assert (receipt.result, receipt.problem) == (Result.POSITION_LEFT, "too little of it")


def test_the_end_is_counted_and_a_stop_that_failed_is_alarmed(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Receipt] = []
    monkeypatch.setattr(cleanup, "count_receipt", counted.append)
    attempt.told = [ValueError("whatever")]
    attempt.kept = "failed"
    with capture_logs() as logs:
        receipt = attempt.run()
    assert counted == [receipt]
    assert [log["event"] for log in logs if log["log_level"] == "error"] == ["alert: stop failed"]


def test_books_that_were_opened_are_saved_with_what_was_sent(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A closing order that was interrupted must be in the books: nobody may send it again."""
    sent: list[str] = []
    books = SimpleNamespace(
        note_sent=lambda: sent.append("closing order"),
        standing=SimpleNamespace(
            books=SimpleNamespace(model_dump_json=lambda: f"books with {sent}"), intents={8: 9}
        ),
        daily_json="daily",
        bookings=lambda: ["fills"],
    )

    def follow(position: PositionAtStop, *_: object) -> bool:
        position.books = cast("LastBooks", books)
        return True

    monkeypatch.setattr(PositionAtStop, "follow_policy", follow)
    assert attempt.run() is not None
    told = attempt.finished
    assert (told["books_json"], told["intents"], told["daily_json"]) == (
        *("books with ['closing order']", {8: 9}, "daily"),
    )
    fills, booked = told["bookings"]
    assert (fills, '"result":"clean"' in booked) == ("fills", True)
