"""What a run made is closed, nothing that is others', and also while the exchange's position lags."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal as D

import pytest

from market.net_range import LAG_LIMIT_MS, NetRange
from market.orders import Side
from market.profit import Profit
from market.snapshot import Snapshot
from strategies.base import TakerOrder
from strategies.closing import close_own
from tests.unit.strategies.grid_values import liquidation, perp_at
from tests.unit.strategies.market_values import NOW_MS

BUY, SELL = Side.BUY, Side.SELL


def closing(of: Snapshot, net: str | None = None) -> str:
    taker = close_own(of, slippage_bps=D(100), net=None if net is None else D(net))
    assert taker is None or taker.reduce_only
    return "nothing" if taker is None else f"{taker.side} {taker.quantity.normalize():f}"


def holding(own: str, position: str, *, fill_age_ms: int | None = None) -> Snapshot:
    fills = () if fill_age_ms is None else (replace(liquidation(BUY, "1", "126"), is_system=False),)
    return perp_at(
        net=position,
        profit=Profit(net=D(own), average_price=D(126)),
        fills=fills,
        taken_at_ms=NOW_MS + (fill_age_ms or 0),
    )


@pytest.mark.parametrize(
    ("own", "position", "expected"),
    [
        ("1.5", "1.5", "sell 1.5"),
        ("-1.5", "-1.5", "buy 1.5"),
        pytest.param("1.5", "4", "sell 1.5", id="others hold more"),
        pytest.param("1.5", "0.4", "sell 0.4", id="somebody closed a part"),
        pytest.param("1.5", "0", "nothing", id="somebody closed all"),
        pytest.param("1.5", "-3", "nothing", id="the position is of the other side"),
        pytest.param("0", "3", "nothing", id="nothing of its own"),
        pytest.param("0.004", "0.004", "nothing", id="dust"),
    ],
)
def test_the_own_net_is_closed_and_never_more_than_the_position(
    own: str, position: str, expected: str
) -> None:
    assert closing(holding(own, position)) == expected


@pytest.mark.parametrize(
    ("own", "position", "age_ms", "expected"),
    [
        ("1.5", "0", 0, "sell 1.5"),
        ("1.5", "0", LAG_LIMIT_MS - 1, "sell 1.5"),
        ("1.5", "0", LAG_LIMIT_MS, "nothing"),
        pytest.param("-1.5", "1", 0, "buy 1.5", id="the other side"),
        pytest.param("1.5", "0.4", 0, "sell 0.4", id="as far as the position shows it"),
        pytest.param("0", "0", 0, "nothing", id="nothing of its own"),
    ],
)
def test_a_position_that_may_lag_behind_a_fill_is_closed_as_the_fills_say(
    own: str, position: str, age_ms: int, expected: str
) -> None:
    assert closing(holding(own, position, fill_age_ms=age_ms)) == expected


@pytest.mark.parametrize(
    ("own", "low", "high", "expected"),
    [
        pytest.param("1.5", "0", "1.5", "sell 1.5", id="a purchase that the position lacks"),
        pytest.param("-1.5", "-1.5", "0", "buy 1.5", id="a sale that the position lacks"),
        pytest.param("1.5", "-1.5", "0", "nothing", id="the other side"),
        pytest.param("1.5", "0", "0", "nothing", id="believed by now"),
    ],
)
def test_bounds_that_leave_room_for_a_lag_count_also_when_the_fills_were_seen_before(
    own: str, low: str, high: str, expected: str
) -> None:
    lagging = replace(holding(own, "0"), net_bounds=NetRange(low=D(low), high=D(high)))
    assert closing(lagging) == expected


@pytest.mark.parametrize(("net", "expected"), [("3", "sell 3"), ("5", "sell 4"), ("-1", "nothing")])
def test_another_net_than_the_own_can_be_closed(net: str, expected: str) -> None:
    assert closing(holding("1.5", "4"), net) == expected


def test_an_unknown_position_is_not_closed() -> None:
    assert closing(replace(holding("1.5", "4", fill_age_ms=0), position=None)) == "nothing"


def test_the_order_has_a_worst_price_and_a_reason() -> None:
    assert close_own(holding("1", "1"), slippage_bps=D(100), reason="unwind") == TakerOrder(
        side=SELL, quantity=D(1), limit_price=D("125.03"), reduce_only=True, reason="unwind"
    )
