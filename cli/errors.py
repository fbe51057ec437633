"""From an error to one clear line and an exit code. Everything here is imported on the error path only."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cli.exit_codes import ExitCode
from cli.language import told, tr

if TYPE_CHECKING:
    from runner.config_errors import ConfigError, Problem


class CliError(Exception):
    """Raised when a command cannot go on; says what to do."""

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What to tell the user about an error."""

    message: str
    code: ExitCode
    #: False: it is a defect of ours, and a traceback would help.
    expected: bool = True


def explain(error: Exception) -> Failure:
    """Return what an error means for the user."""
    for look in (_of_the_command, _of_the_state, _of_the_ledger, _of_the_exchange, _of_the_runner):
        failure = look(error)
        if failure is not None:
            return failure
    return Failure(
        message=tr(
            "unexpected error, {kind}: {error}; --debug shows where", kind=type(error).__name__, error=error
        ),
        code=ExitCode.FAILED,
        expected=False,
    )


def _of_the_command(error: Exception) -> Failure | None:
    from passwords import PasswordFileError
    from runner.config_errors import ConfigError
    from settings import SettingsError

    if isinstance(error, CliError):
        return Failure(message=told(error), code=error.code)
    if isinstance(error, PasswordFileError):
        return Failure(message=told(error), code=ExitCode.FAILED)
    if isinstance(error, ConfigError):
        return Failure(message=_listed(error), code=ExitCode.BAD_USAGE)
    if isinstance(error, SettingsError):
        return Failure(message=told(error), code=ExitCode.BAD_USAGE)
    if "alerts.config" in sys.modules:
        from alerts.config import AlertsConfigError

        if isinstance(error, AlertsConfigError):
            return Failure(message=told(error), code=ExitCode.BAD_USAGE)
    return None


def _listed(error: ConfigError) -> str:
    """Return what is wrong with a file, a line each."""
    count = len(error.problems)
    counted = tr("1 problem") if count == 1 else tr("{count} problems", count=count)
    return "\n".join([f"{error.source}: {counted}", *(f"  {problem_line(each)}" for each in error.problems)])


def problem_line(problem: Problem) -> str:
    """Return one thing to correct, with its place."""
    return f"{told(problem.path)}: {told(problem.message)}"


def _of_the_state(error: Exception) -> Failure | None:
    import redis

    from state.connection import StateError, StateUnavailable

    if isinstance(error, redis.AuthenticationError):
        return _unreachable(tr("refuses the password"), error)
    if isinstance(error, redis.exceptions.NoPermissionError):
        return Failure(
            message=tr(
                "the state server's user may not do this: {error}; compare its rights with those of "
                "user `cli` in deploy/redis/users.acl",
                error=error,
            ),
            code=ExitCode.FAILED,
        )
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return _unreachable(tr("cannot be reached"), error)
    if isinstance(error, redis.RedisError):
        return Failure(
            message=tr("the state server refuses a command: {error}", error=error), code=ExitCode.FAILED
        )
    if isinstance(error, StateUnavailable):
        return _from_cause(error)
    if isinstance(error, StateError):
        return Failure(message=told(error), code=ExitCode.FAILED)
    return None


def _from_cause(error: Exception) -> Failure:
    cause = error.__cause__
    found = _of_the_state(cause) if isinstance(cause, Exception) else None
    return found or Failure(message=told(error), code=ExitCode.UNREACHABLE)


def _of_the_ledger(error: Exception) -> Failure | None:
    if "ledger.errors" not in sys.modules:
        return None  # it is no error of the ledger then, and SQLAlchemy need not be loaded to know that
    from feed.bookkeeper import AnotherLedger
    from ledger.errors import LedgerError, LedgerUnavailable

    if isinstance(error, LedgerUnavailable):
        return Failure(
            message=tr(
                "{error}. Bookings wait in the state server until it is back, nothing is lost",
                error=told(error),
            ),
            code=ExitCode.UNREACHABLE,
        )
    if isinstance(error, AnotherLedger):
        return Failure(message=told(error), code=ExitCode.BAD_USAGE)
    if isinstance(error, LedgerError):
        return Failure(message=told(error), code=ExitCode.FAILED)
    return None


def _of_the_exchange(error: Exception) -> Failure | None:
    from exchanges.errors import ExchangeError, RateLimited, Refused, Unavailable

    if isinstance(error, Refused):
        return Failure(
            message=tr("the exchange refuses: {error}; check symbol, keys and base_url", error=told(error)),
            code=ExitCode.BAD_USAGE,
        )
    if isinstance(error, Unavailable | RateLimited):
        return Failure(
            message=tr(
                "the exchange cannot be used now: {error}; manage.py doctor shows more", error=told(error)
            ),
            code=ExitCode.UNREACHABLE,
        )
    if isinstance(error, ExchangeError):
        return Failure(message=told(error), code=ExitCode.FAILED)
    return None


def _of_the_runner(error: Exception) -> Failure | None:
    # Looked at last: it imports everything that trades.
    from runner.lifecycle import StartRefused, StateLost

    if isinstance(error, StateLost):
        return Failure(message=told(error), code=ExitCode.NOT_CLEAN)
    if isinstance(error, StartRefused):
        return Failure(message=told(error), code=ExitCode.BAD_USAGE)
    return None


def _unreachable(what: str, error: Exception) -> Failure:
    from settings import SettingsError, load, redacted

    try:
        where = redacted(load().state_url)
    except SettingsError:
        where = tr("the address that is set")
    return Failure(
        message=tr(
            "the state server at {where} {what}: {error}. Is it running (manage.py up)? "
            "BROKER_URL or STATE_URL says where it is",
            where=where,
            what=what,
            error=str(error).rstrip("."),
        ),
        code=ExitCode.UNREACHABLE,
    )
