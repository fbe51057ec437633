"""From a decision to what is sent: a limit never leaves a gap where an order could have stayed."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from market.book import BookLevel, OrderBook
from market.orders import OpenOrder, Quote, Role, Side
from market.snapshot import OwnOrder, Snapshot
from runner.limiting import limited_plan
from strategies.base import Decision, State
from strategies.limits import Limits
from tests import factories

NOW_MS = 1_000_000
INSTANCE = replace(factories.loaded_instance(), limits=Limits(max_orders_per_minute=1))


def snapshot(*orders: OwnOrder, unsettled: frozenset[tuple[int, int]] = frozenset()) -> Snapshot:
    level = {"quantity": Decimal(5)}
    return Snapshot(
        taken_at_ms=NOW_MS,
        started_at_ms=0,
        instrument=factories.instrument(),
        book=OrderBook(
            symbol=factories.SYMBOL,
            bids=(BookLevel(price=Decimal("99.9"), **level),),
            asks=(BookLevel(price=Decimal("100.1"), **level),),
            updated_at_ms=NOW_MS,
        ),
        open_orders=orders,
        unsettled=unsettled,
    )


def resting(
    order_id: str, side: Side, price: str, *, level: int = 0, quantity: str = "1", role: Role = Role.QUOTE
) -> OwnOrder:
    order: OpenOrder = replace(
        factories.open_order(order_id, side=side, price=price, level=level), quantity=Decimal(quantity)
    )
    return OwnOrder(order=order, level=level, role=role, generation=1)


def decision(*quotes: Quote) -> Decision[State]:
    return Decision(quotes=quotes, state=State())


def test_an_order_whose_successor_has_to_wait_rests_until_then() -> None:
    orders = (resting("b", Side.BUY, "98"), resting("a", Side.SELL, "102"))
    quotes = (factories.quote(Side.BUY, "99"), factories.quote(Side.SELL, "101"))
    found = limited_plan(INSTANCE, snapshot(*orders), decision(*quotes), [NOW_MS])
    assert found.plan.places == ()
    assert found.plan.cancels == ()
    assert {own.order.order_id for own in found.plan.kept} == {"a", "b"}
    assert [cut.limit for cut in found.cuts] == ["max_orders_per_minute"] * 2


def test_an_order_that_would_meet_a_new_one_goes_all_the_same() -> None:
    # The ask moves down to where the bid rests, and the bid's successor has to wait.
    orders = (resting("b", Side.BUY, "101"), resting("a", Side.SELL, "103"))
    quotes = (factories.quote(Side.SELL, "100.5"), factories.quote(Side.BUY, "99"))
    found = limited_plan(INSTANCE, snapshot(*orders), decision(*quotes), [])
    assert [quote.side for quote in found.plan.places] == [Side.SELL]
    assert {own.order.order_id for own in found.plan.cancels} == {"a", "b"}


def test_an_order_larger_than_what_is_wanted_goes_all_the_same() -> None:
    found = limited_plan(
        INSTANCE,
        snapshot(resting("b", Side.BUY, "98", quantity="3")),
        decision(factories.quote(Side.BUY, "99")),
        [NOW_MS],
    )
    assert [own.order.order_id for own in found.plan.cancels] == ["b"]


def test_a_level_that_is_not_settled_keeps_what_rests_and_gets_nothing() -> None:
    instance = replace(INSTANCE, strategy=replace(INSTANCE.strategy, fixed_levels=True), limits=Limits())
    orders = (resting("3", Side.BUY, "98", level=3),)
    quotes = (factories.quote(Side.BUY, "99", level=3), factories.quote(Side.BUY, "97", level=4))
    found = limited_plan(
        instance, snapshot(*orders, unsettled=frozenset({(3, int(Role.QUOTE))})), decision(*quotes), []
    )
    assert [quote.level for quote in found.plan.places] == [4]
    assert found.plan.cancels == ()
