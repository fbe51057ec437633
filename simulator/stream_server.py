"""The WebSocket side: frames of clients, pings both ways, and the ends of connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from typing import Any

from aiohttp import WSCloseCode, WSMsgType, web

from simulator.accounts import Account
from simulator.checks import check_time
from simulator.errors import Refusal
from simulator.exchange import EXCHANGE, Exchange
from simulator.sockets import reset
from simulator.stream_connection import Connection
from simulator.stream_names import StreamError, parse

routes = web.RouteTableDef()

#: Largest frame of a client, bytes.
LARGEST_FRAME = 1 << 20
#: A client has so long to answer a close frame.
CLOSE_TIMEOUT_S = 0.3
#: The first ping of a connection comes after this part of the usual time.
FIRST_PING = 0.5
#: What the real exchange answers to a bad private signature is unknown; this is our assumption.
BAD_SIGNATURE = 4004

#: The sockets of the connections, by their numbers.
SOCKETS: web.AppKey[dict[int, web.WebSocketResponse]] = web.AppKey("sockets", dict)


@routes.get("/")
@routes.get("/ws")
async def stream(request: web.Request) -> web.StreamResponse:
    """Serve one connection until it ends."""
    socket = web.WebSocketResponse(
        autoping=False, max_msg_size=LARGEST_FRAME, timeout=CLOSE_TIMEOUT_S, compress=True
    )
    if not socket.can_prepare(request):
        raise web.HTTPNotFound
    try:
        await socket.prepare(request)
    except ConnectionError:
        # It left, or a fault let it go, before it was answered.
        return web.Response(status=500)
    exchange = request.app[EXCHANGE]
    transport = request.transport
    connection = exchange.streams.open(lambda: reset(transport))
    request.app[SOCKETS][connection.number] = socket
    keeper = _KeepAlive(exchange, connection, socket, transport)
    tasks = (
        asyncio.create_task(connection.send_to(socket)),
        asyncio.create_task(keeper.run()),
    )
    try:
        # The client may leave while it is answered.
        with suppress(ConnectionError):
            await _listen(exchange, connection, socket, keeper)
    finally:
        exchange.streams.close(connection)
        del request.app[SOCKETS][connection.number]
        keeper.stop()
        for task in tasks:
            task.cancel()
    return socket


async def _listen(
    exchange: Exchange, connection: Connection, socket: web.WebSocketResponse, keeper: _KeepAlive
) -> None:
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            _frame(exchange, connection, message.data)
        elif message.type is WSMsgType.PING:
            if exchange.streams.faults.answers_ping(connection):
                await socket.pong(message.data)
        elif message.type is WSMsgType.PONG:
            keeper.answered()
        elif message.type is WSMsgType.BINARY:
            connection.push(_error(StreamError(4002, "Parse error")))


def _frame(exchange: Exchange, connection: Connection, text: str) -> None:
    try:
        method, names, signature = _parsed(text)
    except StreamError as error:
        connection.push(_error(error))
        return
    for name in names:
        try:
            named = parse(name)
            if method == "UNSUBSCRIBE":
                exchange.streams.unsubscribe(connection, named)
            else:
                account = _signer(exchange, signature) if named.private else None
                exchange.streams.subscribe(connection, named, account)
        except StreamError as error:
            connection.push(_error(error))


def _parsed(text: str) -> tuple[str, list[str], Any]:
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        raise StreamError(4002, "Parse error") from None
    if not isinstance(frame, dict) or frame.get("method") not in {"SUBSCRIBE", "UNSUBSCRIBE"}:
        raise StreamError(4002, "Parse error")
    names = frame.get("params")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise StreamError(4002, "Parse error")
    return frame["method"], names, frame.get("signature")


def _signer(exchange: Exchange, signature: Any) -> Account:
    if not isinstance(signature, list) or len(signature) != 4:
        raise StreamError(BAD_SIGNATURE, "Invalid signature")
    if not all(isinstance(part, str) for part in signature):
        raise StreamError(BAD_SIGNATURE, "Invalid signature")
    names = ("X-API-Key", "X-Signature", "X-Timestamp", "X-Window")
    headers: Mapping[str, str] = dict(zip(names, signature, strict=True))
    try:
        signed = exchange.keys.verify(headers, "subscribe", {})
        check_time(signed.at_ms, signed.window_ms, exchange.now_ms())
    except Refusal as refusal:
        raise StreamError(BAD_SIGNATURE, refusal.message) from None
    return signed.account


def _error(error: StreamError) -> str:
    return json.dumps({"id": None, "error": {"code": error.code, "message": error.message}})


class _KeepAlive:
    """The server's pings of one connection."""

    def __init__(
        self,
        exchange: Exchange,
        connection: Connection,
        socket: web.WebSocketResponse,
        transport: asyncio.BaseTransport | None,
    ) -> None:
        self._options = exchange.streams.options
        self._connection = connection
        self._socket = socket
        self._transport = transport
        self._deadline: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Ping until the connection ends; one without any subscription is closed instead."""
        wait_s = self._options.ping_s * FIRST_PING
        with suppress(ConnectionError):
            while True:
                await asyncio.sleep(wait_s)
                wait_s = self._options.ping_s
                if not self._connection.topics:
                    # Seen on the real exchange as well: no close frame.
                    self._drop()
                    return
                if self._deadline is None:
                    self._deadline = asyncio.get_running_loop().call_later(
                        self._options.pong_timeout_s, self._connection.reset
                    )
                await self._socket.ping()

    def answered(self) -> None:
        """Take note of a pong."""
        self.stop()

    def stop(self) -> None:
        """Expect no pong any more."""
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _drop(self) -> None:
        self._connection.end()
        if self._transport is not None:
            self._transport.close()


async def end(app: web.Application, connection: Connection, *, abruptly: bool, code: WSCloseCode) -> None:
    """End a connection from this side."""
    socket = app[SOCKETS].get(connection.number)
    if socket is None or abruptly:
        connection.reset()
        return
    connection.end()
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S * 1.5):
            await socket.close(code=code)
    except TimeoutError:
        # It does not even take the close frame.
        connection.reset()


async def close_all(app: web.Application) -> None:
    """Say goodbye to everybody, for the end of the process."""
    connections = app[EXCHANGE].streams.of_account(None)
    await asyncio.gather(
        *(end(app, connection, abruptly=False, code=WSCloseCode.GOING_AWAY) for connection in connections)
    )


async def telling_figures(app: web.Application) -> AsyncIterator[None]:
    """Tell tickers, mark prices and candles by the clock while the application runs."""
    app[SOCKETS] = {}
    streams = app[EXCHANGE].streams

    async def tell() -> None:
        while True:
            await asyncio.sleep(streams.options.figures_s)
            streams.tell_figures()

    task = asyncio.create_task(tell())
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
