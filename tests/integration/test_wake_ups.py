"""Wake-ups by a feed: one for a burst, none for what does not run, and none that is lost."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from market.position import Fill
from state import keys
from state.bookings import BookingQueue
from state.due import IterateAgain
from state.leases import Lease
from state.own_fills import News, OwnFills
from state.run_changes import RunChanges
from tests.factories import fill
from tests.integration.state_bench import INTERVAL_MS, LEASE_MS, NAME, StateBench


@dataclass
class Wakes:
    """The instance, and the feed's way to it."""

    bench: StateBench
    own_fills: OwnFills

    def tell(self, *fills: Fill) -> str:
        """Hand over fills of the instance's orders; return how it was woken."""
        news = [News(booking=f'"{each.trade_id}"', instance_id=NAME, fill=each) for each in fills]
        return self.own_fills.tell(news)[NAME]

    def swept(self) -> IterateAgain | None:
        """Return what a sweep has to publish now."""
        due = self.bench.due.ids(now_ms=self.bench.clock.now_ms)
        found = self.bench.due.sweep(NAME, task_id="swept") if NAME in due else None
        assert found is None or isinstance(found, IterateAgain)
        return found


@pytest.fixture
def wakes(bench: StateBench) -> Wakes:
    """A run whose first iteration is over, with the next one due in ten seconds."""
    bench.commit(bench.claim())
    return Wakes(bench, OwnFills(bench.client, bench.clock.scripts))


def test_a_fill_asks_for_an_iteration_now_and_leaves_the_schedule_alone(wakes: Wakes) -> None:
    pending = wakes.bench.client.hget(keys.record(NAME), "pending_task_id")
    due_at_ms = wakes.bench.record.due_at_ms
    assert wakes.swept() is None
    assert wakes.tell(fill()) == "woken"
    found = wakes.swept()
    assert found is not None
    assert (found.tick, found.account) == (None, "acc")
    assert wakes.bench.client.hget(keys.record(NAME), "pending_task_id") == pending
    assert wakes.bench.record.due_at_ms == due_at_ms


def test_a_wake_up_calls_a_sweeper_at_once(wakes: Wakes) -> None:
    wakes.bench.client.delete(keys.WAKE)
    wakes.tell(fill())
    assert wakes.bench.client.lrange(keys.WAKE, 0, -1) == [NAME]


def test_many_fills_before_the_iteration_make_one_wake_up(wakes: Wakes) -> None:
    assert wakes.tell(fill("1"), fill("2")) == "woken"
    assert [wakes.tell(fill(str(n))) for n in range(3, 6)] == ["joined"] * 3
    assert wakes.swept() is not None
    assert wakes.swept() is None


def test_a_fill_during_an_iteration_makes_one_right_after_it(wakes: Wakes) -> None:
    lease = wakes.bench.claim(None)
    assert wakes.tell(fill("1")) == "again"
    assert wakes.tell(fill("2")) == "again"
    assert wakes.bench.commit(lease).wake_up
    assert not wakes.bench.commit(wakes.bench.claim(None)).wake_up


def test_an_iteration_that_begins_answers_every_wake_up_before_it(wakes: Wakes) -> None:
    wakes.tell(fill())
    wakes.bench.commit(wakes.bench.claim(None))
    assert wakes.swept() is None
    assert wakes.tell(fill("2")) == "woken"


def test_a_wake_up_whose_message_is_lost_is_published_again(wakes: Wakes) -> None:
    wakes.tell(fill())
    assert wakes.swept() is not None
    wakes.bench.clock.advance(1_000)
    again = wakes.swept()
    assert again is not None
    assert again.tick is None


def test_a_wake_up_whose_publisher_died_after_the_commit_is_published_by_a_sweep(wakes: Wakes) -> None:
    lease = wakes.bench.claim(None)
    wakes.tell(fill())
    assert wakes.bench.commit(lease).wake_up
    wakes.bench.clock.advance(1_000)
    assert wakes.swept() is not None


def test_a_wake_up_that_met_an_iteration_which_died_is_published_when_its_lease_is_over(wakes: Wakes) -> None:
    wakes.bench.claim(None)
    assert wakes.tell(fill()) == "again"
    wakes.bench.clock.advance(LEASE_MS + 600)
    found = wakes.swept()
    assert found is not None
    assert found.tick is None


def test_a_stopped_instance_is_never_woken_and_its_fill_is_booked(wakes: Wakes) -> None:
    queue = BookingQueue(wakes.bench.client)
    wakes.bench.stop()
    assert wakes.tell(fill("late")) == "stale"
    assert wakes.bench.client.hget(keys.record(NAME), "woken") is None
    assert [entry.text for entry in queue.oldest(10)] == ['"late"']


def test_a_wake_up_of_an_earlier_run_wakes_no_later_one(wakes: Wakes) -> None:
    wakes.tell(fill())
    wakes.bench.stop()
    assert wakes.bench.finish(wakes.bench.claim_cleanup(), clean=True) == "stopped"
    wakes.bench.start()
    assert wakes.bench.client.hget(keys.record(NAME), "woken") is None


def test_a_wake_up_does_not_undercut_the_back_off_after_an_error(wakes: Wakes) -> None:
    wakes.bench.client.hset(keys.record(NAME), "errors", 1)
    assert wakes.tell(fill()) == "backing off"
    assert wakes.swept() is None


def test_fills_wait_for_the_iteration_in_the_order_they_came(wakes: Wakes) -> None:
    wakes.tell(fill("1"), fill("2"))
    wakes.tell(fill("3"))
    assert [each.trade_id for each in wakes.own_fills.seen(NAME, since_ms=0)] == ["1", "2", "3"]
    assert wakes.own_fills.seen(NAME, since_ms=2**43) == ()


def change_run(bench: StateBench, change: str) -> None:
    """Resume the paused run, or give it another configuration."""
    changes = RunChanges(bench.client, bench.clock.scripts)
    if change == "resume":
        assert changes.resume(NAME, by="test").result == "resumed"
        return
    changed = changes.change_config(
        NAME, epoch=1, base_version="v1", version="v2", config_json="{}", by="test", changed_json="{}"
    )
    assert changed.result == "changed"


@pytest.fixture(params=["resume", "change_config"])
def change(request: pytest.FixtureRequest, wakes: Wakes) -> str:
    """What is changed of the run, which waits for its schedule; to be resumed it is paused and withdrawn."""
    bench, name = wakes.bench, str(request.param)
    if name == "resume":
        RunChanges(bench.client, bench.clock.scripts).pause(NAME, by="test", reason="test")
        # The word of its withdrawal, so that no look for orders is owed.
        bench.client.hset(keys.record(NAME), "withdrawn", bench.clock.now_ms)
        bench.client.zadd(keys.DUE, {NAME: bench.clock.now_ms + INTERVAL_MS})
    bench.client.delete(keys.WAKE)
    assert wakes.swept() is None
    return name


def test_a_run_that_was_changed_iterates_at_once(wakes: Wakes, change: str) -> None:
    change_run(wakes.bench, change)
    assert wakes.bench.client.lrange(keys.WAKE, 0, -1) == [NAME]
    found = wakes.swept()
    assert found is not None
    assert found.tick is None
    assert isinstance(wakes.bench.leases.claim(NAME, epoch=1, tick=None, task_id="its-task"), Lease)


def test_a_run_that_was_changed_while_it_iterates_does_so_once_more(wakes: Wakes, change: str) -> None:
    lease = wakes.bench.claim(None)
    change_run(wakes.bench, change)
    assert wakes.bench.client.lrange(keys.WAKE, 0, -1) == []
    assert wakes.bench.commit(lease).wake_up


def test_a_change_does_not_undercut_the_back_off_after_an_error(wakes: Wakes, change: str) -> None:
    wakes.bench.client.hset(keys.record(NAME), "errors", 1)
    change_run(wakes.bench, change)
    assert wakes.bench.client.lrange(keys.WAKE, 0, -1) == []
    assert wakes.swept() is None
