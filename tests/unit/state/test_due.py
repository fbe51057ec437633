"""Who is due for a sweep, what a sweep says, and what is brought back to its list."""

from __future__ import annotations

from typing import Any, cast

import pytest
import redis

from state import keys
from state.due import (
    LONGEST_RESEND_MS,
    LONGEST_WAIT_S,
    RESEND_MS,
    UNSENT_RETRY_MS,
    CleanUp,
    Damaged,
    Due,
    IterateAgain,
)
from state.scripts import Reply, Scripts
from tests.unit.state.told_scripts import Told


def of(told: Told) -> Due:
    return Due(cast("redis.Redis", None), cast("Scripts", told), grace_ms=12)


@pytest.mark.parametrize(
    ("answer", "work"),
    [
        ([], None),
        (["damaged", "phase is x"], Damaged(instance_id="mm", why="phase is x")),
        (
            ["iterate", 2, 0, "acc"],
            IterateAgain(instance_id="mm", account="acc", epoch=2, tick=0, task_id="t"),
        ),
        (
            ["iterate", 2, 7, "acc"],
            IterateAgain(instance_id="mm", account="acc", epoch=2, tick=7, task_id="t"),
        ),
        (
            ["iterate", 2, -1, "acc"],
            IterateAgain(instance_id="mm", account="acc", epoch=2, tick=None, task_id="t"),
        ),
        (["cleanup", 2, "p"], CleanUp(instance_id="mm", epoch=2, pending_task_id="p")),
        (["cleanup", 2, ""], CleanUp(instance_id="mm", epoch=2, pending_task_id="")),
    ],
)
def test_a_sweep_says_what_is_to_be_published(answer: Reply, work: object) -> None:
    told = Told(answer)
    assert of(told).sweep("mm", task_id="t") == work
    arguments: list[str | int] = ["mm", "t", RESEND_MS, LONGEST_RESEND_MS, 12]
    assert told.asked == [("sweep", [keys.record("mm"), keys.DUE, keys.BACKLOG], arguments)]


def test_what_could_not_be_sent_is_given_back() -> None:
    told = Told([1], [1])
    of(told).not_sent("mm", "its id")
    of(told).not_sent("mm")
    names = [keys.record("mm"), keys.DUE]
    assert told.asked == [("unsent", names, ["mm", UNSENT_RETRY_MS, each]) for each in ("its id", "")]


def due(client: redis.Redis) -> Due:
    return Due(client, cast("Scripts", Told()), grace_ms=12)


def test_who_is_due_is_told_the_most_overdue_first(client: redis.Redis) -> None:
    client.zadd(keys.DUE, {"late": 5, "later": 3, "now": 9, "ahead": 10})
    assert due(client).ids(now_ms=9) == ("later", "late", "now")
    assert due(client).ids(now_ms=9, limit=1) == ("later",)
    assert due(client).ids(now_ms=2) == ()


@pytest.mark.parametrize(("timeout_s", "waited_s"), [(0.5, 0.5), (60.0, LONGEST_WAIT_S)])
@pytest.mark.parametrize(("answer", "name"), [(None, None), ((keys.WAKE, "mm"), "mm")])
def test_a_call_is_waited_for_but_not_for_ever(
    timeout_s: float, waited_s: float, answer: Any, name: str | None
) -> None:
    waits: list[Any] = []

    class Client:
        def blpop(self, names: list[str], *, timeout: float) -> Any:
            waits.append((names, timeout))
            return answer

    assert due(cast("redis.Redis", Client())).wait(timeout_s=timeout_s) == name
    assert waits == [([keys.WAKE], waited_s)]


def test_calls_are_taken_once_the_oldest_first(client: redis.Redis) -> None:
    client.lpush(keys.WAKE, "a", "b", "a")
    assert due(client).take_calls() == ("a", "b")
    assert due(client).take_calls() == ()
    assert not client.exists(keys.WAKE)


def test_one_of_all_has_the_turn_to_look_again_and_then_another(client: redis.Redis) -> None:
    assert [due(client).takes_turn(every_s=10) for _ in range(3)] == [True, False, False]
    assert 0 < client.pttl(keys.LOOKED) <= 9_000
    client.delete(keys.LOOKED)
    assert due(client).takes_turn(every_s=10)


class TestLookAgain:
    def test_nobody_is_lost_where_there_is_nobody(self, client: redis.Redis) -> None:
        assert due(client).look_again(now_ms=5) == 0
        assert client.keys() == []

    def test_those_that_go_on_come_back_also_where_their_list_is_lost(self, client: redis.Redis) -> None:
        phases = {"a": "running", "b": "stopping", "c": "failed", "d": "stopped", "e": ""}
        for name, phase in phases.items():
            client.hset(keys.record(name), mapping={"phase": phase} if phase else {"epoch": 1})
        client.sadd(keys.INSTANCES, "a", "gone")
        client.set(keys.record("odd"), "x")
        assert due(client).look_again(now_ms=5) == 6
        assert client.zrange(keys.DUE, 0, -1, withscores=True) == [
            (name, 5.0) for name in ("a", "b", "c", "e", "gone", "odd")
        ]
        assert client.smembers(keys.INSTANCES) == {"a", "b", "c", "d", "e", "gone", "odd"}
        assert due(client).look_again(now_ms=4) == 0
        assert client.zscore(keys.DUE, "a") == 5

    @pytest.mark.parametrize("at_once", [False, True])
    def test_whoever_waits_goes_on_waiting_unless_all_are_to_be_looked_at(
        self, client: redis.Redis, at_once: bool
    ) -> None:
        for name in ("a", "b", "c"):
            client.hset(keys.record(name), "phase", "running")
        client.zadd(keys.DUE, {"a": 99, "b": 1})
        assert due(client).look_again(now_ms=5, at_once=at_once) == 1
        scores = [client.zscore(keys.DUE, name) for name in ("a", "b", "c")]
        assert scores == [5 if at_once else 99, 1, 5]

    def test_nothing_is_written_where_nobody_is_lost(self, client: redis.Redis) -> None:
        client.hset(keys.record("a"), "phase", "stopped")
        assert due(client).look_again(now_ms=5, at_once=True) == 0
        assert not client.exists(keys.DUE)
