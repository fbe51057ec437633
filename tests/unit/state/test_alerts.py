"""Which alerts process sends, what it saves in one step, and what waits to be sent."""

from __future__ import annotations

import pytest
import redis

from state import alerts, keys
from state.alerts import LEASE_MS, Alerts
from state.scripts import Scripts


@pytest.fixture
def saved(client: redis.Redis, scripts: Scripts) -> Alerts:
    """The state of a process that holds the lease."""
    found = Alerts(client, scripts)
    assert found.hold("ours")
    return found


def waiting(client: redis.Redis, target: str) -> object:
    """Return the messages of a target, oldest first."""
    return client.lrange(keys.alerts_outbox(target), 0, -1)


def test_every_message_waits_for_its_own_target_behind_those_before_it(
    client: redis.Redis, saved: Alerts
) -> None:
    assert saved.save("ours", "first", [("hook", "1"), ("mail", "2"), ("hook", "3")])
    assert saved.save("ours", "second", [("mail", "4")])
    assert saved.memory() == "second"
    assert waiting(client, "hook") == ["1", "3"]
    assert waiting(client, "mail") == ["2", "4"]
    assert saved.first("mail") == "2"


def test_who_holds_the_lease_no_more_changes_nothing(client: redis.Redis, saved: Alerts) -> None:
    assert not saved.save("another's", "memory", [("hook", "1")])
    assert (saved.memory(), waiting(client, "hook"), saved.first("hook")) == ("", [], "")


def test_of_too_many_messages_the_oldest_go(
    client: redis.Redis, saved: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "MOST_WAITING", 2)
    saved.save("ours", "", [("hook", "1"), ("mail", "2"), ("hook", "3"), ("hook", "4")])
    assert waiting(client, "hook") == ["3", "4"]
    assert waiting(client, "mail") == ["2"]


def test_one_process_sends_until_it_gives_up(client: redis.Redis, scripts: Scripts) -> None:
    processes = Alerts(client, scripts)
    assert processes.holder() == ""
    assert processes.hold("first")
    left_ms = client.pttl(keys.ALERTS_LEASE)
    assert isinstance(left_ms, int)
    assert LEASE_MS - 1_000 < left_ms <= LEASE_MS
    assert processes.hold("first")
    assert not processes.hold("second")
    processes.release("second")
    assert processes.holder() == "first"
    processes.release("first")
    assert processes.holder() == ""
    assert processes.hold("second")


def test_a_message_is_taken_out_once_and_one_that_is_stuck_lets_others_pass(saved: Alerts) -> None:
    saved.save("ours", "", [("hook", text) for text in ("same", "other", "same")])
    saved.put_last("hook")
    assert saved.first("hook") == "other"
    # Two alike wait by now, and one of them is sent.
    saved.remove("hook", "same")
    assert saved.waiting("hook") == 2
    saved.remove("hook", "other")
    assert (saved.waiting("hook"), saved.first("hook")) == (1, "same")


def test_what_waits_for_a_target_that_is_no_more_is_dropped(saved: Alerts) -> None:
    saved.save("ours", "", [("hook", "1"), ("mail", "2")])
    saved.forget("hook")
    assert (saved.waiting("hook"), saved.waiting("mail")) == (0, 1)
