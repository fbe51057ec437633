"""Open the connection to the state server."""

from __future__ import annotations

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

#: An answer that takes longer is given up on.
SOCKET_TIMEOUT_S = 5.0
#: What shows that the state server is away, or another one by now.
AWAY = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)


class StateError(Exception):
    """Base of everything this package raises."""


class StateUnavailable(StateError):
    """Raised when the state server cannot be reached or refuses the password."""


class UnsafeServer(StateError):
    """Raised when the state server may forget what it must not, so that trading must not start."""


def connect_impatiently(url: str, *, timeout_s: float) -> redis.Redis:
    """Return a client for `url` that tries each call once: for those who watch whether it answers."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


def connect(url: str) -> redis.Redis:
    """Return a client for `url`. It connects on first use, and every call is bounded to 5 s."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        # What is no text is then damaged, which its reader tells, instead of an error of every command.
        encoding_errors="replace",
        socket_connect_timeout=2.0,
        socket_timeout=SOCKET_TIMEOUT_S,
        health_check_interval=30,
    )
