"""Reads over the whole account, and what a kept book begins with."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from exchanges.backpack import history
from exchanges.backpack.exchange import BackpackExchange
from exchanges.backpack.history import FILL_PAGES, MAX_PAGES, PAGE_ROWS
from exchanges.base import DepthSnapshot, FillsPage
from exchanges.errors import Unavailable
from market.book import BookLevel, OrderBook
from market.position import FundingPayment, Position

BASE = "http://backpack.test"
HOUR_MS = 3_600_000


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


class FillServer:
    """Serves a history of fills by `from`, `offset` and `limit`, as the exchange does."""

    def __init__(self, network: responses.RequestsMock) -> None:
        #: Ms since August and the trade id, oldest first.
        self.fills: list[tuple[int, int]] = []
        self.with_total = True
        self.heeds_order = True
        #: Called after each page.
        self.meanwhile: Callable[[], object] = lambda: None
        network.add_callback("GET", f"{BASE}/wapi/v1/history/fills", callback=self._answer)

    def _answer(self, request: Any) -> tuple[int, dict[str, str], str]:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
        offset, limit = int(query["offset"]), int(query["limit"])
        rows = [row for row in self.fills if AUGUST_MS + row[0] >= int(query["from"])]
        rows = rows if query["sortDirection"] == "Asc" and self.heeds_order else rows[::-1]
        page = [
            wire_fill(trade_id, "SOL_USDC", f"2025-08-01T00:00:{at_ms // 1000:02}.{at_ms % 1000:03}")
            for at_ms, trade_id in rows[offset : offset + limit]
        ]
        self.meanwhile()
        return 200, {"X-Total": str(len(rows))} if self.with_total else {}, json.dumps(page)


@pytest.fixture
def fill_server(network: responses.RequestsMock) -> FillServer:
    return FillServer(network)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how many fills are read at a time, with ten to a page."""
    monkeypatch.setattr(history, "PAGE_ROWS", 10)
    return 10 * FILL_PAGES


def ids(page: FillsPage) -> list[int]:
    return [int(fill.trade_id) for fill in page.fills]


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


def test_more_fills_than_are_read_at_a_time_come_in_parts(
    network: responses.RequestsMock, exchange: BackpackExchange, fill_server: FillServer
) -> None:
    # Three a millisecond: the first part ends within one.
    fill_server.fills = [(n // 3, n) for n in range(FILL_PAGES * PAGE_ROWS + 500)]
    first = exchange.account_fills_page(since_ms=AUGUST_MS)
    assert (ids(first), first.is_complete) == (list(range(20_000)), False)
    assert len(network.calls) == FILL_PAGES
    second = exchange.account_fills_page(since_ms=first.fills[-1].filled_at_ms)
    # The last millisecond comes again, with the fill of it that was missing.
    assert (ids(second), second.is_complete) == (list(range(19_998, 20_500)), True)


def test_fills_that_just_fit_are_known_to_be_all_of_them(
    exchange: BackpackExchange, fill_server: FillServer, small_pages: int
) -> None:
    fill_server.fills = [(n, n) for n in range(small_pages)]
    page = exchange.account_fills_page(since_ms=AUGUST_MS)
    assert (len(page.fills), page.is_complete) == (small_pages, True)
    # Without the header a full page may have another one behind it.
    fill_server.with_total = False
    page = exchange.account_fills_page(since_ms=AUGUST_MS)
    assert (len(page.fills), page.is_complete) == (small_pages, False)
    again = exchange.account_fills_page(since_ms=page.fills[-1].filled_at_ms)
    assert (ids(again), again.is_complete) == ([small_pages - 1], True)


def test_a_fill_that_happens_meanwhile_comes_last(
    exchange: BackpackExchange, fill_server: FillServer, small_pages: int
) -> None:
    fill_server.fills = [(n, n) for n in range(25)]
    fill_server.meanwhile = lambda: fill_server.fills.append((len(fill_server.fills),) * 2)
    page = exchange.account_fills_page(since_ms=AUGUST_MS)
    assert (ids(page), page.is_complete) == (list(range(27)), True)


def test_a_fill_that_is_shown_on_two_pages_counts_once(
    exchange: BackpackExchange, fill_server: FillServer, small_pages: int
) -> None:
    fill_server.fills = [(n, n) for n in range(25)]
    # Histories lag: written late, at an earlier time, it pushes the others on.
    fill_server.meanwhile = lambda: fill_server.fills.insert(1, (0, len(fill_server.fills)))
    page = exchange.account_fills_page(since_ms=AUGUST_MS)
    assert (ids(page), page.is_complete) == (list(range(25)), True)


def test_one_millisecond_is_read_to_its_end(
    network: responses.RequestsMock, exchange: BackpackExchange, fill_server: FillServer, small_pages: int
) -> None:
    fill_server.fills = [(0, n) for n in range(small_pages + 15)]
    fill_server.fills += [(n, n) for n in range(small_pages + 15, small_pages + 100)]
    page = exchange.account_fills_page(since_ms=AUGUST_MS)
    assert (len(page.fills), page.is_complete) == (small_pages + 20, False)
    assert page.fills[-1].filled_at_ms > AUGUST_MS
    network.calls.reset()
    fill_server.fills = [(0, n) for n in range(2 * MAX_PAGES * 10)]
    with pytest.raises(Unavailable, match="at 1754006400000 ms"):
        exchange.account_fills_page(since_ms=AUGUST_MS)
    assert len(network.calls) == MAX_PAGES


def test_a_history_that_begins_with_the_newest_is_no_oldest_part(
    exchange: BackpackExchange, fill_server: FillServer, small_pages: int
) -> None:
    fill_server.heeds_order = False
    fill_server.fills = [(n, n) for n in range(5)]
    assert exchange.account_fills_page(since_ms=AUGUST_MS).is_complete
    fill_server.fills = [(n, n) for n in range(small_pages + 1)]
    with pytest.raises(Unavailable, match="oldest"):
        exchange.account_fills_page(since_ms=AUGUST_MS)


def test_a_page_of_fills_that_fails_fails_the_part(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    url = f"{BASE}/wapi/v1/history/fills"
    network.get(url, json=[wire_fill(1, "SOL_USDC", "2025-08-01T00:00:00")], headers={"X-Total": "2"})
    network.get(url, status=503)
    with pytest.raises(Unavailable):
        exchange.account_fills_page(since_ms=0)


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
