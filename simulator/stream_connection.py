"""One client of the streams: what it subscribed to, and what waits to be sent to it."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

#: A stream, and the account it is about; None: a public one.
Topic = tuple[str, str | None]


@dataclass(frozen=True, kw_only=True)
class StreamOptions:
    """How the streams keep their connections."""

    #: Between two protocol pings of the server.
    ping_s: float = 60.0
    #: A ping that is not answered for so long ends the connection.
    pong_timeout_s: float = 120.0
    #: Messages that may wait for one client; one more ends its connection.
    queue_messages: int = 20_000
    #: Between two messages of a ticker, a mark price or a candle.
    figures_s: float = 1.0


class Connection:
    """A queue in front of a socket: who publishes waits for nobody."""

    def __init__(self, number: int, most_waiting: int, reset: Callable[[], None]) -> None:
        self.number = number
        self.topics: dict[Topic, None] = {}
        #: Names of the accounts that signed on it.
        self.accounts: dict[str, None] = {}
        self.sent = 0
        self._most_waiting = most_waiting
        self._reset = reset
        self._waiting: deque[str] = deque()
        self._woken = asyncio.Event()
        #: Nothing is taken or sent any more.
        self.ended = False

    @property
    def waiting(self) -> int:
        """Return the number of messages not yet handed to the socket."""
        return len(self._waiting)

    def push(self, text: str) -> None:
        """Send a message as soon as the socket takes it; a client that is too far behind is cut off."""
        if self.ended:
            return
        if len(self._waiting) >= self._most_waiting:
            self.reset()
            return
        self._waiting.append(text)
        self._woken.set()

    def reset(self) -> None:
        """End the connection at once, without a close frame."""
        self.end()
        self._reset()

    def end(self) -> None:
        """Take and send nothing any more."""
        self.ended = True
        self._waiting.clear()

    async def send_to(self, socket: web.WebSocketResponse) -> None:
        """Send what is pushed until the connection is gone."""
        try:
            while not self.ended:
                await self._woken.wait()
                self._woken.clear()
                while self._waiting:
                    await socket.send_str(self._waiting.popleft())
                    self.sent += 1
        except ConnectionError:
            self.end()
