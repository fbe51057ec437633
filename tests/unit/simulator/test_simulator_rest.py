"""Shapes, statuses and error texts of the endpoints, over a loopback socket."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from simulator.rate_limit import RateLimit
from tests.unit.simulator.loopback import BID, Client, now_ms, running

SYMBOL = {"symbol": "SOL_USDC"}


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    with running() as client:
        yield client


@pytest.fixture
def client(shared: Client) -> Client:
    shared.call("DELETE", "/api/v1/orders", "orderCancelAll", SYMBOL)
    return shared


def test_times_are_text_and_depth_ascends_on_both_sides(client: Client) -> None:
    assert client.get("/api/v1/ping").text == "pong"
    assert client.get("/api/v1/status").json() == {"status": "Ok", "message": None}
    answer = client.get("/api/v1/time")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert abs(int(answer.text) - now_ms()) < 10_000
    depth = client.get("/api/v1/depth", **SYMBOL, limit="5").json()
    for side in ("bids", "asks"):
        prices = [Decimal(price) for price, _ in depth[side]]
        assert len(prices) == 5
        assert prices == sorted(prices)
    assert Decimal(depth["bids"][-1][0]) < Decimal(depth["asks"][0][0])
    assert isinstance(depth["lastUpdateId"], str)
    assert abs(depth["timestamp"] // 1000 - now_ms()) < 10_000


def test_the_depth_shows_accounts_orders_too(client: Client) -> None:
    client.place(price="149.99", quantity="3", postOnly=True)
    depth = client.get("/api/v1/depth", **SYMBOL).json()
    assert depth["bids"][-1] == ["149.99", "3"]


def test_markets_carry_their_filters(client: Client) -> None:
    markets = {market["symbol"]: market for market in client.get("/api/v1/markets").json()}
    assert set(markets) == {f"{base}_USDC{kind}" for base in ("SOL", "ETH", "BTC") for kind in ("", "_PERP")}
    assert markets["SOL_USDC"] == client.get("/api/v1/market", **SYMBOL).json()
    assert markets["SOL_USDC"]["filters"]["price"]["tickSize"] == "0.01"
    assert markets["SOL_USDC"]["imfFunction"] is None
    assert markets["BTC_USDC_PERP"]["fundingInterval"] == 3_600_000
    spot = client.get("/api/v1/markets", marketType="SPOT").json()
    assert {market["marketType"] for market in spot} == {"SPOT"}


def test_a_ticker_has_no_content_before_the_first_trade(client: Client) -> None:
    answer = client.get("/api/v1/ticker", symbol="ETH_USDC")
    assert (answer.status_code, answer.content) == (204, b"")
    client.post("/sim/trade", {"symbol": "BTC_USDC", "side": "Bid", "price": "60000.5", "quantity": "0.1"})
    ticker = client.get("/api/v1/ticker", symbol="BTC_USDC").json()
    assert (ticker["lastPrice"], ticker["trades"]) == ("60000.5", "1")
    (trade,) = client.get("/api/v1/trades", symbol="BTC_USDC").json()
    assert (trade["price"], trade["quoteQuantity"], trade["isBuyerMaker"]) == ("60000.5", "6000.05", False)
    since_s = str(now_ms() // 1000 - 3600)
    (kline,) = client.get("/api/v1/klines", symbol="BTC_USDC", interval="1d", startTime=since_s).json()
    assert (kline["open"], kline["trades"], kline["start"][10]) == ("60000.5", "1", " ")


def test_perpetuals_have_mark_prices_and_funding(client: Client) -> None:
    asked_ms = now_ms()
    marks = client.get("/api/v1/markPrices").json()
    assert {mark["symbol"] for mark in marks} == {"SOL_USDC_PERP", "ETH_USDC_PERP", "BTC_USDC_PERP"}
    assert marks[0]["nextFundingTimestamp"] > asked_ms
    answer = client.get("/api/v1/fundingRates", symbol="SOL_USDC_PERP")
    assert answer.json()[0]["intervalEndTimestamp"].count(":") == 2
    assert answer.headers["X-TOTAL"] == "1"
    (interest,) = client.get("/api/v1/openInterest", symbol="SOL_USDC_PERP").json()
    assert interest["openInterest"] == "0"


@pytest.mark.parametrize(
    ("path", "query", "text"),
    [
        ("/api/v1/depth", {**SYMBOL, "limit": "7"}, 'failed to parse "DepthLimit"'),
        ("/api/v1/trades", {**SYMBOL, "limit": "1001"}, "failed to parse parameter `limit`"),
        ("/api/v1/klines", {**SYMBOL, "interval": "7m", "startTime": "1"}, "failed to parse parameter"),
        ("/api/v1/klines", {**SYMBOL, "interval": "1m", "startTime": "x"}, "failed to parse parameter"),
        ("/api/v1/market", {}, "failed to parse parameter `symbol`"),
    ],
)
def test_parameters_that_cannot_be_decoded_are_answered_in_plain_text(
    client: Client, path: str, query: dict[str, str], text: str
) -> None:
    answer = client.get(path, **query)
    assert (answer.status_code, text in answer.text) == (400, True)
    assert answer.headers["Content-Type"].startswith("text/plain")


def test_unknown_symbols_and_paths(client: Client) -> None:
    answer = client.get("/api/v1/depth", symbol="NO_SUCH")
    assert answer.json() == {"code": "INVALID_CLIENT_REQUEST", "message": "Invalid market symbol"}
    assert client.get("/api/v1/markPrices", symbol="NO_SUCH").json()["message"] == "Symbol not found"
    answer = client.get("/api/v1/nothing")
    assert (answer.status_code, answer.text) == (404, "404 not found")


def test_an_order_comes_back_as_documented_and_is_found_by_both_ids(client: Client) -> None:
    order = client.place(clientId=4294967295, postOnly=True).json()
    assert order["clientId"] == 4294967295
    assert isinstance(order["id"], str)
    assert isinstance(order["createdAt"], int)
    assert (order["status"], order["price"], order["timeInForce"]) == ("New", "140", "GTC")
    for ids in ({"orderId": order["id"]}, {"clientId": 4294967295}):
        assert client.call("GET", "/api/v1/order", "orderQuery", SYMBOL | ids).json() == order
    assert client.cancel(clientId=4294967295).json()["status"] == "Cancelled"
    answer = client.cancel(orderId=order["id"])
    assert (answer.status_code, answer.json()) == (
        404,
        {"code": "RESOURCE_NOT_FOUND", "message": "Not Found"},
    )


def test_the_text_form_of_a_client_id_is_accepted_too(client: Client) -> None:
    assert client.place(clientId="12").json()["clientId"] == 12
    assert client.cancel(clientId="12").status_code == 200


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"clientId": 4294967296}, "u32"),
        ({"clientId": -1}, "u32"),
        ({"side": "Buy"}, "side"),
        ({"symbol": "NO_SUCH"}, "MarketSymbol"),
        ({"symbol": ["SOL_USDC"]}, "MarketSymbol"),
        ({"price": "dear"}, "Invalid decimal"),
        ({"price": "NaN"}, "Invalid decimal"),
        ({"timeInForce": "DAY"}, "timeInForce"),
        ({"postOnly": "true"}, "postOnly"),
    ],
    ids=str,
)
def test_bodies_that_cannot_be_decoded_are_answered_in_plain_text(
    client: Client, fields: dict[str, Any], text: str
) -> None:
    answer = client.place(**fields)
    assert (answer.status_code, text in answer.text) == (400, True)
    assert answer.text.startswith("parse request payload error")


@pytest.mark.parametrize(
    "fields",
    [
        {"price": None},
        {"orderType": "Market"},
        {"orderType": "Market", "price": None, "quoteQuantity": "1"},
        {"triggerPrice": "150", "triggerQuantity": "1"},
    ],
    ids=str,
)
def test_orders_that_make_no_sense_are_refused(client: Client, fields: dict[str, Any]) -> None:
    answer = client.place(**fields)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_ORDER")
    assert client.open_ids() == []


def test_a_price_written_as_a_number_is_signed_as_it_is_written(client: Client) -> None:
    assert client.place(price=140.5).json()["price"] == "140.5"


@pytest.mark.parametrize("body", ['"text"', "[]", "5", "{", "[1]"])
@pytest.mark.parametrize("path", ["/api/v1/order", "/api/v1/orders"])
def test_bodies_of_another_shape_are_the_clients_fault(client: Client, path: str, body: str) -> None:
    answer = client.session.post(client.url + path, data=body, timeout=5)
    assert answer.status_code in {400, 401}


def test_a_batch_answers_item_by_item(client: Client) -> None:
    batch = [BID | {"clientId": 1}, BID | {"price": "160", "postOnly": True}, BID | {"clientId": 2}]
    answers = client.call("POST", "/api/v1/orders", "orderExecute", batch).json()
    assert [answer["operation"] for answer in answers] == ["Ok", "Err", "Ok"]
    assert answers[1] == {
        "operation": "Err",
        "code": "INVALID_ORDER",
        "message": "Order would immediately match and take",
    }
    assert [answer.get("clientId") for answer in answers] == [1, None, 2]
    assert client.open_ids() == [answers[0]["id"], answers[2]["id"]]


def test_a_batch_with_an_order_that_cannot_be_decoded_places_nothing(client: Client) -> None:
    batch = [BID | {"clientId": 1}, BID | {"symbol": "NO_SUCH"}]
    answer = client.call("POST", "/api/v1/orders", "orderExecute", batch)
    assert (answer.status_code, "MarketSymbol" in answer.text) == (400, True)
    assert client.open_ids() == []


def test_exactly_one_id_must_be_given(client: Client) -> None:
    for ids in ({}, {"orderId": "1", "clientId": 1}):
        answer = client.cancel(**ids)
        assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CLIENT_REQUEST")


def test_lists_can_be_narrowed(client: Client) -> None:
    spot = client.place().json()["id"]
    perp = client.place(symbol="SOL_USDC_PERP").json()["id"]

    def listed(**query: str) -> list[str]:
        return [o["id"] for o in client.call("GET", "/api/v1/orders", "orderQueryAll", query).json()]

    assert listed() == [spot, perp]
    assert listed(symbol="SOL_USDC") == listed(marketType="SPOT") == [spot]
    assert listed(marketType="PERP") == [perp]
    cancel = {"symbol": "SOL_USDC_PERP"}
    (cancelled,) = client.call("DELETE", "/api/v1/orders", "orderCancelAll", cancel).json()
    assert cancelled["id"] == perp
    assert listed() == [spot]


def test_histories_come_newest_first_in_pages(client: Client) -> None:
    began_ms = now_ms()
    ids = [client.place(price="160", clientId=100 + n, timeInForce="IOC").json()["id"] for n in range(3)]
    query = {**SYMBOL, "limit": 2, "offset": 0}
    answer = client.call("GET", "/wapi/v1/history/orders", "orderHistoryQueryAll", query)
    assert [row["id"] for row in answer.json()] == [ids[2], ids[1]]
    assert answer.headers["X-PAGE-SIZE"] == "2"
    assert int(answer.headers["X-TOTAL"]) >= 3
    assert "T" in answer.json()[0]["createdAt"]
    fills = client.call(
        "GET", "/wapi/v1/history/fills", "fillHistoryQueryAll", SYMBOL | {"from": began_ms, "limit": 100}
    ).json()
    assert [fill["orderId"] for fill in fills] == ids[::-1]
    assert [fill["clientId"] for fill in fills] == ["102", "101", "100"]
    assert (fills[0]["feeSymbol"], fills[0]["isMaker"], fills[0]["fee"]) == ("SOL", False, "0.001")
    oldest = client.call(
        "GET",
        "/wapi/v1/history/fills",
        "fillHistoryQueryAll",
        SYMBOL | {"from": began_ms, "sortDirection": "Asc", "limit": 1},
    ).json()
    assert oldest[0]["orderId"] == ids[0]
    # Not the journal's time: it writes a thing down later than that thing is stamped.
    at_ms = round(datetime.fromisoformat(fills[0]["timestamp"] + "+00:00").timestamp() * 1000)

    def filled(**between: int) -> set[str]:
        query = {**SYMBOL, "limit": 1000, **between}
        rows = client.call("GET", "/wapi/v1/history/fills", "fillHistoryQueryAll", query).json()
        return {row["orderId"] for row in rows}

    # From this ms on, but not including that one.
    assert ids[2] in filled(**{"from": at_ms, "to": at_ms + 1})
    assert ids[2] not in filled(**{"from": at_ms + 1})
    assert ids[2] not in filled(to=at_ms)
    bad = client.call("GET", "/wapi/v1/history/fills", "fillHistoryQueryAll", {"limit": 1001})
    assert bad.status_code == 400


def test_balances_show_what_orders_hold(client: Client) -> None:
    before = client.call("GET", "/api/v1/capital", "balanceQuery").json()["USDC"]
    client.place(quantity="2")
    after = client.call("GET", "/api/v1/capital", "balanceQuery").json()["USDC"]
    assert Decimal(after["locked"]) == Decimal(before["locked"]) + 280
    assert Decimal(after["available"]) == Decimal(before["available"]) - 280


def test_a_position_is_not_found_before_it_is_opened(client: Client) -> None:
    query = {"symbol": "ETH_USDC_PERP"}
    assert client.call("GET", "/api/v1/position", "positionQuery", query).status_code == 404
    client.place(symbol="ETH_USDC_PERP", price="2750", quantity="0.01", timeInForce="IOC")
    (position,) = client.call("GET", "/api/v1/position", "positionQuery", query).json()
    assert (position["netQuantity"], position["entryPrice"]) == ("0.01", "2700.02")
    collateral = client.call("GET", "/api/v1/capital/collateral", "collateralQuery").json()
    assert Decimal(collateral["netExposureFutures"]) == 27
    assert Decimal(collateral["netEquity"]) == Decimal(collateral["assetsValue"]) + Decimal("-0.0002")


def test_the_account_can_be_changed_and_tells_its_fees(client: Client) -> None:
    answer = client.call(
        "PATCH", "/api/v1/account", "accountUpdate", {"autoLend": True, "leverageLimit": "5"}
    )
    assert (answer.status_code, answer.content) == (200, b"")
    account = client.call("GET", "/api/v1/account", "accountQuery").json()
    assert (account["autoLend"], account["leverageLimit"]) == (True, "5")
    fees = [account[name] for name in ("spotMakerFee", "spotTakerFee", "futuresMakerFee", "futuresTakerFee")]
    assert fees == ["8", "10", "2", "5"]
    limit = client.call(
        "GET", "/api/v1/account/limits/order", "maxOrderQuantity", SYMBOL | {"side": "Ask", "price": "150"}
    ).json()
    assert Decimal(limit["maxOrderQuantity"]) > 1000


def test_requests_beyond_the_budget_are_refused_until_it_refills() -> None:
    at_ms = now_ms()
    with running(rate_limit=RateLimit(lambda: at_ms, 3)) as client:
        statuses = [client.call("GET", "/api/v1/capital", "balanceQuery").status_code for _ in range(4)]
        assert statuses == [200, 200, 200, 429]
        answer = client.place()
        assert (answer.status_code, answer.json()["code"]) == (429, "TOO_MANY_REQUESTS")
        assert client.witnessed_ids() == []
        at_ms += 20_000
        assert client.place().status_code == 200


def test_every_request_is_witnessed_with_its_answer() -> None:
    with running() as client:
        client.get("/api/v1/ping")
        client.place(price="160", postOnly=True)
        client.place(clientId=1)
        seen = [
            (e["account"], e["method"], e["path"], e["status"], e["code"]) for e in client.journal("request")
        ]
        assert seen == [
            (None, "GET", "/api/v1/ping", 200, None),
            ("demo", "POST", "/api/v1/order", 400, "INVALID_ORDER"),
            ("demo", "POST", "/api/v1/order", 200, None),
        ]
        everything = client.get("/sim/journal").json()
        assert [entry["n"] for entry in everything] == list(range(1, len(everything) + 1))
        assert client.get("/sim/journal", since=everything[-2]["n"]).json() == everything[-1:]


def test_the_operator_moves_the_market_and_places_for_others() -> None:
    with running() as client:
        bid = client.place(price="149").json()["id"]
        third = client.post("/sim/orders", {**BID, "account": "other", "price": "148"}).json()["id"]
        client.post("/sim/market", {**SYMBOL, "price": "148.5"})
        assert client.witnessed_ids() == []
        assert client.journal("fill")[0]["order_id"] == bid
        assert [o["order_id"] for o in client.get("/sim/orders", account="other").json()] == [third]
        client.post("/sim/trade", {**SYMBOL, "side": "Ask", "price": "147.99", "quantity": "0.01"})
        assert client.get("/sim/orders", account="other").json() == []
        assert client.post("/sim/orders", {**BID, "account": "nobody"}).status_code == 404
        assert client.post("/sim/trade", {}).status_code == 400
        assert client.post("/sim/market", {**SYMBOL, "price": "-1"}).status_code == 400
        assert client.get("/sim/journal", since="x").status_code == 400


def test_the_operator_moves_a_market_that_has_no_flow() -> None:
    with running(flow=None) as client:
        client.post("/sim/market", {**SYMBOL, "price": "100"})
        depth = client.get("/api/v1/depth", **SYMBOL).json()
        assert (depth["bids"][-1][0], depth["asks"][0][0]) == ("99.98", "100.02")
