"""What is handed to the scripts that change a run, and what is made of their answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import redis

from state import keys
from state.run_changes import ChangeResult, RunChanges, RunConfig
from state.scripts import Scripts
from tests.unit.state.told_scripts import Told

NAME = "mm"
QUEUES = [keys.DUE, keys.EVENTS, keys.WAKE]


def of(told: Told, client: Any = None) -> RunChanges:
    return RunChanges(cast("redis.Redis", client), cast("Scripts", told))


def change(changes: RunChanges) -> ChangeResult:
    return changes.change_config(
        NAME,
        epoch=3,
        base_version="v1",
        version="v2",
        config_json="{}",
        by="me",
        changed_json="[]",
    )


def test_a_pause_names_its_run_and_who_asks() -> None:
    told = Told(["paused", "3", "9"])
    answer = of(told).pause(NAME, by="me", reason="news", epoch=3)
    assert answer == ChangeResult(result="paused", epoch=3, at_ms=9)
    assert told.asked == [("pause", [keys.record(NAME), *QUEUES], [NAME, 3, "me", "news"])]


def test_a_resume_names_its_run_and_who_asks() -> None:
    told = Told(["resumed", 3, 9])
    assert of(told).resume(NAME, by="me", epoch=3).result == "resumed"
    assert told.asked == [("resume", [keys.record(NAME), *QUEUES], [NAME, 3, "me"])]


@pytest.mark.parametrize(
    "ask",
    [
        lambda changes: changes.pause(NAME, by="me", reason=""),
        lambda changes: changes.resume(NAME, by="me"),
    ],
)
def test_without_an_epoch_whichever_run_it_is_is_meant(ask: Callable[[RunChanges], ChangeResult]) -> None:
    told = Told(["stale", 0, 0])
    ask(of(told))
    assert told.asked[0][2][1] == 0


def test_another_configuration_comes_with_what_it_was_made_from() -> None:
    told = Told(["changed", 3, 9])
    assert change(of(told)).result == "changed"
    assert told.asked == [
        (
            "change_config",
            [keys.record(NAME), keys.config(NAME), *QUEUES],
            [NAME, 3, "v1", "v2", "{}", "me", "[]"],
        )
    ]


def test_a_run_whose_record_is_damaged_fails_and_is_asked_again() -> None:
    told = Told(["damaged", 0, 0], ["failed", 3, "why"], ["failed", 3, 9])
    assert change(of(told)) == ChangeResult(result="failed", epoch=3, at_ms=9)
    assert [name for name, *_ in told.asked] == ["change_config", "fail", "change_config"]
    assert told.asked[0] == told.asked[2]


class TestConfiguration:
    def test_it_is_read_with_its_version(self, client: redis.Redis) -> None:
        client.hset(keys.record(NAME), mapping={"epoch": "3", "config_version": "v1"})
        client.set(keys.config(NAME), "{}")
        assert of(Told(), client).config_of_run(NAME) == RunConfig(epoch=3, version="v1", config_json="{}")

    def test_of_what_was_never_started_there_is_none(self, client: redis.Redis) -> None:
        assert of(Told(), client).config_of_run(NAME) == RunConfig(epoch=0, version="", config_json="")

    @pytest.mark.parametrize("epoch", ["x", "-1", ""])
    def test_an_epoch_that_is_no_number_is_none(self, client: redis.Redis, epoch: str) -> None:
        client.hset(keys.record(NAME), mapping={"epoch": epoch, "config_version": "v1"})
        found = of(Told(), client).config_of_run(NAME)
        assert (found.epoch, found.version) == (0, "v1")

    def test_keys_of_another_type_take_nothing_else_with_them(self, client: redis.Redis) -> None:
        client.set(keys.record(NAME), "x")
        client.set(keys.config(NAME), "{}")
        changes = of(Told(), client)
        assert changes.config_of_run(NAME) == RunConfig(epoch=0, version="", config_json="{}")
        client.delete(keys.record(NAME), keys.config(NAME))
        client.hset(keys.record(NAME), mapping={"epoch": "3", "config_version": "v1"})
        client.hset(keys.config(NAME), "x", "y")
        assert changes.config_of_run(NAME) == RunConfig(epoch=3, version="v1", config_json="")

    @pytest.mark.parametrize("at", [0, 1])
    def test_a_server_that_does_not_answer_is_no_damage(self, at: int) -> None:
        answers: list[object] = [["3", "v1"], "{}"]
        answers[at] = redis.ConnectionError("away")

        class Pipeline:
            def __getattr__(self, _: str) -> object:
                return lambda *_: None

            def execute(self, *, raise_on_error: bool) -> list[object]:
                assert not raise_on_error
                return answers

        class Client:
            def pipeline(self, *, transaction: bool) -> Pipeline:
                assert transaction, "the two would be of two moments"
                return Pipeline()

        with pytest.raises(redis.ConnectionError, match="away"):
            of(Told(), Client()).config_of_run(NAME)
