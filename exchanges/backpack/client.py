"""HTTP to Backpack: one signed request, one answer, and what is known when there is none."""

from __future__ import annotations

import json
import logging
import ssl
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy

import requests
import urllib3
from requests.adapters import HTTPAdapter

from exchanges.backpack import signing
from exchanges.backpack.config import BackpackConfig, Credentials
from exchanges.backpack.signing import Fields
from exchanges.budget import RateBudget, RequestKind
from exchanges.errors import OutcomeUnknown, Unavailable
from metrics import families

logger = logging.getLogger(__name__)

#: What a session raises: its own errors, and a few of urllib3's that it lets through.
TRANSPORT_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError)
#: Raised while no connection stands yet.
BEFORE_CONNECTION = (
    requests.ConnectTimeout,
    urllib3.exceptions.NewConnectionError,
    urllib3.exceptions.LocationValueError,
    ssl.SSLCertVerificationError,
)


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request before it is signed."""

    method: str
    path: str
    kind: RequestKind
    #: Query of a GET, JSON body otherwise; a sequence is a batch.
    payload: Fields | Sequence[Fields]
    #: Name of the instruction to sign; None for public requests.
    instruction: str | None = None
    #: Exchange's time to sign with: that of a permission, or what tells the time of now once it may be sent.
    timestamp_ms: int | Callable[[], int] = 0
    window_ms: int = 0

    @property
    def name(self) -> str:
        """Return method and path, for messages."""
        return f"{self.method} {self.path}"


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer, whatever its status and whatever its body."""

    status: int
    body: bytes
    #: Header names in lower case.
    headers: Mapping[str, str]


class BackpackClient:
    """Sends requests over pooled keep-alive connections.

    Several threads may share one client: the only thing they share underneath is urllib3's connection pool,
    which is made for it, since the session's cookie jar takes nothing in. Open it after a fork, not before.
    """

    def __init__(self, config: BackpackConfig, credentials: Credentials, budget: RateBudget) -> None:
        self._config = config
        self._api_key = credentials.api_key
        self._key = signing.load_private_key(credentials)
        self._budget = budget
        self._session = _new_session(config.pool_size)

    def send(self, request: Request) -> Response:
        """Send `request` once and return the answer, whatever its status.

        A read whose connection breaks is sent once more, over a new connection; a write never is.

        Raises:
            RateLimited: our own budget is used up; nothing was sent.
            Unavailable: nothing happened (no connection could be opened), or a read got no answer.
            OutcomeUnknown: a write may have reached the exchange and its answer did not reach us.
        """
        prepared = self._prepare_in_turn(request)
        try:
            return self._send_once(self._session, request, prepared)
        except TRANSPORT_ERRORS as error:
            if request.kind is RequestKind.READ and _connection_broke(error):
                return self._send_again(request)
            raise _no_answer(request, error) from error

    def close(self) -> None:
        """Close the pooled connections."""
        self._session.close()

    def _send_again(self, request: Request) -> Response:
        prepared = self._prepare_in_turn(request)
        # A session of its own: in the pool, the next connection may be as dead as the last one.
        with _new_session(pool_size=1) as session:
            try:
                return self._send_once(session, request, prepared)
            except TRANSPORT_ERRORS as error:
                raise _no_answer(request, error) from error

    def _send_once(
        self, session: requests.Session, request: Request, prepared: requests.PreparedRequest
    ) -> Response:
        started_s = time.monotonic()
        answer = session.send(
            prepared,
            timeout=(self._config.connect_timeout_s, self._config.read_timeout_s),
            # A redirect would carry our signature to somebody else.
            allow_redirects=False,
        )
        took_s = time.monotonic() - started_s
        families.REQUESTS_S.observe(took_s, request.kind)
        if answer.status_code == 429:
            families.REQUESTS_FAILED.add(request.kind, "too_many")
        elif answer.status_code >= 500:
            families.REQUESTS_FAILED.add(request.kind, "server_error")
        logger.debug("%s: HTTP %d in %.0f ms", request.name, answer.status_code, took_s * 1000)
        return Response(
            status=answer.status_code,
            body=answer.content,
            headers={name.lower(): value for name, value in answer.headers.items()},
        )

    def _prepare_in_turn(self, request: Request) -> requests.PreparedRequest:
        # Before it is signed: a turn may be longer in coming than the window is.
        self._budget.take(request.kind)
        headers = {"Accept": "application/json"}
        if request.instruction is not None:
            at = request.timestamp_ms
            headers |= signing.headers(
                self._api_key,
                self._key,
                request.instruction,
                request.payload,
                timestamp_ms=at if isinstance(at, int) else at(),
                window_ms=request.window_ms,
            )
        url = self._config.base_url.rstrip("/") + request.path
        if request.method == "GET" and isinstance(request.payload, Mapping):
            params = {name: signing.wire_text(value) for name, value in request.payload.items()}
            return requests.Request("GET", url, params=params, headers=headers).prepare()
        headers["Content-Type"] = "application/json; charset=utf-8"
        return requests.Request(
            request.method, url, data=json.dumps(request.payload).encode(), headers=headers
        ).prepare()


class _Session(requests.Session):
    """A session that looks at no redirect: the library reads its target even of one it must not follow, and
    a target that is none raises what is no error of the library's own.
    """

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """Return no target."""
        del resp
        return None


def _new_session(pool_size: int) -> requests.Session:
    session = _Session()
    # Proxies and .netrc of the environment must not see signed requests.
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    # No retries of urllib3's own: it would send a placement twice.
    adapter = HTTPAdapter(pool_connections=1, pool_maxsize=pool_size, max_retries=0)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _no_answer(request: Request, error: Exception) -> Unavailable | OutcomeUnknown:
    what = "timed out" if isinstance(error, requests.Timeout) else "failed"
    is_unknown = not _never_opened(error) and request.kind is not RequestKind.READ
    families.REQUESTS_FAILED.add(request.kind, "unknown" if is_unknown else "no_answer")
    if _never_opened(error):
        return Unavailable(f"{request.name} {what}: no connection to the exchange ({type(error).__name__})")
    if request.kind is RequestKind.READ:
        return Unavailable(f"{request.name} {what}: no answer from the exchange ({type(error).__name__})")
    return OutcomeUnknown(
        f"{request.name} {what} after it may have been sent ({type(error).__name__}): "
        "ask the exchange before sending anything like it"
    )


def _never_opened(error: Exception) -> bool:
    """Tell whether no connection stood, so that not one byte of the request can have left."""
    return any(isinstance(cause, BEFORE_CONNECTION) for cause in _causes(error))


def _connection_broke(error: Exception) -> bool:
    """Tell whether a standing connection was lost, as a kept-alive one is that the server has closed."""
    # A time-out in the middle of a body comes as a ConnectionError.
    timed_out = any(isinstance(cause, urllib3.exceptions.ReadTimeoutError) for cause in _causes(error))
    if timed_out or _never_opened(error):
        return False
    return isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield `error` and what it wraps: `requests` keeps urllib3's error as its argument, urllib3 as `reason`.

    Not `__context__`: there may stand an older error that the caller is just handling, a refused connection
    perhaps, and a write with unknown outcome would pass for one that was never sent.
    """
    pending: list[object] = [error]
    seen: set[int] = set()
    while pending:
        current = pending.pop()
        if not isinstance(current, BaseException) or id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        pending += [*current.args, getattr(current, "reason", None)]
