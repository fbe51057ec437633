"""Stream messages as the exchange sends them, and what we make of them."""

from __future__ import annotations

import json
import logging
from decimal import Decimal
from typing import Any

import pytest

from exchanges.backpack import events, parse
from exchanges.backpack.rows import UnreadableAnswer
from exchanges.stream import (
    BookChange,
    OrderEvent,
    OrderUpdate,
    Pulse,
    StreamEvent,
    StreamRefused,
)
from market.book import BookLevel
from market.orders import OpenOrder, OrderStatus, Side
from market.position import Fill

#: A market order by quote amount, as captured; `T` and `E` are µs.
ACCEPTED = {
    "e": "orderAccepted",
    "E": 1754939110175843,
    "T": 1754939110174703,
    "O": "USER",
    "s": "ETH_USDC",
    "S": "Bid",
    "o": "MARKET",
    "f": "GTC",
    "q": "0.0010",
    "Q": "4.30",
    "X": "New",
    "i": "5406825793",
    "V": "RejectTaker",
    "r": False,
    "t": None,
    "z": "0",
    "Z": "0",
}
FILLED = ACCEPTED | {
    "e": "orderFill",
    "E": 1754939110175900,
    "X": "Filled",
    "c": 7,
    "t": 1245,
    "l": "0.0010",
    "L": "4299.1",
    "m": False,
    "n": "0.0000010",
    "N": "ETH",
    "z": "0.0010",
    "Z": "4.2991",
    "y": False,
}


@pytest.fixture(autouse=True)
def _forget_what_was_passed_over() -> None:
    events._ignored.cache_clear()


def read(stream: str, data: dict[str, Any]) -> StreamEvent | None:
    return events.event(json.dumps({"stream": stream, "data": data}).encode())


def test_a_book_change_keeps_absolute_quantities_and_the_engine_time() -> None:
    data = {
        "e": "depth",
        "E": 1791043257142632,
        "T": 1791043257130284,
        "s": "BTC_USDC_PERP",
        "U": 6904864765,
        "u": "6904864767",
        "a": [["86650.0", "0.00000"]],
        "b": [["86640.8", "1.32076"]],
    }
    expected = BookChange(
        symbol="BTC_USDC_PERP",
        first_update_id=6904864765,
        last_update_id=6904864767,
        bids=(BookLevel(price=Decimal("86640.8"), quantity=Decimal("1.32076")),),
        asks=(BookLevel(price=Decimal("86650.0"), quantity=Decimal(0)),),
        at_ms=1791043257130,
    )
    assert read("depth.BTC_USDC_PERP", data) == expected
    assert read("depth.200ms.BTC_USDC_PERP", data) == expected


def test_tickers_and_mark_prices_are_pulses() -> None:
    ticker = {"e": "ticker", "E": 1791043257142632, "s": "AAPL.US_USDC_PERP", "c": "100.5", "n": 32259}
    assert read("ticker.AAPL.US_USDC_PERP", ticker) == Pulse(symbol="AAPL.US_USDC_PERP", at_ms=1791043257142)
    mark = {"e": "markPrice", "E": 1791043257142632, "T": 1791043257142284, "s": "BTC_USDC_PERP"}
    prices = {"p": "84827.2", "i": "84856.2", "f": "0.0000125", "n": 1791046800000}
    assert read("markPrice.BTC_USDC_PERP", mark | prices) == Pulse(
        symbol="BTC_USDC_PERP", at_ms=1791043257142, mark_price=Decimal("84827.2")
    )


@pytest.mark.parametrize("stream", ["account.orderUpdate", "account.orderUpdate.ETH_USDC"])
def test_an_accepted_order_without_client_order_id(stream: str) -> None:
    assert read(stream, ACCEPTED) == OrderUpdate(
        symbol="ETH_USDC",
        order=OpenOrder(
            order_id="5406825793",
            client_order_id=None,
            symbol="ETH_USDC",
            side=Side.BUY,
            price=None,
            quantity=Decimal("0.0010"),
            executed_quantity=Decimal(0),
            status=OrderStatus.NEW,
            created_at_ms=1754939110174,
        ),
        event=OrderEvent.ACCEPTED,
        reason="",
        at_ms=1754939110174,
        fill=None,
    )


def order_update(**changes: Any) -> OrderUpdate:
    update = read("account.orderUpdate", FILLED | changes)
    assert isinstance(update, OrderUpdate)
    return update


def test_a_fill_carries_everything_for_the_books() -> None:
    update = order_update()
    assert (update.event, update.order.status) == (OrderEvent.FILLED, OrderStatus.FILLED)
    assert update.order.executed_quantity == Decimal("0.001")
    assert update.fill == Fill(
        trade_id="1245",
        order_id="5406825793",
        client_order_id=7,
        symbol="ETH_USDC",
        side=Side.BUY,
        price=Decimal("4299.1"),
        quantity=Decimal("0.001"),
        fee=Decimal("0.000001"),
        fee_asset="ETH",
        is_maker=False,
        filled_at_ms=1754939110174,
    )


@pytest.mark.parametrize("trade_id", [1245, "1245"])
def test_a_fill_has_the_same_trade_id_as_in_the_history(trade_id: int | str) -> None:
    row = {
        "clientId": "7",
        "fee": "0.000001",
        "feeSymbol": "ETH",
        "isMaker": False,
        "orderId": "5406825793",
        "price": "4299.1",
        "quantity": "0.001",
        "side": "Bid",
        "symbol": "ETH_USDC",
        "systemOrderType": None,
        "timestamp": "2025-08-11T19:05:10.174",
        "tradeId": 1245,
    }
    (from_history,) = parse.fills(json.dumps([row]).encode())
    assert order_update(t=trade_id, i=5406825793).fill == from_history


def test_a_fill_without_trade_id_is_left_to_the_history() -> None:
    update = order_update(t=None)
    assert (update.event, update.fill) == (OrderEvent.FILLED, None)


@pytest.mark.parametrize(
    ("origin", "is_system"), [("USER", False), ("LIQUIDATION_AUTOCLOSE", True), ("SOMETHING_NEW", True)]
)
def test_fills_of_the_exchange_itself_are_told_apart(origin: str, is_system: bool) -> None:
    fill = order_update(O=origin).fill
    assert fill is not None
    assert fill.is_system is is_system


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        ("orderCancelled", "cancelled"),
        ("orderExpired", "expired"),
        ("orderModified", "modified"),
        ("triggerPlaced", "trigger_placed"),
        ("triggerFailed", "trigger_failed"),
    ],
)
def test_every_order_event_has_a_name(kind: str, event: str) -> None:
    update = read("account.orderUpdate", ACCEPTED | {"e": kind, "X": "Expired", "R": "PostOnlyTaker"})
    assert isinstance(update, OrderUpdate)
    assert (update.event, update.reason, update.fill) == (event, "PostOnlyTaker", None)


def test_an_order_by_quote_amount_has_what_was_executed_as_its_quantity() -> None:
    update = order_update(q=None)
    assert update.order.quantity == Decimal("0.001")


def test_a_refusal_is_no_error_of_ours() -> None:
    message = b'{"id":null,"error":{"code":4006,"message":"Invalid stream"}}'
    assert events.event(message) == StreamRefused(code=4006, message="Invalid stream")


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"stream": "trade.SOL_USDC", "data": {"e": "trade"}}, "stream trade"),
        ({"stream": "account.rfqUpdate", "data": {}}, "stream account.rfqUpdate"),
        ({"result": None, "id": 1}, "a message without a stream"),
    ],
)
def test_what_nobody_needs_is_passed_over_with_one_line_a_kind(
    message: dict[str, Any], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert events.event(json.dumps(message).encode()) is None
    assert caplog.messages == [f"{kind} is passed over"]


def test_an_order_event_of_a_kind_that_is_not_known_is_passed_on(caplog: pytest.LogCaptureFixture) -> None:
    """It may be an execution."""
    events._unknown.cache_clear()
    for _ in range(3):
        update = order_update(e="orderDreamt")
        assert (update.event, update.fill) == (OrderEvent.UNKNOWN, None)
    assert update.order.client_order_id == order_update().order.client_order_id
    assert caplog.messages == ["order event orderDreamt is not known, taken for one that may be an execution"]


def test_an_order_event_of_which_nothing_else_can_be_read_is_unreadable() -> None:
    with pytest.raises(UnreadableAnswer):
        read("account.orderUpdate", {"e": "orderDreamt"})


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"stream":"depth.SOL_USDC"}',
        b'{"stream":"depth.SOL_USDC","data":[]}',
        b'{"error":{"message":"no code"}}',
        b'{"error":"words"}',
    ],
)
def test_what_is_no_message_is_unreadable(message: bytes) -> None:
    with pytest.raises(UnreadableAnswer):
        events.event(message)


@pytest.mark.parametrize("missing", ["i", "s", "S", "X", "T", "l", "L", "n", "N", "m"])
def test_an_order_event_without_a_field_that_counts_is_unreadable(missing: str) -> None:
    data = {name: value for name, value in FILLED.items() if name not in {missing, "E"}}
    with pytest.raises(UnreadableAnswer):
        read("account.orderUpdate", data)
