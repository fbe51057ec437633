"""Every order is followed to its end, and every fill counted once, whatever order the evidence comes in."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from market.orders import OpenOrder, OrderStatus, Role, Side
from market.position import Fill
from market.snapshot import LevelTotals
from runner.books import LONGEST_LIST_LAG_MS, Books
from runner.known_orders import CLOCK_SLACK_MS, OVERLAP_MS
from tests import factories

NOW_MS = 1_000_000
QUOTE_0 = (0, int(Role.QUOTE))


def order(order_id: str = "1", *, executed: str = "0", **changes: Any) -> OpenOrder:
    found = replace(factories.open_order(order_id), executed_quantity=Decimal(executed), created_at_ms=NOW_MS)
    return replace(found, **changes)


def fill(trade_id: str = "t1", *, order_id: str = "1", quantity: str = "0.4", **changes: Any) -> Fill:
    found = Fill(
        trade_id=trade_id,
        order_id=order_id,
        client_order_id=factories.client_order_id(),
        symbol=factories.SYMBOL,
        side=Side.BUY,
        price=Decimal(99),
        quantity=Decimal(quantity),
        fee=Decimal("0.01"),
        fee_asset="USDC",
        is_maker=True,
        filled_at_ms=NOW_MS + 10,
    )
    return replace(found, **changes)


@pytest.fixture
def books() -> Books:
    found = Books()
    found.begin(NOW_MS)
    found.add(order())
    return found


def count(books: Books, *fills: Fill) -> None:
    books.count(fills, factories.instrument())


def settle(books: Books, *, now_ms: int = NOW_MS) -> None:
    books.close_what_is_over(now_ms)


def test_a_fill_of_a_known_order_is_counted_once_however_often_it_is_shown(books: Books) -> None:
    count(books, fill(), fill())
    count(books, fill())
    assert books.totals_by_level() == {
        QUOTE_0: LevelTotals(bought=Decimal("0.4"), paid=Decimal("39.6"), quote_fees=Decimal("0.01"))
    }
    assert books.profit.net == Decimal("0.4")
    assert [each.trade_id for each in books.unseen] == ["t1"]


@pytest.mark.parametrize(
    "foreign",
    [
        pytest.param(fill(order_id="2"), id="of another order"),
        pytest.param(fill(order_id="2", client_order_id=None), id="of somebody without client order ids"),
    ],
)
def test_a_fill_of_an_order_that_is_not_this_runs_is_not_counted(books: Books, foreign: Fill) -> None:
    count(books, foreign)
    assert books.totals == {}


def test_an_order_that_was_filled_wholly_is_over_though_the_list_still_shows_it(books: Books) -> None:
    count(books, fill(quantity="1"))
    settle(books)
    assert books.observe_list([order()], {}) == ()
    assert books.open_orders(factories.SYMBOL) == ()


def test_fills_of_an_order_that_is_over_change_nothing_any_more(books: Books) -> None:
    count(books, fill(quantity="1"))
    settle(books)
    count(books, fill(quantity="1"))
    assert books.profit.net == Decimal(1)


def test_a_cancelled_order_stays_known_until_its_fills_come_to_what_was_executed(books: Books) -> None:
    books.end("1", Decimal("0.4"))
    settle(books)
    assert books.unsettled((), ()) == {QUOTE_0}
    assert books.open_orders(factories.SYMBOL) == ()

    count(books, fill(quantity="0.4"))
    settle(books)
    assert books.unsettled((), ()) == frozenset()
    assert books.orders == {}


def test_fills_are_asked_for_from_before_the_oldest_order_that_is_not_settled(books: Books) -> None:
    later = fill(order_id="9", filled_at_ms=NOW_MS + 500_000)
    count(books, later)
    assert books.fills_since_ms == NOW_MS + 500_000 - OVERLAP_MS - CLOCK_SLACK_MS
    books.end("1", Decimal("0.4"))
    assert books.fills_since_ms == NOW_MS - CLOCK_SLACK_MS


def test_an_order_executed_by_the_lists_word_is_unsettled_until_its_fills_are_known(books: Books) -> None:
    books.observe_list([order(executed="0.4")], {})
    assert books.unsettled((), ()) == {QUOTE_0}
    (own,) = books.open_orders(factories.SYMBOL)
    assert own.order.remaining_quantity == Decimal("0.6")
    count(books, fill(quantity="0.4"))
    assert books.unsettled((), ()) == frozenset()


def test_an_order_that_a_lagging_list_lacks_is_taken_for_resting(books: Books) -> None:
    assert books.observe_list([], {}) == ()
    assert [own.order.order_id for own in books.open_orders(factories.SYMBOL)] == ["1"]
    assert [known.order_id for known in books.vanished([])] == ["1"]


def test_an_order_whose_client_order_id_was_given_is_this_runs_and_others_are_strangers(books: Books) -> None:
    mine = order("2", client_order_id=factories.client_order_id(level=1))
    stranger = order("3", client_order_id=factories.client_order_id(level=2))
    intents = {factories.client_order_id(level=1): NOW_MS}
    assert books.observe_list([mine, stranger], intents) == (stranger,)
    assert set(books.orders) == {"1", "2"}


def test_a_cancelled_order_on_a_lagging_list_is_no_stranger_while_lists_may_lag(books: Books) -> None:
    books.end("1", Decimal(0))
    settle(books)
    assert books.observe_list([order()], {}) == ()
    settle(books, now_ms=NOW_MS + LONGEST_LIST_LAG_MS)
    assert books.observe_list([order()], {}) == (order(),)


def test_an_order_that_the_exchange_shrank_counts_with_what_is_left_of_it(books: Books) -> None:
    books.observe_list([order(quantity=Decimal("0.3"))], {})
    count(books, fill(quantity="0.3"))
    settle(books)
    assert books.orders == {}


def test_an_immediate_order_is_over_when_its_fills_are_known(books: Books) -> None:
    taker = order("2", executed="0.5", status=OrderStatus.EXPIRED)
    books.add(taker)
    settle(books)
    assert "2" in books.orders
    count(books, fill(order_id="2", quantity="0.5"))
    settle(books)
    assert set(books.orders) == {"1"}


def test_a_system_fill_is_told_once_and_only_if_it_happened_in_this_run(books: Books) -> None:
    before = fill("s0", is_system=True, client_order_id=None, filled_at_ms=NOW_MS - 1)
    during = fill("s1", is_system=True, client_order_id=None, filled_at_ms=NOW_MS + 1)
    count(books, before, during)
    assert list(books.unseen_system) == [during]
    books.forget_unseen()
    count(books, before, during)
    assert list(books.unseen_system) == []


def test_the_books_survive_being_kept_as_json(books: Books) -> None:
    count(books, fill())
    books.end("1", Decimal("0.7"))
    again = Books.model_validate_json(books.model_dump_json())
    assert again.model_dump() == books.model_dump()
    assert again.unseen == books.unseen
    assert again.totals_by_level() == books.totals_by_level()


def test_what_a_stream_has_shown_is_no_word_on_how_far_the_history_was_read(books: Books) -> None:
    before_ms = books.fills_since_ms
    books.count_streamed([fill(filled_at_ms=NOW_MS + 600_000)], factories.instrument())
    assert books.profit.net == Decimal("0.4")
    assert books.fills_since_ms == before_ms


def test_the_ledger_is_told_what_these_books_have_learned_and_no_more(books: Books) -> None:
    count(books, fill(quantity="1"))
    settle(books)
    later = Books.model_validate_json(books.model_dump_json())
    assert [each.trade_id for each in books.counted_fills()] == ["t1"]
    assert [order.order_id for order in books.changed_orders()] == ["1"]
    assert (later.counted_fills(), later.changed_orders()) == ((), ())


def test_what_stands_for_fills_that_never_came_is_not_told_to_the_ledger(books: Books) -> None:
    books.end("1", Decimal("0.7"))
    settle(books, now_ms=NOW_MS)
    books.write_off(factories.instrument(), NOW_MS + 120_000, exchange_ms=NOW_MS)
    assert books.profit.net == Decimal("0.7")
    assert books.counted_fills() == ()
