"""How a stream is opened, over TLS too, and what stands in its way."""

from __future__ import annotations

import datetime
import ipaddress
import logging
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from exchanges.backpack import connection
from exchanges.backpack.config import Credentials, stream_url
from exchanges.backpack.stream import BackpackStream
from exchanges.errors import AuthenticationFailed, StreamClosed, Unavailable
from tests.unit.exchanges.stream_server import (
    StreamServer,
    pulse,
    receive_until,
    ticker,
)

SIGNED_AT_MS = 1_750_793_021_519

OpenStream = Callable[..., BackpackStream]


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
    # Before that one ends the connection itself.
    assert time.monotonic() - started_s < 8


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
