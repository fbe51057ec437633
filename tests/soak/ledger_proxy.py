"""A TCP proxy before a PostgreSQL server that is not ours: it breaks connections and refuses new ones."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg
from sqlalchemy import make_url

#: Read now: tests run without the developer's variables.
URL = os.environ.get("CLEANBOOK_TEST_POSTGRES_URL") or "postgresql://127.0.0.1:5432/test"
USERS = ("", "postgres")
CHUNK = 65_536
#: Close with a reset instead of a farewell.
RESET = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on a free port of the loopback; what is away resets and refuses."""

    least_outage_s = 4.0

    def __init__(self, server_url: str, schema: str) -> None:
        self._server = make_url(server_url)
        self._schema = schema
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._serve()

    @property
    def url(self) -> str:
        """Return the URL of this run's schema, by way of the proxy."""
        query = {"options": f"-csearch_path={self._schema}"}
        url = self._server.set(host="127.0.0.1", port=self._port).update_query_dict(query)
        return url.render_as_string(hide_password=False)

    def take_away(self) -> None:
        """Reset every connection, and refuse new ones."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            ended, self._open = self._open, set()
        for each in ended:
            _reset(each)

    def bring_back(self) -> None:
        """Let connections through again."""
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._serve()

    def _serve(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(
                    (self._server.host or "127.0.0.1", self._server.port or 5432)
                )
            except OSError:
                _reset(client)
                continue
            with self._lock:
                self._open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                sink.sendall(data)
        with self._lock:
            self._open -= {source, sink}
        for each in (source, sink):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def proxied_postgres() -> Iterator[Proxy]:
    """Make a schema on the server of `CLEANBOOK_TEST_POSTGRES_URL`, and drop it at the end of the block.

    Raises `psycopg.OperationalError` where no server answers.
    """
    server_url = _reachable()
    schema = f"cleanbook_{secrets.token_hex(6)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        proxy = Proxy(server_url, schema)
        try:
            yield proxy
        finally:
            proxy.take_away()
            connection.execute(f"DROP SCHEMA {schema} CASCADE")


def _reachable() -> str:
    """Return the server's URL with a user that it lets in."""
    problem = psycopg.OperationalError("no server")
    for user in USERS:
        url = URL if not user or "@" in URL else URL.replace("://", f"://{user}@", 1)
        try:
            with psycopg.connect(url, connect_timeout=3):
                return url
        except psycopg.OperationalError as error:
            problem = error
    raise problem


def _reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        # Wakes who reads it, which closing alone does not.
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
