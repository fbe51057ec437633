"""What became of one order: resting, ended, not found, or unknown; never a guess."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import responses

from exchanges.backpack.exchange import LOOK_BACK_MS, BackpackExchange
from exchanges.errors import Refused, Unavailable
from market.orders import OrderStatus
from tests.unit.exchanges.backpack_wire import BASE, NOT_FOUND, WireOrder, query_of

NOW_MS = 1_750_793_021_519


def test_an_order_that_does_not_rest_is_none(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: WireOrder
) -> None:
    network.get(f"{BASE}/api/v1/order", json=wire_order(4294967295))
    network.get(f"{BASE}/api/v1/order", status=404, json=NOT_FOUND)
    network.get(f"{BASE}/api/v1/order", status=404, body="404 not found")
    found = exchange.find_order("SOL_USDC", 4294967295)
    assert found is not None
    assert query_of(network.calls[0]) == {"symbol": "SOL_USDC", "clientId": "4294967295"}
    assert exchange.find_order("SOL_USDC", 7) is None
    with pytest.raises(Refused):
        exchange.find_order("SOL_USDC", 7)


def test_a_placement_that_rests_is_found_without_asking_the_history(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: WireOrder
) -> None:
    network.get(f"{BASE}/api/v1/order", json=wire_order(7))
    found = exchange.resolve_placement("SOL_USDC", 7)
    assert found is not None
    assert found.status is OrderStatus.NEW
    assert len(network.calls) == 1


def test_a_placement_that_filled_at_once_is_found_in_the_history(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: WireOrder
) -> None:
    network.get(f"{BASE}/api/v1/order", status=404, json=NOT_FOUND)
    network.get(
        f"{BASE}/wapi/v1/history/orders",
        json=[
            wire_order(9, createdAt="2025-06-24T19:23:41.519"),
            wire_order(7, createdAt="2025-06-24T19:23:41.400", status="Filled", executedQuantity="0.5"),
        ],
    )
    found = exchange.resolve_placement("SOL_USDC", 7)
    assert found is not None
    assert found.status is OrderStatus.FILLED
    assert found.created_at_ms == NOW_MS - 119


def test_an_old_order_with_the_same_client_id_is_not_taken_for_the_placement(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: WireOrder
) -> None:
    network.get(f"{BASE}/api/v1/order", status=404, json=NOT_FOUND)
    old = wire_order(7, createdAt="2025-06-24T19:20:00", status="Filled")
    network.get(f"{BASE}/wapi/v1/history/orders", json=[old])
    assert exchange.resolve_placement("SOL_USDC", 7) is None
    assert exchange.resolve_placement("SOL_USDC", 7, not_before_ms=NOW_MS - LOOK_BACK_MS) is None
    long_ago = exchange.resolve_placement("SOL_USDC", 7, not_before_ms=NOW_MS - 3_600_000)
    assert long_ago is not None


def test_an_old_order_that_still_rests_under_the_same_client_id_is_not_taken_for_the_placement(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: WireOrder
) -> None:
    old = wire_order(7, createdAt=NOW_MS - 3_600_000)
    network.get(f"{BASE}/api/v1/order", json=old)
    network.get(f"{BASE}/wapi/v1/history/orders", json=[old])
    assert exchange.resolve_placement("SOL_USDC", 7, not_before_ms=NOW_MS) is None


def test_a_history_that_cannot_be_read_does_not_count_as_not_found(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    network.get(f"{BASE}/api/v1/order", status=404, json=NOT_FOUND)
    network.get(f"{BASE}/wapi/v1/history/orders", status=502)
    with pytest.raises(Unavailable):
        exchange.resolve_placement("SOL_USDC", 7)


ENDED = {
    "id": "42",
    "status": "Cancelled",
    "executedQuantity": "0.15",
    "createdAt": "2025-06-24T19:23:41.519",
    "expiryReason": None,
}


@pytest.mark.parametrize(
    ("wire_status", "status"),
    [
        ("Filled", OrderStatus.FILLED),
        ("Cancelled", OrderStatus.CANCELLED),
        ("Expired", OrderStatus.EXPIRED),
        ("TriggerFailed", OrderStatus.TRIGGER_FAILED),
    ],
)
def test_an_order_that_ended_is_found_in_the_history_by_its_id(
    wire_status: str,
    status: OrderStatus,
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    wire_order: WireOrder,
) -> None:
    network.get(f"{BASE}/wapi/v1/history/orders", json=[wire_order(7, **ENDED | {"status": wire_status})])
    found = exchange.find_ended("SOL_USDC", "42")
    assert found is not None
    assert (found.order_id, found.client_order_id, found.status) == ("42", 7, status)
    assert (found.executed_quantity, found.created_at_ms) == (Decimal("0.15"), NOW_MS)
    assert query_of(network.calls[0]) == {"symbol": "SOL_USDC", "orderId": "42"}


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "New"},
        {"status": "PartiallyFilled"},
        {"status": "TriggerPending"},
        {"status": "SomethingNew"},
        {"id": "43"},
        {"symbol": "ETH_USDC"},
    ],
    ids=str,
)
def test_an_order_whose_end_the_history_does_not_show_is_not_found(
    fields: dict[str, Any],
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    wire_order: WireOrder,
) -> None:
    network.get(f"{BASE}/wapi/v1/history/orders", json=[wire_order(7, **ENDED | fields)])
    network.get(f"{BASE}/wapi/v1/history/orders", json=[])
    assert exchange.find_ended("SOL_USDC", "42") is None
    assert exchange.find_ended("SOL_USDC", "42") is None


def test_the_end_of_an_order_is_found_behind_rows_that_show_it_earlier(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: WireOrder
) -> None:
    rows = [wire_order(7, **ENDED | fields) for fields in ({"status": "PartiallyFilled"}, {"id": "41"}, {})]
    network.get(f"{BASE}/wapi/v1/history/orders", json=rows)
    found = exchange.find_ended("SOL_USDC", "42")
    assert found is not None
    assert found.status is OrderStatus.CANCELLED


@pytest.mark.parametrize("nothing", ["0", None])
def test_what_was_executed_of_an_ended_order_may_be_nothing_unless_it_is_filled(
    nothing: str | None, network: responses.RequestsMock, exchange: BackpackExchange, wire_order: WireOrder
) -> None:
    url = f"{BASE}/wapi/v1/history/orders"
    network.get(url, json=[wire_order(7, **ENDED | {"executedQuantity": nothing})])
    network.get(url, json=[wire_order(7, **ENDED | {"executedQuantity": nothing, "status": "Filled"})])
    found = exchange.find_ended("SOL_USDC", "42")
    assert found is not None
    assert found.executed_quantity == 0
    with pytest.raises(Unavailable, match="filled without"):
        exchange.find_ended("SOL_USDC", "42")


@pytest.mark.parametrize(("status", "body"), [(500, ""), (200, "<html/>"), (202, "[]")])
def test_a_history_that_fails_leaves_the_end_of_an_order_unknown(
    status: int, body: str, network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    network.get(f"{BASE}/wapi/v1/history/orders", status=status, body=body)
    with pytest.raises(Unavailable):
        exchange.find_ended("SOL_USDC", "42")
