"""Who asks: a program with a bearer token, or a person with a cookie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import structlog
from fastapi import Depends, Request

from api_tokens import TokenError
from web.errors import ApiError
from web.services import Services
from web.sessions import COOKIE

log = structlog.get_logger(__name__)

#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "X-CSRF-Token"


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Whoever made a request, and from where."""

    #: Name of the token, or `owner` for whoever knows the password.
    name: str
    #: ``token`` or ``session``.
    kind: str
    address: str

    @property
    def by(self) -> str:
        """Return this for the record of who did what."""
        return f"{self.name} (web {self.kind}, {self.address})"


async def services_of(request: Request) -> Services:
    """Return what this application works with; a coroutine, since anything else would wait for a thread."""
    services = request.app.state.services
    assert isinstance(services, Services)
    return services


def address_of(request: Request) -> str:
    """Return where a request comes from."""
    return request.client.host if request.client else "unknown"


async def require_principal(request: Request) -> Principal:
    """Return who asks. Raises `ApiError` for nobody, and for a change by cookie without its CSRF token."""
    services = await services_of(request)
    header = request.headers.get("authorization")
    if header is not None:
        return _of_token(services, header, address_of(request))
    cookie = request.cookies.get(COOKIE, "")
    if not cookie or not services.sessions.is_valid(cookie):
        raise ApiError(
            401,
            "log in, or send a bearer token (manage.py web-token NAME makes one)",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if request.method not in SAFE:
        token = request.headers.get(CSRF_HEADER, "")
        if not services.sessions.is_csrf(cookie, token):
            raise ApiError(
                403, f"changes by cookie need the header {CSRF_HEADER}, as GET session tells it", code="csrf"
            )
    return Principal(name="owner", kind="session", address=address_of(request))


def _of_token(services: Services, header: str, address: str) -> Principal:
    scheme, _, token = header.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise ApiError(401, "send: Authorization: Bearer TOKEN", headers={"WWW-Authenticate": "Bearer"})
    try:
        name = services.tokens.name_of(token.strip())
    except TokenError as error:
        log.error("tokens cannot be read", error=str(error))
        raise ApiError(503, "the file of tokens cannot be read; the server's log says why") from error
    if name is None:
        log.warning("unknown bearer token", address=address)
        raise ApiError(401, "this token is not known, or was revoked", headers={"WWW-Authenticate": "Bearer"})
    return Principal(name=name, kind="token", address=address)


Who = Annotated[Principal, Depends(require_principal)]
With = Annotated[Services, Depends(services_of)]
