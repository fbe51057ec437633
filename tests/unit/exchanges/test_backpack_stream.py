"""The stream against a server on loopback: subscriptions, batches, time-outs, and every way to end."""

from __future__ import annotations

import datetime
import ipaddress
import json
import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from exchanges.backpack import connection
from exchanges.backpack.config import Credentials, stream_url
from exchanges.backpack.stream import MAX_MESSAGES, BackpackStream
from exchanges.errors import AuthenticationFailed, StreamClosed, Unavailable
from exchanges.stream import Pulse, Stream, StreamEvent, StreamRefused
from tests.support import wait_until
from tests.unit.exchanges.stream_server import CONTINUATION, TEXT, StreamServer, frame

SIGNED_AT_MS = 1_750_793_021_519
PING, PONG, CLOSE = 0x9, 0xA, 0x8

OpenStream = Callable[..., BackpackStream]


@pytest.fixture
def server() -> Iterator[StreamServer]:
    server = StreamServer()
    yield server
    server.stop()


@pytest.fixture
def new_stream(credentials: Credentials) -> Iterator[OpenStream]:
    made: list[BackpackStream] = []

    def factory(url: str, **settings: Any) -> BackpackStream:
        made.append(BackpackStream(url, credentials, lambda: SIGNED_AT_MS, **settings))
        return made[-1]

    yield factory
    for stream in made:
        stream.close()


@pytest.fixture
def stream(server: StreamServer, new_stream: OpenStream) -> BackpackStream:
    stream = new_stream(server.url)
    stream.open()
    for _ in range(3):
        server.next()
    return stream


def ticker(number: int) -> dict[str, object]:
    data = {"e": "ticker", "E": number * 1000, "s": "SOL_USDC", "c": "100.5"}
    return {"stream": "ticker.SOL_USDC", "data": data}


def pulse(number: int) -> Pulse:
    return Pulse(symbol="SOL_USDC", at_ms=number)


def receive_until(stream: Stream, count: int) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    deadline_s = time.monotonic() + 5
    while len(found) < count:
        assert time.monotonic() < deadline_s, found
        found += stream.receive(0.2)
    return found


def receive_to_the_end(stream: Stream) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    deadline_s = time.monotonic() + 5
    while time.monotonic() < deadline_s:
        try:
            found += stream.receive(0.2)
        except StreamClosed:
            return found
    raise AssertionError("the stream did not end")


def test_opening_subscribes_to_the_account_with_the_published_signature(
    server: StreamServer, new_stream: OpenStream, credentials: Credentials, vectors_file: Path
) -> None:
    new_stream(server.url).open()
    vector = next(row for row in json.loads(vectors_file.read_text())["v"] if "subscribe" in row["s"])
    messages = [server.next() for _ in range(3)]
    assert [message["params"] for message in messages] == [
        ["account.orderUpdate"],
        ["account.positionUpdate"],
        ["account.balanceUpdate"],
    ]
    for message in messages:
        assert message["method"] == "SUBSCRIBE"
        assert message["signature"] == [credentials.api_key, vector["sig"], "1750793021519", "5000"]


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
    found = receive_until(stream, 30)
    assert found == [pulse(number) for number in range(30)]
    # The last call had nothing to wait for either.
    assert time.monotonic() - started_s < 1


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
    assert stream.receive(5) == (pulse(1),)
    assert time.monotonic() - started_s < 2


def test_nothing_within_the_time_is_an_empty_answer(stream: BackpackStream) -> None:
    started_s = time.monotonic()
    assert stream.receive(0.1) == ()
    assert 0.1 <= time.monotonic() - started_s < 1
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
    wait_until(lambda: stream.receive(0.05) == () and stream.last_heard_s >= asked_s, 5)


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
            outcome.append(stream.receive(30))
        except StreamClosed as error:
            outcome.append(error)

    reader = threading.Thread(target=wait)
    reader.start()
    wait_until(lambda: stream._is_waiting, 5)
    started_s = time.monotonic()
    stream.close()
    assert time.monotonic() - started_s < 0.5
    reader.join(0.5)
    assert not reader.is_alive()
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
    stream: BackpackStream, server: StreamServer
) -> None:
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
    wait_until(lambda: stream._lock.locked() and _is_stuck(stream), 20)
    started_s = time.monotonic()
    stream.close()
    assert time.monotonic() - started_s < 0.5
    assert failed.wait(1)
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
    for _ in range(3):
        assert "account." in server.next()["params"][0]
    stream.watch(["SOL_USDC"])
    assert server.next() == {"method": "SUBSCRIBE", "params": ["depth.SOL_USDC", "ticker.SOL_USDC"]}
    server.send(ticker(1))
    assert receive_until(stream, 1) == [pulse(1)]


def test_a_stream_that_is_not_open_says_so(server: StreamServer, new_stream: OpenStream) -> None:
    stream = new_stream(server.url)
    assert stream.last_heard_s == 0.0
    with pytest.raises(StreamClosed, match="it was not opened"):
        stream.receive(1)


@pytest.mark.parametrize("path", ["/forbidden", "/elsewhere", "/nothing-here"])
def test_an_answer_that_is_no_stream_is_no_connection(
    path: str, server: StreamServer, new_stream: OpenStream
) -> None:
    with pytest.raises(StreamClosed, match="no stream from"):
        new_stream(server.url.removesuffix("/ws") + path).open()
    # Nor is anybody else asked: not where a redirect leads.
    assert not server.connected.is_set()


def test_no_listener_and_a_silent_one_are_no_connection(
    closed_port_url: str, new_stream: OpenStream, rude_server: Any, rude: Any
) -> None:
    with pytest.raises(StreamClosed):
        new_stream(stream_url(closed_port_url)).open()
    silent = rude_server()
    silent._behaviours = iter([rude.hang(silent.released)])
    started_s = time.monotonic()
    with pytest.raises(StreamClosed):
        new_stream(stream_url(silent.url), connect_timeout_s=0.2).open()
    assert time.monotonic() - started_s < 2


def test_proxies_of_the_environment_are_not_asked(
    server: StreamServer, new_stream: OpenStream, monkeypatch: pytest.MonkeyPatch, closed_port_url: str
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, closed_port_url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    new_stream(server.url).open()
    assert server.next()["method"] == "SUBSCRIBE"


def test_a_clock_that_is_not_known_stops_the_opening(server: StreamServer, credentials: Credentials) -> None:
    def unknown() -> int:
        raise Unavailable("no clock")

    with pytest.raises(Unavailable):
        BackpackStream(server.url, credentials, unknown).open()
    assert server.next("closed") == 1000


def test_a_key_that_cannot_sign_is_told_before_anything_is_sent(credentials: Credentials) -> None:
    wrong = Credentials(api_key=credentials.api_key, secret_key="AAAA")
    with pytest.raises(AuthenticationFailed):
        BackpackStream("ws://127.0.0.1:1/ws", wrong, lambda: SIGNED_AT_MS)


def test_neither_key_nor_signature_is_logged(
    server: StreamServer,
    new_stream: OpenStream,
    credentials: Credentials,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.DEBUG):
        stream = new_stream(server.url)
        stream.open()
        signature = server.next()["signature"][1]
        server.send({"id": None, "error": {"code": 4002, "message": "Parse error"}})
        receive_until(stream, 1)
        stream.close()
    assert signature not in caplog.text
    assert credentials.secret_key not in caplog.text


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a file with a key and a certificate for 127.0.0.1 that no authority has signed."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    start = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=36_500))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "certificate.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return path


@pytest.fixture
def tls_server(certificate: Path) -> Iterator[StreamServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = StreamServer(context)
    yield server
    server.stop()


def test_a_certificate_that_no_authority_signed_is_refused(
    tls_server: StreamServer, new_stream: OpenStream
) -> None:
    with pytest.raises(StreamClosed, match="certificate"):
        new_stream(tls_server.url).open()


def test_over_tls_nothing_is_left_lying_in_its_buffer(
    tls_server: StreamServer,
    new_stream: OpenStream,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(connection, "tls_context", lambda: trusting)
    stream = new_stream(tls_server.url)
    stream.open()
    tls_server.next()
    big = ticker(0)
    big["data"] = {**ticker(0)["data"], "padding": "x" * 100_000}  # type: ignore[dict-item]
    tls_server.send(big, ticker(1), ticker(2))
    assert receive_until(stream, 3) == [pulse(0), pulse(1), pulse(2)]
    assert stream.receive(0.05) == ()
    stream.close()
    assert tls_server.next("closed") == 1000


def test_the_mark_price_comes_along(stream: BackpackStream, server: StreamServer) -> None:
    data = {"e": "markPrice", "E": 2000, "T": 1000, "s": "SOL_USDC_PERP", "p": "84.2"}
    server.send({"stream": "markPrice.SOL_USDC_PERP", "data": data})
    expected = Pulse(symbol="SOL_USDC_PERP", at_ms=1, mark_price=Decimal("84.2"))
    assert receive_until(stream, 1) == [expected]
