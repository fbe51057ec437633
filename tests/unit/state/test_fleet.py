"""All instances at a glance: what is damaged takes nothing else with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
import redis

from state import keys
from state.fleet import Fleet, RunDetails
from state.record import Phase


@pytest.fixture
def fleet(client: redis.Redis) -> Fleet:
    """Four instances that were started; of two nothing can be read."""
    for name, phase in (("a", "running"), ("b", "stopped"), ("odd", "asleep")):
        client.hset(keys.record(name), mapping={"phase": phase, "epoch": "3"})
    client.set(keys.record("text"), "x")
    client.sadd(keys.INSTANCES, "b", "text", "a", "odd", "gone")
    return Fleet(client)


def test_each_record_is_read_and_what_is_damaged_is_told(fleet: Fleet) -> None:
    glance = fleet.glance()
    assert [(name, record.phase, record.epoch) for name, record in glance.records.items()] == [
        ("a", Phase.RUNNING, 3),
        ("b", Phase.STOPPED, 3),
    ]
    assert list(glance.damaged) == ["odd", "text"]
    assert "odd: phase is 'asleep'" in glance.damaged["odd"]
    assert "text: " in glance.damaged["text"]
    assert "WRONGTYPE" in glance.damaged["text"]


def test_nobody_was_ever_started(client: redis.Redis) -> None:
    glance = Fleet(client).glance()
    assert (glance.records, glance.damaged) == ({}, {})


class Pipeline:
    """Answers as a test says, and notes what is asked."""

    def __init__(self, answers: Sequence[object]) -> None:
        self.asked: list[str] = []
        self._answers = answers

    def __getattr__(self, name: str) -> object:
        return lambda *_: self.asked.append(name)

    def execute(self, *, raise_on_error: bool) -> Sequence[object]:
        """Answer."""
        assert not raise_on_error
        return self._answers


def test_milliseconds_are_counted_whole() -> None:
    pipeline = Pipeline([(5, 999_998)])

    class Client:
        def smembers(self, key: str) -> set[str]:
            assert key == keys.INSTANCES
            return set()

        def pipeline(self, *, transaction: bool) -> Pipeline:
            assert not transaction
            return pipeline

    assert Fleet(cast("redis.Redis", Client())).glance().now_ms == 5_999
    assert pipeline.asked == ["time"]


def test_what_is_long_is_read_of_those_that_are_named(client: redis.Redis, fleet: Fleet) -> None:
    long = {"books": "{books}", "order_ids": "1,2", "daily": "{daily}"}
    client.hset(keys.record("a"), mapping=cast("Any", long))
    assert fleet.details(["b", "text", "a", "gone"]) == {
        "b": RunDetails(books_json="", order_ids=()),
        "a": RunDetails(books_json="{books}", order_ids=("1", "2"), daily_json="{daily}"),
        "gone": RunDetails(books_json="", order_ids=()),
    }
    assert RunDetails(books_json="", order_ids=()).daily_json == ""


def test_configurations_are_those_that_can_be_read(client: redis.Redis, fleet: Fleet) -> None:
    client.set(keys.config("a"), "{a}")
    client.set(keys.config("b"), "")
    client.hset(keys.config("text"), "x", "y")
    assert fleet.configs(["a", "b", "text", "gone"]) == {"a": "{a}"}


def test_where_nobody_is_named_nothing_is_asked() -> None:
    fleet = Fleet(cast("redis.Redis", None))
    assert (fleet.details([]), fleet.configs([])) == ({}, {})
