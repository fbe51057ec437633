"""What is known when a connection fails, by whether the request can have left; on real sockets."""

from __future__ import annotations

import logging
import re
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
import responses

from exchanges.backpack.exchange import BackpackExchange
from exchanges.base import Authorization
from exchanges.budget import RequestKind
from exchanges.errors import ExchangeError, OutcomeUnknown, RateLimited, Unavailable
from market.orders import CancelOutcome, NewOrder
from tests.support import wait_until

OpenBackpack = Callable[..., BackpackExchange]
#: Names of `Rude`'s behaviours that lose a request after it was sent.
LOST = ["close", "reset", "cut_short", "not_http"]


@pytest.mark.parametrize("behaviour", LOST)
def test_a_write_whose_connection_breaks_is_unknown_and_not_sent_again(
    behaviour: str,
    rude_server: Any,
    rude: Any,
    open_backpack: OpenBackpack,
    authorization: Authorization,
    new_order: Callable[..., NewOrder],
) -> None:
    server = rude_server(getattr(rude, behaviour), getattr(rude, behaviour))
    exchange = open_backpack(server.url)
    (result,) = exchange.place([new_order(7)], authorization)
    assert type(result.error) is OutcomeUnknown
    with pytest.raises(OutcomeUnknown):
        exchange.cancel("SOL_USDC", "42")
    assert [r.split(b" ")[0] for r in server.requests] == [b"POST", b"DELETE"]


@pytest.mark.parametrize("behaviour", ["close", "reset", "cut_short"])
def test_a_read_whose_connection_breaks_is_sent_once_more_on_a_new_connection(
    behaviour: str, rude_server: Any, rude: Any, open_backpack: OpenBackpack
) -> None:
    server = rude_server(getattr(rude, behaviour), rude.answer(b"[]"))
    assert open_backpack(server.url).open_orders("SOL_USDC") == ()
    assert (len(server.requests), server.connections) == (2, 2)


def test_the_second_try_of_a_read_takes_no_connection_from_the_pool(
    rude_server: Any, rude: Any, open_backpack: OpenBackpack
) -> None:
    both_are_here = threading.Barrier(2)

    def answer_both_at_once(connection: socket.socket) -> bool:
        both_are_here.wait(10)
        return bool(rude.answer(b"[]")(connection))

    server = rude_server(answer_both_at_once, answer_both_at_once, rude.close, rude.answer(b"[]"))
    exchange = open_backpack(server.url)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(exchange.open_orders, ["SOL_USDC", "SOL_USDC"]))
    assert server.connections == 2
    assert exchange.open_orders("SOL_USDC") == ()
    assert server.connections == 3


def test_a_read_that_hangs_in_its_body_is_not_tried_again(
    rude_server: Any, rude: Any, open_backpack: OpenBackpack
) -> None:
    released = threading.Event()

    def begin_and_hang(connection: socket.socket) -> bool:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n[")
        released.wait(10)
        return False

    server = rude_server(begin_and_hang, rude.answer(b"[]"))
    with pytest.raises(Unavailable):
        open_backpack(server.url, read_timeout_s=0.1).open_orders("SOL_USDC")
    # The server may be slower than that.
    wait_until(lambda: len(server.requests) == 1)
    assert server.connections == 1
    released.set()


@pytest.mark.parametrize("behaviour", LOST)
def test_a_read_that_breaks_twice_is_unavailable(
    behaviour: str, rude_server: Any, rude: Any, open_backpack: OpenBackpack
) -> None:
    lose = getattr(rude, behaviour)
    server = rude_server(lose, lose, rude.answer(b"[]"))
    with pytest.raises(Unavailable):
        open_backpack(server.url).open_orders("SOL_USDC")
    assert len(server.requests) == 2


def test_a_kept_alive_connection_that_dies_under_a_write_leaves_it_unknown(
    rude_server: Any, rude: Any, open_backpack: OpenBackpack
) -> None:
    server = rude_server(rude.answer(b"[]"), rude.close)
    exchange = open_backpack(server.url)
    exchange.open_orders("SOL_USDC")
    with pytest.raises(OutcomeUnknown):
        exchange.cancel("SOL_USDC", "42")
    assert server.connections == 1


def test_a_write_that_hangs_is_unknown_after_the_read_timeout(
    rude_server: Any,
    rude: Any,
    open_backpack: OpenBackpack,
    authorization: Authorization,
    new_order: Callable[..., NewOrder],
) -> None:
    released = threading.Event()
    server = rude_server(rude.hang(released), rude.hang(released), rude.hang(released))
    exchange = open_backpack(server.url, read_timeout_s=0.1)
    (result,) = exchange.place([new_order(7)], authorization)
    assert type(result.error) is OutcomeUnknown
    assert "timed out" in str(result.error)
    with pytest.raises(OutcomeUnknown):
        exchange.cancel("SOL_USDC", "42")
    # A read that times out is not tried again either: it would double the time that the caller waits.
    with pytest.raises(Unavailable, match="timed out"):
        exchange.open_orders("SOL_USDC")
    wait_until(lambda: len(server.requests) == 3)
    assert server.connections == 3
    released.set()


def everything_raises(
    exchange: BackpackExchange, authorization: Authorization, order: NewOrder
) -> list[type]:
    (result,) = exchange.place([order], authorization)
    seen: list[type] = [type(result.error)]
    for call in (
        lambda: exchange.cancel("SOL_USDC", "42"),
        lambda: exchange.cancel_all("SOL_USDC"),
        lambda: exchange.open_orders("SOL_USDC"),
    ):
        with pytest.raises(ExchangeError) as caught:
            call()
        seen.append(caught.type)
    return seen


def test_a_refused_connection_means_that_nothing_happened(
    closed_port_url: str,
    open_backpack: OpenBackpack,
    authorization: Authorization,
    new_order: Callable[..., NewOrder],
) -> None:
    exchange = open_backpack(closed_port_url)
    assert everything_raises(exchange, authorization, new_order(7)) == [Unavailable] * 4


def test_a_name_that_does_not_resolve_means_that_nothing_happened(
    open_backpack: OpenBackpack,
    authorization: Authorization,
    new_order: Callable[..., NewOrder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unknown_name(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown_name)
    for host in ("backpack.invalid", "a" * 70 + ".invalid"):  # the second is no possible name at all
        exchange = open_backpack(f"http://{host}")
        assert everything_raises(exchange, authorization, new_order(7)) == [Unavailable] * 4


def test_a_connection_that_does_not_open_in_time_means_that_nothing_happened(
    open_backpack: OpenBackpack,
    authorization: Authorization,
    new_order: Callable[..., NewOrder],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def slow(*args: object, **kwargs: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.setattr("urllib3.util.connection.create_connection", slow)
    exchange = open_backpack("http://127.0.0.1:9")
    assert everything_raises(exchange, authorization, new_order(7)) == [Unavailable] * 4


def test_an_older_error_that_is_being_handled_does_not_colour_a_new_one(
    closed_port_url: str, rude_server: Any, rude: Any, open_backpack: OpenBackpack
) -> None:
    refused, reset = open_backpack(closed_port_url), open_backpack(rude_server(rude.reset).url)
    try:
        refused.cancel("SOL_USDC", "42")
    except Unavailable:
        with pytest.raises(OutcomeUnknown):
            reset.cancel("SOL_USDC", "42")


class CountingBudget:
    def __init__(self, reads: int = 99) -> None:
        self.taken: list[RequestKind] = []
        self.reads = reads

    def take(self, kind: RequestKind, count: int = 1) -> None:
        assert count == 1
        self.taken.append(kind)
        if self.taken.count(RequestKind.READ) > self.reads:
            raise RateLimited("used up", retry_after_s=3)


def test_every_http_request_takes_from_the_budget_the_second_try_of_a_read_too(
    rude_server: Any, rude: Any, open_backpack: OpenBackpack
) -> None:
    budget = CountingBudget()
    server = rude_server(rude.close, rude.answer(b"[]"), rude.answer(b"", "202 Accepted"))
    exchange = open_backpack(server.url, budget=budget)
    exchange.open_orders("SOL_USDC")
    exchange.cancel("SOL_USDC", "42")
    assert budget.taken == [RequestKind.READ, RequestKind.READ, RequestKind.CANCEL]
    with pytest.raises(RateLimited):
        open_backpack(server.url, budget=CountingBudget(reads=0)).open_orders("SOL_USDC")
    assert len(server.requests) == 3


def test_the_proxy_of_the_environment_is_not_used(
    rude_server: Any, rude: Any, open_backpack: OpenBackpack, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = rude_server(rude.answer(b"[]"))
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "")
    server = rude_server(rude.answer(b"[]"))
    open_backpack(server.url).open_orders("SOL_USDC")
    assert (len(proxy.requests), len(server.requests)) == (0, 1)


class EchoHandler(BaseHTTPRequestHandler):
    """Answers a cancel with 202 for odd order ids and "not found" for even ones."""

    protocol_version = "HTTP/1.1"
    ports: ClassVar[set[int]]

    def do_DELETE(self) -> None:
        self.ports.add(self.client_address[1])
        body = self.rfile.read(int(self.headers["Content-Length"]))
        found = re.search(rb'"orderId": "(\d+)"', body)
        odd = found is not None and int(found[1]) % 2 == 1
        answer = b"" if odd else b'{"code":"RESOURCE_NOT_FOUND","message":"Not Found"}'
        self.send_response(202 if odd else 404)
        self.send_header("Set-Cookie", "session=1")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_threads_share_one_exchange_each_gets_its_own_answer_over_few_connections(
    open_backpack: OpenBackpack,
) -> None:
    class Handler(EchoHandler):
        ports: ClassVar[set[int]] = set()

    class Server(ThreadingHTTPServer):
        # Room for all that connect at once: the kernel would let the sixth try again after a second.
        request_queue_size = 64

    with Server(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        exchange = open_backpack(f"http://127.0.0.1:{server.server_port}")
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda n: exchange.cancel("SOL_USDC", str(n)), range(400)))
        cookies = list(exchange._client._session.cookies)
        exchange.close()
        server.shutdown()
    assert [answer.outcome for answer in answers] == [
        CancelOutcome.ALREADY_GONE,
        CancelOutcome.ACCEPTED,
    ] * 200
    assert len(Handler.ports) <= 8
    assert cookies == []


def test_no_secret_is_in_any_log_line_error_or_repr(
    rude_server: Any,
    rude: Any,
    open_backpack: OpenBackpack,
    closed_port_url: str,
    credentials: Any,
    authorization: Authorization,
    new_order: Callable[..., NewOrder],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    texts = [repr(credentials), str(credentials), f"{credentials}"]
    server = rude_server(rude.answer(b"[]"), rude.answer(b"no", "400 Bad Request"), rude.reset, rude.close)
    exchange = open_backpack(server.url)
    exchange.open_orders("SOL_USDC")
    texts += [repr(exchange), repr(vars(exchange)), repr(vars(exchange._client))]
    for venue in (exchange, exchange, exchange, open_backpack(closed_port_url)):
        (result,) = venue.place([new_order(7)], authorization)
        error: BaseException | None = result.error
        while error is not None:
            texts += [repr(error), str(error)]
            error = error.__cause__
    texts += [record.getMessage() for record in caplog.records]
    everything = "\n".join(texts)
    assert "api/v1/order" in everything
    assert credentials.secret_key not in everything
    assert credentials.secret_key[:12] not in everything
    assert credentials.api_key not in repr(credentials)
    assert repr(credentials).startswith("Credentials(api_key='iojj…'")


def test_a_clock_that_said_too_early_is_measured_again_after_an_expired_request(
    open_backpack: OpenBackpack,
) -> None:
    exchange = open_backpack()
    with responses.RequestsMock() as network:
        url = "http://backpack.test/api/v1/orders"
        network.get(
            url, status=400, json={"code": "INVALID_CLIENT_REQUEST", "message": "Request has expired"}
        )
        exchange.clock.now_ms()
        with pytest.raises(ExchangeError):
            exchange.open_orders("SOL_USDC")
    assert exchange.clock._stale
