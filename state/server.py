"""What the state server says about itself, and whether it may be trusted with money."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis
from redis.exceptions import NoPermissionError

from state.connection import StateUnavailable, UnsafeServer, followers, is_led_by_sentinels, servers_watched
from state.durability import Keeps, is_first_file_unfinished
from wording import joined, said

#: Redis 6.2 (any Valkey): `ZRANGE` by score. Before 5 a script that reads the time could not write.
LEAST_VERSION = (6, 2)
#: From 7 on a script, too, is refused its writes while replicas are missing.
LEAST_VERSION_WITH_SENTINELS = (7, 0)
#: With so many, any replica that confirms a permission, and any that another leader needs to write, are one.
MOST_SERVERS_IN_STEP = 3
#: The server's own default of `min-replicas-max-lag`, for one that does not tell.
DEFAULT_MAX_LAG_S = 10

NO_EVICTION = "noeviction"
#: What matters of whichever server leads.
OF_EACH_SERVER = ("min-replicas-to-write", "min-replicas-max-lag", "maxmemory-policy")

#: What the scripts need beyond reading and writing keys, tried once.
_PROBE = """
redis.call('TIME')
return string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
"""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something about a server that nothing may be started on."""

    text: str
    advice: str


@dataclass(frozen=True, kw_only=True)
class ServerReport:
    """What the state server says about itself."""

    #: As the server calls it, Valkey's own where it is one.
    version: str
    #: The version of Redis that it speaks as.
    redis_version: tuple[int, ...]
    maxmemory_policy: str
    #: True when an append-only file is written.
    append_only: bool
    #: The ``appendfsync`` policy; empty where the server does not tell.
    fsync: str
    #: True: while it rewrites its file it does not force what is new to the disk.
    pauses_fsync: bool
    #: True: its append-only file was turned on just now, and a restart would not load it yet.
    file_unfinished: bool = False
    #: True when snapshots are configured; None where the server does not tell.
    snapshots: bool | None
    is_replica: bool
    replicas: int
    is_cluster: bool
    #: Why a script of ours cannot run, empty when it can.
    script_problem: str = ""
    #: Sentinels may let another server take its place.
    is_led_by_sentinels: bool = False
    #: How many servers Sentinels watch; 0: nobody tells.
    servers: int = 0
    #: Without so many replicas that keep up it takes no writes (`min-replicas-to-write`); None: not told.
    #: Here and below: of all servers that may lead, what is worst.
    min_replicas: int | None = None
    #: A replica keeps up as long as it was heard of so recently (`min-replicas-max-lag`).
    max_lag_s: int = DEFAULT_MAX_LAG_S
    #: `CLEANBOOK_STATE_DURABILITY`: what whoever runs it vouches for, empty for nothing.
    vouched: str = ""

    @property
    def keeps_everything(self) -> bool:
        """Tell whether the server never evicts keys."""
        return self.maxmemory_policy == NO_EVICTION

    @property
    def keeps(self) -> Keeps:
        """Return what it still knows after a crash."""
        if self.vouched:
            return Keeps(self.vouched)
        if not self.append_only or self.file_unfinished or self.fsync == "no" or self.pauses_fsync:
            return Keeps.UNSURE
        if self.may_lead_unnoticed:
            return Keeps.UNSURE
        # A replica that takes over lacks what had not reached it yet, whatever was on this one's disk.
        may_be_replaced = self.replicas or self.is_led_by_sentinels
        return Keeps.ALWAYS if self.fsync == "always" and not may_be_replaced else Keeps.EVERYSEC

    @property
    def may_lead_unnoticed(self) -> bool:
        """Tell whether it would go on for ever after Sentinels have let another server take its place."""
        return self.is_led_by_sentinels and 0 in {self.min_replicas, self.max_lag_s}

    def takeover_ms(self, longest_lease_ms: int) -> int:
        """Return for how long a server that was replaced may still let somebody send orders, at most, ms.

        With three servers not at all: a permission counts once a replica has confirmed it
        (`Scripts.call_confirmed`), and whoever takes over writes nothing before one of the same two follows.
        With more of them, one that is cut off may keep a replica, until it misses that: it looks once a
        second and counts in whole seconds. One that was frozen and wakes up: to who held a lease before.
        """
        if not self.is_led_by_sentinels:
            return 0
        if self.min_replicas and 0 < self.servers <= MOST_SERVERS_IN_STEP:
            return 0
        return max((self.max_lag_s + 2) * 1000, longest_lease_ms)

    @property
    def why_unsure(self) -> str:
        """Return why nobody can tell what it keeps, for `Keeps.UNSURE`."""
        if self.vouched:
            return said("it is said to forget (CLEANBOOK_STATE_DURABILITY=unsure)")
        if not self.append_only:
            return (
                said("it writes snapshots only") if self.snapshots else said("it writes no append-only file")
            )
        if self.file_unfinished:
            return said("its append-only file, turned on while it ran, is not complete yet")
        if self.fsync == "no":
            return said("its append-only file is never forced to the disk (appendfsync no)")
        if self.pauses_fsync:
            return said(
                "it forces nothing to the disk while it rewrites its file (no-appendfsync-on-rewrite yes)"
            )
        return said(
            "replaced by another server and cut off from it, it would go on (min-replicas-to-write 0)"
        )

    @property
    def advice_if_unsure(self) -> str:
        """Return what to do about it."""
        if self.may_lead_unnoticed and self.append_only:
            return said(
                "CONFIG SET min-replicas-to-write 1 and CONFIG SET min-replicas-max-lag 3, on every server"
            )
        return said("CONFIG SET appendonly yes and CONFIG SET appendfsync always")

    def faults(self) -> Iterator[Fault]:
        """Return what keeps every instance from being started on it."""
        if self.is_cluster:
            yield Fault(
                text=said("it is a Redis Cluster; the scripts touch keys of all instances together"),
                advice=said("use one server without cluster mode (docs/decisions/0010-one-server.md)"),
            )
        if self.is_replica:
            yield Fault(
                text=said("it is a replica, which takes no writes of its own"),
                advice=said("set STATE_URL (or BROKER_URL) to the primary"),
            )
        if self.is_led_by_sentinels and self.redis_version < LEAST_VERSION_WITH_SENTINELS:
            yield Fault(
                text=said(
                    "version {version}: its scripts write whatever min-replicas-to-write says",
                    version=self.version,
                ),
                advice=said("with Sentinels use Valkey, or Redis 7 or later"),
            )
        if self.redis_version < LEAST_VERSION:
            yield Fault(
                text=said("version {version} is too old", version=self.version),
                advice=said("use Valkey, or Redis 6.2 or later"),
            )
        if self.maxmemory_policy != NO_EVICTION:
            text = said(
                "maxmemory-policy {maxmemory_policy}: a full server would throw away stop requests",
                maxmemory_policy=self.maxmemory_policy,
            )
            yield Fault(text=text, advice="CONFIG SET maxmemory-policy noeviction")
        if self.script_problem:
            yield Fault(
                text=said("the scripts cannot run: {script_problem}", script_problem=self.script_problem),
                advice=said(
                    "let the user run scripts, TIME and INFO: ACL SETUSER ... +@scripting +time +info"
                ),
            )


def server_report(client: redis.Redis, *, vouched: str = "") -> ServerReport:
    """Read what matters for safety. Raises `StateUnavailable` when the server does not answer."""
    try:
        info = cast("Mapping[str, Any]", client.info())
        script_problem = _script_problem(client)
    except redis.AuthenticationError as error:
        raise StateUnavailable(said("the state server refuses the password: {error}", error=error)) from error
    except NoPermissionError as error:
        raise UnsafeServer(
            said("{error}; the user of the state server must be allowed to run INFO", error=error)
        ) from error
    except redis.RedisError as error:
        raise StateUnavailable(said("the state server does not answer: {error}", error=error)) from error
    redis_version = str(info.get("redis_version", "0"))
    snapshots = _setting(client, "save")
    told = _told_by_all(client)
    min_replicas, max_lags_s = (_numbers_in(told[name]) for name in OF_EACH_SERVER[:2])
    policies = [str(info.get("maxmemory_policy", "unknown")), *told["maxmemory-policy"]]
    return ServerReport(
        version=str(info.get("valkey_version") or redis_version),
        redis_version=_numbers(redis_version),
        maxmemory_policy=next((policy for policy in policies if policy != NO_EVICTION), NO_EVICTION),
        append_only=bool(int(info.get("aof_enabled", 0))),
        file_unfinished=is_first_file_unfinished(info),
        fsync=_setting(client, "appendfsync") or "",
        pauses_fsync=_setting(client, "no-appendfsync-on-rewrite") == "yes",
        snapshots=None if snapshots is None else bool(snapshots),
        is_replica=info.get("role") in {"slave", "replica"},
        replicas=int(info.get("connected_slaves", 0)),
        is_cluster=bool(int(info.get("cluster_enabled", 0))),
        is_led_by_sentinels=is_led_by_sentinels(client),
        servers=servers_watched(client),
        min_replicas=min(min_replicas, default=None),
        # 0 is none at all, which is for ever.
        max_lag_s=0 if 0 in max_lags_s else max(max_lags_s, default=DEFAULT_MAX_LAG_S),
        script_problem=script_problem,
        vouched=vouched,
    )


def require_safe(client: redis.Redis, *, live: bool = False, vouched: str = "") -> ServerReport:
    """Return the report of a server that an instance may be started on.

    A `live` one needs a server that forgets nothing, or at most its last second: otherwise a crash of
    it could take back a stop that was called clean. Raises `UnsafeServer`, `StateUnavailable`.
    """
    report = server_report(client, vouched=vouched)
    faults = tuple(report.faults())
    if faults:
        found = joined(said("{text} -> {advice}", text=fault.text, advice=fault.advice) for fault in faults)
        raise UnsafeServer(said("the state server must not be traded on: {found}", found=found))
    if live and report.keeps is Keeps.UNSURE and not report.vouched:
        raise UnsafeServer(
            said(
                "the state server could take back a stop that was called clean: {why_unsure}. "
                "{advice_if_unsure}; where it is known to forget nothing, vouch for it: "
                "CLEANBOOK_STATE_DURABILITY=always; to trade all the same: =unsure",
                why_unsure=report.why_unsure,
                advice_if_unsure=report.advice_if_unsure,
            )
        )
    return report


def _told_by_all(client: redis.Redis) -> dict[str, list[str]]:
    """Return what the server that leads, and each that may lead next, tells of those settings, by name.

    Those have their own, and one that was never made shows only when they lead.
    """
    told = {name: [_setting(client, name)] for name in OF_EACH_SERVER}
    for follower in followers(client):
        with follower:
            try:
                for name in OF_EACH_SERVER:
                    told[name].append(_setting(follower, name))
            except redis.RedisError:
                continue  # it may be down: that is what the others are for
    return {name: [value for value in values if value is not None] for name, values in told.items()}


def _script_problem(client: redis.Redis) -> str:
    try:
        return "" if client.eval(_PROBE, 0) else "INFO does not tell which process of the server answers"
    except (NoPermissionError, redis.ResponseError) as error:
        return str(error)


def _setting(client: redis.Redis, name: str) -> str | None:
    """Return a setting of the server; None where it does not tell: managed servers forbid `CONFIG`."""
    try:
        found = cast("Mapping[str, str]", client.config_get(name))
    except redis.ResponseError:
        return None
    return found.get(name)


def _numbers_in(texts: Sequence[str]) -> list[int]:
    return [int(text) for text in texts if text.isdecimal()]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
