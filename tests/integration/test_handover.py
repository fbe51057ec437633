"""What a worker gives back to the broker when it shuts down, on a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from kombu.entity import Queue
from structlog.testing import capture_logs

from cli.stack.valkey import ValkeyServer
from tasks import handover

QUEUE = "iterate"


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Whether the children were told, without telling those of this process's module."""
    told: list[str] = []
    monkeypatch.setattr(handover, "tell_children", lambda: told.append("told"))
    return told


@pytest.fixture
def channel(redis_client: redis.Redis, valkey_server: ValkeyServer, told: list[str]) -> Iterator[Any]:
    """A worker's channel with a queue of five messages."""
    with Celery("test", broker=valkey_server.url, set_as_current=False) as app:
        connection = app.connection_for_read()
        channel = connection.default_channel
        Queue(QUEUE, routing_key=QUEUE)(channel).declare()  # type: ignore[no-untyped-call]
        with app.producer_pool.acquire() as producer:
            for number in range(5):
                producer.publish({"number": number}, routing_key=QUEUE, exchange="")
        yield channel
        connection.release()


def waiting(client: redis.Redis) -> tuple[Any, Any]:
    """Return how many messages are in the queue, and how many are held."""
    return client.llen(QUEUE), client.hlen("unacked")


def test_every_message_that_was_not_begun_is_in_the_queue_again(
    channel: Any, redis_client: redis.Redis, told: list[str]
) -> None:
    held = [channel.basic_get(QUEUE) for _ in range(4)]
    held[0].ack()
    assert waiting(redis_client) == (1, 3)
    handover.hand_over(channel)
    assert waiting(redis_client) == (4, 0)
    assert told == ["told"]


def test_it_goes_back_as_it_came(channel: Any, redis_client: redis.Redis) -> None:
    sent = redis_client.lrange(QUEUE, 0, -1)
    for _ in sent:
        # As Celery does, which makes its request of a message's own headers.
        channel.basic_get(QUEUE).headers["hostname"] = "one@that.ends"
    handover.hand_over(channel)
    assert redis_client.lrange(QUEUE, 0, -1) == sent


def test_what_somebody_else_has_put_back_is_not_doubled(channel: Any, redis_client: redis.Redis) -> None:
    held = [channel.basic_get(QUEUE) for _ in range(3)]
    redis_client.hdel("unacked", held[0].delivery_tag)
    handover.hand_over(channel)
    assert waiting(redis_client) == (4, 0)


def test_what_begins_meanwhile_is_acknowledged_without_harm(channel: Any, redis_client: redis.Redis) -> None:
    message = channel.basic_get(QUEUE)
    handover.hand_over(channel)
    message.ack()
    channel.close()
    assert waiting(redis_client) == (5, 0), "restored once, and not taken back"


def leave_a_request_open(channel: Any) -> None:
    """Ask for messages as a worker does, and consume none any more, as when it ends."""
    channel.basic_consume(QUEUE, no_ack=False, callback=print, consumer_tag="tag")
    channel.client.connection = channel.client.connection_pool.get_connection()
    channel._brpop_start()
    channel.basic_cancel("tag")


def test_the_answer_to_the_request_that_was_open_goes_back_too(
    channel: Any, redis_client: redis.Redis
) -> None:
    redis_client.delete(QUEUE)
    leave_a_request_open(channel)
    with channel.connection.client.Producer(channel=channel) as producer:
        producer.publish({"number": 6}, routing_key=QUEUE, exchange="")
    handover.hand_over(channel)
    assert waiting(redis_client) == (1, 0)


@pytest.mark.parametrize("is_open", [False, True], ids=["", "and a request is open"])
def test_what_is_due_first_is_taken_first(channel: Any, redis_client: redis.Redis, is_open: bool) -> None:
    redis_client.delete(QUEUE)
    due = {"third": "2026-11-26T10:00:03+00:00", "now": None, "first": "2026-11-26T10:00:01.5+00:00"}
    with channel.connection.client.Producer(channel=channel) as producer:
        for name, eta in due.items():
            producer.publish({}, routing_key=QUEUE, exchange="", headers={"eta": eta, "name": name})
    for _ in due:
        channel.basic_get(QUEUE)
    if is_open:
        leave_a_request_open(channel)
    handover.hand_over(channel)
    taken = [channel.basic_get(QUEUE).headers["name"] for _ in due]
    assert taken == ["now", "first", "third"]


def test_it_takes_one_step_whatever_others_take_meanwhile(channel: Any, redis_client: redis.Redis) -> None:
    """Each step of its own waits for a moment in which nobody else takes a message, and for the disk."""
    for _ in range(5):
        channel.basic_get(QUEUE)
    redis_client.config_resetstat()
    handover.hand_over(channel)
    assert waiting(redis_client) == (5, 0)
    done = redis_client.info("commandstats")
    assert done["cmdstat_exec"]["calls"] == 1
    assert "cmdstat_watch" not in done


def test_a_broker_that_is_away_is_told_and_no_error(
    channel: Any, monkeypatch: pytest.MonkeyPatch, told: list[str]
) -> None:
    channel.basic_get(QUEUE)

    def fail(*_: object, **__: object) -> None:
        raise redis.ConnectionError("away")

    monkeypatch.setattr(redis.client.Pipeline, "execute", fail)
    with capture_logs() as lines:
        handover.hand_over(channel)
    assert [line["log_level"] for line in lines] == ["warning"]
    assert told == ["told"]


@pytest.mark.parametrize(
    ("queue", "is_forgotten"), [("iterate", True), ("cleanup", True), ("celeryev.1", False)]
)
def test_what_a_lost_worker_held_is_forgotten_in_time_and_not_put_back(
    channel: Any, redis_client: redis.Redis, queue: str, is_forgotten: bool
) -> None:
    """By any worker, and not by Flower: a sweep has sent it anew long since."""
    lost, held = channel.basic_get(QUEUE), channel.basic_get(QUEUE)
    longest_s = channel.qos.visibility_timeout
    for message, ago_s in ((lost, longest_s + 1), (held, longest_s - 5)):
        redis_client.zadd("unacked_index", {message.delivery_tag: time.time() - ago_s})
    Queue(queue, routing_key=queue)(channel).declare()  # type: ignore[no-untyped-call]
    channel.basic_consume(queue, no_ack=False, callback=print, consumer_tag="tag")
    channel.qos.restore_visible(num=None, interval=10)
    assert waiting(redis_client) == (3, 1 if is_forgotten else 2)
    assert redis_client.zcard("unacked_index") == (1 if is_forgotten else 2)
