"""The ledger's database: opened, brought up to date, and written in one transaction at a time."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, exc, make_url, text

from ledger import booking, migrating
from ledger.booking import BookResult
from ledger.bookings import Booking
from ledger.errors import LedgerError, LedgerUnavailable, translated
from wording import said

__all__ = ["Ledger", "LedgerError", "LedgerUnavailable", "open_ledger", "redacted"]

BUSY_TIMEOUT_MS = 10_000
#: Writers of a PostgreSQL ledger take turns by this advisory lock, as SQLite makes them do anyway.
_WRITE_LOCK = 0x636C65616E
_SCHEMES = "sqlite:///<path> or postgresql://<user>@<host>/<database>"


class Ledger:
    """An open ledger. Threads may share it; processes may not: open it after a fork. Use `open_ledger`."""

    def __init__(self, engine: Engine, busy_timeout_ms: int) -> None:
        self._engine = engine
        self._busy_timeout_ms = busy_timeout_ms
        #: The database without its password, fit for a log.
        self.shown_url = redacted(engine.url)
        #: Random, made with the database: tells whether it is still the same one.
        self.ledger_id = ""

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def book(self, bookings: Sequence[Booking], *, cursors: Mapping[str, str] | None = None) -> BookResult:
        """Book all of `bookings`, or none, in one transaction; those booked before change nothing.

        What cannot be booked is put aside in the table `rejected`. `cursors` are kept in the same
        transaction, so that a reader of a stream never gets ahead of what is booked.
        Raises `LedgerUnavailable`, `LedgerError`.
        """
        with self.writing() as connection:
            result = booking.book(connection, bookings)
            for name, value in (cursors or {}).items():
                booking.put_meta(connection, f"cursor:{name}", value)
        return result

    def put_aside(self, texts: Sequence[tuple[str, str]]) -> None:
        """Keep texts that cannot be read as bookings in `rejected`, each with the reason."""
        with self.writing() as connection:
            booking.put_aside_unread(connection, texts)

    def cursor(self, name: str) -> str | None:
        """Return what was last given to `book` as the cursor `name`, None for nothing."""
        with self.reading() as connection:
            return booking.get_meta(connection, f"cursor:{name}")

    def reading(self) -> AbstractContextManager[Connection]:
        """Return a transaction that sees the ledger as it is at its beginning. For this package."""
        return self._transaction(write=False)

    def writing(self) -> AbstractContextManager[Connection]:
        """Return a transaction that no other writer interleaves with. For this package."""
        return self._transaction(write=True)

    @property
    def dialect(self) -> str:
        """Return ``sqlite`` or ``postgresql``."""
        return self._engine.dialect.name

    @contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Connection]:
        with translated(self.shown_url, self._engine.url.password), self._engine.connect() as plain:
            if self.dialect == "postgresql":
                connection = plain.execution_options(
                    isolation_level="READ COMMITTED" if write else "REPEATABLE READ"
                )
            else:
                connection = plain.execution_options(ledger_write=write)
            with connection.begin():
                if write:
                    self._take_turn(connection)
                yield connection

    def _take_turn(self, connection: Connection) -> None:
        if self.dialect == "postgresql":
            connection.execute(text(f"SET LOCAL lock_timeout = {self._busy_timeout_ms}"))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})"))

    def _prepare(self) -> None:
        """Bring the tables up to date, under the lock of writers, and read or make the ledger's id."""
        with self.reading() as connection:
            current = migrating.is_current(connection)
            known = booking.get_meta(connection, "ledger_id") if current else None
        if known is None:
            with self.writing() as connection:
                migrating.migrate(connection)
                known = booking.get_meta(connection, "ledger_id")
                if known is None:
                    known = secrets.token_hex(8)
                    booking.put_meta(connection, "ledger_id", known)
        self.ledger_id = known


def open_ledger(url: str, *, busy_timeout_ms: int = BUSY_TIMEOUT_MS) -> Ledger:
    """Open the ledger at `url`, making and updating its tables where needed; any number may do so at once.

    `url` is ``sqlite:///<path>`` (file and folders are made; never on a network file system) or
    ``postgresql://<user>@<host>/<database>``. `busy_timeout_ms` is how long a call waits for another writer.
    Raises `LedgerUnavailable`, `LedgerTooNew`, and `LedgerError` for a URL that cannot be used.
    """
    parsed = _parsed(url)
    engine = (
        _postgresql(parsed) if parsed.get_backend_name() == "postgresql" else _sqlite(parsed, busy_timeout_ms)
    )
    ledger = Ledger(engine, busy_timeout_ms)
    try:
        ledger._prepare()
    except BaseException:
        ledger.close()
        raise
    return ledger


def redacted(url: str | URL) -> str:
    """Return `url` with stars for its password, also one given as a parameter."""
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        return "<no URL>"
    hidden = {name: "***" for name in parsed.query if "password" in name.lower()}
    return parsed.update_query_dict(hidden).render_as_string(hide_password=True)


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (exc.ArgumentError, ValueError):
        raise LedgerError(
            said("the ledger's URL cannot be read; it must be {forms}", forms=_SCHEMES)
        ) from None
    if parsed.drivername in {"postgresql", "postgres", "postgresql+psycopg"}:
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        if not parsed.database or parsed.database == ":memory:" or parsed.database.startswith("file:"):
            raise LedgerError(
                said(
                    "the ledger's URL {parsed} names no file; write sqlite:///<path>", parsed=redacted(parsed)
                )
            )
        return parsed.set(drivername="sqlite+pysqlite")
    raise LedgerError(
        said(
            "the ledger cannot be kept in {drivername}://; its URL must be {forms}",
            drivername=parsed.drivername,
            forms=_SCHEMES,
        )
    )


def _postgresql(url: URL) -> Engine:
    defaults = {"connect_timeout": 5, "application_name": "cleanbook"}
    return create_engine(
        url,
        pool_pre_ping=True,
        connect_args={name: value for name, value in defaults.items() if name not in url.query},
    )


def _sqlite(url: URL, busy_timeout_ms: int) -> Engine:
    path = Path(str(url.database)).expanduser()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(
            said(
                "the ledger's folder {parent} cannot be made: {strerror}",
                parent=path.parent,
                strerror=error.strerror,
            )
        ) from error
    engine = create_engine(url.set(database=str(path)), connect_args={"timeout": busy_timeout_ms / 1000})

    @event.listens_for(engine, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        # Without this the driver itself decides when a transaction begins, and reads see no single moment.
        connection.isolation_level = None
        for pragma in ("journal_mode = WAL", "synchronous = NORMAL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that starts as a reader may not become a writer when another one got in between.
        write = connection.get_execution_options().get("ledger_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine
