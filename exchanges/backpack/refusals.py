"""Backpack's refusals → our errors.

The only place that matches the texts of messages. Codes: docs.backpack.exchange (OpenAPI); texts: captures of
other clients, since the exchange documents none.
"""

from __future__ import annotations

import re

from exchanges.backpack.rows import Row, UnreadableAnswer, excerpt, load_json
from exchanges.errors import (
    AuthenticationFailed,
    DuplicateClientOrderId,
    ExchangeError,
    InsufficientFunds,
    OrderNotFound,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Refused,
    RequestExpired,
)

#: (code, pattern in the message) → error class. Empty fits everything; the first that fits counts.
ERRORS: tuple[tuple[str, str, type[Refused]], ...] = (
    ("", "would immediately match", PostOnlyWouldCross),
    ("INSUFFICIENT_FUNDS", "", InsufficientFunds),
    ("INSUFFICIENT_MARGIN", "", InsufficientFunds),
    ("", "request has expired", RequestExpired),
    # "Invalid timestamp: must be within 10 minutes of current time"
    ("", "invalid timestamp", RequestExpired),
    ("INVALID_SIGNATURE", "", AuthenticationFailed),
    ("UNAUTHORIZED", "", AuthenticationFailed),
    ("FORBIDDEN", "", AuthenticationFailed),
    ("", "invalid signature", AuthenticationFailed),
    ("", "invalid x-signature", AuthenticationFailed),
    ("", "invalid x-api-key", AuthenticationFailed),
    ("RESOURCE_NOT_FOUND", "", OrderNotFound),
    ("", "order not found", OrderNotFound),
    # Undocumented: any wording that names the id and says that it is taken.
    ("", r"client ?(order ?)?id.*(already|in use|exists|duplicate)", DuplicateClientOrderId),
    ("", r"duplicate.*client ?(order ?)?id", DuplicateClientOrderId),
)
#: The exchange counts by the minute.
LONGEST_RETRY_AFTER_S = 60.0
#: Codes that do not say whether something happened.
DOUBTFUL_CODES = frozenset({"SERVER_ERROR", "TIMEOUT"})


def refusal(status: int, body: bytes) -> Refused:
    """Return the error for an HTTP 4xx answer, JSON or plain text.

    ``{"code":"INVALID_ORDER","message":"Order would immediately match and take"}``

    A plain-text "404 not found" is an unknown path, so never taken for an order that is not there.
    """
    code, message = _code_and_message(body)
    if status == 404 and not body.strip():
        return OrderNotFound("the exchange refused: not found (HTTP 404)", status=status)
    return _refused(code, message, status)


def is_doubtful(body: bytes) -> bool:
    """Tell whether an error body leaves open what happened."""
    return _code_and_message(body)[0] in DOUBTFUL_CODES


def rate_limited(retry_after: str | None) -> RateLimited:
    """Return the error for HTTP 429; `retry_after` is the header of that name, not seen so far."""
    is_told = retry_after is not None and retry_after.isascii() and retry_after.isdecimal()
    # Not whatever comes: 400 digits are infinite.
    wait_s = min(float(retry_after), LONGEST_RETRY_AFTER_S) if retry_after and is_told else 1.0
    return RateLimited("the exchange says: too many requests", retry_after_s=wait_s)


def batch_item_error(row: Row) -> ExchangeError | None:
    """Return what became of one order of a batch when it was not accepted, else None.

    ``{"operation":"Ok", …order…}`` or
    ``{"operation":"Err","code":"INVALID_ORDER","message":"Order would immediately match and take"}``
    """
    if row.text("operation") == "Ok":
        return None
    code, message = row.words("code"), row.words("message")
    if code in DOUBTFUL_CODES:
        return OutcomeUnknown(f"the exchange says {code}: ask for the client order id")
    if code == "TOO_MANY_REQUESTS":
        return rate_limited(None)
    return _refused(code, message, 0)


def _code_and_message(body: bytes) -> tuple[str, str]:
    try:
        row = Row(load_json(body))
        return row.words("code"), row.words("message")
    except UnreadableAnswer:
        return "", excerpt(body)


def _refused(code: str, message: str, status: int) -> Refused:
    known = [
        error
        for own, pattern, error in ERRORS
        if own in {"", code} and re.search(pattern, message, re.IGNORECASE)
    ]
    error = known[0] if known else AuthenticationFailed if status in {401, 403} else Refused
    where = f" (HTTP {status})" if status else ""
    return error(f"the exchange refused: {code or 'no code'}: {message}{where}", code=code, status=status)
