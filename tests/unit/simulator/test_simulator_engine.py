"""Matching, filters and refusals of the pure engine."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from simulator.errors import Refusal
from simulator.order_request import parse_order
from tests.unit.simulator.small_exchange import PERP, SPOT, START_MS, SmallExchange


@pytest.fixture
def exchange() -> SmallExchange:
    return SmallExchange()


def test_the_best_price_is_taken_first_and_at_one_price_the_oldest_order(exchange: SmallExchange) -> None:
    worse = exchange.place(exchange.other, "Ask", "102")
    first = exchange.place(exchange.other, "Ask", "101")
    second = exchange.place(exchange.other, "Ask", "101")
    taker = exchange.place(exchange.demo, "Bid", "103", "1.5")
    assert [order.executed for order in (first, second, worse)] == [Decimal(1), Decimal("0.5"), 0]
    assert (taker.status, taker.executed_quote) == ("Filled", Decimal("151.5"))
    assert (first.status, second.status, worse.status) == ("Filled", "PartiallyFilled", "New")


def test_a_seller_takes_the_highest_bid_first(exchange: SmallExchange) -> None:
    low = exchange.place(exchange.other, "Bid", "99")
    high = exchange.place(exchange.other, "Bid", "100")
    taker = exchange.place(exchange.demo, "Ask", "99", "1.5")
    assert [high.executed, low.executed, taker.executed_quote] == [1, Decimal("0.5"), Decimal("149.5")]


def test_what_is_not_taken_rests_at_its_price(exchange: SmallExchange) -> None:
    exchange.place(exchange.other, "Ask", "101")
    taker = exchange.place(exchange.demo, "Bid", "101", "3")
    assert (taker.status, taker.remaining) == ("PartiallyFilled", Decimal(2))
    assert exchange.engine.resting.of_account(exchange.demo) == [taker]


def test_both_sides_of_a_trade_carry_its_number_and_no_other_trade_does(exchange: SmallExchange) -> None:
    exchange.place(exchange.other, "Ask", "101", "2")
    exchange.place(exchange.demo, "Bid", "101")
    exchange.place(exchange.demo, "Bid", "101")
    numbers = [fill.trade_id for fill in exchange.fills()]
    assert numbers[0] == numbers[1] != numbers[2] == numbers[3]
    assert [trade.trade_id for trade in exchange.engine.books[SPOT].trades] == [numbers[0], numbers[2]]


def test_the_outside_market_is_taken_before_an_account_at_the_same_price(exchange: SmallExchange) -> None:
    exchange.show("99", "101", ask_quantity="2")
    resting = exchange.place(exchange.other, "Ask", "101")
    exchange.place(exchange.demo, "Bid", "101", "2.5")
    assert resting.executed == Decimal("0.5")


@pytest.mark.parametrize(
    ("rule", "taker_status", "maker_rests", "third_executed"),
    [
        ("RejectTaker", "Expired", True, Decimal(0)),
        ("RejectMaker", "Filled", False, Decimal(1)),
        ("RejectBoth", "Expired", False, Decimal(0)),
    ],
)
def test_nobody_trades_with_himself(
    exchange: SmallExchange, rule: str, taker_status: str, maker_rests: bool, third_executed: Decimal
) -> None:
    own = exchange.place(exchange.demo, "Ask", "101")
    third = exchange.place(exchange.other, "Ask", "102")
    taker = exchange.place(exchange.demo, "Bid", "102", selfTradePrevention=rule)
    assert (taker.status, own.rests, own.executed) == (taker_status, maker_rests, Decimal(0))
    assert third.executed == third_executed
    if taker_status == "Expired":
        assert taker.history()["expiryReason"] == "SelfTradePrevention"


def test_post_only_that_would_take_is_refused_and_leaves_nothing(exchange: SmallExchange) -> None:
    exchange.show("99", "101")
    with pytest.raises(Refusal, match="Order would immediately match and take") as caught:
        exchange.place(exchange.demo, "Bid", "101", postOnly=True)
    assert (caught.value.code, caught.value.status) == ("INVALID_ORDER", 400)
    assert exchange.engine.resting.of_account(exchange.demo) == []
    assert exchange.place(exchange.demo, "Bid", "100.99", postOnly=True).rests


def test_post_only_that_would_take_may_be_expired_instead() -> None:
    exchange = SmallExchange(post_only_expires=True)
    exchange.show("99", "101")
    order = exchange.place(exchange.demo, "Bid", "101", postOnly=True)
    assert (order.status, order.expiry_reason, order.executed) == ("Expired", "PostOnlyTaker", Decimal(0))
    assert exchange.demo.available("USDC") == exchange.demo.balances["USDC"]


def test_immediate_or_cancel_takes_what_there_is_and_expires(exchange: SmallExchange) -> None:
    exchange.place(exchange.other, "Ask", "101")
    order = exchange.place(exchange.demo, "Bid", "101", "3", timeInForce="IOC")
    assert (order.status, order.executed, order.expiry_reason) == ("Expired", Decimal(1), "ImmediateOrCancel")
    untouched = exchange.place(exchange.demo, "Bid", "100", timeInForce="IOC")
    assert (untouched.status, untouched.executed) == ("Expired", Decimal(0))
    assert exchange.demo.locked["USDC"] == 0


def test_fill_or_kill_is_all_or_nothing(exchange: SmallExchange) -> None:
    resting = exchange.place(exchange.other, "Ask", "101")
    with pytest.raises(Refusal, match="would not complete fill immediately"):
        exchange.place(exchange.demo, "Bid", "101", "1.01", timeInForce="FOK")
    assert resting.executed == 0
    assert exchange.place(exchange.demo, "Bid", "101", timeInForce="FOK").status == "Filled"


def test_fill_or_kill_does_not_count_what_self_trade_prevention_keeps_away(exchange: SmallExchange) -> None:
    exchange.place(exchange.other, "Ask", "101")
    exchange.place(exchange.demo, "Ask", "102")
    exchange.place(exchange.other, "Ask", "103")
    with pytest.raises(Refusal, match="would not complete"):
        exchange.place(exchange.demo, "Bid", "103", "2", timeInForce="FOK")
    order = exchange.place(
        exchange.demo, "Bid", "103", "2", timeInForce="FOK", selfTradePrevention="RejectMaker"
    )
    assert order.status == "Filled"


def test_a_market_order_takes_at_any_price_but_not_from_nobody(exchange: SmallExchange) -> None:
    with pytest.raises(Refusal, match="No liquidity for market order"):
        exchange.place(exchange.demo, "Bid", None)
    exchange.place(exchange.other, "Ask", "101")
    exchange.place(exchange.other, "Ask", "104")
    order = exchange.place(exchange.demo, "Bid", None, "2")
    assert (order.status, order.executed_quote) == ("Filled", Decimal(205))
    assert "price" not in order.wire()


def test_a_market_order_by_quote_quantity_spends_no_more_than_that(exchange: SmallExchange) -> None:
    exchange.place(exchange.other, "Ask", "100")
    exchange.place(exchange.other, "Ask", "200", "5")
    order = exchange.place(exchange.demo, "Bid", None, None, quoteQuantity="400")
    assert (order.executed, order.executed_quote) == (Decimal("2.5"), Decimal(400))
    with pytest.raises(Refusal, match="below the minimum"):
        exchange.place(exchange.demo, "Bid", None, None, quoteQuantity="0.5")


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"price": "100.001"}, "INVALID_CLIENT_REQUEST", "Price decimal too long"),
        ({"quantity": "1.001"}, "INVALID_CLIENT_REQUEST", "Quantity decimal too long"),
        ({"quantity": "0.001"}, "INVALID_CLIENT_REQUEST", "below the minimum allowed value"),
        ({"quantity": "-1"}, "INVALID_CLIENT_REQUEST", "below the minimum allowed value"),
        ({"price": "0"}, "INVALID_PRICE", "below the minimum allowed value"),
        ({"price": "74.99"}, "INVALID_PRICE", "too far from the last active price"),
        ({"price": "125.01", "side": "Ask"}, "INVALID_PRICE", "too far from the last active price"),
        ({"quantity": "100000"}, "INSUFFICIENT_FUNDS", "Insufficient funds"),
        ({"quantity": "3000", "side": "Ask"}, "INSUFFICIENT_FUNDS", "Insufficient funds"),
        ({"symbol": PERP, "quantity": "1000000"}, "INSUFFICIENT_MARGIN", "Insufficient margin"),
        ({"reduceOnly": True}, "INVALID_ORDER", "not allowed on spot"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else None,
)
def test_filters_and_funds(exchange: SmallExchange, fields: dict[str, Any], code: str, message: str) -> None:
    for symbol in (SPOT, PERP):
        exchange.show("99", "101", symbol=symbol)
    with pytest.raises(Refusal, match=message) as caught:
        exchange.place(exchange.demo, **{"price": "99", **fields})
    assert caught.value.code == code
    assert exchange.engine.resting.of_account(exchange.demo) == []
    assert exchange.events("order_refused")[0]["code"] == code


def test_a_client_id_is_refused_while_it_rests_and_free_afterwards(exchange: SmallExchange) -> None:
    order = exchange.place(exchange.demo, clientId=7)
    with pytest.raises(Refusal, match="already in use") as caught:
        exchange.place(exchange.demo, clientId=7, symbol=PERP)
    assert (caught.value.code, caught.value.status) == ("INVALID_CLIENT_REQUEST", 400)
    assert exchange.place(exchange.other, clientId=7).rests
    exchange.engine.cancel(order)
    assert exchange.place(exchange.demo, clientId=7).rests


def test_a_request_is_accepted_up_to_the_end_of_its_window_and_not_later(exchange: SmallExchange) -> None:
    wanted = parse_order(
        {"symbol": SPOT, "side": "Bid", "orderType": "Limit", "price": "100", "quantity": "1"}
    )

    def place_at(now_ms: int) -> None:
        exchange.now_ms = now_ms
        exchange.engine.place(exchange.demo, wanted, signed_at_ms=START_MS, window_ms=5_000)

    place_at(START_MS + 5_000)
    with pytest.raises(Refusal, match="Request has expired"):
        place_at(START_MS + 5_001)
    with pytest.raises(Refusal, match="within 10 minutes"):
        place_at(START_MS - 600_001)
    assert len(exchange.events("order_accepted")) == 1
    assert [entry["signed_at_ms"] for entry in exchange.events("order_refused")] == [START_MS] * 2


def test_a_cancel_happens_once_and_frees_what_was_held(exchange: SmallExchange) -> None:
    before = exchange.demo.available("USDC")
    order = exchange.place(exchange.demo, clientId=9)
    assert exchange.demo.available("USDC") == before - 100
    by_client_id = exchange.engine.find(exchange.demo, SPOT, order_id=None, client_id=9)
    assert exchange.engine.cancel(by_client_id).status == "Cancelled"
    assert exchange.demo.available("USDC") == before
    with pytest.raises(Refusal) as caught:
        exchange.engine.find(exchange.demo, SPOT, order_id=order.order_id, client_id=None)
    assert (caught.value.code, caught.value.status) == ("RESOURCE_NOT_FOUND", 404)
    with pytest.raises(Refusal):
        exchange.engine.cancel(order)
    assert len(exchange.events("order_cancelled")) == 1


def test_nobody_finds_the_orders_of_others(exchange: SmallExchange) -> None:
    order = exchange.place(exchange.other, clientId=3)
    for ids in ({"order_id": order.order_id, "client_id": None}, {"order_id": None, "client_id": 3}):
        with pytest.raises(Refusal):
            exchange.engine.find(exchange.demo, SPOT, **ids)


def test_the_witness_names_everything_a_proof_needs(exchange: SmallExchange) -> None:
    order = exchange.place(exchange.demo, clientId=7, postOnly=True)
    (entry,) = exchange.events("order_accepted")
    assert entry == {
        "n": 1,
        "at_ms": START_MS,
        "at_us": START_MS * 1000,
        "event": "order_accepted",
        "account": "demo",
        "symbol": SPOT,
        "order_id": str(order.order_id),
        "client_id": 7,
        "side": "Bid",
        "price": "100",
        "quantity": "1",
        "executed": "0",
        "post_only": True,
        "reduce_only": False,
        "system": False,
        "signed_at_ms": START_MS,
        "status": "New",
    }


def test_a_list_can_be_asked_for_as_it_was(exchange: SmallExchange) -> None:
    first = exchange.place(exchange.demo)
    exchange.now_ms += 100
    exchange.engine.cancel(first)
    second = exchange.place(exchange.demo)
    assert exchange.engine.resting.of_account_at(exchange.demo, START_MS + 50) == [first]
    assert exchange.engine.resting.of_account_at(exchange.demo, START_MS + 100) == [second]
