"""A local receiver of webhooks, over real sockets, that fails and hangs as a test tells it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """What arrived, by path."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._got: list[tuple[str, dict[str, Any]]] = []
        #: By path: the status to answer with.
        self.answers: dict[str, int] = {}
        #: Paths whose requests get no answer before `release`.
        self.hanging: set[str] = set()
        self._released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                path = self.path.partition("?")[0]
                receiver.take(path, json.loads(body))
                if path in receiver.hanging:
                    receiver.wait()
                self.send_response(receiver.answers.get(path, 200))
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def url(self, path: str) -> str:
        """Return the URL of a target, in apprise's words."""
        return f"json://127.0.0.1:{self.port}{path}"

    def take(self, path: str, body: dict[str, Any]) -> None:
        """Note a message."""
        with self._lock:
            self._got.append((path, body))

    def wait(self) -> None:
        """Hold an answer back."""
        self._released.wait(30)

    def release(self) -> None:
        """Answer what hangs, and what comes."""
        self.hanging.clear()
        self._released.set()

    def got(self, path: str = "/hook") -> list[dict[str, Any]]:
        """Return the bodies that arrived at a path, also those that were answered with an error."""
        with self._lock:
            return [body for where, body in self._got if where == path]

    def titles(self, path: str = "/hook") -> list[str]:
        """Return the titles of what arrived."""
        return [body["title"] for body in self.got(path)]

    def close(self) -> None:
        """End it."""
        self.release()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


@contextmanager
def webhook_receiver() -> Iterator[Receiver]:
    """Run a receiver."""
    receiver = Receiver()
    try:
        yield receiver
    finally:
        receiver.close()
