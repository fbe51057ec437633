"""Whatever comes back over a socket: an answer, or an error that says what is known to have happened."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchanges.backpack import answers
from exchanges.backpack.client import BackpackClient, Request
from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.budget import RequestKind, UnlimitedBudget
from exchanges.errors import ExchangeError, OutcomeUnknown, RateLimited, Refused
from runner.config_credentials import DEMO_API_KEY, DEMO_SECRET_KEY
from tests.fuzz.fuzzing import SLOW, fuzz

HEADERS = (
    *(
        "Content-Length: 2",
        "Content-Length: -1",
        "Content-Length: x",
        "Content-Length: 99",
        "Content-Length: 0",
    ),
    *(
        "Transfer-Encoding: chunked",
        "Content-Encoding: gzip",
        "Content-Encoding: br",
        "Content-Type: text/html",
    ),
    *(
        "Content-Type: application/json; charset=utf-16",
        "Retry-After: 99999999999",
        "X-Total: x",
        ": empty",
        "x",
    ),
    *(
        "Location: http://[",
        "Location: http://elsewhere.test/",
        "Location: \xff\xfe",
        "Location: ::::",
        "Location:",
    ),
    *("Set-Cookie: a=b; domain=.test", "Connection: close", " folded", "Connection: upgrade"),
)
STATUS_LINES = (
    *("HTTP/1.1 200 OK", "HTTP/1.1 202 Accepted", "HTTP/1.1 204 No Content", "HTTP/1.1 304 Not Modified"),
    *(
        "HTTP/1.1 301 Moved",
        "HTTP/1.1 307 Again",
        "HTTP/1.1 400 Bad",
        "HTTP/1.1 404 Not Found",
        "HTTP/1.1 429 x",
    ),
    *(
        "HTTP/1.1 500 x",
        "HTTP/1.1 503 x",
        "HTTP/1.1 99 x",
        "HTTP/1.1 1000 x",
        "HTTP/1.1 100 Continue",
        "HTTP/1.1",
    ),
    *("HTTP/9.9 200 OK", "HTTP/1.0 200", "SSH-2.0-OpenSSH", "", "HTTP/1.1 -200 OK", "HTTP/1.1 200 \xff"),
)
BODIES = (
    b"",
    b"{}",
    b"[]",
    b"2\r\n{}\r\n0\r\n\r\n",
    b"zz\r\n{}",
    b"\x1f\x8b\x08garbage",
    b"<html>",
    b"\xff" * 9,
)


@dataclass
class AnyAnswer:
    """A server that sends `content` to whoever asks, and hangs up."""

    content: bytes = b""
    requests: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                request = b""
                while b"\r\n\r\n" not in request:
                    request += connection.recv(65536) or b"\r\n\r\n"
                self.requests.append(request)
                try:
                    connection.sendall(self.content)
                except OSError:
                    continue


@pytest.fixture
def server() -> Iterator[AnyAnswer]:
    made = AnyAnswer()
    yield made
    made.close()


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    head = [draw(st.sampled_from(STATUS_LINES)), *draw(st.lists(st.sampled_from(HEADERS), max_size=3))]
    ending = draw(st.sampled_from((b"\r\n\r\n", b"\r\n\r\n", b"\r\n\r\n", b"\r\n", b"\n\n", b"")))
    made = "\r\n".join(head).encode("latin-1") + ending + draw(st.sampled_from(BODIES))
    return made[: draw(st.integers(0, len(made)))] if draw(st.integers(0, 9)) == 0 else made


def ask(server: AnyAnswer, content: bytes, kind: RequestKind) -> ExchangeError | None:
    """Send a request that is answered with `content`; return the error that came of it."""
    server.content = content
    server.requests.clear()
    config = BackpackConfig(base_url=server.url, read_timeout_s=0.3)
    credentials = Credentials(api_key=DEMO_API_KEY, secret_key=DEMO_SECRET_KEY)
    client = BackpackClient(config, credentials, UnlimitedBudget())
    method = "GET" if kind is RequestKind.READ else "POST"
    try:
        answer = answers.ask(
            client, Request(method=method, path="/api/v1/order", kind=kind, payload={"symbol": "SOL_USDC"})
        )
    except ExchangeError as error:
        return error
    finally:
        client.close()
    assert answer.status in {200, 202}
    return None


@fuzz(50, divisor=SLOW)
@given(content=contents(), kind=st.sampled_from(RequestKind))
def test_a_request_ends_with_an_answer_or_an_error_of_ours(
    server: AnyAnswer, content: bytes, kind: RequestKind
) -> None:
    error = ask(server, content, kind)
    if error is not None:
        assert str(error).isprintable(), "fit to be logged"
        # A request that was sent and got no clear answer may have been carried out.
        assert kind is RequestKind.READ or isinstance(error, OutcomeUnknown | Refused | RateLimited)
    assert len(server.requests) <= (2 if kind is RequestKind.READ else 1)


@pytest.mark.parametrize("target", [b"http://[", b"\xff\xfe"])
def test_a_redirect_to_nowhere_is_an_error_of_ours(server: AnyAnswer, target: bytes) -> None:
    # ValueError, from inside the library, for an order that may have been placed.
    content = b"HTTP/1.1 301 Moved\r\nContent-Length: 0\r\nLocation: " + target + b"\r\n\r\n"
    assert isinstance(ask(server, content, RequestKind.PLACE), OutcomeUnknown)
