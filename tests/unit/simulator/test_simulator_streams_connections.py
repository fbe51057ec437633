"""How connections of the streams live and end: pings both ways, slow clients, operators, the process."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import websocket

from simulator.markets import MARKETS
from simulator.stream_connection import Connection, StreamOptions
from tests.unit.simulator.loopback import Client, eventually, running
from tests.unit.simulator.stream_client import OTHER_SEED, listening
from tests.unit.simulator.test_simulator_process import started

TRADE = "trade.SOL_USDC"
PING = websocket.ABNF.OPCODE_PING
PONG = websocket.ABNF.OPCODE_PONG


@pytest.fixture
def client() -> Iterator[Client]:
    with running() as client:
        yield client


def trade(client: Client) -> None:
    client.post("/sim/trade", {"symbol": "SOL_USDC", "side": "Ask", "price": "149.9", "quantity": "0.5"})


def connections(client: Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = client.get("/sim/streams").json()
    return found


def deaf(client: Client) -> websocket.WebSocket:
    """Return a subscribed connection that nobody reads from."""
    socket = websocket.create_connection(
        client.url.replace("http", "ws"), timeout=30, http_no_proxy=["127.0.0.1"]
    )
    socket.send('{"method": "SUBSCRIBE", "params": ["trade.SOL_USDC"]}')
    return socket


def read_to_the_end(socket: websocket.WebSocket) -> None:
    """Return once the exchange has ended a connection."""
    assert socket.sock is not None
    with suppress(ConnectionResetError):
        while socket.sock.recv(4096):
            pass


def test_the_exchange_pings_and_keeps_who_answers() -> None:
    with (
        running(StreamOptions(ping_s=0.1, pong_timeout_s=2)) as client,
        listening(client, TRADE) as stream,
    ):
        eventually(lambda: stream.opcodes.count(PING) >= 25, "no pings")
        trade(client)
        stream.until(TRADE, 1)
        assert stream.ended is None


def test_who_does_not_answer_a_ping_is_cut_off() -> None:
    with (
        running(StreamOptions(ping_s=0.1, pong_timeout_s=2)) as client,
        listening(client, TRADE) as stream,
    ):
        socket = deaf(client)
        read_to_the_end(socket)
        assert [each["connection"] for each in connections(client)] == [1]
        socket.shutdown()  # type: ignore[no-untyped-call]
        assert stream.ended is None


def test_a_connection_without_a_subscription_is_closed_at_a_ping_without_a_word() -> None:
    with running(StreamOptions(ping_s=0.1)) as client, listening(client) as stream:
        # It may be closed before that.
        with suppress(websocket.WebSocketException, OSError):
            stream.send({"method": "SUBSCRIBE", "params": ["trade.NO_SUCH"]})
        eventually(lambda: stream.ended is not None, "still connected")
        assert stream.ended == "WebSocketConnectionClosedException"
        assert PING not in stream.opcodes


def test_pings_of_the_client_are_answered(client: Client) -> None:
    with listening(client) as stream:
        stream.socket.ping("hello")
        eventually(lambda: PONG in stream.opcodes, "no pong")


def test_an_operator_closes_everybody_or_the_connections_of_one_account(client: Client) -> None:
    with (
        listening(client, "account.orderUpdate") as demo,
        listening(client, "account.orderUpdate", seed=OTHER_SEED) as other,
        listening(client, TRADE) as public,
    ):
        assert client.post("/sim/streams/disconnect", {"account": "other"}).json() == {"closed": 1}
        eventually(lambda: other.ended is not None, "still connected")
        assert (other.ended, demo.ended, public.ended) == ("close 1001", None, None)
        assert client.post("/sim/streams/disconnect", {"abort": True}).json() == {"closed": 2}
        eventually(lambda: None not in {demo.ended, public.ended}, "still connected")
        assert (demo.ended, public.ended) == ("ConnectionResetError",) * 2
    eventually(lambda: connections(client) == [], "remembered")
    assert client.post("/sim/streams/disconnect", {}).json() == {"closed": 0}
    assert client.post("/sim/streams/disconnect", {"account": "nobody"}).status_code == 404
    assert client.post("/sim/streams/disconnect", {"abort": 1}).status_code == 400


def test_who_left_is_forgotten_and_the_others_are_served(client: Client) -> None:
    with listening(client, TRADE) as stays:
        with listening(client, TRADE):
            pass
        socket = deaf(client)
        eventually(lambda: len(connections(client)) == 2, "not connected")
        # Without a close frame.
        socket.shutdown()  # type: ignore[no-untyped-call]
        eventually(lambda: len(connections(client)) == 1, "not forgotten")
        trade(client)
        stays.until(TRADE, 1)


def test_a_queue_has_an_end() -> None:
    ended = []
    connection = Connection(1, 3, lambda: ended.append(True))
    for _ in range(3):
        connection.push("message")
    assert (connection.waiting, ended) == (3, [])
    connection.push("one too many")
    connection.push("and another")
    assert (connection.waiting, ended) == (0, [True])


def test_who_reads_too_slowly_is_cut_off_and_who_keeps_up_is_not(tmp_path: Path) -> None:
    # 500 events are 3000 trades: less than the queue, and after some rounds more than the kernel buffers.
    names = [f"trade.{symbol}" for symbol in MARKETS]
    with started(tmp_path, "--flow", "manual") as (_, client), listening(client, *names) as reads:
        socket = deaf(client)
        socket.send(json.dumps({"method": "SUBSCRIBE", "params": names}))
        eventually(lambda: len(connections(client)) == 2, "not connected")
        for _ in range(60):
            if len(connections(client)) < 2:
                break
            assert client.post("/sim/step", {"events": 500}).json()["played"] == 500
            eventually(lambda: connections(client)[0]["waiting"] == 0, "the reader is slow as well")
        assert [c["connection"] for c in connections(client)] == [1]
        assert reads.ended is None
        socket.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("reads", [True, False])
def test_the_process_says_goodbye_and_ends_at_once(tmp_path: Path, reads: bool) -> None:
    with (
        started(tmp_path, "--ping-s", "30", "--pong-timeout-s", "60") as (process, client),
        listening(client, "bookTicker.SOL_USDC", "account.orderUpdate") as stream,
    ):
        silent = [] if reads else [deaf(client) for _ in range(5)]
        stream.until("bookTicker.SOL_USDC", 1)
        process.send_signal(signal.SIGTERM)
        # Less than until a ping, and than a client may take for its answer.
        assert process.wait(15) == 0
        eventually(lambda: stream.ended is not None, "not ended")
        assert stream.ended == "close 1001"
        for socket in silent:
            socket.shutdown()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("option", [("--ping-s", "0"), ("--pong-timeout-s", "nan"), ("--funding", "daily")])
def test_options_out_of_range_are_refused(tmp_path: Path, option: tuple[str, ...]) -> None:
    with pytest.raises(AssertionError, match=option[0]), started(tmp_path, *option):
        pass
