"""The smallest change between the orders that rest and the quotes wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.orders import OrderStatus, Quote, Role, Side
from market.snapshot import OwnOrder
from strategies.reconcile import OrderPlan, reconcile
from tests.unit.strategies.market_values import instrument, own_order, placed

BUY, SELL = Side.BUY, Side.SELL


def quote(
    side: Side, price: str, quantity: str = "0.20", *, level: int = 0, role: Role = Role.QUOTE
) -> Quote:
    return Quote(side=side, price=D(price), quantity=D(quantity), level=level, role=role)


def plan(
    quotes: Sequence[Quote], own: Sequence[OwnOrder], *, tolerance_bps: str = "1", min_quantity: str = "0.01"
) -> OrderPlan:
    return reconcile(
        quotes, own, tolerance_bps=D(tolerance_bps), instrument=instrument(min_quantity=min_quantity)
    )


def test_without_orders_every_quote_is_placed_innermost_first() -> None:
    wanted = [quote(BUY, "99", level=1), quote(BUY, "100"), quote(SELL, "102"), quote(SELL, "103", level=1)]
    result = plan(wanted, [])
    assert [(each.level, each.side) for each in result.places] == [(0, BUY), (0, SELL), (1, BUY), (1, SELL)]
    assert (result.cancels, result.kept) == ((), ())


def test_without_quotes_every_order_is_cancelled_innermost_first() -> None:
    own = [own_order(BUY, "99", level=1), own_order(SELL, "101"), own_order(BUY, "100")]
    result = plan([], own)
    assert [each.level for each in result.cancels] == [0, 0, 1]
    assert (result.places, result.kept) == ((), ())


def test_an_order_within_the_price_tolerance_is_kept() -> None:
    own = own_order(BUY, "100.01")
    assert plan([quote(BUY, "100")], [own]) == OrderPlan(cancels=(), places=(), kept=(own,))


def test_an_order_beyond_the_price_tolerance_is_replaced() -> None:
    own, wanted = own_order(BUY, "100.02"), quote(BUY, "100")
    assert plan([wanted], [own]) == OrderPlan(cancels=(own,), places=(wanted,), kept=())


def test_with_no_tolerance_only_the_same_price_is_kept() -> None:
    exact, near = own_order(BUY, "100"), own_order(SELL, "101.01")
    result = plan([quote(BUY, "100"), quote(SELL, "101")], [exact, near], tolerance_bps="0")
    assert (result.kept, result.cancels) == ((exact,), (near,))


@pytest.mark.parametrize(
    ("quantity", "executed", "is_kept"),
    [
        pytest.param("1.00", "0", True, id="as wanted"),
        pytest.param("0.90", "0", True, id="a tenth smaller"),
        pytest.param("0.89", "0", False, id="more than a tenth smaller"),
        pytest.param("1.01", "0", False, id="larger than wanted"),
        pytest.param("1.00", "0.50", True, id="half filled"),
        pytest.param("1.00", "0.51", False, id="more than half filled"),
        pytest.param("1.50", "0.50", True, id="larger, hit down to the wanted quantity"),
        pytest.param("1.00", "1.00", False, id="nothing remains"),
    ],
)
def test_an_order_is_kept_by_its_remaining_quantity(quantity: str, executed: str, is_kept: bool) -> None:
    result = plan([quote(BUY, "100", "1.00")], [own_order(BUY, "100", quantity, executed=executed)])
    assert bool(result.kept) is is_kept
    assert bool(result.cancels) is bool(result.places) is not is_kept


def test_a_remainder_below_the_exchange_minimum_is_replaced() -> None:
    half_filled = own_order(BUY, "100", "1.00", executed="0.50")
    assert not plan([quote(BUY, "100", "1.00")], [half_filled], min_quantity="0.6").kept


def test_a_remainder_that_is_all_that_is_wanted_is_kept_however_small() -> None:
    nearly_filled = own_order(BUY, "100", "1.00", executed="0.95")
    assert plan([quote(BUY, "100", "0.05")], [nearly_filled], min_quantity="0.1").kept == (nearly_filled,)


def test_of_two_orders_for_one_quote_the_closer_stays() -> None:
    near, far = own_order(BUY, "100", order_id="z"), own_order(BUY, "100.01", order_id="a")
    result = plan([quote(BUY, "100")], [far, near])
    assert (result.kept, result.cancels) == ((near,), (far,))


def test_of_two_equal_orders_exactly_one_stays() -> None:
    twins = [own_order(BUY, "100", order_id="2"), own_order(BUY, "100", order_id="1")]
    result = plan([quote(BUY, "100")], twins)
    assert [own.order.order_id for own in result.kept] == ["1"]
    assert [own.order.order_id for own in result.cancels] == ["2"]


def test_a_ladder_that_slides_within_the_tolerance_keeps_every_order() -> None:
    own = [own_order(BUY, price, level=level) for level, price in enumerate(["149.85", "149.84", "149.83"])]
    wanted = [quote(BUY, price, level=level) for level, price in enumerate(["149.84", "149.83", "149.82"])]
    assert plan(wanted, own).changes_nothing


def test_a_ladder_that_slides_by_one_level_keeps_the_orders_that_still_have_a_place() -> None:
    own = [own_order(BUY, price, level=level) for level, price in enumerate(["100", "99", "98"])]
    wanted = [quote(BUY, price, level=level) for level, price in enumerate(["99", "98", "97"])]
    result = plan(wanted, own)
    assert [each.order.price for each in result.cancels] == [D(100)]
    assert [each.price for each in result.places] == [D(97)]


def test_sides_and_roles_do_not_stand_in_for_each_other() -> None:
    own = [own_order(SELL, "100"), own_order(BUY, "100", role=Role.CLOSE)]
    result = plan([quote(BUY, "100")], own)
    assert len(result.cancels) == 2
    assert len(result.places) == 1


def test_a_kept_order_never_stands_where_a_new_quote_of_the_other_side_goes() -> None:
    # The ask wanted at 100.01 would meet the bid that is within tolerance of its own price.
    own = own_order(BUY, "100.01")
    result = plan([quote(BUY, "100.00"), quote(SELL, "100.01")], [own], tolerance_bps="5")
    assert result.cancels == (own,)
    mirrored = own_order(SELL, "100.00")
    result = plan([quote(BUY, "100.00"), quote(SELL, "100.01")], [mirrored], tolerance_bps="5")
    assert result.cancels == (mirrored,)


def test_a_conditional_order_fits_no_quote_and_is_cancelled() -> None:
    waiting = own_order(BUY, "100", status=OrderStatus.TRIGGER_PENDING)
    result = plan([quote(BUY, "100")], [waiting])
    assert (result.cancels, len(result.places)) == ((waiting,), 1)


def test_an_order_without_a_price_is_cancelled() -> None:
    market_order = own_order(BUY, None)
    assert plan([quote(BUY, "100")], [market_order]).cancels == (market_order,)


@pytest.mark.parametrize(
    "status",
    [OrderStatus.FILLED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.TRIGGER_FAILED],
)
def test_an_order_that_has_ended_is_neither_kept_nor_cancelled(status: OrderStatus) -> None:
    result = plan([quote(BUY, "100")], [own_order(BUY, "100", status=status)])
    assert (result.cancels, result.kept, len(result.places)) == ((), (), 1)


def side_quotes(side: Side, ticks: st.SearchStrategy[int]) -> st.SearchStrategy[list[Quote]]:
    sizes = st.integers(1, 5)
    return st.lists(st.tuples(ticks, sizes), max_size=6, unique_by=lambda pair: pair[0]).map(
        lambda pairs: [
            quote(side, str(D(tick) / 100), str(D(size) / 10), level=level)
            for level, (tick, size) in enumerate(pairs)
        ]
    )


QUOTES = st.tuples(
    side_quotes(BUY, st.integers(9_980, 10_000)), side_quotes(SELL, st.integers(10_001, 10_020))
).map(lambda sides: sides[0] + sides[1])


@st.composite
def own_orders(draw: st.DrawFn) -> list[OwnOrder]:
    count = draw(st.integers(0, 8))
    orders = []
    for index in range(count):
        quantity = D(draw(st.integers(1, 5))) / 10
        orders.append(
            own_order(
                draw(st.sampled_from(Side)),
                D(draw(st.integers(9_970, 10_030))) / 100,
                quantity,
                level=draw(st.integers(0, 6)),
                executed=quantity * draw(st.sampled_from([D(0), D("0.25"), D("0.5"), D(1)])),
                role=draw(st.sampled_from([Role.QUOTE, Role.QUOTE, Role.QUOTE, Role.HEDGE])),
                order_id=str(index),
            )
        )
    return orders


TOLERANCES_BPS = st.sampled_from([D(0), D("0.5"), D(1), D(3), D(50)])


@given(quotes=QUOTES, own=own_orders(), tolerance_bps=TOLERANCES_BPS)
def test_reconciling_its_own_result_changes_nothing(
    quotes: list[Quote], own: list[OwnOrder], tolerance_bps: D
) -> None:
    first = reconcile(quotes, own, tolerance_bps=tolerance_bps, instrument=instrument())
    new = [
        replace(each, order=replace(each.order, order_id=f"new-{index}"))
        for index, each in enumerate(placed(first.places))
    ]
    second = reconcile(quotes, [*new, *first.kept], tolerance_bps=tolerance_bps, instrument=instrument())
    assert second.changes_nothing


@given(quotes=QUOTES, own=own_orders(), tolerance_bps=TOLERANCES_BPS)
def test_every_quote_ends_with_one_order_and_every_other_order_is_cancelled(
    quotes: list[Quote], own: list[OwnOrder], tolerance_bps: D
) -> None:
    result = reconcile(quotes, own, tolerance_bps=tolerance_bps, instrument=instrument())
    assert len(result.kept) + len(result.places) == len(quotes)
    assert sorted(each.order.order_id for each in (*result.kept, *result.cancels)) == sorted(
        each.order.order_id for each in own
    )


@given(quotes=QUOTES, own=own_orders(), tolerance_bps=TOLERANCES_BPS)
def test_what_is_kept_never_crosses_what_is_placed(
    quotes: list[Quote], own: list[OwnOrder], tolerance_bps: D
) -> None:
    result = reconcile(quotes, own, tolerance_bps=tolerance_bps, instrument=instrument())
    for kept in result.kept:
        assert kept.order.price is not None
        for new in result.places:
            if new.side is not kept.order.side:
                bid, ask = sorted((kept.order.price, new.price))
                assert bid < ask
                assert (kept.order.price == bid) is (kept.order.side is BUY)


@given(quotes=QUOTES, own=own_orders(), tolerance_bps=TOLERANCES_BPS)
def test_no_side_ends_with_more_than_was_wanted(
    quotes: list[Quote], own: list[OwnOrder], tolerance_bps: D
) -> None:
    result = reconcile(quotes, own, tolerance_bps=tolerance_bps, instrument=instrument())
    for side in Side:
        wanted = sum(each.quantity for each in quotes if each.side is side)
        resting = sum(each.order.remaining_quantity for each in result.kept if each.order.side is side)
        assert resting + sum(each.quantity for each in result.places if each.side is side) <= wanted
