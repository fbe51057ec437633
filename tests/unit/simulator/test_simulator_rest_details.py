"""Histories, limits and strictness of the signed endpoints, over a loopback socket."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.unit.simulator.loopback import Client, now_ms, running

SYMBOL = {"symbol": "SOL_USDC"}
ROOT = Path(__file__).parents[3]


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as client:
        yield client


def history(client: Client, kind: str, **query: Any) -> list[dict[str, Any]]:
    instruction = "fillHistoryQueryAll" if kind == "fills" else "orderHistoryQueryAll"
    answer = client.call("GET", f"/wapi/v1/history/{kind}", instruction, query)
    assert answer.status_code == 200, answer.text
    rows: list[dict[str, Any]] = answer.json()
    return rows


def test_histories_are_asked_for_by_order_market_type_and_kind_of_fill(client: Client) -> None:
    spot = client.place(price="160", timeInForce="IOC").json()["id"]
    perp = client.place(symbol="SOL_USDC_PERP", price="160", timeInForce="IOC").json()["id"]
    for kind, name in (("orders", "id"), ("fills", "orderId")):
        assert [row[name] for row in history(client, kind)] == [perp, spot]
        assert [row[name] for row in history(client, kind, orderId=spot)] == [spot]
        assert [row[name] for row in history(client, kind, marketType="PERP")] == [perp]
        assert [row[name] for row in history(client, kind, symbol="SOL_USDC")] == [spot]
        assert history(client, kind, strategyId="1") == []
        assert history(client, kind, symbol="ETH_USDC") == []
    assert len(history(client, "fills", fillType="User")) == 2
    assert history(client, "fills", fillType="Liquidation") == []


def test_pages_follow_each_other_in_both_directions_and_end(client: Client) -> None:
    ids = [client.place(clientId=n).json()["id"] for n in range(5)]
    for direction, expected in (("Asc", ids), ("Desc", ids[::-1])):
        paged = [
            row["id"]
            for offset in (0, 2, 4, 6)
            for row in history(client, "orders", limit=2, offset=offset, sortDirection=direction)
        ]
        assert paged == expected


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": "all"},
        {"offset": "-1"},
        {"sortDirection": "Up"},
        {"from": "x"},
        {"symbol": "NO_SUCH"},
    ],
    ids=str,
)
def test_a_history_that_cannot_be_asked_for_is_plain_text(client: Client, query: dict[str, Any]) -> None:
    answer = client.call("GET", "/wapi/v1/history/fills", "fillHistoryQueryAll", query)
    assert answer.status_code == 400
    assert answer.text.startswith("failed to parse parameter")


def test_a_cancel_of_nothing_is_witnessed_with_what_was_asked_for(client: Client) -> None:
    assert client.cancel(orderId="4711").status_code == 404
    assert client.cancel(clientId=12).status_code == 404
    entries = [(e["order_id"], e["client_id"], e["code"]) for e in client.journal("cancel_refused")]
    assert entries == [("4711", None, "RESOURCE_NOT_FOUND"), (None, 12, "RESOURCE_NOT_FOUND")]


def test_an_order_is_named_by_exactly_one_id(client: Client) -> None:
    order_id = client.place(clientId=5).json()["id"]
    for ids in ({}, {"orderId": order_id, "clientId": 5}):
        answer = client.cancel(**ids)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CLIENT_REQUEST")
    assert client.open_ids() == [order_id]


def test_an_order_is_not_found_under_another_symbol(client: Client) -> None:
    order_id = client.place(clientId=5).json()["id"]
    assert client.cancel(symbol="ETH_USDC", orderId=order_id).status_code == 404
    assert client.cancel(symbol="ETH_USDC", clientId=5).status_code == 404
    assert client.open_ids() == [order_id]


def test_text_client_ids_are_refused_where_the_exchange_is_strict() -> None:
    with running(strict_client_ids=True) as client:
        assert "u32" in client.place(clientId="12").text
        assert client.place(clientId=12).status_code == 200
        assert "u32" in client.cancel(clientId="12").text
        query = {**SYMBOL, "clientId": 12}
        assert client.call("GET", "/api/v1/order", "orderQuery", query).status_code == 200


@pytest.mark.parametrize("price", ["1e2", "140.", ".5", "1_0", " 140", "+140", "1" * 30])
def test_a_decimal_is_written_plainly(client: Client, price: str) -> None:
    assert "Invalid decimal" in client.place(price=price).text


def test_cancelling_the_conditional_orders_leaves_the_resting_ones(client: Client) -> None:
    order_id = client.place().json()["id"]
    payload = {**SYMBOL, "orderType": "ConditionalOrder"}
    assert client.call("DELETE", "/api/v1/orders", "orderCancelAll", payload).json() == []
    assert client.open_ids() == [order_id]
    payload = {**SYMBOL, "orderType": "Everything"}
    assert client.call("DELETE", "/api/v1/orders", "orderCancelAll", payload).status_code == 400
    assert client.open_ids() == [order_id]


def test_the_leverage_limit_decides_how_large_an_order_may_be(client: Client) -> None:
    def largest(**query: str) -> Decimal:
        asked = {"symbol": "SOL_USDC_PERP", "side": "Bid", "price": "150", **query}
        answer = client.call("GET", "/api/v1/account/limits/order", "maxOrderQuantity", asked)
        return Decimal(answer.json()["maxOrderQuantity"])

    def limit(value: str) -> int:
        update = {"leverageLimit": value}
        return client.call("PATCH", "/api/v1/account", "accountUpdate", update).status_code

    before = largest()
    assert limit("10") == 200
    assert abs(largest() * 2 - before) <= Decimal("0.02")
    assert [limit(value) for value in ("0", "51", "-1", "many")] == [400] * 4
    quantity = str(largest() + 1)
    answer = client.place(symbol="SOL_USDC_PERP", price="150", quantity=quantity, postOnly=True)
    assert answer.json()["code"] == "INSUFFICIENT_MARGIN"
    assert largest(reduceOnly="true") == 0
    client.place(symbol="SOL_USDC_PERP", price="160", quantity="2", timeInForce="IOC")
    assert (largest(reduceOnly="true"), largest(reduceOnly="true", side="Ask")) == (Decimal(0), Decimal(2))


def test_a_position_opened_again_has_a_number_of_its_own(client: Client) -> None:
    def trade(side: str, price: str) -> None:
        fields = {"symbol": "SOL_USDC_PERP", "side": side, "price": price, "timeInForce": "IOC"}
        assert client.place(**fields).json()["status"] == "Filled"

    def position_id() -> str:
        (position,) = client.call("GET", "/api/v1/position", "positionQuery").json()
        return str(position["positionId"])

    trade("Bid", "160")
    first = position_id()
    trade("Ask", "140")
    trade("Bid", "160")
    assert position_id() != first


def test_a_header_that_is_no_number_is_named(client: Client) -> None:
    at_ms = now_ms()
    answer = client.call("GET", "/api/v1/capital", "balanceQuery", signed_at_ms=at_ms)
    headers = dict(answer.request.headers)
    for name, value in (("X-Timestamp", "soon"), ("X-Timestamp", "9" * 5000), ("X-Window", "-5")):
        refused = client.session.get(
            client.url + "/api/v1/capital", headers=headers | {name: value}, timeout=5
        )
        assert refused.json() == {"code": "INVALID_CLIENT_REQUEST", "message": f"Invalid {name} header"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--speed", "0"),
        ("--speed", "nan"),
        ("--latency-ms", "-1"),
        ("--rate-per-min", "0"),
        ("--port", "70000"),
        ("--partial-percent", "101"),
    ],
)
def test_a_flag_out_of_range_is_bad_usage(arguments: tuple[str, str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "simulator", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 2
    assert arguments[0] in ended.stderr
