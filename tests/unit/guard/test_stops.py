"""What a guard asks for once the state server can be written again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest
import redis

from guard.stops import OwedStops
from state.instances import Instances, StopResult
from state.stop_policy import StopPolicy
from tests.unit.guard.guard_bench import NAME, WATCHED

OTHER = "another"


class Asked:
    """Stands for the state server's operations; it is away for who is named."""

    def __init__(self, away: str = "") -> None:
        self.away = away
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def request_stop(self, name: str, **how: Any) -> StopResult:
        """Note a request."""
        if name == self.away:
            raise redis.ConnectionError("away")
        self.calls.append((name, how))
        return StopResult(result="stopping", epoch=1, at_ms=1)


def ask(stops: OwedStops, asked: Asked) -> None:
    instances = cast("Instances", SimpleNamespace(request_stop=asked.request_stop))
    stops.ask_for_all(instances, {NAME: WATCHED})


def test_each_stop_is_asked_for_once_and_for_its_own_run() -> None:
    stops, asked = OwedStops("me", 30.0, {OTHER: 7}), Asked()
    stops.owe(WATCHED)
    assert stops.epochs() == {OTHER: 7, NAME: WATCHED.epoch}
    ask(stops, asked)
    ask(stops, asked)
    assert [(name, how["epoch"], how["policy"]) for name, how in asked.calls] == [
        # Of one that is not watched any more nobody knows what was wanted.
        (OTHER, 7, StopPolicy()),
        (NAME, WATCHED.epoch, WATCHED.stop_policy),
    ]
    assert {how["by"] for _, how in asked.calls} == {"guard me"}
    assert {how["reason"] for _, how in asked.calls} == {
        "no sign of life for 30 s, its orders were cancelled"
    }
    assert stops.epochs() == {}


def test_what_could_not_be_asked_for_stays_owed() -> None:
    stops = OwedStops("me", 30.0, {OTHER: 7, NAME: 1})
    with pytest.raises(redis.ConnectionError):
        ask(stops, Asked(away=NAME))
    assert stops.epochs() == {NAME: 1}
    stops.settle(NAME)
    assert stops.epochs() == {}
