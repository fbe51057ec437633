"""Every kind of fault, over real loopback sockets; what happened is read from the operator's side."""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator

import pytest
import requests

from tests.unit.simulator.loopback import Client, eventually, now_ms, running

PLACE = "POST /api/v1/order"
LIST = "GET /api/v1/orders"
CANCEL = "DELETE /api/v1/order"


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as client:
        yield client


def test_latency_delays_an_answer_and_nothing_else(client: Client) -> None:
    client.fault(PLACE, "latency", latency_ms=150, spread_ms=20)
    began_s = time.monotonic()
    assert client.place().status_code == 200
    assert time.monotonic() - began_s >= 0.13
    assert len(client.witnessed_ids()) == 1


def test_an_error_answers_without_doing_anything(client: Client) -> None:
    client.fault(PLACE, "error", status=503, code="MAINTENANCE", message="closed")
    answer = client.place()
    assert (answer.status_code, answer.json()) == (503, {"code": "MAINTENANCE", "message": "closed"})
    client.fault(PLACE, "error", status=502, message="bad gateway", plain=True)
    answer = client.place()
    assert (answer.status_code, answer.text) == (502, "bad gateway")
    assert client.witnessed_ids() == []


def test_a_hanging_request_is_never_answered_and_never_done(client: Client) -> None:
    client.fault(PLACE, "hang", count=1)
    with pytest.raises(requests.ReadTimeout):
        client.place(timeout_s=0.3)
    assert client.place(clientId=2).status_code == 200
    assert len(client.witnessed_ids()) == 1


def test_a_reset_before_processing_does_nothing(client: Client) -> None:
    client.fault(PLACE, "reset_before")
    with pytest.raises(requests.ConnectionError):
        client.place()
    assert client.witnessed_ids() == []
    assert client.journal("order_accepted") == []


@pytest.mark.parametrize("kind", ["reset_before", "reset_after", "late"])
def test_a_reset_is_the_kernels_and_no_orderly_end(client: Client, kind: str) -> None:
    client.fault("GET /api/v1/ping", kind)
    connection = http.client.HTTPConnection(client.url.removeprefix("http://"), timeout=5)
    # Without a body: a reset between headers and body would be met by the sending, not by the reading.
    connection.request("GET", "/api/v1/ping")
    with pytest.raises(ConnectionResetError) as caught:
        connection.getresponse()
    # http.client words an orderly end as a subclass.
    assert caught.type is ConnectionResetError
    connection.close()


def test_a_reset_after_processing_leaves_the_order_on_the_book(client: Client) -> None:
    client.fault(PLACE, "reset_after")
    with pytest.raises(requests.ConnectionError):
        client.place(clientId=77)
    assert len(client.witnessed_ids()) == 1
    assert client.journal("order_accepted")[0]["client_id"] == 77
    query = {"symbol": "SOL_USDC", "clientId": 77}
    assert client.call("GET", "/api/v1/order", "orderQuery", query).json()["status"] == "New"


def test_a_late_request_is_accepted_within_its_window(client: Client) -> None:
    client.fault(PLACE, "late", delay_ms=200)
    with pytest.raises(requests.ConnectionError):
        client.place(clientId=5)
    eventually(lambda: len(client.witnessed_ids()) == 1, "the late order never arrived")
    (entry,) = client.journal("order_accepted")
    assert entry["at_ms"] - entry["signed_at_ms"] >= 200


def test_a_late_request_is_refused_after_its_window(client: Client) -> None:
    client.fault(PLACE, "late", delay_ms=300)
    with pytest.raises(requests.ConnectionError):
        client.place(window_ms=100)
    eventually(lambda: bool(client.journal("request")), "the late order was never processed")
    (entry,) = client.journal("request")
    assert (entry["status"], entry["message"]) == (400, "Request has expired")
    assert entry["at_ms"] - entry["arrived_at_ms"] >= 300
    assert client.journal("order_accepted") == []


def test_a_window_judged_at_the_gateway_lets_a_late_request_in() -> None:
    with running(window_check_on_arrival=True) as client:
        client.fault(PLACE, "late", delay_ms=1_500, count=1)
        with pytest.raises(requests.ConnectionError):
            client.place(window_ms=1_000)
        eventually(lambda: len(client.witnessed_ids()) == 1, "the late order never arrived")
        assert client.place(signed_at_ms=now_ms() - 10_000).json()["message"] == "Request has expired"


def test_latency_uses_up_the_window(client: Client) -> None:
    client.fault(PLACE, "latency", latency_ms=300)
    answer = client.place(window_ms=100)
    assert (answer.status_code, answer.json()["message"]) == (400, "Request has expired")


def test_a_taker_held_past_its_window_is_refused_and_a_maker_is_not_held() -> None:
    with running(taker_hold_ms=1_500) as client:
        taker = client.place(price="160", window_ms=1_000)
        assert (taker.status_code, taker.json()["message"]) == (400, "Request has expired")
        assert client.place(postOnly=True, window_ms=1_000).status_code == 200


def test_an_accepted_cancel_happens_later(client: Client) -> None:
    order_id = client.place().json()["id"]
    client.fault(CANCEL, "cancel_202", delay_ms=60_000)
    answer = client.cancel(orderId=order_id)
    assert (answer.status_code, answer.content) == (202, b"")
    assert client.open_ids() == [order_id]
    client.fault(CANCEL, "cancel_202", delay_ms=50)
    assert client.cancel(orderId=order_id).status_code == 202
    eventually(lambda: client.open_ids() == [], "the cancel never happened")


def test_every_cancel_can_be_asynchronous() -> None:
    with running(cancel_202_ms=0) as client:
        client.place()
        answer = client.call("DELETE", "/api/v1/orders", "orderCancelAll", {"symbol": "SOL_USDC"})
        assert (answer.status_code, answer.content) == (202, b"")
        eventually(lambda: client.open_ids() == [], "the cancels never happened")


def test_a_rule_goes_away_after_its_count_and_tells_its_hits(client: Client) -> None:
    client.fault("*", "error", count=2)
    assert [client.get("/api/v1/ping").status_code for _ in range(1)] == [503]
    assert [rule["hits"] for rule in client.get("/sim/faults").json()] == [1]
    assert [client.get("/api/v1/ping").status_code for _ in range(2)] == [503, 200]
    assert client.get("/sim/faults").json() == []
    assert [entry["kind"] for entry in client.journal("fault")] == ["error", "error"]


def test_a_rule_can_be_meant_for_one_account_or_for_some_requests(client: Client) -> None:
    other = Client(client.url, b"\x02" * 32)
    client.fault(LIST, "error", account="other")
    assert client.open_ids() == []
    assert other.call("GET", "/api/v1/orders", "orderQueryAll").status_code == 503
    other.session.close()
    client.fault("GET /api/v1/ping", "error", probability=0.5)
    statuses = [client.get("/api/v1/ping").status_code for _ in range(60)]
    assert 10 < statuses.count(503) < 50


def test_clearing_the_faults_is_enough(client: Client) -> None:
    client.fault("*", "error")
    assert client.session.delete(client.url + "/sim/faults", timeout=5).json() == []
    assert client.place().status_code == 200


@pytest.mark.parametrize(
    "rules",
    [
        {"endpoint": "*", "kind": "error"},
        [{"endpoint": "*"}],
        [{"endpoint": "*", "kind": "explode"}],
        [{"endpoint": "*", "kind": "error", "chance": 1}],
        [{"endpoint": "*", "kind": "error", "probability": "often"}],
        [{"endpoint": "*", "kind": "error", "count": True}],
        [{"endpoint": "*", "kind": "error", "count": 0}],
        [{"endpoint": "*", "kind": "error", "probability": 1.5}],
        [{"endpoint": "*", "kind": "error", "status": 99}],
        [{"endpoint": "*", "kind": "latency", "latency_ms": -1}],
        [{"endpoint": "/api/v1/order", "kind": "error"}],
        [{"endpoint": "PUT /api/v1/order", "kind": "error"}],
        [{"endpoint": "GET /api/v1/orders?symbol=SOL_USDC", "kind": "error"}],
        [{"endpoint": "POST /api/v1/orders", "kind": "stale_list"}],
        [{"endpoint": "GET /api/v1/orders", "kind": "cancel_202"}],
    ],
)
def test_a_rule_that_is_not_understood_is_refused_and_changes_nothing(client: Client, rules: object) -> None:
    client.fault(LIST, "error")
    answer = client.post("/sim/faults", rules)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_FAULT")
    assert len(client.get("/sim/faults").json()) == 1
