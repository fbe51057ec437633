"""Pairing orders with quotes level by level: the same as comparing all with all, or strictly by level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.orders import OrderStatus, Quote, Role, Side
from market.snapshot import OwnOrder
from strategies.reconcile import PARTIAL_FILL_FLOOR, QUANTITY_TOLERANCE, OrderPlan, reconcile
from tests.unit.strategies.limit_values import ask, bid
from tests.unit.strategies.market_values import instrument, own_order, placed

BUY, SELL, CLOSE = Side.BUY, Side.SELL, Role.CLOSE
MIN_QUANTITY = D("0.02")


def reconciled(
    quotes: Sequence[Quote],
    own: Sequence[OwnOrder],
    *,
    tolerance_bps: D = D(0),
    fixed_levels: bool = False,
) -> OrderPlan:
    return reconcile(
        quotes,
        own,
        tolerance_bps=tolerance_bps,
        instrument=instrument(min_quantity=str(MIN_QUANTITY)),
        fixed_levels=fixed_levels,
    )


def test_an_order_of_a_fixed_level_serves_no_other() -> None:
    own = own_order(BUY, "149", "1", level=3)
    assert reconciled([bid("149", level=4)], [own]).kept == (own,)
    strict = reconciled([bid("149", level=4)], [own], fixed_levels=True)
    assert (strict.kept, strict.cancels, len(strict.places)) == ((), (own,), 1)


def test_an_order_of_a_fixed_level_keeps_its_place() -> None:
    own = [own_order(BUY, "149", "1", level=3), own_order(SELL, "151", "1", level=3, role=CLOSE)]
    wanted = [bid("149", level=3), ask("151", level=3, role=CLOSE)]
    assert reconciled(wanted, own, fixed_levels=True).changes_nothing


def test_of_two_orders_of_a_fixed_level_one_stays() -> None:
    own = [own_order(BUY, "149", "1", level=3, order_id=order_id) for order_id in "ba"]
    result = reconciled([bid("149", level=3)], own, fixed_levels=True)
    assert (result.kept, result.cancels, result.places) == ((own[1],), (own[0],), ())


@pytest.mark.parametrize(
    ("quantity", "executed", "is_kept"),
    [
        pytest.param("1.00", "0", True, id="whole"),
        pytest.param("0.99", "0", True, id="lacks less than an order"),
        pytest.param("0.98", "0", False, id="lacks as much as an order"),
        pytest.param("1.50", "0.50", True, id="larger, hit down to the wanted quantity"),
        pytest.param("1.50", "0.52", False, id="hit below it"),
        pytest.param("1.01", "0", False, id="more than wanted"),
    ],
)
def test_an_exit_of_a_fixed_level_has_to_be_whole(quantity: str, executed: str, is_kept: bool) -> None:
    own = own_order(SELL, "151", quantity, executed=executed, role=CLOSE)
    result = reconciled([ask("151", "1.00", role=CLOSE)], [own], fixed_levels=True)
    assert bool(result.kept) is is_kept
    assert bool(result.cancels) is bool(result.places) is not is_kept


def test_an_exit_that_nothing_remains_of_is_not_whole_however_little_is_wanted() -> None:
    own = own_order(SELL, "151", "1", executed="1", role=CLOSE)
    assert not reconciled([ask("151", "0.01", role=CLOSE)], [own], fixed_levels=True).kept


@pytest.mark.parametrize(("role", "fixed_levels"), [(Role.QUOTE, True), (Role.QUOTE, False), (CLOSE, False)])
def test_other_orders_may_be_a_tenth_smaller_or_half_filled(role: Role, fixed_levels: bool) -> None:
    for own in (
        own_order(SELL, "151", "0.90", role=role),
        own_order(SELL, "151", "1.00", executed="0.50", role=role),
    ):
        assert reconciled([ask("151", "1.00", role=role)], [own], fixed_levels=fixed_levels).kept == (own,)


SIDES, ROLES = st.sampled_from(Side), st.sampled_from([Role.QUOTE, Role.QUOTE, CLOSE, Role.HEDGE])
#: Few values, so that many are equal or near.
PRICES = st.integers(9_990, 10_010).map(lambda ticks: str(D(ticks) / 100))
SIZES = st.integers(1, 5).map(lambda tenths: D(tenths) / 10)
LEVELS = st.integers(0, 3)
QUOTES = st.lists(st.builds(bid, PRICES, SIZES, level=LEVELS, role=ROLES, side=SIDES), max_size=9)
OWN_ORDERS = st.lists(
    st.builds(
        own_order,
        SIDES,
        st.none() | PRICES,
        SIZES,
        level=LEVELS,
        executed=st.sampled_from(["0", "0", "0.1", "0.2"]),
        role=ROLES,
        status=st.sampled_from([None, None, None, OrderStatus.TRIGGER_PENDING, OrderStatus.FILLED]),
    ),
    max_size=9,
).map(
    lambda own: [
        replace(each, order=replace(each.order, order_id=str(9 - index))) for index, each in enumerate(own)
    ]
)
TOLERANCES_BPS = st.sampled_from([D(0), D(1), D("2.5"), D(10), D(9_999), D(25_000)])


@given(quotes=QUOTES, own=OWN_ORDERS, tolerance_bps=TOLERANCES_BPS)
def test_the_result_is_that_of_comparing_every_order_with_every_quote(
    quotes: list[Quote], own: list[OwnOrder], tolerance_bps: D
) -> None:
    assert reconciled(quotes, own, tolerance_bps=tolerance_bps) == compared_all(quotes, own, tolerance_bps)


@given(quotes=QUOTES, own=OWN_ORDERS, tolerance_bps=TOLERANCES_BPS)
def test_with_fixed_levels_every_order_kept_is_of_a_level_wanted(
    quotes: list[Quote], own: list[OwnOrder], tolerance_bps: D
) -> None:
    result = reconciled(quotes, own, tolerance_bps=tolerance_bps, fixed_levels=True)
    asked = [(quote.side, quote.role, quote.level) for quote in quotes]
    served = [(each.order.side, each.role, each.level) for each in result.kept]
    placed_too = [(quote.side, quote.role, quote.level) for quote in result.places]
    assert sorted([*served, *placed_too]) == sorted(asked)


@given(quotes=QUOTES, own=OWN_ORDERS)
def test_with_fixed_levels_reconciling_its_own_result_changes_nothing(
    quotes: list[Quote], own: list[OwnOrder]
) -> None:
    uncrossed = [quote for quote in quotes if (quote.side is BUY) is (quote.price < D(100))]
    first = reconciled(uncrossed, own, fixed_levels=True)
    assert reconciled(uncrossed, [*placed(first.places), *first.kept], fixed_levels=True).changes_nothing


def compared_all(quotes: Sequence[Quote], own_orders: Sequence[OwnOrder], tolerance_bps: D) -> OrderPlan:
    """Return the plan that comes of comparing all with all: the reference, short and slow."""
    lowest_ask = min((quote.price for quote in quotes if quote.side is SELL), default=D("Infinity"))
    highest_bid = max((quote.price for quote in quotes if quote.side is BUY), default=D(0))

    def distance(own: OwnOrder, quote: Quote) -> D:
        return abs((own.order.price or D(0)) - quote.price)

    def fits(own: OwnOrder, quote: Quote) -> bool:
        order, wanted = own.order, quote.quantity
        if order.price is None or order.status is OrderStatus.TRIGGER_PENDING:
            return False
        least = wanted * (1 - QUANTITY_TOLERANCE)
        if order.executed_quantity > 0:
            least = min(wanted, max(wanted * PARTIAL_FILL_FLOOR, MIN_QUANTITY))
        return (
            (order.side, own.role) == (quote.side, quote.role)
            and distance(own, quote) <= tolerance_bps / 10_000 * quote.price
            and (order.price < lowest_ask if order.side is BUY else order.price > highest_bid)
            and least <= order.remaining_quantity <= wanted
        )

    def by_level(own: OwnOrder) -> tuple[int, int, str]:
        return own.level, own.role, own.order.order_id

    open_orders = [own for own in own_orders if own.order.status.is_open]
    pairs = sorted(
        (own.level != quote.level, distance(own, quote), by_level(own), own_index, quote_index)
        for own_index, own in enumerate(open_orders)
        for quote_index, quote in enumerate(quotes)
        if fits(own, quote)
    )
    kept: set[int] = set()
    served: set[int] = set()
    for _, _, _, own_index, quote_index in pairs:
        if own_index not in kept and quote_index not in served:
            kept.add(own_index)
            served.add(quote_index)
    places = [quote for index, quote in enumerate(quotes) if index not in served]
    return OrderPlan(
        cancels=tuple(sorted((o for i, o in enumerate(open_orders) if i not in kept), key=by_level)),
        places=tuple(sorted(places, key=lambda quote: (quote.level, quote.side, quote.role))),
        kept=tuple(sorted((o for i, o in enumerate(open_orders) if i in kept), key=by_level)),
    )
