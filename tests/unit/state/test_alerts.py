"""What the alerts process saves in one step: its memory, and the messages that wait for each target."""

from __future__ import annotations

import pytest
import redis

from state import alerts, keys
from state.alerts import Alerts
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
    assert (saved.memory(), waiting(client, "hook")) == ("", [])


def test_of_too_many_messages_the_oldest_go(
    client: redis.Redis, saved: Alerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alerts, "MOST_WAITING", 2)
    saved.save("ours", "", [("hook", "1"), ("mail", "2"), ("hook", "3"), ("hook", "4")])
    assert waiting(client, "hook") == ["3", "4"]
    assert waiting(client, "mail") == ["2"]
