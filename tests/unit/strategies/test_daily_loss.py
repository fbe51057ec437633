"""A day's loss survives runs, and ends with the day."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.profit import Profit
from strategies.daily_loss import DailyLoss, run_total
from strategies.limits import Limits
from tests.unit.strategies.limit_values import perp, spot
from tests.unit.strategies.market_values import book


def at(day: int, time: str = "12:00:00") -> int:
    """Return a time in November 2026, UTC, ms since the epoch."""
    return int(datetime.fromisoformat(f"2026-11-{day:02}T{time}").replace(tzinfo=UTC).timestamp() * 1000)


def test_a_loss_is_what_the_run_lost_since_the_day_began() -> None:
    day = DailyLoss.first(at(25)).advance(at(25, "23:59:59"), D(-10))
    assert (day.day, day.loss(D(-10))) == (date(2026, 11, 25), D(10))

    day = day.advance(at(26, "00:00:00"), D(-12))
    assert day.day == date(2026, 11, 26)
    assert [day.loss(D(total)) for total in (-12, -15, 0)] == [0, 3, -12]


def test_earlier_runs_of_the_day_count() -> None:
    day = DailyLoss.first(at(26)).advance(at(26), D(-10)).begin_run(2)
    assert day.loss(D(0)) == 10

    day = day.advance(at(26, "13:00:00"), D(-5)).begin_run(3).advance(at(26, "14:00:00"), D(1))
    assert day.loss(D(1)) == 14


def test_a_run_that_went_over_midnight_carries_only_what_it_made_afterwards() -> None:
    day = DailyLoss.first(at(25)).advance(at(25), D(-100)).advance(at(26), D(-100)).advance(at(26), D(-103))
    assert day.begin_run(4).loss(D(0)) == 3


def test_yesterdays_runs_do_not_count() -> None:
    day = DailyLoss.first(at(25)).advance(at(25), D(-100)).begin_run(5).advance(at(26), D(0))
    assert day.loss(D(0)) == 0


def test_beginning_the_same_run_twice_is_beginning_it_once() -> None:
    day = DailyLoss.first(at(26)).advance(at(26), D(-10)).begin_run(6)
    assert day.begin_run(6) == day


def test_a_clock_that_is_set_back_forgives_nothing() -> None:
    day = DailyLoss.first(at(26)).advance(at(26), D(-10))
    assert day.advance(at(25), D(-10)) == day


def test_the_same_moment_twice_changes_nothing() -> None:
    day = DailyLoss.first(at(25)).advance(at(26), D(-10))
    assert day.advance(at(26), D(-10)) == day


@pytest.mark.parametrize(
    ("total", "most", "reason"),
    [
        ("-24.99", "25", None),
        ("-25.104", "25", "daily loss 25.10 reached max_daily_loss 25"),
        ("-25", "25", "daily loss 25.00 reached max_daily_loss 25"),
        ("-0.0013", "0.001", "daily loss 0.001 reached max_daily_loss 0.001"),
        ("25", "25", None),
        ("-1000000", None, None),
    ],
)
def test_too_large_a_loss_is_a_reason_to_end(total: str, most: str | None, reason: str | None) -> None:
    limits = Limits(max_daily_loss=None if most is None else D(most))
    said = DailyLoss.first(at(26)).reason(limits, D(total))
    assert said == (f"{reason}; it ends on 2026-11-27 00:00 UTC" if reason else None)


def test_the_total_counts_what_is_open_at_the_fair_price() -> None:
    profit = Profit(net=D(2), average_price=D(140), realized=D(5), fees=D(1))
    assert run_total(replace(spot(), profit=profit)) == 24
    assert run_total(replace(perp(mark="130"), profit=profit)) == -16


def test_the_total_is_unknown_while_something_is_open_and_has_no_price() -> None:
    blind = spot(order_book=book(None, None))
    open_profit = Profit(net=D(2), average_price=D(140))
    assert run_total(replace(blind, profit=open_profit)) is None
    assert run_total(replace(blind, profit=Profit(realized=D(5), fees=D(1)))) == 4


AMOUNTS = st.decimals(-1000, 1000, places=12)


@given(carried=AMOUNTS, base=AMOUNTS, total=AMOUNTS, days=st.integers(0, 20_000))
def test_json_keeps_it_exactly(carried: D, base: D, total: D, days: int) -> None:
    day = DailyLoss(day=DailyLoss.first(days * 86_400_000).day, carried=carried, base=base, total=total)
    assert DailyLoss.model_validate_json(day.model_dump_json()) == day


@given(totals=st.lists(AMOUNTS, min_size=1, max_size=6), cut=st.integers(0, 6))
def test_a_restart_between_two_moments_changes_no_days_loss(totals: list[D], cut: int) -> None:
    whole = parted = DailyLoss.first(at(26))
    offset = D(0)
    for index, total in enumerate(totals):
        if index == cut:
            parted, offset = parted.begin_run(index), (totals[index - 1] if index else D(0))
        whole, parted = whole.advance(at(26), total), parted.advance(at(26), total - offset)
    assert parted.loss(totals[-1] - offset) == whole.loss(totals[-1])
