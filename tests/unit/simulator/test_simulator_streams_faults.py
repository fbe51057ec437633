"""Every kind of fault of the streams, over real loopback sockets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import websocket

from simulator import stream_faults
from tests.unit.simulator.loopback import BID, Client, eventually, running
from tests.unit.simulator.stream_client import OTHER_SEED, StreamClient, listening

ORDERS = "account.orderUpdate"
TRADES = "trade.SOL_USDC"
PONG = websocket.ABNF.OPCODE_PONG


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as client:
        yield client


def fault(client: Client, *rules: dict[str, Any]) -> None:
    answer = client.post("/sim/streams/faults", list(rules))
    assert answer.status_code == 200, answer.text


def trade(client: Client, *prices: str) -> None:
    for price in prices:
        body = {"symbol": "SOL_USDC", "side": "Ask", "price": price, "quantity": "0.5"}
        assert client.post("/sim/trade", body).status_code == 200


def prices_of(stream: StreamClient) -> list[str]:
    return [told["p"].removesuffix("0").removesuffix(".0") for told in stream.of(TRADES)]


def settled(stream: StreamClient) -> None:
    """Wait until everything that was published before has arrived: an answer to a bad frame is behind it."""
    before = len([frame for frame in stream.frames if "error" in frame])
    stream.send("no json")
    stream.errors(before + 1)


def test_a_lost_message_is_gone_and_the_next_one_is_not(client: Client) -> None:
    with listening(client, TRADES, ORDERS) as stream:
        fault(client, {"kind": "lose", "stream": "trade.*", "count": 2})
        trade(client, "149.1", "149.2", "149.3")
        client.place()
        stream.until(ORDERS, 1)
        assert prices_of(stream) == ["149.3"]
        assert client.get("/sim/streams/faults").json() == []
        hits = client.journal("stream_fault")
        assert [(hit["kind"], hit["stream"], hit["account"]) for hit in hits] == [
            ("lose", TRADES, "demo")
        ] * 2


def test_hits_are_counted_and_a_rule_without_count_stays_until_it_is_cleared(client: Client) -> None:
    with listening(client, TRADES) as stream:
        fault(client, {"kind": "lose", "stream": "*"})
        trade(client, "149.1", "149.2")
        (rule,) = client.get("/sim/streams/faults").json()
        assert (rule["kind"], rule["stream"], rule["hits"]) == ("lose", "*", 2)
        assert client.session.delete(f"{client.url}/sim/streams/faults", timeout=5).json() == []
        trade(client, "149.3")
        stream.until(TRADES, 1)
        assert prices_of(stream) == ["149.3"]


def test_a_duplicate_arrives_twice(client: Client) -> None:
    with listening(client, ORDERS) as stream:
        fault(client, {"kind": "duplicate", "stream": "account.*", "count": 1})
        client.place(clientId=1)
        client.place(clientId=2)
        assert [told["c"] for told in stream.until(ORDERS, 3)] == [1, 1, 2]


def test_a_late_message_is_overtaken(client: Client) -> None:
    with listening(client, TRADES) as stream:
        fault(client, {"kind": "late", "stream": TRADES, "count": 1, "delay_ms": 1_500})
        trade(client, "149.1", "149.2", "149.3")
        first, _, last = stream.until(TRADES, 3)
        assert prices_of(stream) == ["149.2", "149.3", "149.1"]
        assert stream.arrived_ns[2] // 1000 - last["E"] > 1_450_000
        assert last["E"] < first["E"]


def test_what_was_said_while_frozen_is_lost_and_pings_are_answered(client: Client) -> None:
    with listening(client, TRADES, ORDERS) as stream, listening(client, TRADES) as public:
        fault(client, {"kind": "freeze", "stream": "trade.*", "account": "demo"})
        trade(client, "149.1", "149.2")
        assert prices_of(stream) == []
        # Neither other streams nor other connections are concerned.
        client.place()
        stream.until(ORDERS, 1)
        public.until(TRADES, 2)
        stream.socket.ping()
        eventually(lambda: PONG in stream.opcodes, "no pong")
        fault(client)
        trade(client, "149.3")
        stream.until(TRADES, 1)
        assert prices_of(stream) == ["149.3"]
        assert len(client.journal("stream_fault")) == 1


def test_a_freeze_ends_by_itself(client: Client) -> None:
    with listening(client, TRADES) as stream:
        fault(client, {"kind": "freeze", "count": 1, "duration_ms": 300})
        trade(client, "149.1")

        def thawed() -> bool:
            trade(client, "149.2")
            return bool(stream.of(TRADES))

        eventually(thawed, "still frozen")
        (hit,) = client.journal("stream_fault")
        assert stream.of(TRADES)[0]["E"] - hit["at_us"] > 290_000


def test_a_connection_is_dropped_at_a_message(client: Client) -> None:
    with listening(client, ORDERS) as stream, listening(client, ORDERS, seed=OTHER_SEED) as other:
        rule = {"kind": "drop_connection", "stream": ORDERS, "account": "demo", "count": 1}
        fault(client, rule)
        client.post("/sim/orders", {**BID, "account": "other"})
        other.until(ORDERS, 1)
        client.place()
        eventually(lambda: stream.ended is not None, "still connected")
        assert stream.ended == "ConnectionResetError"
        assert (stream.of(ORDERS), other.ended) == ([], None)
    with listening(client, ORDERS) as again:
        client.place()
        again.until(ORDERS, 1)


def test_the_first_messages_after_a_reconnect_arrive_shuffled(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_faults, "LONGEST_SHUFFLE_MS", 60_000)
    rule = {"kind": "reorder_after_reconnect", "stream": "trade.*", "count": 5}
    prices = [f"149.{number}" for number in range(1, 9)]
    with listening(client, TRADES) as before:
        fault(client, rule)
        with listening(client, TRADES, ORDERS) as after:
            trade(client, *prices)
            after.until(TRADES, 8)
            assert sorted(prices_of(after)[:5]) == prices[:5]
            assert prices_of(after)[:5] != prices[:5]
            assert prices_of(after)[5:] == prices[5:]
        before.until(TRADES, 8)
        assert prices_of(before) == prices
        assert client.get("/sim/streams/faults").json()[0]["hits"] == 1


def test_messages_do_not_wait_for_ever_to_be_shuffled(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_faults, "LONGEST_SHUFFLE_MS", 1_500)
    fault(client, {"kind": "reorder_after_reconnect", "count": 5})
    with listening(client, TRADES) as stream:
        trade(client, "149.1", "149.2")
        stream.until(TRADES, 2)
        assert prices_of(stream) == ["149.2", "149.1"]
        trade(client, "149.3")
        stream.until(TRADES, 3)


def test_pings_can_stay_unanswered(client: Client) -> None:
    with listening(client, TRADES) as stream:
        fault(client, {"kind": "no_pong", "count": 1})
        stream.socket.ping()
        settled(stream)
        assert PONG not in stream.opcodes
        trade(client, "149.1")
        stream.until(TRADES, 1)
        stream.socket.ping()
        eventually(lambda: PONG in stream.opcodes, "no pong")
        assert [hit["kind"] for hit in client.journal("stream_fault")] == ["no_pong"]


def test_a_handshake_is_a_request_that_rest_faults_reach(client: Client) -> None:
    client.fault("GET /", "error", status=503, count=1)
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        StreamClient(client)
    assert caught.value.status_code == 503
    client.fault("GET /", "late", delay_ms=1, count=1)
    with pytest.raises((OSError, websocket.WebSocketException)):
        StreamClient(client)
    with listening(client, TRADES):
        assert len(client.get("/sim/streams").json()) == 1


def test_the_same_seed_loses_the_same_messages() -> None:
    def lost() -> list[str]:
        with running() as client, listening(client, TRADES) as stream:
            fault(client, {"kind": "lose", "stream": "trade.*", "probability": 0.5})
            trade(client, *(f"149.{number}" for number in range(1, 10)))
            fault(client)
            trade(client, "148.5")
            eventually(lambda: "148.5" in prices_of(stream), "the last one is missing")
            return prices_of(stream)

    first = lost()
    assert 1 < len(first) < 10
    assert lost() == first


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({}, "expected a JSON list"),
        ([3], "a rule needs a 'kind'"),
        ([{"kind": "explode"}], "a rule needs a 'kind'"),
        ([{"kind": "lose", "endpoint": "*"}], "unknown fields: endpoint"),
        ([{"kind": "lose", "stream": 3}], "'stream' cannot be 3"),
        ([{"kind": "lose", "count": True}], "'count' cannot be True"),
        ([{"kind": "lose", "stream": "trades.*"}], "no stream has a name like 'trades.*'"),
        ([{"kind": "lose", "probability": 1.5}], "between 0 and 1"),
        ([{"kind": "lose", "count": 0}], "at least 1"),
        ([{"kind": "lose", "account": "nobody"}], "no account is called 'nobody'"),
        ([{"kind": "late"}], "'late' needs 'delay_ms'"),
        ([{"kind": "late", "delay_ms": -1}], "cannot be negative"),
        ([{"kind": "reorder_after_reconnect"}], "needs a 'count'"),
        ([{"kind": "no_pong", "stream": "trade.*"}], "leave out 'stream'"),
    ],
)
def test_a_rule_that_could_not_hit_is_refused_and_those_in_force_stay(
    client: Client, rules: Any, message: str
) -> None:
    fault(client, {"kind": "lose", "stream": "trade.*"})
    answer = client.post("/sim/streams/faults", rules)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_FAULT")
    assert message in answer.json()["message"]
    assert len(client.get("/sim/streams/faults").json()) == 1
