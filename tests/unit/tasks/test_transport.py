"""kombu's transport as we change it: what it may put back, and which URLs lead to it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import redis
from kombu.connection import Connection
from kombu.transport import redis as kombu_redis

import tasks
from tasks.transport import Channel, SentinelChannel, SentinelTransport, Transport, look_for_lost_places


@pytest.mark.parametrize(
    ("url", "transport", "channel"),
    [
        ("redis://h:1/0", Transport, Channel),
        ("rediss://h:1/0", Transport, Channel),
        ("sentinel://h:1", SentinelTransport, SentinelChannel),
    ],
)
def test_every_broker_leads_through_the_look_at_messages(url: str, transport: type, channel: type) -> None:
    assert tasks.app is not None
    connection: Any = Connection(url)  # type: ignore[no-untyped-call]
    found: Any = connection.get_transport_cls()
    assert found is transport
    assert vars(found)["Channel"] is channel


@pytest.mark.parametrize("error", [redis.ConnectionError("NOREPLICAS"), redis.TimeoutError("frozen")])
def test_a_message_that_cannot_be_acknowledged_makes_the_consumer_connect_anew(
    monkeypatch: pytest.MonkeyPatch, error: redis.RedisError
) -> None:
    """Or its place is lost: with as many as there are children the worker is connected and takes nothing."""

    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(kombu_redis.Channel, "basic_ack", fails)
    channel: Any = object.__new__(Channel)
    cycle = SimpleNamespace(_channels=[channel])
    look_for_lost_places(cycle)
    with pytest.raises(type(error)):
        channel.basic_ack("tag")
    with pytest.raises(redis.ConnectionError, match="connecting anew"):
        look_for_lost_places(cycle)


def test_one_client_serves_all_messages_of_a_connection_pool() -> None:
    connection: Any = Connection("redis://127.0.0.1:1/0", transport="tasks.transport:Transport")  # type: ignore[no-untyped-call]
    channel: Any = object.__new__(Channel)
    channel.connection = SimpleNamespace(client=connection)
    first_pool, second_pool = redis.ConnectionPool(), redis.ConnectionPool()
    channel.Client, channel._pool, channel._async_pool = redis.Redis, first_pool, redis.ConnectionPool()
    first = channel._create_client()
    assert channel._create_client() is first
    assert channel._create_client(asynchronous=True) is not first
    # As after the connection was lost.
    channel._pool = second_pool
    assert channel._create_client().connection_pool is second_pool
