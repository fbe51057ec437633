"""The example strategy, tested as its documentation advises: plain values in, plain values out."""

from __future__ import annotations

from decimal import Decimal as D
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from market.book import OrderBook
from market.orders import Quote, Side
from strategies import two_sided
from strategies.base import Decision, State
from strategies.reconcile import reconcile
from strategies.two_sided import Params, decide
from tests.unit.strategies.market_values import book, instrument, placed, snapshot


def params(**given: Any) -> Params:
    return Params.model_validate({"half_spread_bps": "10", "quantity": "1", **given})


def test_one_bid_and_one_ask_stand_around_the_mid() -> None:
    # Given a mid of 150 and 10 bps on each side
    of = snapshot(order_book=book("149.97", "150.03"))
    # When
    decision = decide(of, State(), params())
    # Then
    assert decision.quotes == (
        Quote(side=Side.BUY, price=D("149.85"), quantity=D(1), level=0),
        Quote(side=Side.SELL, price=D("150.15"), quantity=D(1), level=0),
    )


@pytest.mark.parametrize(
    "unclear",
    [book(None, "150.03"), book("149.97", None), book(None, None), book("150.03", "150.03")],
    ids=["no bids", "no asks", "empty", "crossed"],
)
def test_without_a_two_sided_book_quotes_are_withdrawn(unclear: OrderBook) -> None:
    assert decide(snapshot(order_book=unclear), State(), params()) == Decision(quotes=(), state=State())


def test_a_quantity_below_the_smallest_order_ends_the_run() -> None:
    decision = decide(snapshot(of=instrument(min_quantity="2")), State(), params())
    assert decision.quotes == ()
    assert decision.stop_reason == "quantity 1 is below the smallest order, 2"


def test_prices_outside_the_exchange_filter_are_left_out() -> None:
    decision = decide(snapshot(of=instrument(max_price="150")), State(), params())
    assert [quote.side for quote in decision.quotes] == [Side.BUY]


def test_the_position_is_bounded_also_where_no_bound_is_set() -> None:
    assert params(quantity="0.2").position_cap == D(2)
    assert params(max_position="0.7").position_cap == D("0.7")


@pytest.mark.parametrize("wrong", [{"half_spread_bps": 0}, {"quantity": -1}, {"quantitty": 1}])
def test_parameters_are_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        params(**wrong)


@given(
    bid_ticks=st.integers(1, 20_000),
    spread_ticks=st.integers(1, 50),
    half_spread_bps=st.sampled_from(["0.01", "1", "25", "1000"]),
    tick_size=st.sampled_from(["0.01", "0.05", "1"]),
)
def test_quotes_are_on_tick_never_cross_and_stay_in_an_unchanged_market(
    bid_ticks: int, spread_ticks: int, half_spread_bps: str, tick_size: str
) -> None:
    of = instrument(tick_size=tick_size)
    bid, ask = bid_ticks * of.tick_size, (bid_ticks + spread_ticks) * of.tick_size
    before = snapshot(of=of, order_book=book(bid, ask))
    quotes = decide(before, State(), params(half_spread_bps=half_spread_bps)).quotes
    for quote in quotes:
        assert quote.price % of.tick_size == 0
        assert quote.price < ask if quote.side is Side.BUY else quote.price > bid
    after = snapshot(of=of, order_book=book(bid, ask), open_orders=placed(quotes))
    again = decide(after, State(), params(half_spread_bps=half_spread_bps)).quotes
    assert reconcile(again, after.open_orders, tolerance_bps=D(0), instrument=of).changes_nothing


def test_the_example_stays_short() -> None:
    assert len(Path(two_sided.__file__).read_text().splitlines()) < 60
