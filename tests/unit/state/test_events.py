"""What is told of people's changes, and of workers among which some are damaged."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
import redis

from state import keys
from state.events import Events


def test_a_change_is_told_with_who_asked_and_what_came_of_it(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "time", lambda: (5, 999_998))
    Events(client).audit(
        "mm_01", epoch=3, by="me", action="pause", result="paused", details={"reason": "news"}
    )
    (event,) = Events(client).read("0-0")
    assert (event.event, event.instance_id, event.epoch, event.at_ms) == ("audit", "mm_01", 3, 5_999)
    assert event.details == {"by": "me", "action": "pause", "result": "paused", "reason": "news"}


@pytest.mark.parametrize("is_mapping", [False, True])
def test_events_are_read_in_either_form_that_the_client_gives(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch, is_mapping: bool
) -> None:
    entries = [("1-0", {"event": "a"}), ("2-0", {"event": "b"})]
    reply = {keys.EVENTS: [entries]} if is_mapping else [[keys.EVENTS, entries]]
    monkeypatch.setattr(client, "xread", lambda *_, **__: reply)
    assert [event.event for event in Events(client).read("0-0")] == ["a", "b"]


@pytest.mark.parametrize("text", ["{", "7", "{}", "[" * 100_000, '{"queues":7,"at_ms":1000}'])
def test_a_damaged_worker_hides_no_other(client: redis.Redis, text: str) -> None:
    beat = json.dumps({"queues": ["iterate"], "at_ms": 1_000})
    told: dict[Any, Any] = {"a": beat, "b": text, "c": beat}
    client.hset(keys.WORKERS, mapping=cast("Any", told))
    assert [worker.name for worker in Events(client).workers(now_ms=1_000)] == ["a", "c"]
