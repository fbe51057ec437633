"""The guard's hand: own orders go, nobody else's do, and it keeps looking."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exchanges.errors import AuthenticationFailed, OutcomeUnknown, RateLimited, Unavailable
from guard.account import CHECK_AGAIN_S, CHECK_S, LONGEST_BACK_OFF_S, PAUSE_S, WATCH_S
from guard.watched import CannotWatch
from market.orders import CancelAnswer, CancelOutcome
from state.guards import READY
from tests.factories import PERP_SYMBOL
from tests.unit.guard.guard_bench import (
    AFTER_S,
    MARGIN_MS,
    NOW_MS,
    WATCHED,
    WINDOW_MS,
    AccountBench,
    order,
)

OTHER_SLOT = 9


@pytest.fixture
def bench() -> AccountBench:
    return AccountBench()


def test_own_orders_are_cancelled_one_by_one_and_no_others(bench: AccountBench) -> None:
    bench.venue.rest(
        order("1"),
        order("2"),
        order("3", slot=OTHER_SLOT),
        order("4", slot=None),
        order("5", symbol=PERP_SYMBOL),
    )
    bench.silence()
    assert bench.work() == PAUSE_S
    assert bench.cancelled == ["1", "2"]
    assert bench.venue.names("cancel_all") == []
    assert [(act.event, act.cancelled) for act in bench.acts] == [("guard_acted", ("1", "2"))]
    assert sorted(bench.venue.resting) == ["3", "4", "5"]


def test_it_is_told_once_that_nothing_rests_and_then_looked_on(bench: AccountBench) -> None:
    bench.venue.rest(order("1"))
    bench.silence()
    assert bench.work(2) == PAUSE_S
    assert bench.events == ["guard_acted"]
    assert bench.work(3) == WATCH_S
    assert bench.events == ["guard_acted", "guard_verified"]


def test_an_order_that_arrives_late_is_cancelled_too(bench: AccountBench) -> None:
    bench.silence()
    bench.work(3)
    bench.venue.rest(order("1"))
    bench.work()
    assert bench.cancelled == ["1"]
    bench.work(2)
    assert bench.events == ["guard_verified", "guard_acted", "guard_verified"]


def test_who_is_back_by_now_is_left_alone(bench: AccountBench) -> None:
    bench.venue.rest(order("1"))
    bench.silence()
    bench.is_silent = False
    assert bench.work() == WATCH_S
    assert bench.cancelled == []


def test_each_instance_is_asked_for_right_before_its_cancels(bench: AccountBench) -> None:
    second = replace(WATCHED, instance_id="mm_02", slot=OTHER_SLOT)
    bench.venue.rest(order("1"), order("2", slot=OTHER_SLOT))
    bench.silence(WATCHED, second)
    bench.work()
    assert bench.asked == ["mm_01", "mm_02"]
    assert {act.watched.instance_id: act.cancelled for act in bench.acts} == {
        "mm_01": ("1",),
        "mm_02": ("2",),
    }


def test_an_exchange_that_does_not_answer_is_asked_again_with_back_off(bench: AccountBench) -> None:
    bench.venue.rest(order("1"))
    bench.venue.always["account_open_orders"] = Unavailable("down")
    bench.silence()
    pauses = [bench.work() for _ in range(6)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_BACK_OFF_S
    assert bench.guard.standing == "down"
    assert bench.events == []
    bench.venue.always.clear()
    assert bench.work() == PAUSE_S
    assert bench.cancelled == ["1"]
    assert bench.guard.standing == READY


def test_a_failed_list_between_two_empty_ones_starts_the_count_anew(bench: AccountBench) -> None:
    bench.silence()
    bench.work()
    bench.venue.faults["account_open_orders"].append(Unavailable("down"))
    bench.work(2)
    assert bench.events == []
    bench.work()
    assert bench.events == ["guard_verified"]


def test_a_cancel_without_an_answer_is_told_as_unsure_and_repeated(bench: AccountBench) -> None:
    bench.venue.rest(order("1"), order("2"))
    bench.venue.faults["cancel"].append(OutcomeUnknown("no answer"))
    bench.silence()
    bench.work()
    (act,) = bench.acts
    assert (len(act.unsure), len(act.cancelled)) == (1, 1)
    bench.work()
    assert bench.venue.resting == {}


def test_an_order_that_was_gone_before_is_not_claimed_as_cancelled(bench: AccountBench) -> None:
    bench.venue.rest(order("1"))
    bench.venue.faults["cancel"].append(lambda *_: CancelAnswer(outcome=CancelOutcome.ALREADY_GONE))
    bench.silence()
    bench.work()
    assert (bench.acts[0].cancelled, bench.acts[0].gone) == ((), ("1",))


def test_a_used_up_budget_is_waited_for(bench: AccountBench) -> None:
    bench.venue.rest(order("1"))
    bench.venue.faults["cancel"].append(RateLimited("too many", retry_after_s=7))
    bench.silence()
    assert bench.work() == 7
    assert bench.guard.standing == READY


def test_while_all_are_alive_the_key_is_looked_at_now_and_then_and_nothing_else_happens(
    bench: AccountBench,
) -> None:
    bench.venue.rest(order("1"))
    assert bench.work() == CHECK_S
    assert bench.venue.names() == ["account_open_orders"]
    assert bench.guard.standing == READY


def test_a_refused_key_shows_before_it_is_needed(bench: AccountBench) -> None:
    bench.venue.always["account_open_orders"] = AuthenticationFailed("unknown key")
    assert bench.work() == CHECK_AGAIN_S
    assert bench.guard.standing == "unknown key"


def test_missing_keys_show_before_they_are_needed(bench: AccountBench) -> None:
    bench.problem = CannotWatch("no keys")
    assert bench.work() == CHECK_AGAIN_S
    assert bench.guard.standing == "no keys"


def test_another_key_cancels_nothing_until_a_list_shows_that_it_opens_the_account() -> None:
    bench = AccountBench(proven=False)
    # An order in our slot, and still another account's.
    bench.venue.rest(order("1"))
    bench.silence(known=frozenset({"7"}))
    assert bench.work() == CHECK_AGAIN_S
    assert bench.cancelled == []
    assert "is not the one that" in bench.guard.standing
    bench.venue.rest(order("7"))
    bench.work()
    assert bench.cancelled == ["1", "7"]
    assert bench.proven


def test_another_key_is_proven_while_all_are_alive() -> None:
    bench = AccountBench(proven=False)
    bench.venue.rest(order("7"))
    bench.guard.watch({}, frozenset({"7"}))
    assert bench.work() == CHECK_S
    assert bench.proven


@pytest.mark.parametrize(
    ("age_s", "is_left"),
    [(-60.0, False), (-1.0, True), (1.0, True), (AFTER_S - 1, True), (AFTER_S + 1, False)],
)
def test_a_run_that_still_places_orders_is_left_alone_by_a_guard_that_is_cut_off(
    bench: AccountBench, age_s: float, is_left: bool
) -> None:
    bench.venue.rest(order("1"), order("2", created_at_ms=NOW_MS - int(age_s * 1000)))
    bench.silence(lost_for_s=120)
    bench.work()
    assert bench.cancelled == ([] if is_left else ["1", "2"])


def test_an_order_that_was_authorised_before_the_state_server_died_is_no_sign_of_life(
    bench: AccountBench,
) -> None:
    lost_s = AFTER_S
    latest_ms = NOW_MS - int(lost_s * 1000) + WINDOW_MS + MARGIN_MS
    bench.venue.rest(order("1", created_at_ms=latest_ms))
    bench.silence(lost_for_s=lost_s)
    bench.work()
    assert bench.cancelled == ["1"]


def test_with_the_state_server_in_reach_a_young_order_is_no_excuse(bench: AccountBench) -> None:
    bench.venue.rest(order("1", created_at_ms=NOW_MS))
    bench.silence()
    bench.work()
    assert bench.cancelled == ["1"]
