"""Bounded histories and the index of resting orders."""

from __future__ import annotations

import pytest

from simulator import history
from simulator.history import History
from tests.unit.simulator.small_exchange import PERP, SPOT, START_MS, SmallExchange


def rows_of(*times_ms: int) -> History[int]:
    rows: History[int] = History(lambda at_ms: at_ms)
    for at_ms in times_ms:
        rows.add("demo", SPOT, at_ms)
    return rows


def test_rows_are_kept_apart_by_account_and_by_market() -> None:
    rows = rows_of(1, 2)
    rows.add("demo", PERP, 3)
    rows.add("other", SPOT, 4)
    assert (rows.rows("demo"), rows.rows("demo", SPOT), rows.rows("demo", PERP)) == ([1, 2, 3], [1, 2], [3])
    assert (rows.rows("other"), rows.rows("nobody"), rows.rows("other", PERP)) == ([4], [], [])


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "expected"),
    [
        (None, None, [10, 20, 20, 30]),
        (20, None, [20, 20, 30]),
        (21, None, [30]),
        (None, 20, [10]),
        (None, 31, [10, 20, 20, 30]),
        (20, 30, [20, 20]),
        (30, 20, []),
    ],
)
def test_a_span_includes_its_beginning_and_excludes_its_end(
    from_ms: int | None, to_ms: int | None, expected: list[int]
) -> None:
    assert rows_of(10, 20, 20, 30).between("demo", SPOT, from_ms, to_ms) == expected


def test_a_full_history_forgets_its_oldest_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "KEPT", 20)
    rows = rows_of(*range(1000))
    kept = list(rows.rows("demo", SPOT))
    assert 18 <= len(kept) <= 20
    assert kept == list(range(1000 - len(kept), 1000))


def test_an_order_that_ended_is_found_nowhere_but_in_the_history() -> None:
    exchange = SmallExchange()
    resting = exchange.engine.resting
    for round_number in range(3):
        order = exchange.place(exchange.demo, clientId=7)
        assert resting.by_client_id(exchange.demo, 7) is order
        assert resting.by_order_id(exchange.demo, order.order_id) is order
        if round_number == 1:
            exchange.trade("99", "1", sells=True)
        else:
            exchange.engine.cancel(order)
        assert resting.by_client_id(exchange.demo, 7) is None
        assert resting.by_order_id(exchange.demo, order.order_id) is None
        assert resting.of_account(exchange.demo) == resting.of_symbol(SPOT) == []
    statuses = [order.status for order in exchange.engine.orders.rows("demo", SPOT)]
    assert statuses == ["Cancelled", "Filled", "Cancelled"]


def test_a_refused_order_is_not_in_the_history_and_one_that_expired_is() -> None:
    exchange = SmallExchange()
    exchange.place(exchange.demo, timeInForce="IOC", clientId=1)
    exchange.place(exchange.demo, clientId=1)
    with pytest.raises(Exception, match="already in use"):
        exchange.place(exchange.demo, clientId=1)
    assert [order.status for order in exchange.engine.orders.rows("demo")] == ["Expired", "New"]


def test_one_side_comes_in_price_time_priority() -> None:
    exchange = SmallExchange()
    orders = [exchange.place(exchange.demo, "Bid", price) for price in ("99", "101", "100", "101")]
    others = [exchange.place(exchange.other, "Ask", price) for price in ("105", "104", "104")]
    side = exchange.engine.resting.side
    assert side(SPOT, bids=True) == [orders[1], orders[3], orders[2], orders[0]]
    assert side(SPOT, bids=False) == [others[1], others[2], others[0]]


def test_a_list_as_it_was_has_every_order_that_ended_since_and_none_that_ended_before() -> None:
    exchange = SmallExchange()
    orders = [exchange.place(exchange.demo) for _ in range(3)]
    theirs = exchange.place(exchange.other)
    for order in (orders[2], theirs, orders[0]):
        exchange.now_ms += 10
        exchange.engine.cancel(order)
    resting = exchange.engine.resting
    assert resting.of_account_at(exchange.demo, START_MS - 1) == []
    assert resting.of_account_at(exchange.demo, START_MS + 9) == orders
    assert resting.of_account_at(exchange.demo, START_MS + 10) == orders[:2]
    assert resting.of_account_at(exchange.demo, START_MS + 30) == [orders[1]]
