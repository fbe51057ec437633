"""How the state server is connected to, with Sentinels before it or without; nothing here is reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import redis
from redis.exceptions import MasterDownError
from redis.sentinel import Sentinel, SentinelConnectionPool

from state.connection import (
    LeaderConnection,
    LeaderTlsConnection,
    NotLeading,
    connect,
    connect_impatiently,
    is_led_by_sentinels,
    servers_watched,
)

DIRECT = "redis://:secret@one:7000/2"
LED = "sentinel://me:secret@one:1;sentinel://two/3?master_name=house&sentinel_username=asks"


def impatiently(url: str) -> redis.Redis:
    return connect_impatiently(url, timeout_s=0.25)


def pool_of(client: redis.Redis) -> SentinelConnectionPool:
    """Return where connections to the server that leads come from."""
    pool: object = client.connection_pool
    assert isinstance(pool, SentinelConnectionPool)
    return pool


def sentinels_of(client: redis.Redis) -> Sentinel:
    """Return who is asked which server leads."""
    manager = pool_of(client).sentinel_manager
    assert isinstance(manager, Sentinel)
    return manager


def options_of(client: redis.Redis) -> dict[str, Any]:
    return dict(client.get_connection_kwargs())


@pytest.mark.parametrize("open_client", [connect, impatiently])
@pytest.mark.parametrize("url", [DIRECT, LED])
def test_what_is_no_text_is_read_all_the_same(open_client: Callable[[str], redis.Redis], url: str) -> None:
    assert open_client(url).get_encoder().decode(b"a\xff") == "a\ufffd"  # type: ignore[no-untyped-call]


def test_a_server_is_found_by_its_url() -> None:
    client = connect(DIRECT)
    assert not is_led_by_sentinels(client)
    told = options_of(client)
    assert [told[name] for name in ("host", "port", "db", "password")] == ["one", 7000, 2, "secret"]


@pytest.mark.parametrize("url", [DIRECT, LED])
def test_who_watches_whether_it_answers_tries_once_and_not_for_long(url: str) -> None:
    told = options_of(impatiently(url))
    assert told["retry"].get_retries() == 0
    assert (told["socket_timeout"], told["socket_connect_timeout"]) == (0.25, 0.25)


def test_the_server_that_leads_is_asked_for_by_name() -> None:
    client = connect(LED)
    assert is_led_by_sentinels(client)
    pool, told = pool_of(client), options_of(client)
    assert (pool.service_name, pool.is_master) == ("house", True)
    assert [told[name] for name in ("db", "username", "password")] == [3, "me", "secret"]
    assert pool.connection_class is LeaderConnection


def test_every_sentinel_is_asked_once_under_its_own_name() -> None:
    asked = [options_of(sentinel) for sentinel in sentinels_of(connect(LED)).sentinels]
    assert [(told["host"], told["port"]) for told in asked] == [("one", 1), ("two", 26379)]
    assert options_of(connect(LED))["socket_timeout"] < options_of(connect(DIRECT))["socket_timeout"]
    for told in asked:
        assert (told["username"], told["password"]) == ("asks", None)
        assert told["retry"].get_retries() == 0
        assert told["socket_timeout"] == told["socket_connect_timeout"] < 1


def test_without_names_none_are_said() -> None:
    told = options_of(connect("sentinel://one?master_name=house"))
    assert (told["username"], told["password"]) == (None, None)


def test_tls_is_spoken_to_the_server_and_to_the_sentinels() -> None:
    client = connect("sentinel://one?master_name=house&ssl_ca_certs=/ca.pem")
    assert client.connection_pool.connection_class is LeaderTlsConnection
    assert options_of(client)["ssl_ca_certs"] == "/ca.pem"
    (sentinel,) = sentinels_of(client).sentinels
    assert issubclass(sentinel.connection_pool.connection_class, redis.SSLConnection)
    assert options_of(sentinel)["ssl_ca_certs"] == "/ca.pem"


class Answering(LeaderConnection):
    """A connection to a server that leads, whose answers are a test's; it notes whether it was ended."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        self.ended = False
        self.asked: list[tuple[Any, ...]] = []

        def read(_: object, *args: Any, **options: Any) -> Any:
            self.asked.append((*args, options))
            if isinstance(answer, Exception):
                raise answer
            return answer

        def send(_: object, command: str, **options: Any) -> None:
            self.asked.append((command, options))

        monkeypatch.setattr(redis.Connection, "read_response", read)
        monkeypatch.setattr(redis.Connection, "send_packed_command", send)

    def __del__(self) -> None:
        """There is nothing to be closed."""

    def connect(self) -> None:
        """Note it."""
        self.asked.append(("connected",))

    def disconnect(self, *_: Any) -> None:
        """Note it."""
        self.ended = True


def test_an_answer_is_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Answering(monkeypatch, "OK")
    assert connection.read_response(True, push_request=False) == "OK"
    assert connection.asked == [(True, {"push_request": False})]
    assert not connection.ended


@pytest.mark.parametrize(
    "error",
    [
        redis.ResponseError("NOREPLICAS Not enough good replicas to write."),
        redis.ResponseError("UNBLOCKED force unblock from blocking operation"),
        MasterDownError("Link with MASTER is down"),
        redis.ReadOnlyError("You can't write against a read only replica."),
    ],
)
def test_a_server_that_does_not_lead_any_more_is_left(
    monkeypatch: pytest.MonkeyPatch, error: redis.ResponseError
) -> None:
    connection = Answering(monkeypatch, error)
    with pytest.raises(NotLeading, match=str(error)):
        connection.read_response()
    assert connection.ended


def test_an_error_of_a_command_is_its_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    error = redis.ResponseError("WRONGTYPE not NOREPLICAS")
    connection = Answering(monkeypatch, error)
    with pytest.raises(redis.ResponseError) as raised:
        connection.read_response()
    assert raised.value is error
    assert not connection.ended


@pytest.mark.parametrize("is_open", [False, True])
def test_a_command_is_sent_to_who_leads_by_now(monkeypatch: pytest.MonkeyPatch, is_open: bool) -> None:
    connection = Answering(monkeypatch, "OK")
    connection._sock = cast("Any", "a socket" if is_open else None)
    connection.send_packed_command("PING", check_health=False)
    assert connection.asked == [*([] if is_open else [("connected",)]), ("PING", {"check_health": False})]


def test_what_nobody_has_done_is_tried_once_more() -> None:
    retry = options_of(connect(LED))["retry"]
    assert retry.get_retries() == 1
    calls: list[None] = []

    def fail(error: Exception) -> None:
        calls.append(None)
        raise error

    for error, times in ((NotLeading("a replica"), 2), (redis.TimeoutError("nobody knows"), 1)):
        calls.clear()
        with pytest.raises(type(error)):
            retry.call_with_retry(lambda error=error: fail(error), lambda _: None)
        assert len(calls) == times


def test_a_sentinel_that_is_away_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    client = connect(LED)
    away, there = sentinels_of(client).sentinels

    def fail() -> None:
        raise redis.ConnectionError("away")

    monkeypatch.setattr(away, "sentinel_masters", fail)
    monkeypatch.setattr(there, "sentinel_masters", lambda: {"house": {"num-slaves": "2"}})
    assert servers_watched(client) == 3
