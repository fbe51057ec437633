"""What is made of what a server says about itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest
import redis
from redis.exceptions import NoPermissionError

from state import server
from state.connection import StateUnavailable, UnsafeServer
from state.durability import Keeps
from state.server import DEFAULT_MAX_LAG_S, ServerReport, require_safe, server_report

GOOD = ServerReport(
    version="9.1.0",
    redis_version=(7, 2, 4),
    maxmemory_policy="noeviction",
    append_only=True,
    fsync="always",
    pauses_fsync=False,
    snapshots=True,
    is_replica=False,
    replicas=0,
    is_cluster=False,
    min_replicas=0,
)
INFO: dict[str, Any] = {
    "valkey_version": "9.1.0",
    "redis_version": "7.2.4",
    "maxmemory_policy": "noeviction",
    "aof_enabled": 1,
    "aof_base_size": 5,
    "role": "master",
    "connected_slaves": 0,
    "cluster_enabled": 0,
}
SETTINGS = {
    "save": "3600 1",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "min-replicas-to-write": "0",
    "min-replicas-max-lag": "10",
}


class Client:
    """Answers what a test says; an exception is raised."""

    def __init__(
        self, info: Any = None, settings: dict[str, str] | None = None, probe: Any = "run", asked: Any = None
    ) -> None:
        self._info = INFO if info is None else info
        self._settings = SETTINGS if settings is None else settings
        self._probe = probe
        #: What a question for a setting raises.
        self._asked = asked
        #: Those that may lead next.
        self.others: tuple[Client, ...] = ()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def info(self) -> Any:
        """Answer."""
        return _said(self._info)

    def eval(self, _: str, keys: int) -> Any:
        """Answer."""
        assert keys == 0
        return _said(self._probe)

    def config_get(self, name: str) -> Any:
        """Answer."""
        _said(self._asked)
        return {name: self._settings[name]} if name in self._settings else {}


def _said(what: Any) -> Any:
    if isinstance(what, Exception):
        raise what
    return what


@pytest.fixture(autouse=True)
def sentinels(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether Sentinels lead: the last word counts."""
    said = [False]
    monkeypatch.setattr(server, "is_led_by_sentinels", lambda _: said[-1])
    monkeypatch.setattr(server, "servers_watched", lambda _: 3 if said[-1] else 0)
    monkeypatch.setattr(server, "followers", lambda client: client.others)
    return said


def report(**told: Any) -> ServerReport:
    return server_report(cast("redis.Redis", Client(**told)))


def test_a_good_server_is_read_whole() -> None:
    assert report() == GOOD
    assert list(GOOD.faults()) == []
    assert (GOOD.max_lag_s, GOOD.script_problem, GOOD.vouched) == (DEFAULT_MAX_LAG_S, "", "")
    needed = {name: getattr(GOOD, name) for name in list(ServerReport.__dataclass_fields__)[:6]}
    by_default = ServerReport(**needed, snapshots=None, is_replica=False, replicas=0, is_cluster=False)
    assert (by_default.file_unfinished, by_default.is_led_by_sentinels) == (False, False)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"valkey_version": ""}, {"version": "7.2.4"}),
        ({"redis_version": "6.x.3"}, {"redis_version": (6, 3)}),
        ({"aof_enabled": 0}, {"append_only": False}),
        ({"aof_base_size": 0, "aof_rewrite_in_progress": 1}, {"file_unfinished": True}),
        ({"role": "slave"}, {"is_replica": True}),
        ({"role": "replica"}, {"is_replica": True}),
        ({"connected_slaves": 2}, {"replicas": 2}),
        ({"cluster_enabled": 1}, {"is_cluster": True}),
        ({"maxmemory_policy": "allkeys-lru"}, {"maxmemory_policy": "allkeys-lru"}),
    ],
)
def test_each_of_its_words_counts(info: dict[str, Any], expected: dict[str, Any]) -> None:
    assert report(info=INFO | info) == replace(GOOD, **expected)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"save": ""}, {"snapshots": False}),
        ({"appendfsync": "everysec"}, {"fsync": "everysec"}),
        ({"no-appendfsync-on-rewrite": "yes"}, {"pauses_fsync": True}),
        ({"min-replicas-to-write": "1"}, {"min_replicas": 1}),
        ({"min-replicas-max-lag": "3"}, {"max_lag_s": 3}),
        ({"min-replicas-max-lag": "0"}, {"max_lag_s": 0}),
        ({"min-replicas-to-write": "-1"}, {"min_replicas": None}),
    ],
)
def test_each_of_its_settings_counts(settings: dict[str, str], expected: dict[str, Any]) -> None:
    assert report(settings=SETTINGS | settings) == replace(GOOD, **expected)


@pytest.mark.parametrize("told", [{"settings": {}}, {"asked": redis.ResponseError("unknown command")}])
def test_what_it_does_not_tell_is_not_known(told: dict[str, Any]) -> None:
    assert report(**told) == replace(GOOD, fsync="", snapshots=None, min_replicas=None)


def test_one_that_says_nothing_is_trusted_with_nothing() -> None:
    nothing = report(info={}, settings={})
    assert (nothing.version, nothing.redis_version, nothing.maxmemory_policy) == ("0", (0,), "unknown")
    assert (nothing.append_only, nothing.is_replica, nothing.replicas, nothing.is_cluster) == (
        *(False, False, 0, False),
    )


def test_sentinels_are_told_of(sentinels: list[bool]) -> None:
    sentinels.append(True)
    assert report() == replace(GOOD, is_led_by_sentinels=True, servers=3, min_replicas=0)


@pytest.mark.parametrize(
    ("others", "worst"),
    [
        ([{"min-replicas-to-write": "2", "min-replicas-max-lag": "10"}], (1, 10, "noeviction")),
        ([{"min-replicas-to-write": "0"}, {}], (0, 3, "noeviction")),
        ([{"min-replicas-max-lag": "0"}, {"min-replicas-max-lag": "10"}], (1, 0, "noeviction")),
        (
            [{}, {"maxmemory-policy": "noeviction"}, {"maxmemory-policy": "volatile-lru"}],
            (1, 3, "volatile-lru"),
        ),
        ([redis.ConnectionError("down"), {"min-replicas-to-write": "0"}], (0, 3, "noeviction")),
        ([redis.ResponseError("unknown command")], (1, 3, "noeviction")),
    ],
)
def test_of_all_that_may_lead_the_worst_counts(others: list[Any], worst: tuple[int, int, str]) -> None:
    client = Client(settings=SETTINGS | {"min-replicas-to-write": "1", "min-replicas-max-lag": "3"})
    client.others = tuple(
        Client(asked=told) if isinstance(told, Exception) else Client(settings=told) for told in others
    )
    found = server_report(cast("redis.Redis", client))
    assert (found.min_replicas, found.max_lag_s, found.maxmemory_policy) == worst


@pytest.mark.parametrize(
    ("probe", "problem"),
    [
        ("", "INFO does not tell which process"),
        (NoPermissionError("no scripts"), "no scripts"),
        (redis.ResponseError("no TIME"), "no TIME"),
    ],
)
def test_scripts_that_cannot_run_are_told_of(probe: Any, problem: str) -> None:
    found = report(probe=probe)
    assert problem in found.script_problem
    assert [fault.text for fault in found.faults()] == [f"the scripts cannot run: {found.script_problem}"]


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (redis.AuthenticationError("wrong"), StateUnavailable, "refuses the password: wrong"),
        (NoPermissionError("no INFO"), UnsafeServer, "no INFO; the user of the state server"),
        (redis.ConnectionError("away"), StateUnavailable, "does not answer: away"),
    ],
)
def test_one_that_cannot_be_asked_is_told_of(error: Exception, kind: type[Exception], text: str) -> None:
    with pytest.raises(kind, match=text):
        report(info=error)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"is_cluster": True}, "Redis Cluster"),
        ({"is_replica": True}, "replica"),
        ({"redis_version": (6, 1, 9)}, "too old"),
        ({"is_led_by_sentinels": True, "redis_version": (6, 2)}, "its scripts write whatever"),
        ({"maxmemory_policy": "allkeys-lru"}, "maxmemory-policy allkeys-lru"),
        ({"script_problem": "x"}, "the scripts cannot run: x"),
    ],
)
def test_each_fault_is_named_alone(changes: dict[str, Any], fault: str) -> None:
    (found,) = replace(GOOD, **changes).faults()
    assert fault in found.text
    assert found.advice


@pytest.mark.parametrize(
    "changes", [{"redis_version": (6, 2)}, {"is_led_by_sentinels": True, "redis_version": (7, 0)}]
)
def test_the_least_versions_will_do(changes: dict[str, Any]) -> None:
    assert list(replace(GOOD, **changes).faults()) == []


def test_eviction_is_seen() -> None:
    assert GOOD.keeps_everything
    assert not replace(GOOD, maxmemory_policy="allkeys-lru").keeps_everything


SENTINEL = {"is_led_by_sentinels": True, "min_replicas": 1}
NO_FILE = {"append_only": False}


@pytest.mark.parametrize(
    ("changes", "keeps", "why"),
    [
        ({}, Keeps.ALWAYS, None),
        ({"fsync": "everysec"}, Keeps.EVERYSEC, None),
        ({"fsync": ""}, Keeps.EVERYSEC, None),
        ({"replicas": 1}, Keeps.EVERYSEC, None),
        (SENTINEL, Keeps.EVERYSEC, None),
        (SENTINEL | {"min_replicas": None}, Keeps.EVERYSEC, None),
        (SENTINEL | {"min_replicas": 0}, Keeps.UNSURE, "min-replicas-to-write 0"),
        (SENTINEL | {"max_lag_s": 0}, Keeps.UNSURE, "min-replicas-to-write 0"),
        (NO_FILE, Keeps.UNSURE, "snapshots only"),
        (NO_FILE | {"snapshots": False}, Keeps.UNSURE, "no append-only file"),
        (NO_FILE | {"snapshots": None}, Keeps.UNSURE, "no append-only file"),
        ({"file_unfinished": True}, Keeps.UNSURE, "not complete yet"),
        ({"fsync": "no"}, Keeps.UNSURE, "appendfsync no"),
        ({"pauses_fsync": True}, Keeps.UNSURE, "while it rewrites"),
        (NO_FILE | {"vouched": "always"}, Keeps.ALWAYS, None),
        ({"vouched": "unsure"}, Keeps.UNSURE, "it is said to forget"),
    ],
)
def test_what_it_keeps_follows_from_all_of_it(changes: dict[str, Any], keeps: Keeps, why: str | None) -> None:
    found = replace(GOOD, **changes)
    assert found.keeps is keeps
    if why is not None:
        assert why in found.why_unsure


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        (NO_FILE, "appendonly yes"),
        (SENTINEL | {"min_replicas": 0}, "min-replicas-to-write 1"),
        (SENTINEL | {"min_replicas": 0} | NO_FILE, "appendonly yes"),
    ],
)
def test_what_to_do_about_it_is_said(changes: dict[str, Any], advice: str) -> None:
    assert advice in replace(GOOD, **changes).advice_if_unsure


@pytest.mark.parametrize(
    ("changes", "lease_ms", "takeover_ms"),
    [
        ({}, 5_000, 0),
        (SENTINEL, 5_000, 12_000),
        (SENTINEL, 13_000, 13_000),
        (SENTINEL | {"max_lag_s": 3}, 1, 5_000),
        # Three in step: what one permits a replica confirms, and another needs that replica to write.
        (SENTINEL | {"servers": 3}, 13_000, 0),
        (SENTINEL | {"servers": 2}, 13_000, 0),
        (SENTINEL | {"servers": 1}, 13_000, 0),
        (SENTINEL | {"servers": 4}, 13_000, 13_000),
        (SENTINEL | {"servers": 3, "min_replicas": 0}, 13_000, 13_000),
        (SENTINEL | {"servers": 3, "min_replicas": None}, 13_000, 13_000),
    ],
)
def test_one_that_was_replaced_is_waited_out(
    changes: dict[str, Any], lease_ms: int, takeover_ms: int
) -> None:
    assert replace(GOOD, **changes).takeover_ms(lease_ms) == takeover_ms


class TestRequireSafe:
    def require(self, *, live: bool = False, vouched: str = "", **told: Any) -> ServerReport:
        return require_safe(cast("redis.Redis", Client(**told)), live=live, vouched=vouched)

    @pytest.mark.parametrize("live", [False, True])
    def test_a_good_one_is(self, live: bool) -> None:
        assert self.require(live=live) == GOOD

    def test_every_fault_stands_in_the_way(self) -> None:
        info = INFO | {"role": "slave", "cluster_enabled": 1}
        with pytest.raises(UnsafeServer, match=r"Cluster.* -> use one server.*; it is a replica.* -> set"):
            self.require(info=info)

    def test_real_money_needs_one_that_keeps(self) -> None:
        info = INFO | {"aof_enabled": 0}
        assert require_safe(cast("redis.Redis", Client(info=info))).keeps is Keeps.UNSURE
        with pytest.raises(UnsafeServer, match=r"snapshots only\. CONFIG SET appendonly yes"):
            self.require(info=info, live=True)
        for vouched in ("always", "unsure"):
            assert self.require(info=info, live=True, vouched=vouched).keeps == vouched
