"""Profit from fills alone: average cost in both directions, fees apart."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market.orders import Side
from market.position import Fill
from market.profit import Profit
from tests import factories

D = Decimal
INSTRUMENT = factories.instrument()


NO_FEE = D(0)


def fill(
    side: Side, quantity: Decimal, price: Decimal, fee: Decimal = NO_FEE, fee_asset: str = "USDC"
) -> Fill:
    return Fill(
        trade_id="1",
        order_id="1",
        client_order_id=1,
        symbol=factories.SYMBOL,
        side=side,
        price=price,
        quantity=quantity,
        fee=fee,
        fee_asset=fee_asset,
        is_maker=True,
        filled_at_ms=0,
    )


def booked(*fills: Fill) -> Profit:
    profit = Profit()
    for each in fills:
        profit = profit.after(each, INSTRUMENT)
    return profit


@pytest.mark.parametrize(
    ("fills", "net", "average", "realized"),
    [
        pytest.param([(Side.BUY, "1", "100"), (Side.BUY, "1", "110")], "2", "105", "0", id="long averaged"),
        pytest.param([(Side.BUY, "2", "100"), (Side.SELL, "1", "110")], "1", "100", "10", id="long, reduced"),
        pytest.param([(Side.SELL, "2", "100"), (Side.BUY, "1", "90")], "-1", "100", "10", id="short reduced"),
        pytest.param([(Side.BUY, "1", "100"), (Side.SELL, "1", "90")], "0", "0", "-10", id="flat again"),
        pytest.param([(Side.BUY, "1", "100"), (Side.SELL, "3", "110")], "-2", "110", "10", id="turned"),
    ],
)
def test_average_cost_works_in_both_directions(
    fills: list[tuple[Side, str, str]], net: str, average: str, realized: str
) -> None:
    profit = booked(*(fill(side, D(quantity), D(price)) for side, quantity, price in fills))
    assert (profit.net, profit.average_price, profit.realized) == (D(net), D(average), D(realized))


def test_a_fee_in_the_base_asset_takes_coins_and_is_valued_at_the_fills_price() -> None:
    profit = booked(fill(Side.BUY, D(1), D(100), D("0.001"), "SOL"))
    assert profit.net == D("0.999")
    assert profit.fees == D("0.1")
    assert profit.total(D(100)) == D("-0.1")


def test_a_fee_in_a_third_asset_has_no_price_here() -> None:
    assert booked(fill(Side.BUY, D(1), D(100), D(5), "BNB")).fees == 0


FILLS = st.lists(
    st.builds(
        fill,
        st.sampled_from(Side),
        st.integers(1, 50).map(lambda n: D(n) / 10),
        st.integers(900, 1100).map(lambda n: D(n) / 10),
        st.integers(0, 5).map(lambda n: D(n) / 1000),
        st.sampled_from(["USDC", "SOL"]),
    ),
    max_size=30,
)


@settings(max_examples=200, deadline=None)
@given(fills=FILLS, price=st.integers(800, 1200).map(lambda n: D(n) / 10))
def test_the_total_is_what_the_accounts_would_say(fills: list[Fill], price: Decimal) -> None:
    base = quote = D(0)
    for each in fills:
        sign = 1 if each.side is Side.BUY else -1
        base += sign * each.quantity - (each.fee if each.fee_asset == "SOL" else 0)
        quote -= sign * each.quantity * each.price + (each.fee if each.fee_asset == "USDC" else 0)
    profit = booked(*fills)
    assert profit.net == base
    assert abs(profit.total(price) - (quote + base * price)) < D("1e-15")
