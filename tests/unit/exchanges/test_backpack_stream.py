"""The stream against a server on loopback: subscriptions, batches, time-outs, pings, broken messages."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from exchanges.backpack.config import Credentials
from exchanges.backpack.stream import MAX_MESSAGES, BackpackStream
from exchanges.stream import Pulse, StreamEvent, StreamRefused
from tests.support import wait_until
from tests.unit.exchanges.stream_server import (
    CONTINUATION,
    PING,
    TEXT,
    StreamServer,
    frame,
    pulse,
    receive_until,
    ticker,
)

OpenStream = Callable[..., BackpackStream]


def test_opening_subscribes_to_the_account_with_the_published_signature(
    server: StreamServer, new_stream: OpenStream, credentials: Credentials, vectors_file: Path
) -> None:
    new_stream(server.url).open()
    vector = next(row for row in json.loads(vectors_file.read_text())["v"] if "subscribe" in row["s"])
    assert server.next() == {
        "method": "SUBSCRIBE",
        "params": ["account.orderUpdate"],
        "signature": [credentials.api_key, vector["sig"], "1750793021519", "5000"],
    }


def test_watching_sends_only_what_changes(stream: BackpackStream, server: StreamServer) -> None:
    stream.watch(["SOL_USDC", "SOL_USDC_PERP"])
    assert server.next() == {
        "method": "SUBSCRIBE",
        "params": [
            "depth.SOL_USDC",
            "depth.SOL_USDC_PERP",
            "markPrice.SOL_USDC_PERP",
            "ticker.SOL_USDC",
            "ticker.SOL_USDC_PERP",
        ],
    }
    stream.watch({"SOL_USDC_PERP"})
    assert server.next() == {"method": "UNSUBSCRIBE", "params": ["depth.SOL_USDC", "ticker.SOL_USDC"]}
    stream.watch({"SOL_USDC_PERP"})
    stream.watch({"ETH_USDC", "SOL_USDC_PERP"})
    assert server.next() == {"method": "SUBSCRIBE", "params": ["depth.ETH_USDC", "ticker.ETH_USDC"]}


def test_many_symbols_are_watched_in_several_messages(stream: BackpackStream, server: StreamServer) -> None:
    stream.watch([f"C{number}_USDC_PERP" for number in range(40)])
    sizes = [len(server.next()["params"]) for _ in range(3)]
    assert sizes == [50, 50, 20]


def test_what_is_readable_comes_at_once_and_in_order(stream: BackpackStream, server: StreamServer) -> None:
    server.send(*[ticker(number) for number in range(30)])
    started_s = time.monotonic()
    found: list[StreamEvent] = []
    while len(found) < 30:
        found += stream.receive(60)
    assert found == [pulse(number) for number in range(30)]
    # Not even the last call waited for more.
    assert time.monotonic() - started_s < 30


def test_a_batch_is_bounded_and_the_rest_comes_without_waiting(
    stream: BackpackStream, server: StreamServer
) -> None:
    count = MAX_MESSAGES + 100
    server.send(*[ticker(number) for number in range(count)])
    sizes: list[int] = []
    while sum(sizes) < count:
        sizes.append(len(stream.receive(2.0)))
    assert max(sizes) <= MAX_MESSAGES
    assert sum(sizes) == count


def test_messages_that_nobody_needs_do_not_hide_the_one_behind_them(
    stream: BackpackStream, server: StreamServer
) -> None:
    unneeded = {"stream": "trade.SOL_USDC", "data": {}}
    server.send(*[unneeded] * (MAX_MESSAGES + 100), ticker(1))
    started_s = time.monotonic()
    assert stream.receive(60) == (pulse(1),)
    assert time.monotonic() - started_s < 30


def test_nothing_within_the_time_is_an_empty_answer(stream: BackpackStream) -> None:
    started_s = time.monotonic()
    assert stream.receive(0.1) == ()
    assert time.monotonic() - started_s >= 0.1
    assert stream.receive(0) == ()


def test_pings_are_answered_while_waiting_and_do_not_end_the_wait(
    stream: BackpackStream, server: StreamServer
) -> None:
    server.raw(frame(b"are you there", PING))
    assert stream.receive(0.3) == ()
    assert server.next("pong") == b"are you there"


def test_a_ping_of_ours_moves_the_time_of_the_last_sign_of_life(
    stream: BackpackStream, server: StreamServer
) -> None:
    before_s = stream.last_heard_s
    asked_s = time.monotonic()
    assert before_s <= asked_s
    stream.ping()
    assert server.next("ping") == b""
    wait_until(lambda: stream.receive(0.05) == () and stream.last_heard_s >= asked_s)


def test_a_message_in_pieces_is_kept_until_it_is_whole(stream: BackpackStream, server: StreamServer) -> None:
    data = frame(json.dumps(ticker(1)).encode())
    for part in (data[:1], data[1:20]):
        server.raw(part)
        assert stream.receive(0.05) == ()
    server.raw(data[20:])
    assert receive_until(stream, 1) == [pulse(1)]


def test_fragments_are_joined_around_a_ping(stream: BackpackStream, server: StreamServer) -> None:
    payload = json.dumps(ticker(1)).encode()
    server.raw(
        frame(payload[:10], TEXT, is_last=False)
        + frame(b"", PING)
        + frame(payload[10:20], CONTINUATION, is_last=False)
        + frame(payload[20:], CONTINUATION)
    )
    assert receive_until(stream, 1) == [pulse(1)]
    assert server.next("pong") == b""


def test_garbage_is_counted_and_costs_no_other_message(
    stream: BackpackStream, server: StreamServer, caplog: pytest.LogCaptureFixture
) -> None:
    broken = ticker(2)
    broken["data"] = {"e": "ticker"}
    server.raw(
        frame(json.dumps(ticker(1)).encode())
        + frame(b"\xff\xfe no text")
        + frame(b"{")
        + frame(json.dumps(broken).encode())
        + frame(json.dumps(ticker(3)).encode())
    )
    with caplog.at_level(logging.WARNING):
        assert receive_until(stream, 2) == [pulse(1), pulse(3)]
    assert stream.unreadable_messages == 3
    # Not one for each: the first, the second, the fourth, the eighth.
    assert len(caplog.records) == 2


def test_a_refusal_is_an_event(stream: BackpackStream, server: StreamServer) -> None:
    server.send({"id": None, "error": {"code": 4006, "message": "Invalid stream"}})
    assert receive_until(stream, 1) == [StreamRefused(code=4006, message="Invalid stream")]


def test_the_mark_price_comes_along(stream: BackpackStream, server: StreamServer) -> None:
    data = {"e": "markPrice", "E": 2000, "T": 1000, "s": "SOL_USDC_PERP", "p": "84.2"}
    server.send({"stream": "markPrice.SOL_USDC_PERP", "data": data})
    expected = Pulse(symbol="SOL_USDC_PERP", at_ms=1, mark_price=Decimal("84.2"))
    assert receive_until(stream, 1) == [expected]
