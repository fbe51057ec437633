"""What a placement's answer says about each order, and that none is ever sent twice."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import responses
from responses import matchers

from exchanges import errors
from exchanges.backpack import signing
from exchanges.backpack.config import Credentials
from exchanges.backpack.exchange import BackpackExchange
from exchanges.base import Authorization
from exchanges.budget import RequestKind
from exchanges.errors import (
    InsufficientFunds,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Refused,
)
from market.orders import OrderStatus, OrderType
from tests.unit.exchanges.backpack_wire import ORDER, ORDERS, NewOrderFactory, WireOrder, body_of


def test_one_order_goes_out_signed_with_the_authorised_time_and_window(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    credentials: Credentials,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(ORDER, json=wire_order(7))
    (result,) = exchange.place([new_order(7)], authorization)

    assert result.error is None
    assert result.order is not None
    assert result.order.order_id == "4228978331"
    assert len(network.calls) == 1  # not even the clock was asked
    sent = body_of(network.calls[0])
    assert sent == {
        "symbol": "SOL_USDC",
        "side": "Bid",
        "orderType": "Limit",
        "quantity": "0.5",
        "clientId": 7,
        "price": "141.25",
        "timeInForce": "GTC",
        "postOnly": True,
    }
    headers = network.calls[0].request.headers
    assert headers["X-Timestamp"] == str(authorization.signed_at_ms)
    assert headers["X-Window"] == "4000"
    text = signing.signing_string("orderExecute", sent, authorization.signed_at_ms, 4000)
    assert headers["X-Signature"] == signing.sign(signing.load_private_key(credentials), text)


def test_a_market_order_has_neither_price_nor_time_in_force(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    answer = wire_order(7, orderType="Market", status="Filled", executedQuantity="0.5")
    del answer["price"], answer["postOnly"]
    network.post(ORDER, json=answer)
    order = new_order(7, order_type=OrderType.MARKET, price=None, post_only=False, reduce_only=True)
    (result,) = exchange.place([order], authorization)
    assert set(body_of(network.calls[0])) == {
        "symbol", "side", "orderType", "quantity", "clientId", "reduceOnly",
    }  # fmt: skip
    assert result.order is not None
    assert result.order.price is None
    assert result.order.status is OrderStatus.FILLED
    assert result.order.remaining_quantity == 0


REFUSALS: list[tuple[int, str, type[Refused]]] = [
    (400, '{"code":"INVALID_ORDER","message":"Order would immediately match and take"}', PostOnlyWouldCross),
    (400, '{"code":"INSUFFICIENT_FUNDS","message":"Insufficient funds"}', InsufficientFunds),
    (400, '{"code":"INSUFFICIENT_MARGIN","message":"?"}', InsufficientFunds),
    (400, '{"code":"INVALID_CLIENT_REQUEST","message":"Request has expired"}', errors.RequestExpired),
    (
        400,
        '{"code":"INVALID_CLIENT_REQUEST","message":"Invalid timestamp: must be within 10 minutes"}',
        errors.RequestExpired,
    ),
    (400, '{"code":"INVALID_CLIENT_REQUEST","message":"Invalid signature"}', errors.AuthenticationFailed),
    (
        400,
        '{"code":"INVALID_CLIENT_REQUEST","message":"Invalid X-Signature header"}',
        errors.AuthenticationFailed,
    ),
    (
        400,
        '{"code":"INVALID_CLIENT_REQUEST","message":"Client order id is already in use"}',
        errors.DuplicateClientOrderId,
    ),
    (400, '{"code":"INVALID_SIGNATURE","message":"no"}', errors.AuthenticationFailed),
    (401, "Unauthorized", errors.AuthenticationFailed),
    (400, '{"code":"INVALID_PRICE","message":"Price is too far from the last active price"}', Refused),
    (400, '{"code":"TRADING_PAUSED","message":"later"}', Refused),
    (400, 'parse request payload error: failed to parse "MarketSymbol": Invalid market symbol', Refused),
    (413, "<html>too large</html>", Refused),
    (400, "", Refused),
]


@pytest.mark.parametrize(("status", "body", "error"), REFUSALS)
def test_a_4xx_says_that_nothing_happened_and_why(
    status: int,
    body: str,
    error: type[Refused],
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
) -> None:
    network.post(ORDER, status=status, body=body)
    network.post(ORDERS, status=status, body=body)
    for orders in ([new_order(7)], [new_order(7), new_order(8)]):
        for result in exchange.place(orders, authorization):
            assert type(result.error) is error
            assert result.order is None
            assert isinstance(result.error, Refused)
            assert result.error.status == status


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, '{"code":"SERVER_ERROR","message":"?"}'),
        (502, "<html>Bad Gateway</html>"),
        (
            503,
            '{"code":"MAINTENANCE","message":"Unknown error, please check your request or try again later."}',
        ),
        (504, ""),
        (400, '{"code":"TIMEOUT","message":"?"}'),
        (408, ""),
        (202, ""),
        (204, ""),
        (302, ""),
        (200, ""),
        (200, "OK"),
        (200, "[]"),
        (200, '{"id":"42"}'),
        (200, '{"id":"42","clientId":8'),
    ],
)
def test_an_answer_that_settles_nothing_leaves_the_outcome_unknown_and_is_not_sent_again(
    status: int,
    body: str,
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
) -> None:
    network.post(ORDER, status=status, body=body, headers={"Location": "http://backpack.test/elsewhere"})
    (result,) = exchange.place([new_order(7)], authorization)
    assert type(result.error) is OutcomeUnknown
    assert len(network.calls) == 1


def test_an_order_that_is_only_accepted_for_later_has_an_unknown_outcome(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(ORDER, status=202, json=wire_order(7))
    (result,) = exchange.place([new_order(7)], authorization)
    assert type(result.error) is OutcomeUnknown


@pytest.mark.parametrize(
    "fields",
    [
        {"clientId": 8},
        {"symbol": "ETH_USDC"},
        {"side": "Ask"},
        {"price": "141.26"},
        {"price": None},
        {"quantity": "0.51"},
    ],
)
def test_an_answer_for_another_order_leaves_the_outcome_unknown(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
    fields: dict[str, Any],
) -> None:
    network.post(ORDER, json=wire_order(7, **fields))
    (result,) = exchange.place([new_order(7)], authorization)
    assert type(result.error) is OutcomeUnknown


def test_an_order_that_the_exchange_has_shrunk_is_accepted_as_it_is(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(ORDER, json=wire_order(7, quantity="0.4", price="141.250"))
    (result,) = exchange.place([new_order(7)], authorization)
    assert result.order is not None
    assert result.order.quantity == Decimal("0.4")


def test_a_post_only_order_that_is_accepted_and_expired_would_have_crossed(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(ORDER, json=wire_order(7, status="Expired"))
    network.post(ORDERS, json=[{"operation": "Ok"} | wire_order(n, status="Expired") for n in (7, 8)])
    for orders in ([new_order(7)], [new_order(7), new_order(8)]):
        for result in exchange.place(orders, authorization):
            assert type(result.error) is PostOnlyWouldCross


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"status": "Filled", "executedQuantity": "0.5"}, OrderStatus.FILLED),
        ({"status": "Expired", "postOnly": False}, OrderStatus.EXPIRED),
        ({"status": "SomethingNew"}, OrderStatus.NEW),
    ],
)
def test_an_accepted_order_comes_back_whatever_its_status(
    fields: dict[str, Any],
    status: OrderStatus,
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(ORDER, json=wire_order(7, **fields))
    (result,) = exchange.place([new_order(7, post_only=False)], authorization)
    assert result.order is not None
    assert result.order.status is status
    assert result.order.quantity == Decimal("0.5")


def test_an_answer_without_client_id_still_carries_the_one_we_sent(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(ORDER, json=wire_order(None))
    (result,) = exchange.place([new_order(7)], authorization)
    assert result.order is not None
    assert result.order.client_order_id == 7


class EmptyBudget:
    def take(self, kind: RequestKind, count: int = 1) -> None:
        raise RateLimited(f"no {kind} left", retry_after_s=2.5)


def test_a_used_up_budget_sends_nothing(
    network: responses.RequestsMock,
    open_backpack: Callable[..., BackpackExchange],
    authorization: Authorization,
    new_order: NewOrderFactory,
) -> None:
    (result,) = open_backpack(budget=EmptyBudget()).place([new_order(7)], authorization)
    assert isinstance(result.error, RateLimited)
    assert result.error.retry_after_s == 2.5
    assert len(network.calls) == 0


def test_malformed_orders_raise_before_anything_is_sent(
    network: responses.RequestsMock,
    open_backpack: Callable[..., BackpackExchange],
    authorization: Authorization,
    new_order: NewOrderFactory,
) -> None:
    exchange = open_backpack(max_batch=1)
    with pytest.raises(ValueError, match="does not fit into 32 bits"):
        exchange.place([new_order(1), new_order(2**32)], authorization)
    with pytest.raises(ValueError, match="has no price"):
        exchange.place([new_order(1), new_order(2, price=None)], authorization)
    with pytest.raises(ValueError, match="window"):
        exchange.place([new_order(1)], Authorization(signed_at_ms=1, window_ms=60_001))
    assert len(network.calls) == 0


def test_nothing_to_place_sends_nothing(
    network: responses.RequestsMock, exchange: BackpackExchange, authorization: Authorization
) -> None:
    assert exchange.place([], authorization) == ()
    assert len(network.calls) == 0


def test_amounts_are_written_without_exponent_and_trailing_zeros(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(
        ORDER,
        json=wire_order(7, price="1200"),
        match=[matchers.json_params_matcher({"price": "1200"}, strict_match=False)],
    )
    (result,) = exchange.place([new_order(7, price="1.2E+3")], authorization)
    assert result.error is None
