"""The shared request budget of an account."""

from __future__ import annotations

import pytest
import redis

from state import keys
from state.budget import BudgetLimits, Turn, take, take_turn
from state.scripts import Scripts
from tests.store_clock import StoreClock

#: One request in 100 ms.
LIMITS = BudgetLimits(per_minute=600, burst=10, reserved_for_cancels=4)


@pytest.mark.parametrize(
    ("per_minute", "burst", "reserved"), [(1_800, 300, 100), (600, 100, 33), (186, 31, 10), (60, 30, 10)]
)
def test_a_burst_is_ten_seconds_and_a_third_of_it_is_for_cancels(
    per_minute: int, burst: int, reserved: int
) -> None:
    limits = BudgetLimits.of(per_minute)
    assert limits == BudgetLimits(per_minute=per_minute, burst=burst, reserved_for_cancels=reserved)


def drain(scripts: Scripts, account: str = "account", *, may_use_reserve: bool = False) -> int:
    """Take until nothing is left, and return how many there were."""
    taken = 0
    while take(scripts, account, LIMITS, may_use_reserve=may_use_reserve) == 0:
        taken += 1
        assert taken <= LIMITS.burst
    return taken


def test_reads_and_placements_leave_the_reserve_to_cancels(scripts: Scripts) -> None:
    assert drain(scripts) == LIMITS.burst - LIMITS.reserved_for_cancels
    assert drain(scripts, may_use_reserve=True) == LIMITS.reserved_for_cancels


def test_cancels_may_use_everything(scripts: Scripts) -> None:
    assert drain(scripts, may_use_reserve=True) == LIMITS.burst


def test_the_wait_it_names_is_just_long_enough(scripts: Scripts, clock: StoreClock) -> None:
    drain(scripts)
    wait_ms = take(scripts, "account", LIMITS)
    assert wait_ms == 100
    clock.advance(wait_ms - 1)
    assert take(scripts, "account", LIMITS) == 1
    clock.advance(1)
    assert take(scripts, "account", LIMITS) == 0


def test_a_refusal_takes_nothing(scripts: Scripts) -> None:
    drain(scripts)
    for _ in range(100):
        assert take(scripts, "account", LIMITS) == 100


def test_several_requests_are_taken_together_or_not_at_all(scripts: Scripts) -> None:
    assert take(scripts, "account", LIMITS, count=4) == 0
    assert take(scripts, "account", LIMITS, count=3) == 100
    assert take(scripts, "account", LIMITS, count=2) == 0


def test_the_budget_never_grows_beyond_the_burst(scripts: Scripts, clock: StoreClock) -> None:
    drain(scripts, may_use_reserve=True)
    clock.advance(3_600_000)
    assert drain(scripts, may_use_reserve=True) == LIMITS.burst


def test_a_clock_that_was_set_back_neither_gives_nor_takes(scripts: Scripts, clock: StoreClock) -> None:
    assert take(scripts, "account", LIMITS, count=5) == 0
    clock.advance(-60_000)
    assert drain(scripts) == 1


def test_accounts_do_not_share_a_budget(scripts: Scripts) -> None:
    drain(scripts, "one", may_use_reserve=True)
    assert drain(scripts, "other", may_use_reserve=True) == LIMITS.burst


def test_a_budget_nobody_uses_leaves_no_key_behind(client: redis.Redis, scripts: Scripts) -> None:
    take(scripts, "account", LIMITS)
    assert 0 < int(client.pttl(keys.budget("account"))) <= 2_000


@pytest.mark.parametrize("count", [1, 3])
def test_the_rate_holds_over_a_long_time(scripts: Scripts, clock: StoreClock, count: int) -> None:
    drain(scripts)
    taken = 0
    for _ in range(2_000):
        clock.advance(7)
        taken += count if take(scripts, "account", LIMITS, count=count) == 0 else 0
    assert 14_000 / 100 - count <= taken <= 14_000 / 100


def test_turns_are_given_one_behind_the_other_and_not_beyond_what_is_waited(scripts: Scripts) -> None:
    drain(scripts, may_use_reserve=True)
    turns = [take_turn(scripts, "account", LIMITS, patience_ms=300) for _ in range(5)]
    taken = [Turn(is_taken=True, wait_ms=wait_ms) for wait_ms in (100, 200, 300)]
    assert turns == [*taken, *[Turn(is_taken=False, wait_ms=400)] * 2]


def test_a_turn_that_is_a_moment_too_far_is_not_taken(scripts: Scripts, clock: StoreClock) -> None:
    one_in_a_millisecond = BudgetLimits(per_minute=60_000, burst=1, reserved_for_cancels=0)
    turns = [take_turn(scripts, "account", one_in_a_millisecond, patience_ms=0) for _ in range(2)]
    assert turns == [Turn(is_taken=True, wait_ms=0), Turn(is_taken=False, wait_ms=1)]
    clock.advance(1)
    assert take_turn(scripts, "account", one_in_a_millisecond, patience_ms=0) == turns[0]


def test_a_turn_that_is_there_needs_no_wait_and_may_use_the_reserve(scripts: Scripts) -> None:
    turns = [take_turn(scripts, "account", LIMITS, patience_ms=300) for _ in range(LIMITS.burst)]
    assert turns == [Turn(is_taken=True, wait_ms=0)] * LIMITS.burst


def test_who_does_not_wait_comes_behind_the_turns_that_were_given(
    scripts: Scripts, clock: StoreClock
) -> None:
    drain(scripts, may_use_reserve=True)
    take_turn(scripts, "account", LIMITS, count=2, patience_ms=300)
    clock.advance(200)
    assert take(scripts, "account", LIMITS, may_use_reserve=True) == 100
    clock.advance(100)
    assert take(scripts, "account", LIMITS, may_use_reserve=True) == 0


def test_the_rate_holds_with_turns_as_well(scripts: Scripts, clock: StoreClock) -> None:
    drain(scripts, may_use_reserve=True)
    sent_at_ms = []
    for now_ms in range(0, 14_000, 7):
        turn = take_turn(scripts, "account", LIMITS, patience_ms=300)
        if turn.is_taken:
            sent_at_ms.append(now_ms + turn.wait_ms)
        clock.advance(7)
    # Never before its time, and rounded up to whole milliseconds.
    assert all(0 <= at_ms - 100 * (place + 1) <= 1 for place, at_ms in enumerate(sent_at_ms))
    assert len(sent_at_ms) >= 140


def test_a_bucket_with_turns_to_come_is_not_forgotten_before_it_is_full(
    client: redis.Redis, scripts: Scripts
) -> None:
    drain(scripts, may_use_reserve=True)
    take_turn(scripts, "account", LIMITS, count=30, patience_ms=5_000)
    assert int(client.pttl(keys.budget("account"))) > 4_000
