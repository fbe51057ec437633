"""Books, orders and balances answer simple questions about themselves."""

from __future__ import annotations

from decimal import Decimal as D

import pytest

from market.book import BookLevel, OrderBook
from market.orders import OpenOrder, OrderStatus, Side
from market.position import Balance


def book(*, bids: tuple[str, ...], asks: tuple[str, ...]) -> OrderBook:
    return OrderBook(
        symbol="SOL_USDC",
        bids=tuple(BookLevel(price=D(price), quantity=D(1)) for price in bids),
        asks=tuple(BookLevel(price=D(price), quantity=D(1)) for price in asks),
        updated_at_ms=0,
    )


def test_the_mid_is_halfway_between_the_best_prices() -> None:
    two_sided = book(bids=("149.97", "149.90"), asks=("150.03", "150.20"))
    assert (two_sided.best_bid, two_sided.best_ask, two_sided.mid) == (D("149.97"), D("150.03"), D(150))


@pytest.mark.parametrize("one_sided", [book(bids=(), asks=("150",)), book(bids=("149",), asks=())])
def test_a_one_sided_book_has_no_mid(one_sided: OrderBook) -> None:
    assert one_sided.mid is None


def test_an_order_that_waits_for_its_trigger_is_open() -> None:
    open_statuses = {status for status in OrderStatus if status.is_open}
    assert open_statuses == {OrderStatus.NEW, OrderStatus.PARTIALLY_FILLED, OrderStatus.TRIGGER_PENDING}


def test_remaining_is_what_was_not_executed() -> None:
    order = OpenOrder(
        order_id="1",
        client_order_id=None,
        symbol="SOL_USDC",
        side=Side.BUY,
        price=D(100),
        quantity=D("1.5"),
        executed_quantity=D("0.4"),
        status=OrderStatus.PARTIALLY_FILLED,
        created_at_ms=0,
    )
    assert order.remaining_quantity == D("1.1")


def test_the_opposite_of_the_opposite_is_the_side_itself() -> None:
    assert Side.BUY.opposite is Side.SELL
    assert all(side.opposite.opposite is side for side in Side)


def test_a_balance_totals_what_is_available_and_what_is_locked() -> None:
    assert Balance(asset="SOL", available=D(3), locked=D("0.5")).total == D("3.5")


def test_the_book_of_the_others_lacks_own_orders_and_levels_that_were_only_theirs() -> None:
    def level(price: str, quantity: str) -> BookLevel:
        return BookLevel(price=D(price), quantity=D(quantity))

    book = OrderBook(
        symbol="S",
        bids=(level("99", "1"), level("98", "5")),
        asks=(level("101", "3"), level("102", "4")),
        updated_at_ms=0,
    )
    own = {
        (True, D(99)): D(1),
        (False, D(101)): D(1),
        (True, D(101)): D(9),
    }
    others = book.without(own)
    assert others.bids == (level("98", "5"),)
    assert others.asks == (level("101", "2"), level("102", "4"))
    assert book.without({}) is book
