"""Every way a stream can end, and that nothing hangs for it."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable

import pytest

from exchanges.backpack import connection
from exchanges.backpack.config import Credentials
from exchanges.backpack.stream import BackpackStream
from exchanges.errors import StreamClosed
from tests.support import wait_until
from tests.unit.exchanges.stream_server import (
    CLOSE,
    CONTINUATION,
    TEXT,
    StreamServer,
    frame,
    pulse,
    receive_to_the_end,
    receive_until,
    ticker,
)

SIGNED_AT_MS = 1_750_793_021_519

OpenStream = Callable[..., BackpackStream]


@pytest.mark.parametrize("end", ["close frame", "hang-up", "reset"])
def test_what_came_before_the_end_is_handed_over_first(
    end: str, stream: BackpackStream, server: StreamServer
) -> None:
    server.send(ticker(1), ticker(2))
    if end == "reset":
        # A reset throws away what was not read yet.
        assert receive_until(stream, 2) == [pulse(1), pulse(2)]
        server.reset()
        assert receive_to_the_end(stream) == []
    else:
        if end == "close frame":
            server.raw(frame(struct.pack("!H", 1001) + b"maintenance", CLOSE))
        else:
            server.hang_up()
        assert receive_to_the_end(stream) == [pulse(1), pulse(2)]
    for use in (lambda: stream.receive(1), stream.ping, lambda: stream.watch(["SOL_USDC"])):
        with pytest.raises(StreamClosed, match="maintenance" if end == "close frame" else "connection"):
            use()


def test_a_goodbye_is_answered(stream: BackpackStream, server: StreamServer) -> None:
    server.raw(frame(struct.pack("!H", 1001), CLOSE))
    receive_to_the_end(stream)
    assert server.next("closed") == 1000


@pytest.mark.parametrize(
    "data",
    [
        b"\x81\x7f" + struct.pack("!Q", connection.MAX_MESSAGE_BYTES + 1),
        frame(b"x" * (connection.MAX_MESSAGE_BYTES // 2 + 1), TEXT, is_last=False)
        + frame(b"x" * (connection.MAX_MESSAGE_BYTES // 2 + 1), CONTINUATION),
        b"\xf1\x00",
        frame(b"", CONTINUATION),
    ],
    ids=["too long", "too long in fragments", "reserved bits", "continues nothing"],
)
def test_what_is_no_protocol_ends_the_connection(
    data: bytes, stream: BackpackStream, server: StreamServer
) -> None:
    server.raw(data)
    assert receive_to_the_end(stream) == []


@pytest.mark.parametrize("answers", [True, False])
def test_close_wakes_who_waits_and_says_goodbye(
    answers: bool, stream: BackpackStream, server: StreamServer
) -> None:
    if not answers:
        server.stop_reading()
    outcome: list[object] = []

    def wait() -> None:
        try:
            outcome.append(stream.receive(120))
        except StreamClosed as error:
            outcome.append(error)

    reader = threading.Thread(target=wait)
    reader.start()
    wait_until(lambda: stream._is_waiting)
    started_s = time.monotonic()
    stream.close()
    reader.join(60)
    assert not reader.is_alive()
    # Long before it would have waited enough.
    assert time.monotonic() - started_s < 60
    assert isinstance(outcome[0], StreamClosed)
    if answers:
        assert server.next("closed") == 1000


def test_close_while_it_is_being_opened_ends_it(server: StreamServer, credentials: Credentials) -> None:
    def closed_meanwhile() -> int:
        opening.close()
        return SIGNED_AT_MS

    opening = BackpackStream(server.url, credentials, closed_meanwhile)
    with pytest.raises(StreamClosed, match="closed"):
        opening.open()
    assert server.next("closed") == 1000


def test_small_messages_leave_at_once(stream: BackpackStream) -> None:
    assert stream._connection is not None
    assert stream._connection.sock is not None
    assert stream._connection.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_close_is_final_and_may_come_twice_or_before_anything(
    server: StreamServer, new_stream: OpenStream, stream: BackpackStream
) -> None:
    unopened = new_stream(server.url)
    unopened.close()
    for closed in (stream, unopened):
        closed.close()
        closed.close()
        with pytest.raises(StreamClosed, match="closed"):
            closed.receive(1)
        with pytest.raises(StreamClosed, match="closed"):
            closed.open()


def test_close_does_not_wait_for_an_exchange_that_reads_nothing(
    stream: BackpackStream, server: StreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nor for the end of what is just being sent.
    monkeypatch.setattr(connection, "SEND_TIMEOUT_S", 120)
    server.stop_reading()
    failed = threading.Event()

    def flood() -> None:
        try:
            for number in range(1_000_000):
                stream.watch([f"C{number}_{digit}_USDC_PERP" for digit in range(100)])
        except StreamClosed:
            failed.set()

    sender = threading.Thread(target=flood)
    sender.start()
    wait_until(lambda: stream._lock.locked() and _is_stuck(stream), 60)
    started_s = time.monotonic()
    stream.close()
    assert failed.wait(60)
    assert time.monotonic() - started_s < 60
    sender.join(5)


def _is_stuck(stream: BackpackStream) -> bool:
    """Tell whether one use of the stream goes on and on: the lock is not given back for a while."""
    if stream._lock.acquire(timeout=0.3):
        stream._lock.release()
        return False
    return True


def test_a_stream_can_be_opened_again_and_watches_nothing_then(
    stream: BackpackStream, server: StreamServer
) -> None:
    stream.watch(["SOL_USDC"])
    server.next()
    server.reset()
    receive_to_the_end(stream)
    stream.open()
    assert server.next()["params"] == ["account.orderUpdate"]
    stream.watch(["SOL_USDC"])
    assert server.next() == {"method": "SUBSCRIBE", "params": ["depth.SOL_USDC", "ticker.SOL_USDC"]}
    server.send(ticker(1))
    assert receive_until(stream, 1) == [pulse(1)]


def test_a_stream_that_is_not_open_says_so(server: StreamServer, new_stream: OpenStream) -> None:
    stream = new_stream(server.url)
    assert stream.last_heard_s == 0.0
    with pytest.raises(StreamClosed, match="it was not opened"):
        stream.receive(1)
