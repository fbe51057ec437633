"""Log in and out."""

from __future__ import annotations

import math

import structlog
from fastapi import APIRouter, Request, Response

from web.auth import Who, With, address_of
from web.errors import ApiError
from web.models import LoginRequest, SessionInfo
from web.sessions import COOKIE

log = structlog.get_logger(__name__)
router = APIRouter(tags=["session"])


@router.post("/session", status_code=204)
async def login(body: LoginRequest, request: Request, services: With) -> Response:
    """Log in with the password: sets the cookie. GET session then tells the CSRF token."""
    address = address_of(request)
    wait_s = services.logins.wait_s(address)
    if wait_s > 0:
        seconds = math.ceil(wait_s)
        log.warning("login refused, too many wrong passwords", address=address)
        message = f"too many wrong passwords; try again in {seconds} s"
        raise ApiError(429, message, headers={"Retry-After": str(seconds)})
    if not services.sessions.is_password(body.password.get_secret_value()):
        services.logins.failed(address)
        log.warning("login failed", address=address)
        raise ApiError(401, "this is not the password; manage.py web says where it is", code="wrong_password")
    services.logins.succeeded(address)
    log.info("login", address=address)
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        services.sessions.make(),
        max_age=int(services.sessions.lasts_s),
        path="/",
        secure=services.settings.web_url.startswith("https://"),
        httponly=True,
        samesite="strict",
    )
    return response


@router.get("/session")
async def session(request: Request, who: Who, services: With) -> SessionInfo:
    """Tell who asks, and the CSRF token of a login."""
    cookie = request.cookies.get(COOKIE, "")
    is_login = who.kind == "session"
    return SessionInfo(who=who.name, csrf=services.sessions.csrf(cookie) if is_login else None)


@router.delete("/session", status_code=204)
async def logout(request: Request, who: Who, services: With) -> Response:
    """Log out."""
    if who.kind == "session":
        services.sessions.end(request.cookies.get(COOKIE, ""))
        log.info("logout", address=who.address)
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
