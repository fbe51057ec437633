"""One attempt of a cleanup: when its time is over, its worker shuts down, or something holds it up."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from exchanges.errors import Unavailable
from market.orders import OpenOrder
from runner import cleanup_attempt
from runner.cleanup_attempt import ENDING_GRACE_S, LONGEST_PAUSE_S, CleanupAttempt
from runner.own_orders import FIRST_PAUSE_S
from runner.receipt import Result
from runner.receipt_reading import read_receipt
from tests.factories import open_order
from tests.unit.runner.attempt_bench import NOW_MS, SOFT_LIMIT_S, Attempt, in_flight


@pytest.fixture
def attempt(monkeypatch: pytest.MonkeyPatch) -> Attempt:
    return Attempt(monkeypatch)


@pytest.mark.parametrize(("late_s", "is_out"), [(0.0, False), (0.001, True)])
def test_it_records_what_is_left_before_its_time_is_over(
    attempt: Attempt, late_s: float, is_out: bool
) -> None:
    def late(_: str) -> None:
        attempt.clock_s = SOFT_LIMIT_S * 0.8 + late_s - FIRST_PAUSE_S
        raise Unavailable("away")

    attempt.venue.faults["open_orders"] += [late]
    receipt = attempt.run()
    assert receipt is not None
    assert receipt.is_clean is not is_out
    assert ("out of time" in receipt.problem) is is_out
    assert ("held_up", "open orders unknown: away") in attempt.steps


def test_orders_that_the_last_list_showed_are_left(attempt: Attempt) -> None:
    attempt.venue.rest(open_order("1"))

    def shown_and_late(_: str) -> tuple[OpenOrder, ...]:
        attempt.clock_s = SOFT_LIMIT_S
        return tuple(attempt.venue.resting.values())

    attempt.venue.always["open_orders"] = shown_and_late
    receipt = attempt.run()
    assert receipt is not None
    assert receipt.result is Result.ORDERS_LEFT
    assert attempt.finished["left"] == "1"


def test_the_same_trouble_is_told_once_in_a_row(attempt: Attempt) -> None:
    attempt.venue.faults["open_orders"] += [Unavailable("a"), Unavailable("a"), Unavailable("b")]
    receipt = attempt.run()
    assert receipt is not None
    assert [detail for step, detail in attempt.steps if step == "held_up"] == [
        "open orders unknown: a",
        "open orders unknown: b",
    ]


def test_a_worker_that_shuts_down_lets_a_cleanup_in_good_order_get_done(attempt: Attempt) -> None:
    attempt.is_ending = lambda: True
    attempt.told = [in_flight(lease_until_ms=NOW_MS + 999), in_flight()]
    assert attempt.run() is not None
    assert attempt.released == {}


@pytest.mark.parametrize(("grace_s", "is_cut"), [(ENDING_GRACE_S - 0.001, False), (ENDING_GRACE_S, True)])
def test_but_for_no_longer_than_a_second(attempt: Attempt, grace_s: float, is_cut: bool) -> None:
    attempt.clock_s = 5.0
    attempt.is_ending = lambda: True
    attempt.venue.rest(open_order("1"))

    def takes_long(_: str) -> tuple[OpenOrder, ...]:
        attempt.clock_s = 5.0 + grace_s
        return tuple(attempt.venue.resting.values())

    attempt.venue.always["open_orders"] = takes_long
    assert (attempt.run() is None) is is_cut
    assert (attempt.steps[-1] == ("handed_over", "its worker shuts down")) is is_cut
    if is_cut:
        receipt = read_receipt(attempt.released["receipt_json"])
        assert (receipt.result, attempt.released["left"]) == (Result.ORDERS_LEFT, "1")
        assert "another takes over" in receipt.problem
        assert attempt.finished == {}


def test_one_that_is_held_up_goes_to_another_at_once(attempt: Attempt) -> None:
    attempt.is_ending = lambda: True
    attempt.venue.always["open_orders"] = Unavailable("away")
    assert attempt.run() is None
    assert read_receipt(attempt.released["receipt_json"]).result is Result.UNVERIFIED
    assert attempt.released["left"] == "?"


@pytest.mark.parametrize(("seconds", "waited_s"), [(0.3, 0.3), (60.0, LONGEST_PAUSE_S)])
def test_no_pause_is_longer_than_the_lease_allows(
    monkeypatch: pytest.MonkeyPatch, seconds: float, waited_s: float
) -> None:
    waits: list[float] = []
    event = SimpleNamespace(wait=waits.append)
    monkeypatch.setattr(cleanup_attempt, "threading", SimpleNamespace(Event=lambda: event))
    CleanupAttempt.pause(cast("CleanupAttempt", None), seconds)
    assert waits == [waited_s]
