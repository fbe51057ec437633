"""Open the connection to the state server."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.exceptions import MasterDownError
from redis.retry import Retry
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from sentinel_url import SENTINEL_TIMEOUT_S, is_sentinel, parse

#: An answer that takes longer is given up on.
SOCKET_TIMEOUT_S = 5.0
#: Likewise where another server may lead meanwhile. Longer than anything that blocks on purpose.
FAILOVER_TIMEOUT_S = 3.0
#: What shows that the state server is away, or another one by now.
AWAY = (redis.ConnectionError, redis.TimeoutError, redis.ReadOnlyError)


class StateError(Exception):
    """Base of everything this package raises."""


class StateUnavailable(StateError):
    """Raised when the state server cannot be reached or refuses the password."""


class UnsafeServer(StateError):
    """Raised when the state server may forget what it must not, so that trading must not start."""


class NotLeading(redis.ConnectionError):
    """Raised when the server must not be written to, since another one leads by now or may soon.

    A connection error to everybody: whoever tries again is led to the right server. Nothing has been done by
    the one that was asked, so a client of ours tries once more by itself.
    """


_REPLICA = (redis.ReadOnlyError, MasterDownError)
#: How answers begin of a server that has lost its replicas, or its lead while somebody waited for it.
_NOT_LEADING = ("NOREPLICAS", "UNBLOCKED")


def connect_impatiently(url: str, *, timeout_s: float) -> redis.Redis:
    """Return a client for `url` that tries each call once: for those who watch whether it answers."""
    return _client(
        url,
        encoding_errors="replace",
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
    )


def connect(url: str) -> redis.Redis:
    """Return a client for `url`. It connects on first use, and every call is bounded: to 5 s, or 3 s."""
    return _client(
        url,
        # What is no text is then damaged, which its reader tells, instead of an error of every command.
        encoding_errors="replace",
        socket_connect_timeout=2.0,
        socket_timeout=FAILOVER_TIMEOUT_S if is_sentinel(url) else SOCKET_TIMEOUT_S,
        health_check_interval=30,
    )


def is_led_by_sentinels(client: redis.Redis) -> bool:
    """Tell whether another server may take the place of the one that `client` talks to."""
    return isinstance(client.connection_pool, SentinelConnectionPool)


def servers_watched(client: redis.Redis) -> int:
    """Return how many servers the Sentinels watch, dead ones among them; 0 where none of them answers."""
    pool = client.connection_pool
    if not isinstance(pool, SentinelConnectionPool):
        return 0
    most = 0
    for sentinel in pool.sentinel_manager.sentinels:
        try:
            told = sentinel.sentinel_masters()
        except redis.RedisError:
            continue
        # One that began a moment ago has not heard of all.
        most = max(most, 1 + int(told.get(pool.service_name, {}).get("num-slaves", -1)))
    return most


def followers(client: redis.Redis) -> tuple[redis.Redis, ...]:
    """Return a client of each server that may take the place of the one that leads, as far as it is up.

    Nothing is connected yet, and each call is tried once.
    """
    pool = client.connection_pool
    if not isinstance(pool, SentinelConnectionPool):
        return ()
    try:
        addresses = pool.sentinel_manager.discover_slaves(pool.service_name)
    except redis.RedisError:
        return ()
    same = ("username", "password", "db", "decode_responses", "encoding_errors")
    options = {
        name: value
        for name, value in pool.connection_kwargs.items()
        if name in same or name.startswith("ssl_")
    }
    is_tls = issubclass(pool.connection_class, redis.SSLConnection)
    return tuple(
        redis.Redis(
            host=host,
            port=port,
            ssl=is_tls,
            socket_timeout=SENTINEL_TIMEOUT_S,
            socket_connect_timeout=SENTINEL_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            **options,
        )
        for host, port in addresses
    )


def _client(url: str, **options: Any) -> redis.Redis:
    if not is_sentinel(url):
        return redis.Redis.from_url(url, decode_responses=True, **options)
    where = parse(url)
    options = {"retry": Retry(NoBackoff(), 1, supported_errors=(NotLeading,)), **options}
    asked = {
        **where.sentinel_options,
        "socket_timeout": SENTINEL_TIMEOUT_S,
        "socket_connect_timeout": SENTINEL_TIMEOUT_S,
        # Tried again by whoever asked, and then by all Sentinels in turn.
        "retry": Retry(NoBackoff(), 0),
    }
    sentinel = Sentinel(list(where.sentinels), sentinel_kwargs=asked)  # type: ignore[no-untyped-call]
    found: redis.Redis = sentinel.master_for(  # type: ignore[no-untyped-call]
        where.master_name,
        connection_class=LeaderTlsConnection if where.is_tls else LeaderConnection,
        db=where.db,
        username=where.username or None,
        password=where.password or None,
        decode_responses=True,
        **where.tls,
        **options,
    )
    return found


class LeaderConnection(SentinelManagedConnection):
    """To whichever server leads: asked for anew whenever the one that led does not any more."""

    def send_packed_command(self, *args: Any, **options: Any) -> None:
        """Send a command. One that is tried once more would go to the same server, by redis-py's own way."""
        if not self._sock:
            self.connect()  # type: ignore[no-untyped-call]
        super().send_packed_command(*args, **options)  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **options: Any) -> Any:
        """Return the answer; one of a server that no longer leads ends this connection."""
        try:
            # Past redis-py's own way with a replica, which does not tell that nothing was done.
            return super(SentinelManagedConnection, self).read_response(*args, **options)
        except redis.ResponseError as error:
            if not str(error).startswith(_NOT_LEADING) and not isinstance(error, _REPLICA):
                raise
            self.disconnect()  # type: ignore[no-untyped-call]
            raise NotLeading(f"the state server leads no longer, or lacks replicas: {error}") from error


class LeaderTlsConnection(LeaderConnection, SentinelManagedSSLConnection):
    """The same with TLS."""
