"""What every request passes before its path: the names this server answers to, foreign pages, headers."""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from settings import Settings
from web.errors import ApiError, answer

#: The rest of what is sent is not read.
LAST = {"Connection": "close"}
#: Of a body; configurations take a few thousand.
MOST_BYTES = 1_000_000
FOREIGN = frozenset({"cross-site", "same-site"})
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
HEADERS = {
    # Nothing inline, nothing from elsewhere, no frame around it.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; font-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class Guarding:
    """Refuses requests under foreign names and from foreign pages, and adds the headers.

    A name that is not ours means that somebody's page has let its own name point at this machine.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._names = served_names(settings)
        self._public = settings.web_url.lower()
        self._is_https = settings.web_url.startswith("https://")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    given.setdefault(name, value)
                if self._is_https:
                    given.setdefault("Strict-Transport-Security", "max-age=31536000")
                # The files of the page are asked for again each time, so that an upgrade is never half seen.
                is_api = scope["path"].startswith("/api/")
                given.setdefault("Cache-Control", "no-store" if is_api else "no-cache")
            await send(message)

        refusal = self._refusal(headers) or _too_large(headers)
        await (answer(refusal) if refusal else self._app)(scope, receive, send_with_headers)

    def _refusal(self, headers: Headers) -> ApiError | None:
        host = headers.get("host", "").lower()
        if _without_port(host) not in self._names:
            return ApiError(
                400,
                "this server does not answer to that name; CLEANBOOK_WEB_URL says the one of a proxy",
                code="host",
            )
        origin = headers.get("origin")
        # Another port of this machine is another site, too.
        is_own = origin is None or _netloc(origin) == host or origin.lower() == self._public
        # Links and bookmarks may lead here from anywhere.
        is_followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("origin") is None
        if not is_own or (headers.get("sec-fetch-site") in FOREIGN and not is_followed):
            return ApiError(403, "requests of other sites' pages are refused", code="origin")
        return None


def _netloc(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""  # of no page


def _too_large(headers: Headers) -> ApiError | None:
    """Refuse what would fill the memory, before anybody has logged in."""
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isdigit():
        return ApiError(
            411, "say how long the body is (Content-Length)", code="length_required", headers=LAST
        )
    if int(length) > MOST_BYTES:
        return ApiError(
            413, f"a body of more than {MOST_BYTES} bytes is refused", code="too_large", headers=LAST
        )
    return None


def served_names(settings: Settings) -> frozenset[str]:
    """Return the host names, without ports, under which requests are taken."""
    own = settings.web_host
    names = {*LOOPBACK, f"[{own}]" if ":" in own else own.lower()}
    if settings.web_url:
        names.add(_without_port(urlsplit(settings.web_url).netloc.lower()))
    return frozenset(names)


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host
