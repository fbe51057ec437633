"""Reads: a value, known to be empty, or an error; never a guess."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses

from exchanges.backpack import signing
from exchanges.backpack.config import Credentials
from exchanges.backpack.exchange import BackpackExchange
from exchanges.backpack.history import PAGE_ROWS
from exchanges.errors import ExchangeError, RateLimited, Refused, Unavailable
from market.book import BookLevel
from market.instrument import MarketType
from market.orders import OrderStatus, Side
from market.position import Balance
from market.terms import AccountTerms
from tests.unit.exchanges.backpack_wire import BASE, NOT_FOUND, WireOrder, query_of

NOW_MS = 1_750_793_021_519


def test_the_time_is_a_bare_number(network: responses.RequestsMock, exchange: BackpackExchange) -> None:
    network.get(f"{BASE}/api/v1/time", body="1793500000123", content_type="text/plain")
    assert exchange.server_time_ms() == 1793500000123


def test_a_market_becomes_an_instrument(network: responses.RequestsMock, exchange: BackpackExchange) -> None:
    network.get(
        f"{BASE}/api/v1/market",
        json={
            "symbol": "AAPL.US_USDC_PERP", "baseSymbol": "AAPL.US", "quoteSymbol": "USDC",
            "marketType": "PERP",
            "filters": {
                "price": {"minPrice": "0.01", "maxPrice": None, "tickSize": "0.01"},
                "quantity": {"minQuantity": "0.01", "maxQuantity": None, "stepSize": "0.01"},
            },
        },
    )  # fmt: skip
    instrument = exchange.instrument("AAPL.US_USDC_PERP")
    assert instrument.market_type is MarketType.PERP
    assert (instrument.base_asset, instrument.quote_asset) == ("AAPL.US", "USDC")
    assert (instrument.tick_size, instrument.max_quantity) == (Decimal("0.01"), None)
    assert instrument.max_price is None


def test_a_book_has_its_best_prices_first_though_bids_arrive_ascending(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    network.get(
        f"{BASE}/api/v1/depth",
        json={
            "asks": [["86781.5", "5.5"], ["86783.3", "1.2"]],
            "bids": [["86777.7", "0.03"], ["86781.4", "2.20"]],
            "lastUpdateId": "6904864764",
            "timestamp": 1790915412979224,
        },
    )
    book = exchange.order_book("BTC_USDC_PERP")
    assert book.bids[0] == BookLevel(price=Decimal("86781.4"), quantity=Decimal("2.20"))
    assert book.best_ask == Decimal("86781.5")
    assert book.updated_at_ms == 1790915412979
    assert query_of(network.calls[0]) == {"symbol": "BTC_USDC_PERP", "limit": "50"}


def test_open_orders_are_everybodys_and_signed_with_the_exchanges_clock(
    network: responses.RequestsMock,
    exchange: BackpackExchange,
    credentials: Credentials,
    wire_order: WireOrder,
) -> None:
    conditional = wire_order(None, id="2", status="TriggerPending", quantity=None, price=None)
    network.get(f"{BASE}/api/v1/orders", json=[wire_order(7), conditional])
    ours, other = exchange.open_orders("SOL_USDC")
    assert (ours.client_order_id, ours.side, ours.created_at_ms) == (7, Side.BUY, 1753626206762)
    assert (other.client_order_id, other.status) == (None, OrderStatus.TRIGGER_PENDING)
    headers = network.calls[0].request.headers
    assert headers["X-Timestamp"] == str(NOW_MS)
    text = f"instruction=orderQueryAll&symbol=SOL_USDC&timestamp={NOW_MS}&window=5000"
    assert headers["X-Signature"] == signing.sign(signing.load_private_key(credentials), text)


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (500, "", Unavailable),
        (503, "maintenance", Unavailable),
        (200, "", Unavailable),
        (200, "<html/>", Unavailable),
        (200, "{}", Unavailable),
        (200, '[{"id":"1"}]', Unavailable),
        (204, "", Unavailable),
        (202, "[]", Unavailable),
        (204, "[]", Unavailable),
        (301, "", Unavailable),
        (429, "x", RateLimited),
        (400, '{"code":"INVALID_CLIENT_REQUEST","message":"?"}', Refused),
        (404, "404 not found", Refused),
    ],
)
def test_a_failed_list_is_an_error_and_never_empty(
    status: int,
    body: str,
    error: type[ExchangeError],
    network: responses.RequestsMock,
    exchange: BackpackExchange,
) -> None:
    network.get(f"{BASE}/api/v1/orders", status=status, body=body)
    with pytest.raises(error):
        exchange.open_orders("SOL_USDC")


def test_retry_after_is_passed_on(network: responses.RequestsMock, exchange: BackpackExchange) -> None:
    network.get(f"{BASE}/api/v1/orders", status=429, headers={"Retry-After": "7"})
    with pytest.raises(RateLimited) as caught:
        exchange.open_orders("SOL_USDC")
    assert caught.value.retry_after_s == 7


WIRE_TERMS = {
    "futuresMakerFee": "-0.5",
    "futuresTakerFee": "5",
    "leverageLimit": "10",
    "liquidating": False,
    "spotMakerFee": "8",
    "spotTakerFee": "9.5",
}


def test_the_terms_of_an_account_are_basis_points_and_a_leverage_limit(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    network.get(f"{BASE}/api/v1/account", json=WIRE_TERMS)
    terms = exchange.account_terms()
    assert terms == AccountTerms(
        spot_maker_bps=Decimal(8),
        spot_taker_bps=Decimal("9.5"),
        perp_maker_bps=Decimal("-0.5"),
        perp_taker_bps=Decimal(5),
        leverage_limit=Decimal(10),
    )
    fees = [
        terms.fee_bps(market_type, is_maker=maker) for market_type in MarketType for maker in (True, False)
    ]
    assert fees == [Decimal(8), Decimal("9.5"), Decimal("-0.5"), Decimal(5)]


@pytest.mark.parametrize("name", [name for name in WIRE_TERMS if name != "liquidating"])
def test_terms_without_one_of_their_figures_are_unknown(
    name: str, network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    network.get(f"{BASE}/api/v1/account", json=WIRE_TERMS | {name: None})
    with pytest.raises(Unavailable):
        exchange.account_terms()


def test_balances_come_by_asset(network: responses.RequestsMock, exchange: BackpackExchange) -> None:
    network.get(f"{BASE}/api/v1/capital", json={"USDC": {"available": "120.5", "locked": "3", "staked": "0"}})
    assert exchange.balances() == {
        "USDC": Balance(asset="USDC", available=Decimal("120.5"), locked=Decimal(3))
    }


def test_a_position_is_signed_and_not_found_means_flat(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    url = f"{BASE}/api/v1/position"
    row = {"symbol": "SOL_USDC_PERP", "netQuantity": "-0.5", "entryPrice": "100", "markPrice": "101"}
    network.get(url, json=[row | {"pnlUnrealized": "-0.5"}])
    network.get(url, status=404, json=NOT_FOUND)
    network.get(url, json=[])
    network.get(url, status=404, body="404 not found")
    network.get(url, status=500)
    short = exchange.position("SOL_USDC_PERP")
    assert (short.net_quantity, short.entry_price) == (Decimal("-0.5"), Decimal(100))
    assert exchange.position("SOL_USDC_PERP").net_quantity == 0
    assert exchange.position("SOL_USDC_PERP").net_quantity == 0
    with pytest.raises(Refused):
        exchange.position("SOL_USDC_PERP")
    with pytest.raises(Unavailable):
        exchange.position("SOL_USDC_PERP")


def wire_fill(trade_id: int | None, timestamp: str, client_id: str | None = "7") -> dict[str, Any]:
    return {
        "clientId": client_id, "fee": "0.004974", "feeSymbol": "USDC", "isMaker": False, "orderId": "42",
        "price": "3826.15", "quantity": "0.0026", "side": "Ask", "symbol": "ETH_USDC_PERP",
        "systemOrderType": None, "timestamp": timestamp, "tradeId": trade_id,
    }  # fmt: skip


def test_fills_are_parsed_with_their_odd_types(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    rows = [
        wire_fill(9748828, "2025-07-27T17:39:00.092"),
        wire_fill(None, "2025-07-27T17:38:00", client_id=None),
    ]
    network.get(f"{BASE}/wapi/v1/history/fills", json=rows)
    first, second = exchange.fills("ETH_USDC_PERP", since_ms=1753600000000)
    assert (second.trade_id, second.client_order_id, second.side) == ("9748828", 7, Side.SELL)
    assert second.filled_at_ms == 1753637940092
    assert first.filled_at_ms == 1753637880000
    assert first.client_order_id is None
    query = query_of(network.calls[0])
    assert (query["from"], query["sortDirection"], query["offset"]) == ("1753600000000", "Asc", "0")


@pytest.mark.parametrize(
    ("system_order_type", "is_system"),
    [
        (None, False),
        ("LiquidatePositionOnBook", True),
        ("LiquidatePositionOnAdl", True),
        ("SomethingNew", True),
    ],
)
def test_fills_that_the_exchange_makes_of_its_own_accord_are_told_apart(
    system_order_type: str | None,
    is_system: bool,
    network: responses.RequestsMock,
    exchange: BackpackExchange,
) -> None:
    row = wire_fill(None, "2025-07-27T17:39:00.092", client_id=None)
    network.get(f"{BASE}/wapi/v1/history/fills", json=[row | {"systemOrderType": system_order_type}])
    (fill,) = exchange.fills("ETH_USDC_PERP", since_ms=0)
    assert fill.is_system is is_system
    # No kind of fill is asked for: one that is named would hide the others.
    assert "fillType" not in query_of(network.calls[0])


@pytest.mark.parametrize("with_headers", [True, False])
def test_fills_are_read_to_the_last_page_each_once(
    with_headers: bool, network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    everything = [wire_fill(n, "2025-07-27T17:39:00.092") for n in range(2 * PAGE_ROWS)]

    def answer(request: Any) -> tuple[int, dict[str, str], str]:
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.url).query).items()}
        offset, limit = int(query["offset"]), int(query["limit"])
        headers = {"X-Total": str(len(everything))} if with_headers else {}
        return 200, headers, json.dumps(everything[offset : offset + limit])

    network.add_callback("GET", f"{BASE}/wapi/v1/history/fills", callback=answer)
    fills = exchange.fills("ETH_USDC_PERP", since_ms=0)
    assert [fill.trade_id for fill in fills] == [str(n) for n in range(2 * PAGE_ROWS)]
    assert len(network.calls) == (2 if with_headers else 3)


def test_a_page_that_fails_fails_the_whole_list(
    network: responses.RequestsMock, exchange: BackpackExchange
) -> None:
    url = f"{BASE}/wapi/v1/history/fills"
    network.get(url, json=[wire_fill(1, "2025-07-27T17:39:00")], headers={"X-Total": "2"})
    network.get(url, status=500)
    with pytest.raises(Unavailable):
        exchange.fills("ETH_USDC_PERP", since_ms=0)
