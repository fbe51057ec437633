"""Backpack's WebSocket as a `Stream`: one connection for the public streams and the account's orders."""

from __future__ import annotations

import json
import logging
import select
import threading
import time
from collections.abc import Callable, Collection, Sequence

import websocket

from exchanges.backpack import events, signing
from exchanges.backpack.config import Credentials
from exchanges.backpack.connection import CONNECTION_ERRORS, Connection, NothingToRead, wait_for
from exchanges.backpack.rows import UnreadableAnswer, excerpt
from exchanges.errors import ExchangeError, StreamClosed
from exchanges.stream import StreamEvent

logger = logging.getLogger(__name__)

ORDER_STREAM = "account.orderUpdate"
#: Streams named in one message; over 90 are known to work.
STREAMS_PER_MESSAGE = 50
#: Messages that one `receive` takes at most.
MAX_MESSAGES = 500
#: How long `close` lets the thread that reads finish what it does.
CLOSE_PATIENCE_S = 0.3
CLOSED = "it was closed"
#: How perpetuals end; only those have a mark price.
PERP_SUFFIX = "_PERP"


class BackpackStream:
    """The streams of one account. `exchanges.stream.Stream` says what each method means."""

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        signing_time_ms: Callable[[], int],
        *,
        window_ms: int = 5_000,
        connect_timeout_s: float = 3.0,
    ) -> None:
        """Nothing is sent yet. `signing_time_ms` returns the exchange's time.

        Raises:
            AuthenticationFailed: the credentials are no key pair.
        """
        self._url = url
        self._api_key = credentials.api_key
        self._key = signing.load_private_key(credentials)
        self._signing_time_ms = signing_time_ms
        self._window_ms = window_ms
        self._connect_timeout_s = connect_timeout_s
        #: Held while the connection is used, never while waiting: two threads at once break a TLS socket.
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        #: Why the connection ended. What had come before the end is handed over first.
        self._ended = "it was not opened"
        self._is_closed = False
        #: Somebody waits for the socket without the lock, so its number must not be given to another file.
        self._is_waiting = False
        self._watched: frozenset[str] = frozenset()
        self._last_heard_s = 0.0
        self._unreadable_messages = 0

    def open(self) -> None:
        """Connect and subscribe to the account's orders; give up the connection that there was."""
        with self._lock:
            self._end("it is opened anew")
            if self._is_closed:
                raise StreamClosed(f"the stream has no connection: {CLOSED}")
        connection = Connection()
        try:
            connection.open(self._url, self._connect_timeout_s)
            # Signed now: connecting may take longer than a signature lasts.
            signature = self._signature()
        except CONNECTION_ERRORS as error:
            connection.end()
            raise StreamClosed(f"no stream from {self._url}: {_words(error)}") from error
        except ExchangeError:
            connection.end()
            raise
        with self._lock:
            self._connection, self._ended, self._watched = connection, "", frozenset()
            self._send("SUBSCRIBE", [ORDER_STREAM], signature)

    def watch(self, symbols: Collection[str]) -> None:
        """Subscribe to what is new among the streams of `symbols`, unsubscribe from what is gone."""
        wanted = frozenset(stream for symbol in symbols for stream in _public_streams(symbol))
        with self._lock:
            self._send("UNSUBSCRIBE", sorted(self._watched - wanted))
            self._send("SUBSCRIBE", sorted(wanted - self._watched))
            self._watched = wanted

    def receive(self, timeout_s: float) -> tuple[StreamEvent, ...]:
        """Return the next events, those of `MAX_MESSAGES` messages at most; pings are answered on the way."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            with self._lock:
                connection = self._open_connection()
                found, is_drained = self._read(connection)
                left_s = deadline_s - time.monotonic()
                if found or left_s <= 0:
                    return tuple(found)
                waiting_on = connection.sock
                self._is_waiting = is_drained and waiting_on is not None
            if self._is_waiting and waiting_on is not None:
                try:
                    wait_for(waiting_on, select.POLLIN, left_s)
                finally:
                    self._is_waiting = False

    def ping(self) -> None:
        """Send a ping; the exchange answers with a pong."""
        with self._lock:
            connection = self._open_connection()
            try:
                connection.ping()
            except CONNECTION_ERRORS as error:
                raise self._lost(error) from error

    @property
    def last_heard_s(self) -> float:
        """Return when the last frame came, or the connection was opened, by `time.monotonic`."""
        connection = self._connection
        return connection.last_heard_s if connection else self._last_heard_s

    @property
    def unreadable_messages(self) -> int:
        """Return how many messages were not what the protocol says."""
        return self._unreadable_messages

    def close(self) -> None:
        """End the connection for good; waits `CLOSE_PATIENCE_S` at most for what is just being sent."""
        self._is_closed = True
        if not self._lock.acquire(timeout=CLOSE_PATIENCE_S):
            connection = self._connection
            if connection is not None:
                connection.abort()
            return
        try:
            self._end(CLOSED)
        finally:
            self._lock.release()

    def _signature(self) -> list[str]:
        return signing.subscription_signature(
            self._api_key, self._key, timestamp_ms=self._signing_time_ms(), window_ms=self._window_ms
        )

    def _send(self, method: str, streams: Sequence[str], signature: list[str] | None = None) -> None:
        for start in range(0, len(streams), STREAMS_PER_MESSAGE):
            message: dict[str, object] = {
                "method": method,
                "params": list(streams[start : start + STREAMS_PER_MESSAGE]),
            }
            if signature is not None:
                message["signature"] = signature
            connection = self._open_connection()
            try:
                connection.send_text(json.dumps(message))
            except CONNECTION_ERRORS as error:
                raise self._lost(error) from error

    def _read(self, connection: Connection) -> tuple[list[StreamEvent], bool]:
        """Return the events of the messages that are there, and whether there are no more."""
        found: list[StreamEvent] = []
        try:
            for _ in range(MAX_MESSAGES):
                opcode, frame = connection.recv_data_frame(control_frame=True)
                if opcode == websocket.ABNF.OPCODE_CLOSE:
                    self._end(f"the exchange said goodbye: {excerpt(frame.data[2:])}")
                    return found, True
                if opcode in {websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY}:
                    event = self._event(bytes(frame.data))
                    found += [] if event is None else [event]
        except NothingToRead:
            return found, True
        except CONNECTION_ERRORS as error:
            self._end(_words(error))
        return found, self._connection is None

    def _event(self, message: bytes) -> StreamEvent | None:
        try:
            return events.event(message)
        except UnreadableAnswer as error:
            self._unreadable_messages += 1
            # Every power of two: a format that has changed must not fill the disk.
            if self._unreadable_messages.bit_count() == 1:
                logger.warning(
                    "unreadable message from the stream, %d so far: %s", self._unreadable_messages, error
                )
            return None

    def _open_connection(self) -> Connection:
        if self._is_closed:
            self._end(CLOSED)
            raise StreamClosed(f"the stream has no connection: {CLOSED}")
        if self._connection is None:
            raise StreamClosed(f"the stream has no connection: {self._ended}")
        return self._connection

    def _lost(self, error: Exception) -> StreamClosed:
        self._end(_words(error))
        return StreamClosed(f"the stream lost its connection: {self._ended}")

    def _end(self, why: str) -> None:
        connection = self._connection
        if connection is None:
            return
        self._last_heard_s, self._ended = connection.last_heard_s, why
        if self._is_waiting:
            # Wakes the one who waits, who ends it then.
            connection.say_goodbye()
            return
        self._connection = None
        connection.end()


def _public_streams(symbol: str) -> list[str]:
    kinds = ["depth", "ticker", *(["markPrice"] if symbol.endswith(PERP_SUFFIX) else [])]
    return [f"{kind}.{symbol}" for kind in kinds]


def _words(error: Exception) -> str:
    # Not all of it: the text of a refused handshake has all headers and the whole body.
    return f"{type(error).__name__}: {excerpt(str(error).encode())}"
