"""Three servers and three real Sentinels: who leads is followed, what may be forgotten is waited for."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import redis
from kombu.connection import Connection
from redis.sentinel import SentinelConnectionPool

from cli.checks import Level
from cli.checks import server as look_at_server
from cli.stack.processes import StackError
from sentinel_url import parse
from state.connection import NotLeading, UnsafeServer, connect
from state.durability import Keeps, wait_for_replicas, wait_until_kept
from state.scripts import CONFIRM_MS, LUA_DIR, Scripts, Unconfirmed
from state.server import require_safe, server_report
from tasks import transport
from tests.acceptance.command import plain_environ
from tests.acceptance.secured_server import make_certificates, server_with_tls
from tests.acceptance.world import eventually
from tests.conftest import services_required
from tests.sentinels import SentinelHouse

pytestmark = [pytest.mark.services, pytest.mark.slow]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelHouse]:
    """All six, for all tests of this file; each leaves them whole."""
    folder = tmp_path_factory.mktemp("sentinels")
    try:
        found = SentinelHouse(folder / "house", environ=plain_environ(), log_dir=folder / "logs")
    except StackError as error:
        if services_required():
            pytest.fail(str(error))
        pytest.skip(str(error))
    try:
        found.start()
        yield found
    finally:
        found.stop()


@pytest.fixture
def client(house: SentinelHouse) -> Iterator[redis.Redis]:
    house.wait_for(lambda: house.leader() is not None and house.good_replicas() == 2, "whole house")
    with connect(house.url()) as found:
        yield found


def leader(house: SentinelHouse) -> str:
    return eventually(house.leader, what="a leader")


def server_id(client: redis.Redis) -> str:
    part = (LUA_DIR / "parts" / "restart.lua").read_text(encoding="utf-8")
    scripts = Scripts(client, sources={"id": f"{part}\nreturn {{server_id()}}"})
    return str(scripts.call("id", [], [])[0])


def test_the_report_says_what_a_takeover_may_forget(client: redis.Redis) -> None:
    report = require_safe(client, live=True)
    assert report.is_led_by_sentinels
    assert report.keeps is Keeps.EVERYSEC
    assert report.servers == 3
    assert report.takeover_ms(8_000) == 0
    # With more of them, the example's max-lag of 3 s, and two seconds of rounding; a lease if that is longer.
    assert replace(report, servers=5).takeover_ms(1_000) == 5_000
    assert replace(report, servers=5).takeover_ms(8_000) == 8_000


def test_the_doctor_looks_through_the_sentinels(house: SentinelHouse, client: redis.Redis) -> None:
    found = list(look_at_server("state server", house.url()))
    assert [one.level for one in found] == [Level.OK] * 3
    assert "2 replicas" in found[-1].text
    assert "sentinel_password=***" in found[0].text


def test_the_doctor_warns_of_a_fourth_server(
    house: SentinelHouse, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.server.servers_watched", lambda _: 4)
    (found,) = (one for one in look_at_server("state server", house.url()) if one.level is not Level.OK)
    assert (found.level, "4 servers" in found.text) == (Level.WARN, True)
    assert "restart" in found.advice


def test_nothing_live_is_started_where_a_replaced_server_would_go_on(
    house: SentinelHouse, client: redis.Redis
) -> None:
    with house.client(leader(house)) as admin:
        admin.config_set("min-replicas-to-write", 0)
        try:
            with pytest.raises(UnsafeServer, match="min-replicas-to-write 1"):
                require_safe(client, live=True)
            assert replace(server_report(client), max_lag_s=0, min_replicas=1).keeps is Keeps.UNSURE
        finally:
            admin.config_set("min-replicas-to-write", 1)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [("min-replicas-to-write", "0", "min-replicas-to-write 1"), ("maxmemory-policy", "allkeys-lru", "evict")],
)
def test_nor_where_one_that_may_lead_next_would(
    house: SentinelHouse, client: redis.Redis, name: str, value: str, why: str
) -> None:
    follower = next(each for each in house.servers if each != leader(house))
    with house.client(follower) as admin:
        before = admin.config_get(name)[name]
        admin.config_set(name, value)
        try:
            with pytest.raises(UnsafeServer, match=why):
                require_safe(client, live=True)
        finally:
            admin.config_set(name, before)
    require_safe(client, live=True)


def test_a_server_that_may_lead_next_and_is_down_holds_up_nothing(
    house: SentinelHouse, client: redis.Redis
) -> None:
    frozen = next(each for each in house.servers if each != leader(house))
    house.servers[frozen].send(signal.SIGSTOP)
    try:
        assert require_safe(client, live=True).min_replicas == 1
    finally:
        house.servers[frozen].send(signal.SIGCONT)
    eventually(lambda: wait_for_replicas(client), what="the replica to catch up")


def test_what_every_replica_has_is_kept(client: redis.Redis) -> None:
    assert wait_until_kept(client)


def test_what_a_replica_has_not_got_is_not_kept(house: SentinelHouse, client: redis.Redis) -> None:
    frozen = next(name for name in house.servers if name != leader(house))
    house.servers[frozen].send(signal.SIGSTOP)
    try:
        assert not wait_for_replicas(client, timeout_s=0.3)
    finally:
        house.servers[frozen].send(signal.SIGCONT)
    eventually(lambda: wait_for_replicas(client), what="the replica to catch up")


def test_a_permission_counts_once_a_replica_has_confirmed_it(
    house: SentinelHouse, client: redis.Redis
) -> None:
    scripts = Scripts(client, sources={"permit": "return {'ok', redis.call('INCR', KEYS[1])}"})
    client.delete("cleanbook:test")
    one, other = (name for name in house.servers if name != leader(house))
    house.servers[one].send(signal.SIGSTOP)
    try:
        assert scripts.call_confirmed("permit", ["cleanbook:test"], []) == ["ok", 1]
        house.servers[other].send(signal.SIGSTOP)
        with pytest.raises(Unconfirmed):
            scripts.call_confirmed("permit", ["cleanbook:test"], [])
    finally:
        house.servers[one].send(signal.SIGCONT)
        house.servers[other].send(signal.SIGCONT)
    eventually(lambda: wait_for_replicas(client), what="the replicas to catch up")
    # What nobody confirmed has happened all the same.
    assert scripts.call_confirmed("permit", ["cleanbook:test"], []) == ["ok", 3]


def test_a_leader_without_replicas_takes_no_writes_and_permits_nothing(
    house: SentinelHouse, client: redis.Redis
) -> None:
    others = [name for name in house.servers if name != leader(house)]
    for name in others:
        house.servers[name].kill()
    try:
        with pytest.raises(NotLeading, match="NOREPLICAS"):
            client.set("cleanbook:test", 1)
        with pytest.raises(NotLeading, match="NOREPLICAS"):
            client.eval("return redis.call('HINCRBY', KEYS[1], 'a', 1)", 1, "cleanbook:test")
        # Nor does a script of ours that would have written nothing: it may know less than who leads now.
        with pytest.raises(NotLeading, match="NOREPLICAS"):
            Scripts(client, sources={"tell": "return {'stale'}"}).call("tell", [], [])
        assert not wait_for_replicas(client)
    finally:
        for name in others:
            house.servers[name].start()


def test_broker_messages_are_looked_at_before_anybody_parses_them(
    house: SentinelHouse, client: redis.Redis
) -> None:
    where = parse(house.url())
    options = {"master_name": where.master_name, "sentinel_kwargs": where.sentinel_options}
    transport.install()
    client.delete("iterate")
    client.lpush("iterate", "no message at all")
    with Connection(where.bare, transport_options=options) as connection:  # type: ignore[no-untyped-call]
        queue = connection.SimpleQueue("iterate")
        queue.put({"a": 1})
        assert queue.get(timeout=30).payload == {"a": 1}
        assert client.llen("iterate") == 0
        assert isinstance(connection.default_channel.client.connection_pool, SentinelConnectionPool)
    client.delete("iterate", "unacked", "unacked_index")


def test_servers_and_sentinels_may_speak_tls(tmp_path: Path) -> None:
    program, has_tls = server_with_tls()
    if not has_tls:
        pytest.skip("no Redis or Valkey on PATH is built with TLS")
    make_certificates(tmp_path / "tls")
    house = SentinelHouse(
        tmp_path / "house",
        environ=plain_environ(),
        log_dir=tmp_path / "logs",
        program=program,
        tls=tmp_path / "tls",
    )
    try:
        house.start()
        with connect(house.url()) as client:
            assert wait_until_kept(client)
            assert server_report(client).keeps is Keeps.EVERYSEC
        # An authority that nobody here knows.
        unknown = house.url().split("&ssl_ca_certs")[0] + "&ssl=true"
        with pytest.raises(redis.ConnectionError), connect(unknown) as stranger:
            stranger.ping()
    finally:
        house.stop()


def test_a_leader_that_wakes_up_too_late_is_confirmed_and_believed_by_nobody(
    house: SentinelHouse, client: redis.Redis
) -> None:
    first = leader(house)
    client.set("cleanbook:test", "before")
    with house.client(first) as admin, connect(house.url()) as idle:
        tell = Scripts(idle, sources={"tell": "return {redis.call('GET', KEYS[1])}"})
        assert tell.call("tell", ["cleanbook:test"], []) == ["before"]
        connection = admin.connection_pool.get_connection()
        house.servers[first].send(signal.SIGSTOP)
        try:
            # What somebody has asked for and it has not read when it freezes.
            connection.send_command("SET", "cleanbook:test", "too late")
            connection.send_command("WAIT", 1, CONFIRM_MS)
            eventually(lambda: house.leader(least=3) not in {first, None}, what="another server to lead")
            eventually(lambda: _writes(client), what="another server to take writes")
            eventually(lambda: _writes(client, "cleanbook:test", "after"), what="it to have a replica")
        finally:
            house.servers[first].send(signal.SIGCONT)
        answers = [_read(connection) for _ in range(2)]
        assert answers[1] == 0, answers
        eventually(lambda: not _has_replicas(admin), what="the old leader to notice")
        # Over a connection to the old leader, which would know better than to write, and answers nothing.
        assert tell.call("tell", ["cleanbook:test"], []) == ["after"]
    house.wait_for(lambda: house.good_replicas() == 2, "return of the old leader as a replica")


def _writes(client: redis.Redis, key: str = "cleanbook:other", value: str = "1") -> bool:
    try:
        return bool(client.set(key, value))
    except redis.RedisError:
        return False


def _has_replicas(client: redis.Redis) -> bool:
    return bool(int(cast("Mapping[str, Any]", client.info("replication")).get("min_slaves_good_slaves", 0)))


def _read(connection: Any) -> object:
    try:
        return connection.read_response(timeout=10)
    except redis.ResponseError as error:
        return error


def test_a_takeover_is_followed_and_seen_as_another_server(house: SentinelHouse, client: redis.Redis) -> None:
    before, first = server_id(client), leader(house)
    ids = {}
    for name in house.servers:
        with house.client(name) as admin:
            ids[name] = server_id(admin)
    client.set("cleanbook:test", "kept")
    assert wait_until_kept(client)
    house.servers[first].kill()
    try:
        eventually(lambda: _writes(client), what="another server to lead")
        assert client.get("cleanbook:test") == "kept"
        assert leader(house) != first
        assert server_id(client) != before
        # The same process as before, and yet another server to the records: it may lead for the second time.
        assert server_id(client).split(":")[0] == ids[leader(house)].split(":")[0]
        assert server_id(client) != ids[leader(house)]
    finally:
        house.servers[first].start()
    house.wait_for(lambda: house.good_replicas() == 2, "return of the old leader as a replica")
