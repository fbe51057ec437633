"""A small HTTP server for one page of numbers: loopback by default, and a password."""

from __future__ import annotations

import base64
import binascii
import hmac
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import structlog

from monitoring.exposition import Exposition

log = structlog.get_logger(__name__)

#: Whoever sends or takes nothing for so long is let go.
CLIENT_TIMEOUT_S = 10.0


class MetricsServer:
    """Serves `/metrics`, and `/health` for whoever watches the server itself."""

    def __init__(
        self, exposition: Exposition, *, address: str, port: int, credentials: tuple[str, str] | None
    ) -> None:
        """Listen; port 0 takes a free one. `credentials` None: for everybody who gets here.

        Raises `OSError`.
        """
        handler = type("Handler", (_Handler,), {"exposition": exposition, "credentials": credentials})
        self._server = ThreadingHTTPServer((address, port), handler)
        self._server.daemon_threads = True

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self._server.server_address[1])

    def serve(self) -> None:
        """Answer until `end`."""
        with self._server:
            self._server.serve_forever(poll_interval=0.1)

    def end(self) -> None:
        """Let `serve` return. For a signal handler: it waits for nothing."""
        threading.Thread(target=self._server.shutdown, name="end", daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    exposition: Exposition
    credentials: tuple[str, str] | None
    timeout = CLIENT_TIMEOUT_S
    server_version = "cleanbook"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer one request."""
        path = self.path.split("?", 1)[0]
        if path == "/health":
            self._send(HTTPStatus.OK, b"ok\n")
        elif path != "/metrics":
            self._send(HTTPStatus.NOT_FOUND, b"there is /metrics and /health\n")
        elif not self._is_known():
            self._send(
                HTTPStatus.UNAUTHORIZED,
                b"user and password: see docs/monitoring.md\n",
                {"WWW-Authenticate": 'Basic realm="cleanbook metrics"'},
            )
        else:
            text, content_type = self.exposition.text(self.headers.get("Accept", ""))
            self._send(HTTPStatus.OK, text, {"Content-Type": content_type})

    def _is_known(self) -> bool:
        if self.credentials is None:
            return True
        kind, _, word = self.headers.get("Authorization", "").partition(" ")
        try:
            said = base64.b64decode(word, validate=True) if kind.lower() == "basic" else b""
        except (ValueError, binascii.Error):
            return False
        return hmac.compare_digest(said, ":".join(self.credentials).encode())

    def _send(self, status: HTTPStatus, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "text/plain; charset=utf-8", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of every scrape."""
        log.debug("request", line=format % args)
