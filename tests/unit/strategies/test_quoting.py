"""Building blocks of quotes."""

from __future__ import annotations

import decimal
from decimal import Decimal as D

import pytest

from market.orders import OrderStatus, Quote, Side
from strategies import quoting
from strategies.quoting import Rounding
from tests.unit.strategies.market_values import book, instrument, own_order, snapshot


@pytest.mark.parametrize(
    ("level", "ticks"), [(0, "0"), (1, "1.5"), (2, "4.243"), (3, "7.794"), (4, "12"), (5, "16.771")]
)
def test_layers_stand_the_old_programs_number_of_ticks_apart(level: int, ticks: str) -> None:
    assert quoting.tick_gap(level).quantize(D("0.001")) == D(ticks)


def test_the_gap_does_not_depend_on_the_callers_decimal_context() -> None:
    with decimal.localcontext(decimal.Context(prec=28)):
        usual = quoting.tick_gap(7)
    with decimal.localcontext(decimal.Context(prec=28, rounding=decimal.ROUND_UP)):
        other = quoting.tick_gap(7)
    assert abs(usual - other) < D("1e-20")


@pytest.mark.parametrize(("price", "expected"), [("0.025", "0.02"), ("0.035", "0.04"), ("0.0251", "0.03")])
def test_nearest_rounding_takes_ties_to_the_even_tick(price: str, expected: str) -> None:
    for side in Side:
        assert quoting.on_tick(D(price), side, instrument(), Rounding.NEAREST) == D(expected)


@pytest.mark.parametrize(
    ("price", "side", "expected"),
    [
        ("150.02", Side.BUY, "150.02"),
        ("150.03", Side.BUY, "150.02"),
        ("151.00", Side.BUY, "150.02"),
        ("149.98", Side.SELL, "149.98"),
        ("149.97", Side.SELL, "149.98"),
        ("140.00", Side.SELL, "149.98"),
    ],
)
def test_a_price_that_would_cross_is_moved_one_tick_off_the_other_side(
    price: str, side: Side, expected: str
) -> None:
    assert quoting.keep_passive(D(price), side, book(), instrument()) == D(expected)


@pytest.mark.parametrize("side", Side)
def test_against_an_empty_side_every_price_is_passive(side: Side) -> None:
    assert quoting.keep_passive(D(5), side, book(None, None), instrument()) == D(5)


def test_ladder_levels_keep_their_numbers_when_an_inner_one_merges() -> None:
    levels = quoting.levels_of([D("150.05"), D("150.04"), D("150.00")], Side.BUY, book(), instrument())
    assert levels == ((0, D("150.02")), (2, D("150.00")))


def test_prices_at_or_below_zero_are_no_levels() -> None:
    levels = quoting.levels_of([D("0.01"), D(0), D("-0.01")], Side.BUY, book(), instrument())
    assert levels == ((0, D("0.01")),)


def test_unknown_balances_give_no_funds() -> None:
    assert quoting.funds_of(snapshot(base=None, quote=None)) is None


def test_own_orders_on_the_book_count_as_spendable_and_conditional_ones_do_not() -> None:
    own = [
        own_order(Side.SELL, "151", "2", executed="0.5"),
        own_order(Side.SELL, "160", "9", status=OrderStatus.TRIGGER_PENDING),
        own_order(Side.BUY, "149", "1"),
        own_order(Side.BUY, "149", "7", status=OrderStatus.CANCELLED),
    ]
    funds = quoting.funds_of(
        snapshot(base="1", base_locked="5", quote="10", quote_locked="500", open_orders=own)
    )
    assert funds == quoting.Funds(
        base_total=D(6), quote_total=D(510), base_spendable=D("2.5"), quote_spendable=D(159)
    )


def test_a_budget_is_spent_in_the_order_given() -> None:
    quotes = [
        Quote(side=Side.SELL, price=D(150), quantity=D(quantity), level=level)
        for level, quantity in enumerate(["1", "1", "0.1"])
    ]
    fitting = quoting.fit_budget(quotes, D("1.05"), lambda _: D(1), instrument(min_quantity="0.05"))
    assert [(each.level, each.quantity) for each in fitting] == [(0, D(1)), (1, D("0.05"))]


def test_a_cheaper_quote_may_follow_one_that_was_dropped() -> None:
    quotes = [
        Quote(side=Side.BUY, price=D(price), quantity=D(1), level=level)
        for level, price in enumerate(["11", "10"])
    ]
    fitting = quoting.fit_budget(quotes, D(10), lambda quote: quote.price, instrument(min_quantity="1"))
    assert [each.level for each in fitting] == [1]


def test_an_overdrawn_budget_covers_nothing() -> None:
    quotes = [Quote(side=Side.SELL, price=D(150), quantity=D(1), level=0)]
    assert quoting.fit_budget(quotes, D(-3), lambda _: D(1), instrument()) == ()
