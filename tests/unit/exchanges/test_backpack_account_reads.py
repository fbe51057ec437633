"""Reads over the whole account, and what a kept book begins with."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from exchanges.backpack.exchange import BackpackExchange
from exchanges.backpack.history import MAX_PAGES, PAGE_ROWS
from exchanges.base import DepthSnapshot
from exchanges.errors import Unavailable
from market.book import BookLevel, OrderBook
from market.position import FundingPayment, Position

BASE = "http://backpack.test"
HOUR_MS = 3_600_000


@pytest.fixture
def network() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False) as network:
        yield network


def query_of(call: Any) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(call.request.url).query).items()}


def wire_fill(trade_id: int | None, symbol: str, timestamp: str) -> dict[str, object]:
    return {
        "clientId": "7",
        "fee": "0.004974",
        "feeSymbol": "USDC",
        "isMaker": False,
        "orderId": "4238907375",
        "price": "3826.15",
        "quantity": "0.0026",
        "side": "Bid",
        "symbol": symbol,
        "systemOrderType": None,
        "timestamp": timestamp,
        "tradeId": trade_id,
    }


def wire_funding(hour: int, symbol: str = "SOL_USDC_PERP", quantity: str = "-0.001301") -> dict[str, object]:
    return {
        "userId": 1813870,
        "subaccountId": 0,
        "symbol": symbol,
        "quantity": quantity,
        "intervalEndTimestamp": f"2025-08-{1 + hour // 24:02}T{hour % 24:02}:00:00",
        "fundingRate": "0.0001",
    }


AUGUST_MS = 1_754_006_400_000


def test_a_depth_snapshot_is_deep_and_has_a_number(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    body = {
        "asks": [["86781.5", "5.5"]],
        "bids": [["86777.7", "0.03"], ["86781.4", "2.2"]],
        "lastUpdateId": "6904864764",
        "timestamp": 1790915412979224,
    }
    network.get(f"{BASE}/api/v1/depth", json=body)
    book = OrderBook(
        symbol="BTC_USDC_PERP",
        bids=(
            BookLevel(price=Decimal("86781.4"), quantity=Decimal("2.2")),
            BookLevel(price=Decimal("86777.7"), quantity=Decimal("0.03")),
        ),
        asks=(BookLevel(price=Decimal("86781.5"), quantity=Decimal("5.5")),),
        updated_at_ms=1790915412979,
    )
    assert exchange.depth_snapshot("BTC_USDC_PERP") == DepthSnapshot(
        book=book, last_update_id=6904864764, max_levels=1000
    )
    assert exchange.order_book("BTC_USDC_PERP") == book
    assert [query_of(call)["limit"] for call in network.calls] == ["1000", "50"]


def test_orders_and_fills_of_the_account_name_no_symbol(
    network: responses.RequestsMock, exchange: BackpackExchange, wire_order: Callable[..., dict[str, object]]
) -> None:
    orders = [wire_order(7), wire_order(8, id="2", symbol="ETH_USDC")]
    network.get(f"{BASE}/api/v1/orders", json=orders)
    # The same order and trade id on two symbols are two fills: trades are counted per symbol.
    fills = [
        wire_fill(1, "SOL_USDC", "2025-07-27T17:39:01"),
        wire_fill(1, "ETH_USDC", "2025-07-27T17:39:00"),
    ]
    network.get(f"{BASE}/wapi/v1/history/fills", json=fills)
    assert [order.symbol for order in exchange.account_open_orders()] == ["SOL_USDC", "ETH_USDC"]
    page = exchange.account_fills_page(since_ms=5)
    assert [fill.symbol for fill in page.fills] == ["ETH_USDC", "SOL_USDC"]
    assert page.is_complete
    assert query_of(network.calls[0]) == {}
    expected = {"from": "5", "limit": str(PAGE_ROWS), "offset": "0", "sortDirection": "Asc"}
    assert query_of(network.calls[1]) == expected


def test_positions_are_those_that_are_not_flat(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    rows = [
        {"symbol": "SOL_USDC_PERP", "netQuantity": "-0.5", "entryPrice": "100", "markPrice": "101"},
        {"symbol": "ETH_USDC_PERP", "netQuantity": "0", "entryPrice": "0", "markPrice": "4000"},
    ]
    network.get(f"{BASE}/api/v1/position", json=rows)
    assert exchange.positions() == (
        Position(
            symbol="SOL_USDC_PERP",
            net_quantity=Decimal("-0.5"),
            entry_price=Decimal(100),
            mark_price=Decimal(101),
        ),
    )
    assert query_of(network.calls[0]) == {}


def test_no_position_at_all_is_known_and_a_failed_list_is_not(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    not_found = {"code": "RESOURCE_NOT_FOUND", "message": "Not Found"}
    network.get(f"{BASE}/api/v1/position", json=not_found, status=404)
    assert exchange.positions() == ()
    network.reset()
    network.get(f"{BASE}/api/v1/position", status=500)
    with pytest.raises(Unavailable):
        exchange.positions()


def test_funding_is_signed_and_comes_oldest_first(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    rows = [wire_funding(17, quantity="0.5"), wire_funding(16), wire_funding(15)]
    network.get(f"{BASE}/wapi/v1/history/funding", json=rows)
    assert exchange.funding_payments(since_ms=AUGUST_MS + 16 * HOUR_MS) == (
        FundingPayment(
            symbol="SOL_USDC_PERP",
            amount=Decimal("-0.001301"),
            rate=Decimal("0.0001"),
            interval_end_ms=AUGUST_MS + 16 * HOUR_MS,
        ),
        FundingPayment(
            symbol="SOL_USDC_PERP",
            amount=Decimal("0.5"),
            rate=Decimal("0.0001"),
            interval_end_ms=AUGUST_MS + 17 * HOUR_MS,
        ),
    )
    query = query_of(network.calls[0])
    assert query == {"limit": str(PAGE_ROWS), "offset": "0", "sortDirection": "Desc"}


@pytest.fixture
def funding_server(network: responses.RequestsMock) -> list[dict[str, object]]:
    """Return the history that is served, newest first; a payment is booked after each page."""
    history = [wire_funding(hour, f"C{coin}_USDC_PERP") for hour in range(500, -1, -1) for coin in range(5)]

    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
        offset, limit = int(query["offset"]), int(query["limit"])
        page = history[offset : offset + limit]
        history.insert(0, wire_funding(501 + len(network.calls)))
        return 200, {}, json.dumps(page)

    network.add_callback("GET", f"{BASE}/wapi/v1/history/funding", callback=answer)
    return history


def test_funding_is_read_page_by_page_though_more_is_booked_meanwhile(
    network: responses.RequestsMock, exchange: BackpackExchange, funding_server: list[dict[str, object]]
) -> None:
    wanted = len(funding_server)
    payments = exchange.funding_payments(since_ms=0)
    assert len(payments) == wanted
    assert len(network.calls) == 3


def test_funding_is_not_read_beyond_what_was_asked_for(
    network: responses.RequestsMock, exchange: BackpackExchange, funding_server: list[dict[str, object]]
) -> None:
    payments = exchange.funding_payments(since_ms=AUGUST_MS + 499 * HOUR_MS)
    assert len(payments) == 10
    assert len(network.calls) == 1


def test_a_page_of_funding_that_fails_fails_the_whole_list(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    url = f"{BASE}/wapi/v1/history/funding"
    network.get(url, json=[wire_funding(16)], headers={"X-Total": "2"})
    network.get(url, status=503)
    with pytest.raises(Unavailable):
        exchange.funding_payments(since_ms=0)


def test_funding_without_end_is_unknown(network: responses.RequestsMock, exchange: BackpackExchange) -> None:
    url = f"{BASE}/wapi/v1/history/funding"
    network.get(url, json=[wire_funding(16)], headers={"X-Total": "1000000000"})
    with pytest.raises(Unavailable, match="later since_ms"):
        exchange.funding_payments(since_ms=0)
    assert len(network.calls) == MAX_PAGES
