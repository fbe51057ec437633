"""Position and own fills are two reads; between them lies what may be held."""

from __future__ import annotations

from decimal import Decimal

import pytest

from market.net_range import LAG_LIMIT_MS, Carried, NetRange

D = Decimal
NOW_MS = 1_000_000


def first(held: str, own: str, *, bought: str = "0", sold: str = "0") -> Carried:
    return Carried.first(D(held), D(own), bought=D(bought), sold=D(sold), now_ms=NOW_MS)


def later(carried: Carried, held: str, own: str, *, after_ms: int = 1, is_settled: bool = True) -> Carried:
    return carried.after(D(held), D(own), now_ms=NOW_MS + after_ms, is_settled=is_settled)


def test_a_clock_set_back_does_not_settle_a_difference_at_once_nor_never() -> None:
    ahead = Carried(low=D(0), high=D(0), differs_since_ms=NOW_MS + 10**9)
    found = later(ahead, "2", "0")
    assert found == Carried(low=D(0), high=D(0), differs_since_ms=NOW_MS + 1)
    assert later(found, "2", "0", after_ms=LAG_LIMIT_MS + 1) == Carried(low=D(2), high=D(2))


def test_what_stood_at_the_start_is_carried() -> None:
    assert first("2", "0") == Carried(low=D(2), high=D(2))


def test_a_position_that_lags_behind_a_fill_leaves_both_possible() -> None:
    carried = later(first("0", "0"), "0", "1")
    assert carried.net_range(D(0), D(1)) == NetRange(low=D(0), high=D(1))
    assert later(carried, "1", "1").net_range(D(1), D(1)) == NetRange.exactly(D(1))


def test_a_fill_that_is_counted_late_leaves_both_possible() -> None:
    carried = later(first("0", "0"), "1", "0")
    assert carried.net_range(D(1), D(0)) == NetRange(low=D(0), high=D(1))


def test_a_difference_that_lasts_is_somebody_elses_trade() -> None:
    carried = later(first("0", "0"), "5", "0")
    carried = later(carried, "5", "0", after_ms=LAG_LIMIT_MS + 1)
    assert carried.net_range(D(5), D(0)) == NetRange.exactly(D(5))


def test_a_difference_is_not_believed_while_fills_are_missing() -> None:
    carried = later(first("0", "0"), "5", "0")
    carried = later(carried, "5", "0", after_ms=LAG_LIMIT_MS + 1, is_settled=False)
    assert carried.net_range(D(5), D(0)) == NetRange(low=D(0), high=D(5))


def test_fills_before_the_first_look_may_or_may_not_be_in_the_position() -> None:
    carried = first("1", "1", bought="1")
    assert carried.net_range(D(1), D(1)) == NetRange(low=D(1), high=D(2))


@pytest.mark.parametrize(
    ("low", "high", "certain"),
    [("1", "3", "1"), ("-3", "-1", "-1"), ("-1", "2", "0"), ("0", "2", "0"), ("2", "2", "2")],
)
def test_certain_is_what_is_there_in_any_case(low: str, high: str, certain: str) -> None:
    assert NetRange(low=D(low), high=D(high)).certain == D(certain)
