"""What can go wrong with the ledger, and what to do about it.

::

    LedgerError
    ├── LedgerUnavailable   try again later
    ├── LedgerTooNew        upgrade Cleanbook
    └── ImportFailed        the old program's file cannot be imported as it is
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import exc

#: SQLite reports these as operational too, but waiting does not help.
_NOT_PASSING = re.compile(r"no such (table|column)|syntax error|readonly database|too many SQL variables")


class LedgerError(Exception):
    """Raised when the ledger cannot do what it is asked to."""


class LedgerUnavailable(LedgerError):
    """Raised when the database cannot be reached or is locked; the same call may succeed later."""


class LedgerTooNew(LedgerError):
    """Raised when a newer version of Cleanbook has changed the tables."""


class ImportFailed(LedgerError):
    """Raised when an old program's file has something that cannot be imported; names table, row and value."""


@contextmanager
def translated(shown_url: str, password: str | None = None) -> Iterator[None]:
    """Turn a database error into one of ours; `shown_url` names the database, `password` never appears."""
    try:
        yield
    except exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None) or error
        text = " ".join(str(cause).split())
        if password:
            text = text.replace(password, "***")
        if _passes(error):
            raise LedgerUnavailable(f"the ledger {shown_url} is not available: {text}; try again") from error
        raise LedgerError(f"the ledger {shown_url} failed: {text}") from error


def _passes(error: exc.SQLAlchemyError) -> bool:
    if isinstance(error, exc.TimeoutError | exc.InterfaceError | exc.DisconnectionError):
        return True
    if isinstance(error, exc.DBAPIError) and error.connection_invalidated:
        return True
    # 25006: the server has become a read-only standby.
    if getattr(getattr(error, "orig", None), "sqlstate", None) == "25006":
        return True
    return isinstance(error, exc.OperationalError) and not _NOT_PASSING.search(str(error.orig))
