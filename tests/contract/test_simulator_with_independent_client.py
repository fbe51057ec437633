"""The simulated exchange against a client that others wrote: backpack-exchange-sdk, unmodified.

It signs, words its requests and reads the answers by its own understanding of the protocol.
"""

from __future__ import annotations

import base64
import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import websocket
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

pytest.importorskip("backpack_exchange_sdk", reason="the independent client is not installed")

from backpack_exchange_sdk._base.errors import (
    BackpackAPIError,
    BackpackInsufficientFundsError,
    BackpackInvalidRequestError,
    BackpackMaintenanceError,
    BackpackNotFoundError,
    BackpackRateLimitError,
    BackpackRequestError,
    BackpackUnauthorizedError,
)
from backpack_exchange_sdk.authenticated import AuthenticationClient
from backpack_exchange_sdk.public import PublicClient
from backpack_exchange_sdk.websocket import WebSocketClient

ROOT = Path(__file__).parents[2]
SYMBOL = "SOL_USDC"
PERP = "SOL_USDC_PERP"


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port_file = tmp_path_factory.mktemp("simulator") / "port"
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--port", "0", "--port-file", str(port_file), "--flow", "still"],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
    )
    try:
        deadline_s = time.monotonic() + 30
        while not port_file.exists():
            assert process.poll() is None, "the simulator ended before it listened"
            assert time.monotonic() < deadline_s, "the simulator did not listen"
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port_file.read_text()}/"
    finally:
        process.terminate()
        process.wait(60)


def client_of(base_url: str, seed: bytes) -> AuthenticationClient:
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    client = AuthenticationClient(
        base64.b64encode(public).decode(), base64.b64encode(seed).decode(), base_url=base_url, timeout=30
    )
    client.session.trust_env = False
    return client


@pytest.fixture
def public(base_url: str) -> Iterator[PublicClient]:
    client = PublicClient(base_url=base_url, timeout=30)
    client.session.trust_env = False
    yield client
    client.session.close()


@pytest.fixture
def demo(base_url: str) -> Iterator[AuthenticationClient]:
    client = client_of(base_url, b"\x01" * 32)
    yield client
    client.cancel_open_orders(SYMBOL)
    assert client.get_open_orders(SYMBOL) == []
    client.session.close()


def bid(**fields: Any) -> dict[str, Any]:
    return {
        "symbol": SYMBOL,
        "side": "Bid",
        "orderType": "Limit",
        "price": "140",
        "quantity": "0.5",
    } | fields


def test_public_data(public: PublicClient) -> None:
    assert public.get_status()["status"] == "Ok"
    assert public.send_ping() == "pong"
    assert abs(int(public.get_system_time()) - time.time() * 1000) < 10_000
    assert public.get_market(SYMBOL) in public.get_markets()
    depth = public.get_depth(SYMBOL)
    assert Decimal(depth["bids"][-1][0]) < Decimal(depth["asks"][0][0])
    assert public.get_ticker("BTC_USDC") is None
    # The client's annotations say object where both sides speak of lists.
    marks: Any = public.get_mark_price(PERP)
    interests: Any = public.get_open_interest(PERP)
    assert marks[0]["symbol"] == interests[0]["symbol"] == PERP
    assert public.get_funding_interval_rates(PERP)[0]["symbol"] == PERP
    assert public.get_klines(SYMBOL, "1m", int(time.time()) - 600) == []
    for empty in (
        public.get_assets,
        public.get_collateral,
        public.get_wallets,
        public.get_borrow_lend_markets,
    ):
        assert empty() == []


def test_an_order_is_placed_queried_by_its_client_id_and_cancelled(demo: AuthenticationClient) -> None:
    order = demo.execute_order(
        "Limit",
        "Bid",
        SYMBOL,
        postOnly=True,
        clientId=4294967295,
        price="140.25",
        quantity="0.5",
        selfTradePrevention="RejectTaker",
    )
    assert (order["status"], order["postOnly"], order["clientId"]) == ("New", True, 4294967295)
    assert demo.get_users_open_orders(SYMBOL, clientId=4294967295) == order
    assert demo.get_open_orders(SYMBOL) == demo.get_open_orders(marketType="SPOT") == [order]
    assert demo.cancel_open_order(SYMBOL, clientId=4294967295)["status"] == "Cancelled"
    assert demo.get_open_orders(SYMBOL) == []
    with pytest.raises(BackpackAPIError) as caught:
        demo.get_users_open_orders(SYMBOL, orderId=order["id"])
    assert caught.value.status_code == 404
    assert demo.get_order_history(orderId=order["id"])[0]["status"] == "Cancelled"


def test_a_batch_is_placed_and_cancelled_together(demo: AuthenticationClient) -> None:
    results = demo.execute_batch_orders(
        [bid(clientId=1, postOnly=True), bid(price="140.001"), bid(clientId=2, postOnly=False)]
    )
    assert [result["operation"] for result in results] == ["Ok", "Err", "Ok"]
    assert results[1]["message"] == "Price decimal too long"
    cancelled = demo.cancel_open_orders(SYMBOL)
    assert [order["clientId"] for order in cancelled] == [1, 2]


def test_fills_balances_and_positions_follow_what_was_executed(demo: AuthenticationClient) -> None:
    before = demo.get_balances()["SOL"]["available"]
    order = demo.execute_order(
        "Limit", "Bid", SYMBOL, clientId=3, price="151", quantity="0.5", timeInForce="IOC"
    )
    assert order["status"] == "Filled"
    (fill,) = [f for f in demo.get_fill_history(symbol=SYMBOL) if f["orderId"] == order["id"]]
    assert (fill["clientId"], fill["quantity"], fill["feeSymbol"]) == ("3", "0.5", "SOL")
    assert Decimal(demo.get_balances()["SOL"]["available"]) == Decimal(before) + Decimal("0.4995")
    assert demo.execute_order("Market", "Ask", SYMBOL, quoteQuantity="50")["status"] == "Filled"

    demo.execute_order("Market", "Ask", PERP, quantity="1.25", reduceOnly=False)
    (position,) = demo.get_open_positions()
    assert (position["symbol"], position["netQuantity"]) == (PERP, "-1.25")
    demo.execute_order("Market", "Bid", PERP, quantity="5", reduceOnly=True)
    assert demo.get_open_positions() == []


def test_account_queries(demo: AuthenticationClient) -> None:
    demo.update_account(autoLend=False, leverageLimit="5")
    assert demo.get_account()["leverageLimit"] == "5"
    assert Decimal(demo.get_max_order_quantity(SYMBOL, "Bid", price="100")["maxOrderQuantity"]) > 0
    assert demo.get_collateral()["collateral"][0]["symbol"] == "USDC"
    assert demo.get_funding_payments() == []
    assert demo.get_settlement_history() == []


def test_refusals_reach_the_client_as_its_own_errors(demo: AuthenticationClient, base_url: str) -> None:
    with pytest.raises(BackpackInvalidRequestError) as crossing:
        demo.execute_order("Limit", "Bid", SYMBOL, postOnly=True, price="151", quantity="0.5")
    assert (crossing.value.code, crossing.value.status_code) == ("INVALID_ORDER", 400)
    assert crossing.value.message == "Order would immediately match and take"
    with pytest.raises(BackpackInsufficientFundsError):
        demo.execute_order("Limit", "Bid", SYMBOL, price="140", quantity="1000000")
    with pytest.raises(BackpackInvalidRequestError, match="too far"):
        demo.execute_order("Limit", "Bid", SYMBOL, price="1", quantity="1")
    with pytest.raises(BackpackNotFoundError):
        demo.cancel_open_order(SYMBOL, orderId="1")
    with pytest.raises(BackpackNotFoundError):
        demo.get_users_open_orders(SYMBOL, clientId=123456)
    # What cannot be decoded is plain text, which the client hands on without a code.
    with pytest.raises(BackpackAPIError) as undecodable:
        demo.execute_order("Limit", "Bid", "NO_SUCH", price="151", quantity="0.5")
    assert (undecodable.value.status_code, undecodable.value.code) == (400, None)
    assert "Invalid market symbol" in str(undecodable.value)


def test_a_client_id_is_taken_while_it_rests(demo: AuthenticationClient) -> None:
    first = demo.execute_order("Limit", "Bid", SYMBOL, clientId=9, price="140", quantity="1")
    with pytest.raises(BackpackInvalidRequestError):
        demo.execute_order("Limit", "Bid", SYMBOL, clientId=9, price="141", quantity="1")
    demo.cancel_open_order(SYMBOL, orderId=first["id"])
    demo.execute_order("Limit", "Bid", SYMBOL, clientId=9, price="141", quantity="1")
    assert [order["price"] for order in demo.get_open_orders(SYMBOL)] == ["141"]


def test_strangers_and_forgers_are_told_apart(base_url: str) -> None:
    stranger = client_of(base_url, b"\x77" * 32)
    with pytest.raises(BackpackUnauthorizedError):
        stranger.get_balances()
    stranger.session.close()
    forger = client_of(base_url, b"\x01" * 32)
    forger.private_key_obj = Ed25519PrivateKey.from_private_bytes(b"\x05" * 32)
    with pytest.raises(BackpackInvalidRequestError, match="Invalid signature"):
        forger.get_balances()
    forger.session.close()


def test_faults_reach_the_client_as_its_own_errors(demo: AuthenticationClient, base_url: str) -> None:
    def fault(kind: str, **fields: Any) -> None:
        rule = {"endpoint": "GET /api/v1/capital", "kind": kind, "count": 1, **fields}
        demo.session.post(f"{base_url}sim/faults", json=[rule], timeout=30).raise_for_status()

    fault("error", status=429, code="TOO_MANY_REQUESTS", message="Too many requests")
    with pytest.raises(BackpackRateLimitError):
        demo.get_balances()
    fault("error", status=503, code="MAINTENANCE", message="Maintenance")
    with pytest.raises(BackpackMaintenanceError):
        demo.get_balances()
    fault("reset_after")
    with pytest.raises(BackpackRequestError):
        demo.get_balances()
    assert "USDC" in demo.get_balances()


@pytest.fixture
def stream(base_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[WebSocketClient]:
    # It knows one address only, and connects while it is made.
    real = websocket.WebSocketApp
    url = base_url.replace("http", "ws")
    monkeypatch.setattr(websocket, "WebSocketApp", lambda _, *given, **named: real(url, *given, **named))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    seed = b"\x01" * 32
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    client = WebSocketClient(base64.b64encode(public).decode(), base64.b64encode(seed).decode())
    yield client
    # It would connect again some seconds after the end.
    connected: Any = client.ws
    connected.on_close = None
    connected.close()


def test_streams_reach_the_client_public_and_private(
    stream: WebSocketClient, demo: AuthenticationClient, public: PublicClient
) -> None:
    touches: queue.Queue[dict[str, Any]] = queue.Queue()
    updates: queue.Queue[dict[str, Any]] = queue.Queue()
    stream.subscribe([f"bookTicker.{SYMBOL}"], touches.put)
    stream.subscribe(["account.orderUpdate"], updates.put, is_private=True)
    # Nothing tells that a subscription is in force but what it says.
    deadline_s, client_id = time.monotonic() + 20, 100
    while touches.empty() or updates.empty():
        assert time.monotonic() < deadline_s, "the streams say nothing"
        client_id += 1
        order = demo.execute_order("Limit", "Bid", SYMBOL, clientId=client_id, price="149.98", quantity="0.5")
        demo.cancel_open_order(SYMBOL, orderId=order["id"])
    touch, update = touches.get(), updates.get()
    assert (touch["e"], touch["s"], type(touch["u"])) == ("bookTicker", SYMBOL, int)
    assert Decimal(touch["b"]) < Decimal(touch["a"])
    assert touch["u"] <= int(public.get_depth(SYMBOL)["lastUpdateId"])
    assert (update["e"], update["s"]) in {("orderAccepted", SYMBOL), ("orderCancelled", SYMBOL)}
    assert 100 < update["c"] <= client_id

    order = demo.execute_order("Limit", "Bid", SYMBOL, clientId=99, price="151", quantity="0.5")
    filled = update
    while (filled["e"], filled["i"]) != ("orderFill", order["id"]):
        filled = updates.get(timeout=10)
    (fill,) = [f for f in demo.get_fill_history(symbol=SYMBOL) if f["orderId"] == order["id"]]
    assert (filled["t"], filled["c"], filled["L"], filled["n"]) == (
        fill["tradeId"],
        99,
        fill["price"],
        fill["fee"],
    )
