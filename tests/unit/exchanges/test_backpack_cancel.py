"""What a cancel's answer says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
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
from market.orders import CancelOutcome

ORDER = "http://backpack.test/api/v1/order"
ORDERS = "http://backpack.test/api/v1/orders"


@pytest.fixture(autouse=True)
def network() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


def test_a_cancel_names_the_order_by_the_exchanges_id_alone(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: Callable[..., dict[str, Any]]
) -> None:
    network.delete(ORDER, json=wire_order(7, status="Cancelled"))
    assert exchange.cancel("SOL_USDC", "42") is CancelOutcome.CANCELLED
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
    assert exchange.cancel("SOL_USDC", "42") is outcome


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
