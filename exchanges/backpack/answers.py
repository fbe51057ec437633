"""What an HTTP status means for a request: an answer to read, a refusal, or nothing known."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from exchanges.backpack import parse_market, refusals
from exchanges.backpack.client import BackpackClient, Request, Response
from exchanges.backpack.rows import UnreadableAnswer, excerpt
from exchanges.budget import RequestKind
from exchanges.errors import ExchangeError, OutcomeUnknown, Unavailable

T = TypeVar("T")

#: Rows of a history; a header with more digits tells nothing.
TOTAL_DIGITS = 12


def ask(client: BackpackClient, request: Request) -> Response:
    """Send `request` and return the answer when it is HTTP 200, or, for writes, 202 ("accepted").

    Raises:
        Refused: HTTP 4xx: nothing happened.
        RateLimited: HTTP 429 or our own budget: nothing happened.
        Unavailable: nothing happened, or a read got no usable answer.
        OutcomeUnknown: a write may have happened: no answer, 5xx, or one that no protocol knows.
    """
    answer = client.send(request)
    status = answer.status
    if status == 200 or (status == 202 and request.kind is not RequestKind.READ):
        return answer
    if status == 429:
        raise refusals.rate_limited(answer.headers.get("retry-after"))
    # 408 is a gateway's: it does not tell how far the request had got.
    if 400 <= status < 500 and status != 408 and not refusals.is_doubtful(answer.body):
        raise refusals.refusal(status, answer.body)
    raise unclear(request, f"HTTP {status}: {excerpt(answer.body)}")


def read(parser: Callable[[bytes], T], answer: Response) -> T:
    """Return what `parser` makes of the answer to a read; `Unavailable` when it makes nothing of it."""
    try:
        return parser(answer.body)
    except UnreadableAnswer as error:
        raise Unavailable(f"the exchange's answer is unreadable: {error}") from error


def unclear(request: Request, what: str) -> ExchangeError:
    """Return the error for a request whose answer says nothing about what happened."""
    if request.kind is RequestKind.READ:
        return Unavailable(f"{request.name}: {what}")
    return OutcomeUnknown(f"{request.name}: {what}: look at the exchange before doing it again")


def server_time_ms(client: BackpackClient) -> int:
    """Ask the exchange for its clock, ms since the epoch. Raises like every read."""
    request = Request(method="GET", path="/api/v1/time", kind=RequestKind.READ, payload={})
    return read(parse_market.server_time_ms, ask(client, request))


def is_last_page(answer: Response, *, seen: int, rows: int, page_rows: int) -> bool:
    """Tell whether a history ends with this page, which has `rows` rows and makes it `seen` so far.

    By the header ``X-Total`` where there is one; without it a page that is not full is the last.
    """
    total = answer.headers.get("x-total", "")
    if total.isascii() and total.isdecimal() and len(total) <= TOTAL_DIGITS:
        return rows == 0 or seen >= int(total)
    return rows < page_rows
