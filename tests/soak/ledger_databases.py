"""Databases for a ledger that a test can take away and bring back: nobody else's server is touched."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import psycopg
import pytest

from cli.stack.valkey import free_port
from tests.acceptance.world import eventually
from tests.conftest import services_required
from tests.soak.ledger_proxy import proxied_postgres

#: Holds the write lock of an SQLite file, as another program's long transaction would.
HOLD_LOCK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
connection.execute("ROLLBACK")
"""
#: Where Linux distributions keep the server's programs, beside PATH.
PROGRAMS = "/usr/lib/postgresql"
#: The server refuses to run as root.
SERVER_USER = "postgres"


class NoServer(Exception):
    """Raised when this machine has no PostgreSQL server to run."""


class Database(Protocol):
    """A database with a URL, that can be away for a while."""

    @property
    def url(self) -> str:
        """Return what `CLEANBOOK_LEDGER_URL` has to say."""
        ...

    @property
    def least_outage_s(self) -> float:
        """Return how long it has to be away so that waiting alone does not bridge it."""
        ...

    def take_away(self) -> None:
        """Let nothing be written from now on."""
        ...

    def bring_back(self) -> None:
        """Let it work again."""
        ...


class SqliteFile:
    """A file that another process locks: SQLite has no server that could be restarted."""

    #: Writers wait 10 s for each other.
    least_outage_s = 12.0

    def __init__(self, path: Path) -> None:
        self._path = path
        self._holder: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Return the file's URL."""
        return f"sqlite:///{self._path}"

    def take_away(self) -> None:
        """Hold the file's write lock, from a process of its own."""
        self._holder = subprocess.Popen(
            [sys.executable, "-c", HOLD_LOCK, str(self._path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "locked\n", "the ledger's file could not be locked"

    def bring_back(self) -> None:
        """Let the lock go."""
        if self._holder is not None:
            self._holder.communicate(timeout=10)
            self._holder = None


class PostgresServer:
    """A server of our own in a temporary folder; it dies as in a crash, and recovers from its log."""

    least_outage_s = 4.0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._programs = _programs()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the URL of the server's only database."""
        return f"postgresql://{SERVER_USER}@127.0.0.1:{self._port}/postgres"

    def make(self) -> None:
        """Make the server's files and start it."""
        if os.geteuid() == 0:
            shutil.chown(self._folder, SERVER_USER)
        made = subprocess.run(
            [
                *(*_as_server_user(), str(self._programs / "initdb"), "-D", str(self._folder / "data")),
                *("-U", SERVER_USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"),
            ],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
        )
        assert made.returncode == 0, made.stderr
        self.bring_back()

    def take_away(self) -> None:
        """Kill the server in the middle of whatever it does; its sessions end when they notice."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def bring_back(self) -> None:
        """Start the server, and wait until it answers."""
        eventually(self._starts, 30, what="the PostgreSQL server of this test")

    def _starts(self) -> bool:
        # A session that outlives the killed server for a moment keeps the next one from starting.
        if self._process is None or self._process.poll() is not None:
            with (self._folder / "server.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *(*_as_server_user(), str(self._programs / "postgres")),
                        *("-D", str(self._folder / "data"), "-p", str(self._port), "-k", str(self._folder)),
                        *("-c", "listen_addresses=127.0.0.1"),
                    ],
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        return self._answers()

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


@contextmanager
def sqlite_file(folder: Path) -> Iterator[SqliteFile]:
    """Return a file that is not there yet."""
    found = SqliteFile(folder / "ledger.sqlite3")
    try:
        yield found
    finally:
        found.bring_back()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server until the end of the block. Raises `NoServer` where there is none to run."""
    # Not in the test's own folder: that one only its owner may enter.
    folder = Path(tempfile.mkdtemp(prefix="cleanbook-postgres-"))
    try:
        server = PostgresServer(folder)
        try:
            server.make()
            yield server
        finally:
            server.take_away()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def postgres_or_skip() -> Iterator[Database]:
    """Return a PostgreSQL that can crash; skip the test without any, or fail where services are required.

    A server of our own where this machine has the programs, else a proxy in front of the one that is there.
    """
    with ExitStack() as stack:
        try:
            database: Database = stack.enter_context(postgres_server())
        except NoServer as missing:
            try:
                database = stack.enter_context(proxied_postgres())
            except psycopg.OperationalError as error:
                problem = f"{missing}, and none answers: {' '.join(str(error).split())}"
                if services_required():
                    pytest.fail(f"CLEANBOOK_REQUIRE_SERVICES is set, but: {problem}")
                pytest.skip(problem)
        yield database


def _programs() -> Path:
    """Return the folder of `initdb` and `postgres`. Raises `NoServer`."""
    on_path = [Path(found).resolve().parent for found in (shutil.which("initdb"),) if found]
    installed = sorted(Path(PROGRAMS).glob("*/bin"), reverse=True)
    for folder in (*on_path, *installed):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            if os.geteuid() == 0 and shutil.which("setpriv") is None:
                raise NoServer("PostgreSQL does not run as root, and there is no setpriv to become another")
            return folder
    raise NoServer(f"no PostgreSQL server: neither PATH nor {PROGRAMS} has initdb")


def _as_server_user() -> tuple[str, ...]:
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups")
