"""A WebSocket server on loopback, in a thread, that does what a test tells it to."""

from __future__ import annotations

import asyncio
import json
import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from aiohttp import WSMsgType, web

from exchanges.errors import StreamClosed
from exchanges.stream import Pulse, Stream, StreamEvent

TEXT, CONTINUATION, CLOSE, PING = 0x1, 0x0, 0x8, 0x9
#: Only a test that fails waits so long.
WAIT_S = 30.0


class StreamServer:
    """Takes one connection after the other; what it hears is in `heard`, as (type, content)."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        self.connected = threading.Event()
        self.headers: dict[str, str] = {}
        self._tls = tls
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._started = threading.Event()
        self._transport: asyncio.WriteTransport | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._started.wait(WAIT_S)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def send(self, *messages: object) -> None:
        """Send messages, all in one write."""
        self.raw(b"".join(frame(json.dumps(message).encode()) for message in messages))

    def raw(self, data: bytes) -> None:
        self._do(lambda: self._live.write(data))

    def hang_up(self) -> None:
        """Close the connection without a close frame."""
        self._do(lambda: self._live.close())

    def reset(self) -> None:
        """Break the connection: the other side gets a reset."""

        def act() -> None:
            peer: socket.socket = self._live.get_extra_info("socket")
            # Lingering for zero seconds makes the end of the socket a RST instead of a FIN.
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._live.abort()

        self._do(act)

    def stop_reading(self) -> None:
        def act() -> None:
            transport = self._live
            assert isinstance(transport, asyncio.Transport)
            transport.pause_reading()

        self._do(act)

    def next(self, kind: str = "text") -> Any:
        """Return the next thing of this kind that was heard; what came before it is dropped."""
        while True:
            found, content = self.heard.get(timeout=WAIT_S)
            if found == kind:
                return json.loads(content) if kind == "text" else content

    @property
    def _live(self) -> asyncio.WriteTransport:
        assert self._transport is not None
        return self._transport

    def _do(self, act: Callable[[], None]) -> None:
        done = threading.Event()

        def run() -> None:
            act()
            done.set()

        self._loop.call_soon_threadsafe(run)
        assert done.wait(WAIT_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        app = web.Application()
        app.router.add_get("/ws", self._handle)
        app.router.add_get("/forbidden", self._forbid)
        app.router.add_get("/elsewhere", self._redirect)
        runner = web.AppRunner(app, shutdown_timeout=0.2)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._tls)
        await site.start()
        port = runner.addresses[0][1]
        self.url = f"{'wss' if self._tls else 'ws'}://127.0.0.1:{port}/ws"
        self._started.set()
        await self._stopping.wait()
        await runner.cleanup()

    async def _forbid(self, request: web.Request) -> web.Response:
        return web.Response(status=403, text="not you")

    async def _redirect(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(self.url)

    async def _handle(self, request: web.Request) -> web.WebSocketResponse:
        self.connected.set()
        answer = web.WebSocketResponse(autoping=False)
        await answer.prepare(request)
        self.headers = dict(request.headers)
        assert isinstance(request.transport, asyncio.WriteTransport)
        self._transport = request.transport
        async for message in answer:
            if message.type is WSMsgType.PING:
                await answer.pong(message.data)
            self.heard.put((message.type.name.lower(), message.data))
        self.heard.put(("closed", answer.close_code))
        return answer


def frame(payload: bytes, opcode: int = TEXT, *, is_last: bool = True) -> bytes:
    """Return a frame as servers send it, without a mask."""
    head = bytes([(0x80 if is_last else 0) | opcode])
    size = len(payload)
    if size < 126:
        return head + bytes([size]) + payload
    if size < 65_536:
        return head + bytes([126]) + struct.pack("!H", size) + payload
    return head + bytes([127]) + struct.pack("!Q", size) + payload


def ticker(number: int) -> dict[str, object]:
    data = {"e": "ticker", "E": number * 1000, "s": "SOL_USDC", "c": "100.5"}
    return {"stream": "ticker.SOL_USDC", "data": data}


def pulse(number: int) -> Pulse:
    return Pulse(symbol="SOL_USDC", at_ms=number)


def receive_until(stream: Stream, count: int) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    deadline_s = time.monotonic() + WAIT_S
    while len(found) < count:
        assert time.monotonic() < deadline_s, found
        found += stream.receive(0.2)
    return found


def receive_to_the_end(stream: Stream) -> list[StreamEvent]:
    found: list[StreamEvent] = []
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        try:
            found += stream.receive(0.2)
        except StreamClosed:
            return found
    raise AssertionError("the stream did not end")
