"""What can go wrong at an exchange, told apart by what is known to have happened.

::

    ExchangeError
    +-- Refused                nothing happened: the exchange said no
    |   +-- PostOnlyWouldCross     the price would take at once
    |   +-- InsufficientFunds      balance or margin does not cover it
    |   +-- DuplicateClientOrderId an open order has this client order id
    |   +-- OrderNotFound          no such resting order
    |   +-- RequestExpired         it arrived after its window: it will never be accepted
    |   +-- AuthenticationFailed   key or signature not accepted
    +-- RateLimited            nothing happened: too many requests
    +-- Unavailable            nothing happened, or a read failed: exchange or network is down
    +-- OutcomeUnknown         a write may or may not have happened
    +-- StreamError            a stream of events tells nothing more
        +-- StreamClosed           its connection has ended, or could not be opened
"""

from __future__ import annotations


class ExchangeError(Exception):
    """Base of everything an adapter raises."""


class Refused(ExchangeError):
    """Raised when the exchange refused a request; it changed nothing."""

    def __init__(self, message: str, *, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        #: The exchange's own error code, empty when it sent plain text.
        self.code = code
        #: HTTP status, 0 for an item of a batch.
        self.status = status


class PostOnlyWouldCross(Refused):
    """Raised when a post-only order would have traded at once."""


class InsufficientFunds(Refused):
    """Raised when balance or margin does not cover an order."""


class DuplicateClientOrderId(Refused):
    """Raised when an open order already carries the client order id."""


class OrderNotFound(Refused):
    """Raised when no resting order has the given id."""


class RequestExpired(Refused):
    """Raised when a request arrived after its window; it can never be accepted later."""


class AuthenticationFailed(Refused):
    """Raised when the key is unknown or the signature does not fit."""


class RateLimited(ExchangeError):
    """Raised when too many requests were made; nothing happened."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(ExchangeError):
    """Raised when the exchange cannot be reached or a read got no answer."""


class OutcomeUnknown(ExchangeError):
    """Raised when a write was sent and nobody knows whether it took effect."""


class StreamError(ExchangeError):
    """Raised when a stream of events cannot go on; what happens meanwhile is not told later."""


class StreamClosed(StreamError):
    """Raised when the connection of a stream has ended, or could not be opened."""
