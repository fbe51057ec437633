"""What the answer to a batch says of each of its orders, and of those behind it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import responses

from exchanges import errors
from exchanges.backpack import signing
from exchanges.backpack.config import Credentials
from exchanges.backpack.exchange import BackpackExchange
from exchanges.base import Authorization
from exchanges.errors import (
    ExchangeError,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Unavailable,
)
from tests.unit.exchanges.backpack_wire import ORDER, ORDERS, NewOrderFactory, WireOrder, body_of


def test_several_orders_go_out_in_batches_and_come_back_in_order(
    network: responses.RequestsMock,
    open_backpack: Callable[..., BackpackExchange],
    credentials: Credentials,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    crossing = {
        "operation": "Err",
        "code": "INVALID_ORDER",
        "message": "Order would immediately match and take",
    }
    network.post(ORDERS, json=[{"operation": "Ok"} | wire_order(1), crossing])
    network.post(ORDERS, json=[{"operation": "Ok"} | wire_order(n) for n in (3, 4)])
    network.post(ORDER, json=wire_order(5))
    results = open_backpack(max_batch=2).place([new_order(n) for n in range(1, 6)], authorization)

    assert [r.order and r.order.client_order_id for r in results] == [1, None, 3, 4, 5]
    assert isinstance(results[1].error, PostOnlyWouldCross)
    assert [call.request.headers["X-Timestamp"] for call in network.calls] == [
        str(authorization.signed_at_ms)
    ] * 3
    batch = body_of(network.calls[1])
    assert [item["clientId"] for item in batch] == [3, 4]
    text = signing.signing_string("orderExecute", batch, authorization.signed_at_ms, 4000)
    signature = signing.sign(signing.load_private_key(credentials), text)
    assert network.calls[1].request.headers["X-Signature"] == signature


def test_doubtful_and_unreadable_items_of_a_batch_are_unknown_and_leave_the_others_alone(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(
        ORDERS,
        json=[
            {"operation": "Err", "code": "TIMEOUT", "message": "?"},
            {"operation": "Ok"} | wire_order(2),
            {"operation": "Ok", "id": "1"},
            {"operation": "Err", "code": "TOO_MANY_REQUESTS", "message": "?"},
            {"operation": "Err", "code": "INVALID_CLIENT_REQUEST", "message": "Duplicate clientId"},
        ],
    )
    results = exchange.place([new_order(n) for n in range(1, 6)], authorization)
    assert [type(r.error) for r in results] == [
        OutcomeUnknown,
        type(None),
        OutcomeUnknown,
        RateLimited,
        errors.DuplicateClientOrderId,
    ]


def test_a_batch_with_too_few_results_is_unknown_as_a_whole(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(ORDERS, json=[{"operation": "Ok"} | wire_order(1)])
    results = exchange.place([new_order(1), new_order(2)], authorization)
    assert [type(r.error) for r in results] == [OutcomeUnknown, OutcomeUnknown]


@pytest.mark.parametrize(("status", "error"), [(503, OutcomeUnknown), (429, RateLimited)])
def test_after_a_request_without_a_clear_answer_the_rest_is_not_sent(
    status: int,
    error: type[ExchangeError],
    network: responses.RequestsMock,
    open_backpack: Callable[..., BackpackExchange],
    authorization: Authorization,
    new_order: NewOrderFactory,
) -> None:
    network.post(ORDERS, status=status)
    results = open_backpack(max_batch=2).place([new_order(n) for n in range(5)], authorization)
    assert [type(r.error) for r in results] == [error, error, Unavailable, Unavailable, Unavailable]
    assert len(network.calls) == 1


def test_a_refused_batch_does_not_keep_the_next_one_back(
    network: responses.RequestsMock,
    open_backpack: Callable[..., BackpackExchange],
    authorization: Authorization,
    new_order: NewOrderFactory,
    wire_order: WireOrder,
) -> None:
    network.post(ORDERS, status=400, body="parse request payload error")
    network.post(ORDER, json=wire_order(3))
    results = open_backpack(max_batch=2).place([new_order(n) for n in (1, 2, 3)], authorization)
    assert [r.order is not None for r in results] == [False, False, True]
