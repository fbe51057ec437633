"""Limits cut quotes, and say what they cut."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from market.orders import Quote, Side
from strategies.limits import Cut, Limits, trim
from tests.unit.strategies.market_values import book, instrument, snapshot


def quote(price: str, quantity: str = "1", *, side: Side = Side.BUY, level: int = 0) -> Quote:
    return Quote(side=side, price=D(price), quantity=D(quantity), level=level)


def test_without_limits_nothing_is_cut() -> None:
    wanted = (quote("149"), quote("1", "1000000", level=1))
    assert trim(wanted, snapshot(), Limits()) == (wanted, ())


def test_too_many_orders_lose_the_outermost_levels_of_both_sides() -> None:
    wanted = [quote("149", level=0), quote("148", level=1), quote("151", side=Side.SELL, level=0)]
    allowed, cuts = trim(wanted, snapshot(), Limits(max_open_orders=2))
    assert allowed == (wanted[0], wanted[2])
    assert cuts == (Cut(limit="max_open_orders", wanted=wanted[1], allowed=None),)


def test_too_large_an_order_is_reduced_to_a_step() -> None:
    wanted = quote("149", "5")
    allowed, cuts = trim([wanted], snapshot(), Limits(max_order_notional=D(100)))
    assert [each.quantity for each in allowed] == [D("0.67")]
    assert cuts == (Cut(limit="max_order_notional", wanted=wanted, allowed=allowed[0]),)


def test_an_order_reduced_below_the_minimum_is_removed() -> None:
    wanted = quote("149", "5")
    of = snapshot(of=instrument(min_quantity="1"))
    assert trim([wanted], of, Limits(max_order_notional=D(100))) == (
        (),
        (Cut(limit="max_order_notional", wanted=wanted, allowed=None),),
    )


@pytest.mark.parametrize(("price", "is_allowed"), [("148.50", True), ("148.49", False), ("151.51", False)])
def test_a_quote_outside_the_band_around_the_mid_is_removed(price: str, is_allowed: bool) -> None:
    allowed, cuts = trim([quote(price)], snapshot(), Limits(price_band_bps=D(100)))
    assert bool(allowed) is is_allowed
    assert [cut.limit for cut in cuts] == ([] if is_allowed else ["price_band_bps"])


def test_without_a_mid_nothing_is_inside_the_band() -> None:
    blind = snapshot(order_book=book(None, "150"))
    assert trim([quote("149")], blind, Limits(price_band_bps=D(100)))[0] == ()


def test_an_unknown_limit_is_refused() -> None:
    with pytest.raises(ValidationError):
        Limits.model_validate({"max_open_order": 3})


@given(
    quotes=st.lists(
        st.builds(
            quote,
            st.sampled_from(["100", "149", "150", "200"]),
            st.sampled_from(["0.01", "0.5", "20"]),
            side=st.sampled_from(Side),
            level=st.integers(0, 9),
        ),
        max_size=12,
    ),
    limits=st.builds(
        Limits,
        max_open_orders=st.none() | st.integers(1, 5),
        max_order_notional=st.none() | st.sampled_from([D(1), D(50), D(1000)]),
        price_band_bps=st.none() | st.sampled_from([D(10), D(1000)]),
    ),
)
def test_trimming_twice_cuts_nothing_more(quotes: list[Quote], limits: Limits) -> None:
    allowed, _ = trim(quotes, snapshot(), limits)
    assert trim(allowed, snapshot(), limits) == (allowed, ())
