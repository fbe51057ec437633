"""What goes wrong, as the API says it: one shape, a code for programs, a sentence that says what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from exchanges.errors import ExchangeError, RateLimited, Unavailable
from ledger.errors import LedgerError, LedgerUnavailable
from runner.config_change import ChangeRefused, ConfigConflict
from runner.config_errors import ConfigError
from runner.lifecycle import StartRefused
from runner.pausing import PauseRefused
from state.connection import AWAY, StateError, StateUnavailable
from web.models import ErrorBody, ErrorDetail, FieldError

log = structlog.get_logger(__name__)

CODES = {
    400: "bad_request",
    401: "unauthenticated",
    403: "forbidden",
    404: "not_found",
    405: "bad_request",
    409: "refused",
    422: "invalid",
    429: "rate_limited",
    503: "unavailable",
}


class ApiError(Exception):
    """Raised by a path to answer with an error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        field: str | None = None,
        errors: Sequence[FieldError] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code or CODES.get(status, "error")
        self.field = field
        self.errors = tuple(errors)
        self.headers = headers or {}


def answer(error: ApiError) -> JSONResponse:
    """Return an error as the API answers it."""
    detail = ErrorDetail(code=error.code, message=str(error), field=error.field, errors=list(error.errors))
    return JSONResponse(
        ErrorBody(error=detail).model_dump(mode="json"), status_code=error.status, headers=error.headers
    )


def install(app: FastAPI) -> None:
    """Let `app` answer every error in the one shape."""

    async def known(_: Request, error: Exception) -> JSONResponse:
        return answer(translated(error))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return answer(_invalid(error))

    async def http(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return answer(ApiError(error.status_code, str(error.detail), headers=dict(error.headers or {})))

    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("request failed", path=request.url.path, error=type(error).__name__)
        return answer(ApiError(500, "unexpected error; the server's log has more", code="internal"))

    ours = (ApiError, StateError, LedgerError, ConfigError, ExchangeError)
    refusals = (StartRefused, PauseRefused, ChangeRefused)
    for kind in (*ours, *refusals, redis.RedisError):
        app.add_exception_handler(kind, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, unexpected)


def translated(error: Exception) -> ApiError:
    """Return what an error of ours means to whoever asked."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ConfigError):
        errors = [
            FieldError(
                field=problem.path.removeprefix("$."), message=problem.message, value=None, allowed=None
            )
            for problem in error.problems
        ]
        return ApiError(422, str(error), code="invalid_config", errors=errors)
    if isinstance(error, ConfigConflict):
        return ApiError(409, str(error), code="conflict")
    if isinstance(error, StartRefused | PauseRefused | ChangeRefused):
        return ApiError(409, str(error))
    if isinstance(error, (*AWAY, StateUnavailable)):
        log.warning("state server away", error=str(error))
        message = "the state server does not answer; is it running? manage.py doctor says more"
        return ApiError(503, message, code="state_unavailable")
    if isinstance(error, LedgerUnavailable):
        log.warning("ledger away", error=str(error))
        message = "the ledger's database does not answer; nothing is lost, bookings wait until it is back"
        return ApiError(503, message, code="ledger_unavailable")
    if isinstance(error, Unavailable | RateLimited):
        return ApiError(503, f"the exchange cannot be used now: {error}", code="exchange_unavailable")
    if isinstance(error, ExchangeError):
        return ApiError(409, f"the exchange refuses: {error}", code="exchange_refused")
    if isinstance(error, StateError):
        return ApiError(409, str(error))
    log.error("request failed", error=f"{type(error).__name__}: {error}")
    return ApiError(503, "the state server or the ledger refuses a command; the log has more")


def _invalid(error: RequestValidationError) -> ApiError:
    found = [_field_error(problem) for problem in error.errors()]
    message = "; ".join(f"{each.field}: {each.message}" for each in found)
    return ApiError(422, message, field=found[0].field if found else None, errors=found)


def _field_error(problem: dict[str, Any]) -> FieldError:
    where, *names = (str(part) for part in problem["loc"])
    # What came in a body may be a secret, typed into the wrong field.
    value = str(problem.get("input"))[:100] if where in {"query", "path"} else None
    return FieldError(
        field=".".join(names) or where, message=problem["msg"], value=value, allowed=_allowed(problem)
    )


def _allowed(problem: dict[str, Any]) -> str | None:
    context = problem.get("ctx") or {}
    parts = [f"{name} {context[name]}" for name in ("expected", "ge", "gt", "le", "lt") if name in context]
    return ", ".join(parts) or None
