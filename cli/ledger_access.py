"""The ledger as commands read it: opened, and with everything in it that still waited in Redis."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import redis
import structlog

from cli.errors import CliError
from cli.exit_codes import ExitCode
from cli.language import tr
from cli.names import configured, started, unknown_name
from cli.output import Output
from cli.session import Session, open_session
from feed.bookkeeper import catch_up, require_its_ledger
from ledger.database import Ledger, open_ledger
from ledger.glances import instance_ids
from settings import Settings
from state.bookings import BookingQueue


@dataclass(frozen=True, kw_only=True)
class LedgerSession:
    """An open ledger, and the state server whose bookings it takes."""

    session: Session
    ledger: Ledger
    #: Bookings and events that had waited; None: the state server does not answer, and they still do.
    carried_over: int | None

    @property
    def up_to_date(self) -> bool:
        """Tell whether nothing is missing that waits in the state server."""
        return self.carried_over is not None


@contextmanager
def open_books(
    output: Output, *, debug: bool = False, settings: Settings | None = None
) -> Iterator[LedgerSession]:
    """Open the ledger and carry over what waits; a state server that is away costs a warning only.

    Raises `SettingsError`, `LedgerError`, and `AnotherLedger` where bookings go to another one.
    """
    _log_to_standard_error(debug)
    session = open_session(settings)
    with session.client, open_ledger(session.settings.ledger_url) as ledger:
        carried_over = _bring_up_to_date(output, session, ledger)
        yield LedgerSession(session=session, ledger=ledger, carried_over=carried_over)


def now_ms(books: LedgerSession) -> int:
    """Return the state server's time, this machine's where that server is away; ms."""
    try:
        if books.up_to_date:
            return books.session.instances.now_ms()
    except (redis.ConnectionError, redis.TimeoutError):
        pass  # it went away just now
    return time.time_ns() // 1_000_000


def require_instances(books: LedgerSession, names: Sequence[str]) -> tuple[str, ...]:
    """Return `names` without doubles.

    Raises `CliError` for names that neither files, nor the state server, nor the ledger know.
    """
    known = _known(books, names)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise CliError("\n".join(unknown_name(name, known) for name in unknown), ExitCode.BAD_USAGE)
    return tuple(dict.fromkeys(names))


def is_known(books: LedgerSession, name: str) -> bool:
    """Tell whether there is a file, a run or a row in the ledger of an instance."""
    return name in _known(books, [name])


def _known(books: LedgerSession, names: Sequence[str]) -> set[str]:
    known = {*configured(books.session.settings.config_dir), *_started(books)}
    # The ledger is asked only where it matters.
    return known if known.issuperset(names) else known | instance_ids(books.ledger)


def _started(books: LedgerSession) -> tuple[str, ...]:
    # Asked once is enough: a server that is away keeps a command waiting.
    return started(books.session) if books.up_to_date else ()


def _bring_up_to_date(output: Output, session: Session, ledger: Ledger) -> int | None:
    queue = BookingQueue(session.client)
    try:
        require_its_ledger(queue, ledger)
        return catch_up(queue, session.events, ledger)
    except (redis.ConnectionError, redis.TimeoutError) as error:
        output.warn(
            tr(
                "the state server does not answer ({error}); shown is what the ledger has, "
                "what was told since waits there",
                error=error,
            )
        )
        return None


def _log_to_standard_error(debug: bool) -> None:
    # By default structlog speaks on standard output, into the data.
    level = logging.DEBUG if debug else logging.ERROR
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
