"""Open the connection to the state server, and check that it may be trusted with money."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import redis

#: An answer that takes longer is given up on.
SOCKET_TIMEOUT_S = 5.0


class StateError(Exception):
    """Base of everything this package raises."""


class StateUnavailable(StateError):
    """Raised when the state server cannot be reached or refuses the password."""


class UnsafeServer(StateError):
    """Raised when the state server may throw keys away, so that trading must not start."""


@dataclass(frozen=True, kw_only=True)
class ServerReport:
    """What the state server says about keeping data."""

    version: str
    maxmemory_policy: str
    #: True when an append-only file is written.
    append_only: bool
    #: True when snapshots are configured.
    snapshots: bool

    @property
    def keeps_everything(self) -> bool:
        """Tell whether the server never evicts keys."""
        return self.maxmemory_policy == "noeviction"

    @property
    def is_persistent(self) -> bool:
        """Tell whether a restart of the server brings the data back."""
        return self.append_only or self.snapshots


def connect(url: str) -> redis.Redis:
    """Return a client for `url`. It connects on first use, and every call is bounded to 5 s."""
    return redis.Redis.from_url(
        url,
        decode_responses=True,
        socket_connect_timeout=2.0,
        socket_timeout=SOCKET_TIMEOUT_S,
        health_check_interval=30,
    )


def server_report(client: redis.Redis) -> ServerReport:
    """Read what matters for safety. Raises `StateUnavailable` when the server does not answer."""
    try:
        info = client.info()
    except redis.AuthenticationError as error:
        raise StateUnavailable(f"the state server refuses the password: {error}") from error
    except redis.RedisError as error:
        raise StateUnavailable(f"the state server does not answer: {error}") from error
    try:
        snapshots = bool(cast("dict[str, str]", client.config_get("save")).get("save"))
    except redis.ResponseError:  # managed servers forbid CONFIG
        snapshots = False
    return ServerReport(
        version=str(info.get("valkey_version") or info.get("redis_version") or "?"),
        maxmemory_policy=str(info.get("maxmemory_policy", "unknown")),
        append_only=bool(int(info.get("aof_enabled", 0))),
        snapshots=snapshots,
    )


def require_safe(client: redis.Redis) -> ServerReport:
    """Return the report, or raise `UnsafeServer` when keys may be evicted."""
    report = server_report(client)
    if not report.keeps_everything:
        raise UnsafeServer(
            f"the state server may evict keys (maxmemory-policy is {report.maxmemory_policy!r}); "
            "set it to 'noeviction' before trading: CONFIG SET maxmemory-policy noeviction"
        )
    return report
