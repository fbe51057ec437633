"""Limits on an order that takes: getting out is never blocked, adding is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal as D

import pytest

from market.net_range import NetRange
from market.orders import Quote, Side
from market.snapshot import Snapshot
from strategies.base import TakerOrder
from strategies.limits import Limits, check_taker
from tests.unit.strategies.limit_values import BUY, SELL, ask, bid, perp, spot, taker
from tests.unit.strategies.market_values import NOW_MS, book

#: Each of them is hit by any order that adds.
TIGHT = Limits(max_position=D("0.1"), max_order_notional=D(1), price_band_bps=D(1), min_balance=D(1_000_000))


def quantity(result: TakerOrder | None) -> D:
    return D(0) if result is None else result.quantity


def test_without_limits_an_order_may_pass_zero() -> None:
    order = taker(SELL, "9")
    assert check_taker(order, [ask(quantity="50")], perp("3"), Limits()) == (order, None)


@pytest.mark.parametrize("market", [spot, perp])
@pytest.mark.parametrize(("net", "side"), [("3", SELL), ("-3", BUY)])
def test_no_limit_stops_what_reduces(market: Callable[[str], Snapshot], net: str, side: Side) -> None:
    order = taker(side, "3", "100")
    resting = [bid(quantity="3.1"), ask(quantity="3.1")]
    assert check_taker(order, resting, market(net), TIGHT, position_cap=D(0)) == (order, None)


@pytest.mark.parametrize("market", [spot, perp])
@pytest.mark.parametrize(("net", "side"), [("3", SELL), ("-3", BUY)])
def test_what_reduces_ends_at_zero_when_nothing_may_be_added(
    market: Callable[[str], Snapshot], net: str, side: Side
) -> None:
    result, cut = check_taker(taker(side, "5", "100"), [], market(net), TIGHT, position_cap=D(0))
    assert quantity(result) == 3
    assert cut is not None
    assert cut.sentence().startswith(
        ("max_order_notional cut", "min_balance cut", "position_cap cut", "price_band")
    )
    assert cut.sentence().endswith("(taker) to 3")


@pytest.mark.parametrize(("reduce_only", "expected"), [(True, "5"), (False, "2")])
def test_an_order_that_only_reduces_gets_out_of_all_that_may_be_held(
    reduce_only: bool, expected: str
) -> None:
    lagging = replace(perp(), net_bounds=NetRange(low=D(2), high=D(5)))
    order = replace(taker(SELL, "6"), reduce_only=reduce_only)
    assert quantity(check_taker(order, [], lagging, TIGHT, position_cap=D(0))[0]) == D(expected)


def test_the_exit_of_a_position_that_nobody_knows_is_whole() -> None:
    order = replace(taker(SELL, "6"), reduce_only=True)
    assert check_taker(order, [], perp(None), TIGHT, position_cap=D(0)) == (order, None)
    assert check_taker(taker(SELL, "6"), [], perp(None), TIGHT, position_cap=D(0))[0] is None


def test_even_what_reduces_waits_for_a_fresh_book() -> None:
    late = replace(perp("3"), taken_at_ms=NOW_MS + 10_001)
    result, cut = check_taker(taker(SELL, "3"), [], late, Limits(max_data_age_s=D(10)))
    assert result is None
    assert cut is not None
    assert cut.sentence() == (
        "max_data_age_s removed sell 3 @ 150 (taker): the book is 10.0 s old, 10 s are allowed"
    )


@pytest.mark.parametrize(
    ("net", "side", "resting", "expected"),
    [
        pytest.param("0", BUY, [], "5", id="up to the cap"),
        pytest.param("2", BUY, [], "3", id="less what is held"),
        pytest.param("2", BUY, [bid(quantity="2")], "1", id="less what rests on its side"),
        pytest.param("2", BUY, [ask(quantity="7")], "3", id="whatever rests on the other"),
        pytest.param("2", BUY, [bid(quantity="3")], "0", id="no room"),
        pytest.param("2", SELL, [], "7", id="through zero to the other cap"),
        pytest.param("2", SELL, [ask(quantity="4")], "3", id="through zero, less what rests"),
        pytest.param("9", BUY, [], "0", id="beyond the cap already"),
    ],
)
def test_an_order_that_adds_stays_within_the_cap(
    net: str, side: Side, resting: list[Quote], expected: str
) -> None:
    result, cut = check_taker(taker(side, "8"), resting, perp(net), Limits(max_position=D(5)))
    assert quantity(result) == D(expected)
    assert cut is not None
    assert (cut.limit, cut.wanted, cut.allowed) == ("max_position", D(8), D(expected))


@pytest.mark.parametrize(
    ("side", "price", "expected"),
    [
        pytest.param(BUY, "151", "0.66", id="at its worst price"),
        pytest.param(SELL, "100", "0.66", id="a sale brings the best bid or more"),
    ],
)
def test_an_order_that_adds_is_worth_no_more_than_one_order_may_be(
    side: Side, price: str, expected: str
) -> None:
    result, _ = check_taker(taker(side, "2", price), [], perp(), Limits(max_order_notional=D(100)))
    assert quantity(result) == D(expected)


@pytest.mark.parametrize(("price", "expected"), [("151.50", "2"), ("151.51", "0")])
def test_the_worst_price_of_an_order_that_adds_is_inside_the_band(price: str, expected: str) -> None:
    result, _ = check_taker(taker(BUY, "2", price), [], perp(), Limits(price_band_bps=D(100)))
    assert quantity(result) == D(expected)


def test_without_a_price_nothing_is_added_inside_a_band() -> None:
    blind = spot(order_book=book(None, "150"))
    assert check_taker(taker(BUY, "1"), [], blind, Limits(price_band_bps=D(100)))[0] is None


def test_a_purchase_on_spot_leaves_the_minimum_balance_and_the_cost_of_bids_alone() -> None:
    # 700 held, 100 to keep, 149 for the bid: 451 to spend at 150.
    result, cut = check_taker(taker(BUY, "9"), [bid("149")], spot(), Limits(min_balance=D(100)))
    assert quantity(result) == D("3.00")
    assert cut is not None
    assert cut.limit == "min_balance"
    assert check_taker(taker(SELL, "9"), [], spot(quote="1"), Limits(min_balance=D(100)))[1] is None


@pytest.mark.parametrize(("usdc", "expected"), [("100.01", "2"), ("100", "0"), (None, "0")])
def test_on_perpetuals_a_low_balance_allows_nothing_that_adds(usdc: str | None, expected: str) -> None:
    result, _ = check_taker(taker(BUY, "2"), [], perp(usdc=usdc), Limits(min_balance=D(100)))
    assert quantity(result) == D(expected)


def test_a_cut_keeps_everything_else_of_the_order() -> None:
    order = replace(taker(SELL, "9"), reduce_only=True)
    result, _ = check_taker(order, [], perp("2"), Limits(max_position=D(1)))
    assert result == replace(order, quantity=D(3))
