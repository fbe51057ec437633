"""A WebSocket connection that is read without waiting, over `websocket-client`."""

from __future__ import annotations

import logging
import math
import select
import socket
import ssl
import time
from urllib.parse import urlsplit

import websocket
from requests.utils import DEFAULT_CA_BUNDLE_PATH

logger = logging.getLogger(__name__)

#: The longest message that is taken: the exchange's are some kilobytes.
MAX_MESSAGE_BYTES = 4 * 1024 * 1024
#: What is read from the socket at once.
CHUNK_BYTES = 65_536
#: How long a message of ours may find no room in the socket's buffer.
SEND_TIMEOUT_S = 2.0
#: Payload of a close frame: code 1000, no reason.
GOODBYE = (1000).to_bytes(2, "big")
#: What the library, the socket and TLS raise when a connection cannot be opened or has ended. `ValueError`:
#: an answer to the handshake that is no text.
CONNECTION_ERRORS = (websocket.WebSocketException, OSError, ValueError)

#: A TLS socket that waits for its own protocol; the direction does not tell what the caller does.
_WOULD_BLOCK = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class NothingToRead(websocket.WebSocketTimeoutException):
    """Raised when no whole message has arrived; what there is of one is kept."""


class Connection(websocket.WebSocket):
    """A client connection whose reads never wait.

    The library reads a frame in three small pieces and can go on where it stopped; this gives it pieces of
    what was read from the socket in large chunks, and stops it when there is no more.
    """

    def __init__(self) -> None:
        # The JSON reader checks UTF-8 too, and does it in C.
        super().__init__(skip_utf8_validation=True, enable_multithread=False)
        self.last_heard_s = 0.0
        self._ahead = memoryview(b"")

    def open(self, url: str, timeout_s: float) -> None:
        """Connect, within `timeout_s` for each step. Raises one of `CONNECTION_ERRORS`."""
        # A socket of our own: otherwise the library would ask a proxy of the environment, and does so for
        # loopback too; nor may a redirect lead elsewhere.
        opened = _open_socket(url, timeout_s)
        try:
            self.connect(url, socket=opened, timeout=timeout_s, redirect_limit=0)  # type: ignore[no-untyped-call]
        except BaseException:
            opened.close()
            raise
        opened.setblocking(False)
        self.last_heard_s = time.monotonic()

    def recv_frame(self) -> websocket.ABNF:
        """Return the next frame. Raises `NothingToRead` when it is not wholly there."""
        frame: websocket.ABNF = super().recv_frame()  # type: ignore[no-untyped-call]
        self.last_heard_s = time.monotonic()
        return frame

    def _recv(self, bufsize: int) -> bytes:
        gathered = self.cont_frame.cont_data
        if (self.frame_buffer.length or 0) + (len(gathered[1]) if gathered else 0) > MAX_MESSAGE_BYTES:
            raise websocket.WebSocketPayloadException(f"a message of over {MAX_MESSAGE_BYTES} bytes")
        if not self._ahead:
            self._ahead = memoryview(self._read_chunk())
        piece, self._ahead = self._ahead[:bufsize], self._ahead[bufsize:]
        return bytes(piece)

    def _read_chunk(self) -> bytes:
        try:
            chunk = self._live_socket.recv(CHUNK_BYTES)
        except _WOULD_BLOCK:
            raise NothingToRead from None
        if not chunk:
            raise websocket.WebSocketConnectionClosedException("the exchange hung up")
        return chunk

    def _send(self, data: str | bytes) -> int:
        content = data.encode() if isinstance(data, str) else data
        deadline_s = time.monotonic() + SEND_TIMEOUT_S
        while True:
            try:
                return self._live_socket.send(content)
            except _WOULD_BLOCK:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0:
                    raise websocket.WebSocketTimeoutException("the exchange reads nothing") from None
                wait_for(self._live_socket, select.POLLOUT, left_s)

    @property
    def _live_socket(self) -> socket.socket:
        if self.sock is None:
            raise websocket.WebSocketConnectionClosedException("there is no connection")
        return self.sock

    def abort(self) -> None:
        """Break the connection without a word: whoever waits for the socket wakes. For any thread."""
        broken = self.sock
        if broken is None:
            return
        try:
            # Not the method of a TLS socket, which would take its state away from the thread that uses it.
            socket.socket.shutdown(broken, socket.SHUT_RDWR)
        except OSError:
            logger.debug("the connection was broken before")

    def say_goodbye(self) -> None:
        """Send a close frame, unless one was sent or it would wait; break the connection. Never raises."""
        if self.sock is not None and self.connected:
            self.connected = False
            try:
                self.sock.send(websocket.ABNF.create_frame(GOODBYE, websocket.ABNF.OPCODE_CLOSE).format())
            except OSError:
                logger.debug("the exchange does not hear our goodbye")
        self.abort()

    def end(self) -> None:
        """Say goodbye and close the socket. Never raises."""
        self.say_goodbye()
        ended, self.sock, self.connected = self.sock, None, False
        if ended is not None:
            ended.close()


def _open_socket(url: str, timeout_s: float) -> socket.socket:
    parts = urlsplit(url)
    is_secure = parts.scheme == "wss"
    host, port = parts.hostname or "", parts.port or (443 if is_secure else 80)
    opened = socket.create_connection((host, port), timeout=timeout_s)
    try:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return tls_context().wrap_socket(opened, server_hostname=host) if is_secure else opened
    except BaseException:
        opened.close()
        raise


def tls_context() -> ssl.SSLContext:
    """Return the context that checks the exchange's certificate, against the authorities of the REST half."""
    return ssl.create_default_context(cafile=DEFAULT_CA_BUNDLE_PATH)


def wait_for(waiting: socket.socket, event: int, timeout_s: float) -> None:
    """Wait up to `timeout_s` for `event` (of `select.poll`) on the socket, or for its end."""
    poll = select.poll()
    poll.register(waiting, event)
    # Rounded up: a wait of less than 1 ms must not become none at all, again and again.
    poll.poll(math.ceil(timeout_s * 1000))
