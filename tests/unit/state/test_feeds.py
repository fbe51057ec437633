"""Which feed listens to which account, who says so, and how far the histories were read."""

from __future__ import annotations

import pytest
import redis

from state import keys
from state.events import Events
from state.feeds import LEASE_MS, FeedProcess, Feeds
from state.scripts import Scripts


@pytest.fixture
def feeds(client: redis.Redis, scripts: Scripts) -> Feeds:
    return Feeds(client, scripts)


def test_one_process_holds_an_account_and_may_prolong_it(feeds: Feeds, client: redis.Redis) -> None:
    assert feeds.hold("acc", "first")
    client.pexpire(keys.feed_lease("acc"), 10)
    assert not feeds.hold("acc", "second")
    assert feeds.hold("acc", "first")
    left = client.pttl(keys.feed_lease("acc"))
    assert isinstance(left, int)
    assert LEASE_MS - 1_000 < left <= LEASE_MS
    assert feeds.hold("another", "second")


def test_who_gives_up_an_account_that_is_anothers_takes_nothing_away(feeds: Feeds) -> None:
    feeds.hold("acc", "first")
    feeds.release("acc", "second")
    assert not feeds.hold("acc", "second")
    feeds.release("acc", "first")
    assert feeds.hold("acc", "second")


def test_a_heartbeat_counts_for_so_long_and_says_how_each_account_stands(feeds: Feeds) -> None:
    feeds.heartbeat("b", {"acc": "listens"}, at_ms=1_000, cannot_open=["x", "y"])
    feeds.heartbeat("a", {}, at_ms=999)
    told = FeedProcess(name="b", accounts={"acc": "listens"}, seen_at_ms=1_000, cannot_open=("x", "y"))
    assert feeds.processes(now_ms=1_000 + LEASE_MS) == (told,)
    assert [found.name for found in feeds.processes(now_ms=1_000)] == ["a", "b"]
    assert feeds.processes(now_ms=1_001 + LEASE_MS) == ()
    feeds.forget("b")
    assert [found.name for found in feeds.processes(now_ms=1_000)] == ["a"]


def test_a_cursor_is_kept_by_account_and_history(feeds: Feeds) -> None:
    assert feeds.cursor("acc", "fills") is None
    feeds.move_cursor("acc", "fills", 5)
    feeds.move_cursor("acc", "funding", 7)
    assert (feeds.cursor("acc", "fills"), feeds.cursor("acc", "funding")) == (5, 7)
    assert feeds.cursor("another", "fills") is None


def test_a_worker_that_was_heard_lately_is_alive_and_one_that_ended_is_not(client: redis.Redis) -> None:
    events = Events(client)
    events.heartbeat("b", ("iterate", "cleanup"), 1_000)
    events.heartbeat("a", ("iterate",), 999)
    (worker,) = events.workers(now_ms=6_000)
    assert (worker.name, worker.queues, worker.seen_at_ms) == ("b", ("iterate", "cleanup"), 1_000)
    assert events.workers(now_ms=6_001) == ()
    assert [found.name for found in events.workers(now_ms=1_000)] == ["a", "b"]
    events.forget_worker("b")
    assert [found.name for found in events.workers(now_ms=1_000)] == ["a"]


def test_events_are_read_from_a_place_on_and_those_of_one_instance_in_their_order(
    client: redis.Redis,
) -> None:
    events = Events(client)
    assert events.last_id() == "0-0"
    assert events.read("0-0") == ()
    events.cleanup_step("mm_01", epoch=3, at_ms=5, step="verified", detail="two lists")
    place = events.last_id()
    events.limits_changed("mm_02", epoch=4, at_ms=6, cuts=["a", "b"], facts=[{"limit": "x"}])
    events.cleanup_step("mm_01", epoch=3, at_ms=7, step="position")
    (second, third) = events.read(place)
    assert (second.event, second.instance_id, second.epoch, second.at_ms) == ("limits", "mm_02", 4, 6)
    assert second.details == {"cuts": '["a", "b"]', "facts": '[{"limit": "x"}]'}
    assert third.details == {"step": "position", "detail": ""}
    assert [each.at_ms for each in events.of_instance("mm_01")] == [5, 7]
    assert len(events.read("0-0", count=2)) == 2
    first = events.read("0-0")[0]
    assert first.stream_id == place
    assert first.details == {"step": "verified", "detail": "two lists"}


def test_the_newest_events_of_an_instance_and_what_a_guard_tells(client: redis.Redis) -> None:
    events = Events(client)
    for number in range(4):
        details = {"number": str(number)}
        events.guard("guard_acted", "mm_01", epoch=2, at_ms=number, by="host", details=details)
    newest = events.of_instance("mm_01", limit=2)
    assert [each.at_ms for each in newest] == [2, 3]
    assert (newest[1].event, newest[1].epoch) == ("guard_acted", 2)
    assert newest[1].details == {"by": "host", "number": "3"}
    client.xadd(keys.trace("mm_01"), {"event": "claimed"})
    assert list(events.trace("mm_01")) == [{"event": "claimed"}]


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), ("-7", 0), ("x", 0), ("9" * 18, int("9" * 18)), ("9" * 19, 0), ("\u0667", 0)],
)
def test_an_event_with_a_damaged_number_says_zero(client: redis.Redis, text: str, number: int) -> None:
    client.xadd(keys.EVENTS, {"event": "x", "instance": "mm_01", "epoch": text, "at_ms": text})
    (event,) = Events(client).read("0-0")
    assert (event.epoch, event.at_ms) == (number, number)
