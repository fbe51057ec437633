"""Prices round to the safe side, quantities never up."""

from __future__ import annotations

from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.instrument import Instrument, MarketType
from market.orders import Side

TICKS = st.sampled_from([D("0.00001"), D("0.01"), D("0.05"), D("0.25"), D(1), D(5)])
AMOUNTS = st.decimals(min_value=D("0.00000001"), max_value=D(1_000_000), places=8)


def instrument(*, tick_size: D = D("0.01"), step_size: D = D("0.01")) -> Instrument:
    return Instrument(
        symbol="SOL_USDC",
        market_type=MarketType.SPOT,
        base_asset="SOL",
        quote_asset="USDC",
        tick_size=tick_size,
        step_size=step_size,
        min_quantity=step_size,
    )


@pytest.mark.parametrize(
    ("price", "tick", "bid", "ask"),
    [
        ("149.857", "0.01", "149.85", "149.86"),
        ("149.85", "0.01", "149.85", "149.85"),
        ("99.87", "0.05", "99.85", "99.90"),
        ("60000.01", "0.1", "60000.0", "60000.1"),
        ("0.000012349", "0.00000001", "0.00001234", "0.00001235"),
        ("7", "5", "5", "10"),
    ],
)
def test_a_buy_price_rounds_down_and_a_sell_price_up(price: str, tick: str, bid: str, ask: str) -> None:
    of = instrument(tick_size=D(tick))
    assert of.round_price(D(price), Side.BUY) == D(bid)
    assert of.round_price(D(price), Side.SELL) == D(ask)


@given(price=AMOUNTS, tick=TICKS, side=st.sampled_from(Side))
def test_a_rounded_price_is_on_tick_within_one_tick_and_on_the_safe_side(
    price: D, tick: D, side: Side
) -> None:
    rounded = instrument(tick_size=tick).round_price(price, side)
    assert rounded % tick == 0
    assert abs(rounded - price) < tick
    assert rounded <= price if side is Side.BUY else rounded >= price


@given(quantity=AMOUNTS, step=TICKS)
def test_a_rounded_quantity_is_on_step_and_never_larger(quantity: D, step: D) -> None:
    rounded = instrument(step_size=step).round_quantity(quantity)
    assert rounded % step == 0
    assert quantity - step < rounded <= quantity


@given(price=AMOUNTS, tick=TICKS, side=st.sampled_from(Side))
def test_rounding_twice_changes_nothing_more(price: D, tick: D, side: Side) -> None:
    of = instrument(tick_size=tick)
    once = of.round_price(price, side)
    assert of.round_price(once, side) == once
