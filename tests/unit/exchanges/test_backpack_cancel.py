"""What a cancel's answer says."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
import responses

from exchanges.backpack.exchange import BackpackExchange
from exchanges.errors import (
    ExchangeError,
    OrderNotFound,
    OutcomeUnknown,
    RateLimited,
    Refused,
    RequestExpired,
)
from market.orders import CancelAnswer, CancelOutcome
from tests.unit.exchanges.backpack_wire import ORDER, ORDERS


def test_a_cancel_names_the_order_by_the_exchanges_id_alone(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: Callable[..., dict[str, Any]]
) -> None:
    network.delete(ORDER, json=wire_order(7, status="Cancelled"))
    assert exchange.cancel("SOL_USDC", "42").outcome is CancelOutcome.CANCELLED
    assert json.loads(network.calls[0].request.body or "") == {"symbol": "SOL_USDC", "orderId": "42"}


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (202, "", CancelOutcome.ACCEPTED),
        (200, "", CancelOutcome.CANCELLED),
        (404, '{"code":"RESOURCE_NOT_FOUND","message":"Not Found"}', CancelOutcome.ALREADY_GONE),
        (400, '{"code":"RESOURCE_NOT_FOUND","message":"Not Found"}', CancelOutcome.ALREADY_GONE),
        (400, '{"code":"INVALID_CLIENT_REQUEST","message":"Order not found"}', CancelOutcome.ALREADY_GONE),
        (404, "", CancelOutcome.ALREADY_GONE),
    ],
)
def test_a_cancel_tells_done_from_accepted_from_gone(
    status: int,
    body: str,
    outcome: CancelOutcome,
    network: responses.RequestsMock,
    exchange: BackpackExchange,
) -> None:
    network.delete(ORDER, status=status, body=body)
    assert exchange.cancel("SOL_USDC", "42") == CancelAnswer(outcome=outcome)


@pytest.mark.parametrize("executed", ["0", "0.15", "0.5"])
@pytest.mark.parametrize("status", ["Cancelled", "Filled", "Expired"])
def test_a_cancel_tells_what_was_executed_of_the_order(
    executed: str,
    status: str,
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    wire_order: Callable[..., dict[str, Any]],
) -> None:
    network.delete(ORDER, json=wire_order(7, id="42", status=status, executedQuantity=executed))
    answer = exchange.cancel("SOL_USDC", "42")
    assert answer == CancelAnswer(outcome=CancelOutcome.CANCELLED, executed_quantity=Decimal(executed))


@pytest.mark.parametrize(
    "fields",
    [
        {"executedQuantity": None},
        {"executedQuantity": "much"},
        {"executedQuantity": "-1"},
        {"status": "PartiallyFilled"},
        {"status": "New"},
        {"status": "Vanished"},
        {"status": None},
        {"id": "43"},
        {"id": None},
    ],
    ids=str,
)
def test_a_cancel_does_not_guess_what_was_executed(
    fields: dict[str, Any],
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    wire_order: Callable[..., dict[str, Any]],
) -> None:
    order = wire_order(7, id="42", status="Cancelled", executedQuantity="0.15") | fields
    network.delete(ORDER, json=order)
    assert exchange.cancel("SOL_USDC", "42") == CancelAnswer(outcome=CancelOutcome.CANCELLED)


@pytest.mark.parametrize("body", ["", "<html/>", "[]", "null", '{"id":"42","executedQuantity":"0.1'])
def test_an_unreadable_answer_to_a_cancel_is_still_a_cancel(
    body: str, network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    network.delete(ORDER, body=body)
    assert exchange.cancel("SOL_USDC", "42") == CancelAnswer(outcome=CancelOutcome.CANCELLED)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, "", OutcomeUnknown),
        (503, "<html/>", OutcomeUnknown),
        (429, "slow down", RateLimited),
        (400, '{"code":"INVALID_CLIENT_REQUEST","message":"Request has expired"}', RequestExpired),
        (400, "no JSON", Refused),
        # The path is unknown, not the order: a wrong base_url must not look like a finished cancel.
        (404, "404 not found", Refused),
    ],
)
def test_any_other_answer_to_a_cancel_raises(
    status: int,
    body: str,
    error: type[ExchangeError],
    network: responses.RequestsMock,
    exchange: BackpackExchange,
) -> None:
    network.delete(ORDER, status=status, body=body)
    with pytest.raises(error) as caught:
        exchange.cancel("SOL_USDC", "42")
    assert not isinstance(caught.value, OrderNotFound)
    assert len(network.calls) == 1


def test_cancel_all_accepts_done_and_under_way(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    network.delete(ORDERS, json=[])
    network.delete(ORDERS, status=202)
    network.delete(ORDERS, status=503)
    exchange.cancel_all("SOL_USDC")
    exchange.cancel_all("SOL_USDC")
    with pytest.raises(OutcomeUnknown):
        exchange.cancel_all("SOL_USDC")
    assert json.loads(network.calls[0].request.body or "") == {"symbol": "SOL_USDC"}
