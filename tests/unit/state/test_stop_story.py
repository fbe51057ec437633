"""The story of a stop as the scripts write it, also where it cannot be read."""

from __future__ import annotations

import json

import pytest

from state.stop_policy import StopPolicy
from state.stop_story import FlightAtStop, StopAsked, flight_from_json, requests_from_json

DEEP = "[" * 100_000


def request(by: str, **policy: bool) -> str:
    return json.dumps({"by": by, "reason": f"of {by}", "at_ms": 5, "policy": policy})


def test_each_line_is_a_request_the_first_one_first() -> None:
    assert requests_from_json(f"{request('a')}\n{request('b', unwind=True)}") == (
        StopAsked(by="a", reason="of a", at_ms=5, policy=StopPolicy()),
        StopAsked(by="b", reason="of b", at_ms=5, policy=StopPolicy(unwind=True)),
    )
    assert requests_from_json("") == ()


@pytest.mark.parametrize("line", ["", "{", "7", "{}", '{"policy":7}', request("x", unheard_of=True), DEEP])
def test_a_line_that_cannot_be_read_hides_no_other(line: str) -> None:
    assert [each.by for each in requests_from_json(f"{request('a')}\n{line}\n{request('b')}")] == ["a", "b"]


@pytest.mark.parametrize(("kind", "tick"), [("tick", 8), ("wake", None)])
def test_the_iteration_in_flight_has_a_tick_where_it_was_scheduled(kind: str, tick: int | None) -> None:
    text = json.dumps({"seq": 9, "kind": kind, "tick": 8, "task_id": "t", "lease_until": 7})
    assert flight_from_json(text) == FlightAtStop(seq=9, tick=tick, task_id="t", lease_until_ms=7)


@pytest.mark.parametrize("text", ["", "-", "{", "7", "{}", '{"seq":"x"}', DEEP])
def test_one_that_cannot_be_read_is_none(text: str) -> None:
    assert flight_from_json(text) is None
