"""What is handed to the scripts of starts and stops, and what is read of instances."""

from __future__ import annotations

from typing import Any, cast

import pytest
import redis

from state import instances, keys
from state.bookings import MOST_WAITING
from state.client_ids import intent_field
from state.durability import Keeps
from state.instances import (
    LONGEST_REACH_MS,
    Failed,
    Instances,
    RunData,
    StartResult,
    StopResult,
    new_restart_mark,
)
from state.record import Phase, RecordUnreadable
from state.scripts import Reply, Scripts
from state.stop_policy import StopPolicy
from state.stop_story import AcceptedLeft
from tests.factories import client_order_id
from tests.unit.state.told_scripts import Told

NAME = "mm"


def of(told: Told, client: Any = None) -> Instances:
    return Instances(cast("redis.Redis", client), cast("Scripts", told))


START: dict[str, Any] = {"config_version": "v", "config_json": "{}", "slot": 9, "account": "acc", "by": "me"}


def test_a_start_has_careful_defaults() -> None:
    told = Told(["started", 2, 5])
    result = of(told).start(NAME, **START)
    assert (result, result.started) == (StartResult(result="started", epoch=2), True)
    names = [
        *(keys.record(NAME), keys.stop(NAME), keys.config(NAME), keys.released(NAME), keys.DUE, keys.EVENTS),
        *(keys.WAKE, keys.INSTANCES, keys.intents(NAME), keys.BOOKINGS),
    ]
    arguments: list[str | int] = [
        *(NAME, "v", "{}", 9, "acc", "", "me", Keeps.UNSURE, LONGEST_REACH_MS, MOST_WAITING, "", 0, ""),
    ]
    assert told.asked == [("start", names, arguments)]


def test_a_start_says_what_is_accepted() -> None:
    told = Told(["changed", 2])
    accept = AcceptedLeft(epoch=2, left="1,2", booking="b")
    result = of(told).start(
        NAME, **START, accept=accept, keeps=Keeps.ALWAYS, reach_ms=3, least_epoch=4, restart="mark"
    )
    assert (result, result.started) == (StartResult(result="changed", epoch=2), False)
    assert told.asked[0][2][5:] == ["2:1,2", "me", Keeps.ALWAYS, 3, MOST_WAITING, "b", 4, "mark"]


STOP: dict[str, Any] = {"by": "me", "reason": "tea", "policy": StopPolicy(unwind=True)}


@pytest.mark.parametrize("more", [{}, {"epoch": 3, "restart": "mark"}])
def test_a_stop_is_of_any_run_or_of_one(more: dict[str, Any]) -> None:
    told = Told(["stopping", 2, 5])
    assert of(told).request_stop(NAME, **STOP, **more) == StopResult(result="stopping", epoch=2, at_ms=5)
    names = [keys.record(NAME), keys.stop(NAME), keys.DUE, keys.EVENTS, keys.WAKE]
    arguments: list[str | int] = [
        *(NAME, more.get("epoch", 0), "me", "tea", StopPolicy(unwind=True).to_json()),
        more.get("restart", ""),
    ]
    assert told.asked == [("request_stop", names, arguments)]


def test_a_stop_of_a_damaged_record_fails_it_first() -> None:
    told = Told(["damaged", 0, 0], ["failed", 2, "why"], ["failed", 2, 5])
    assert of(told).request_stop(NAME, **STOP) == StopResult(result="failed", epoch=2, at_ms=5)
    assert [script for script, *_ in told.asked] == ["request_stop", "fail", "request_stop"]
    assert told.asked[0] == told.asked[2]


@pytest.mark.parametrize(
    ("answer", "failed"), [(["failed", "2", "why"], Failed(epoch=2, why="why")), (["sound"], None)]
)
def test_a_failure_is_told(answer: Reply, failed: Failed | None) -> None:
    told = Told(answer, answer)
    assert of(told).fail(NAME) == failed
    names = [
        *(keys.record(NAME), keys.stop(NAME), keys.DUE, keys.EVENTS, keys.WAKE, keys.INSTANCES),
        *(keys.generations(NAME), keys.trace(NAME)),
    ]
    by_default = [NAME, "", 0, StopPolicy().to_json(), LONGEST_REACH_MS, 0, Phase.RUNNING]
    assert told.asked == [("fail", names, by_default)]
    policy = StopPolicy(unwind=True)
    of(told).fail(NAME, why="w", epoch=3, phase=Phase.STOPPED, least_epoch=4, policy=policy, reach_ms=5)
    assert told.asked[1][2] == [NAME, "w", 4, policy.to_json(), 5, 3, Phase.STOPPED]


def test_the_time_is_counted_in_whole_milliseconds() -> None:
    class Client:
        def time(self) -> tuple[int, int]:
            return 5, 999_998

    assert of(Told(), Client()).now_ms() == 5_999


@pytest.mark.parametrize("keeps", [True, False])
def test_one_wait_stands_for_all_stops(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    waits: list[tuple[str, str]] = []

    def save(_: object, __: object, name: str, what: str) -> bool:
        waits.append((name, what))
        return keeps

    monkeypatch.setattr(instances, "save", save)
    found = of(Told(), client)
    assert found.save_stops(["a", "b"]) is True
    for name in ("b", "c"):
        client.hset(keys.record(name), "unsaved", f"stop of {name}")
    assert found.save_stops(["a", "b", "c"]) is keeps
    assert waits == [("b", "stop of b")]


class TestReading:
    def test_a_record_is_read_or_there_is_none(self, client: redis.Redis) -> None:
        found = of(Told(), client)
        assert found.read(NAME) is None
        client.hset(keys.record(NAME), mapping={"phase": "failed", "epoch": 3})
        record = found.read(NAME)
        assert record is not None
        assert (record.instance_id, record.phase, record.epoch) == (NAME, Phase.FAILED, 3)

    def test_one_of_another_type_is_damaged(self, client: redis.Redis) -> None:
        client.set(keys.record(NAME), "x")
        with pytest.raises(RecordUnreadable, match="WRONGTYPE"):
            of(Told(), client).read(NAME)

    def test_all_are_read_by_name(self, client: redis.Redis) -> None:
        found = of(Told(), client)
        client.sadd(keys.INSTANCES, "b", "a", "gone")
        for name in ("a", "b", "unlisted"):
            client.hset(keys.record(name), "epoch", 1)
        assert [record.instance_id for record in found.read_all()] == ["a", "b"]

    def test_one_that_cannot_be_read_hides_no_other(self, client: redis.Redis) -> None:
        found = of(Told(), client)
        client.sadd(keys.INSTANCES, "a", "b", "c", "d")
        for name in ("b", "d"):
            client.hset(keys.record(name), "epoch", 1)
        client.set(keys.record("a"), "x")
        client.hset(keys.record("c"), "epoch", "y")
        told: dict[str, str] = {}
        records = found.read_all(lambda name, error: told.update({name: str(error)}))
        assert [record.instance_id for record in records] == ["b", "d"]
        assert ("WRONGTYPE" in told["a"], "epoch is 'y'" in told["c"]) == (True, True)
        with pytest.raises(RecordUnreadable, match="WRONGTYPE"):
            found.read_all()

    def test_they_are_read_in_one_go_but_not_as_one(
        self, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[bool] = []
        pipeline = client.pipeline

        def noting(*, transaction: bool = True) -> object:
            asked.append(transaction)
            return pipeline(transaction=transaction)

        monkeypatch.setattr(client, "pipeline", noting)
        of(Told(), client).read_all()
        of(Told(), client).run_data(NAME, 9)
        assert asked == [False, True]

    def test_the_data_of_a_run(self, client: redis.Redis) -> None:
        found = of(Told(), client)
        assert found.run_data(NAME, 9) == RunData(
            books_json="", state_json="", daily_json="", started_at_ms=0, intents={}, strays=frozenset()
        )
        numbers = [client_order_id(slot=9, level=level) for level in range(3)]
        fields = [intent_field(number) for number in numbers]
        client.hset(
            keys.record(NAME),
            mapping={
                "books": "b",
                "state": "s",
                "daily": "d",
                "started_at": 5,
                "strays": f"{fields[1]},,{fields[2]}",
            },
        )
        client.hset(keys.intents(NAME), fields[0], 7)
        assert found.run_data(NAME, 9) == RunData(
            books_json="b",
            state_json="s",
            daily_json="d",
            started_at_ms=5,
            intents={numbers[0]: 7},
            strays=frozenset(numbers[1:]),
        )
        assert (
            RunData(books_json="", state_json="", daily_json="", started_at_ms=0, intents={}).strays == set()
        )

    def test_the_configuration_is_empty_where_there_is_none_to_be_read(self, client: redis.Redis) -> None:
        found = of(Told(), client)
        assert found.config_json(NAME) == ""
        client.set(keys.config(NAME), "{}")
        assert found.config_json(NAME) == "{}"
        client.delete(keys.config(NAME))
        client.rpush(keys.config(NAME), "x")
        assert found.config_json(NAME) == ""

    def test_any_other_error_of_the_server_is_one(self) -> None:
        class Client:
            def get(self, _: str) -> None:
                raise redis.ResponseError("out of memory")

        with pytest.raises(redis.ResponseError, match="memory"):
            of(Told(), Client()).config_json(NAME)


def test_the_account_of_an_instance_is_empty_where_none_was_ever_started(client: redis.Redis) -> None:
    assert of(Told(), client).account_of(NAME) == ""
    client.hset(keys.record(NAME), "account", "acc")
    assert of(Told(), client).account_of(NAME) == "acc"


def test_no_two_restarts_are_known_by_the_same_mark() -> None:
    marks = {new_restart_mark() for _ in range(100)}
    assert len(marks) == 100
    assert "" not in marks
