"""What the end of a cleanup saves, tells and takes away, whether it is clean or not."""

from __future__ import annotations

from typing import Any

import pytest

from state import keys
from state.bookings import BookingQueue
from state.cleanup_leases import CleanupLease
from state.client_ids import intent_field
from state.leases import LeaseLost
from tests.factories import client_order_id
from tests.integration.state_bench import CLEANUP_LEASE_MS, NAME, RETRY_MS, WINDOW_MS, StateBench


def finish(bench: StateBench, lease: CleanupLease, *, clean: bool, **more: Any) -> str:
    """End an attempt."""
    arguments: dict[str, Any] = {"retry_after_ms": RETRY_MS, "attempts_until_failed": 9}
    return bench.cleanup_leases.finish(
        lease, clean=clean, **(arguments | {"outcome_json": '{"told":1}'} | more)
    )


def field(bench: StateBench, name: str) -> Any:
    """Return one raw field of the record."""
    return bench.client.hget(keys.record(NAME), name)


def events(bench: StateBench, kind: str) -> list[dict[str, str]]:
    """Return what the events of a kind say, oldest first."""
    return [dict(each.fields) for each in bench.events.of_instance(NAME) if each.event == kind]


@pytest.mark.parametrize("clean", [True, False])
def test_what_the_run_came_to_is_saved(bench: StateBench, clean: bool) -> None:
    lost = client_order_id(level=1)
    bench.client.hset(keys.intents(NAME), intent_field(client_order_id(level=2)), 5)
    bench.stop()
    told = {"books_json": "books", "daily_json": "daily", "intents": {lost: 7}, "bookings": ["1", "2"]}
    finish(bench, bench.claim_cleanup(), clean=clean, left="a,b", **told)
    assert [field(bench, name) for name in ("books", "daily", "left")] == ["books", "daily", "a,b"]
    assert bench.instances.run_data(NAME, 7).intents == {lost: 7}
    assert [entry.text for entry in BookingQueue(bench.client).oldest(9)] == ["1", "2"]


@pytest.mark.parametrize("clean", [True, False])
def test_what_is_not_said_stays_as_it_was(bench: StateBench, clean: bool) -> None:
    known = {client_order_id(level=2): 5}
    bench.client.hset(keys.intents(NAME), intent_field(client_order_id(level=2)), 5)
    bench.client.hset(keys.record(NAME), mapping={"books": "books", "daily": "daily"})
    bench.stop()
    finish(bench, bench.claim_cleanup(), clean=clean)
    assert (field(bench, "books"), field(bench, "daily")) == ("books", "daily")
    assert bench.instances.run_data(NAME, 7).intents == known
    assert BookingQueue(bench.client).length() == 0


def test_a_clean_end_leaves_nothing_of_an_iteration_behind(bench: StateBench) -> None:
    lease = bench.claim()
    bench.authorize(lease)
    bench.try_claim(tick=None)
    bench.client.hset(keys.record(NAME), mapping={"order_ids": "1", "again": 1, "pending_task_id": "x"})
    bench.stop()
    bench.clock.advance(2 * WINDOW_MS)
    assert finish(bench, bench.claim_cleanup(), clean=True) == "stopped"
    gone = ("lease_token", "lease_until", "lease_kind", "running_task_id", "pending_task_id", "again")
    assert [field(bench, name) for name in (*gone, "order_ids", "cleanup_token", "cleanup_until")] == [
        None
    ] * 9
    assert bench.client.get(keys.stop(NAME)) is None
    assert bench.due_score() is None
    assert bench.record.stopped_at_ms == bench.clock.now_ms


@pytest.mark.parametrize(("asked_before_ms", "result"), [(999, "retry"), (1_000, "failed")])
def test_a_run_is_failed_when_its_stop_was_asked_for_so_long_ago(
    bench: StateBench, asked_before_ms: int, result: str
) -> None:
    bench.stop()
    bench.clock.advance(asked_before_ms)
    assert finish(bench, bench.claim_cleanup(), clean=False, failed_after_ms=1_000) == result


@pytest.mark.parametrize(("until", "results"), [(1, ["failed"] * 3), (2, ["retry", "failed", "failed"])])
def test_a_run_is_failed_from_its_attempt_on_and_stays_so(
    bench: StateBench, until: int, results: list[str]
) -> None:
    bench.stop()
    found = [finish(bench, bench.claim_cleanup(), clean=False, attempts_until_failed=until) for _ in range(3)]
    assert found == results
    # Also where the limit is far: what has failed has.
    if until == 1:
        assert finish(bench, bench.claim_cleanup(), clean=False, attempts_until_failed=99) == "failed"


def test_an_alert_is_told_once_for_each_change_for_the_worse_and_back(bench: StateBench) -> None:
    bench.stop()
    for alerts in (0, 1, 1, 1):
        finish(bench, bench.claim_cleanup(), clean=False, attempts_until_failed=2, alert="look")
        assert [each["alert"] for each in events(bench, "alert")] == ["stop_failed"] * alerts
    finish(bench, bench.claim_cleanup(), clean=True, alert="fine")
    told = events(bench, "alert")
    assert [each["alert"] for each in told] == ["stop_failed", "stop_clean_at_last"]
    assert [each["says"] for each in told] == ["look", "fine"]
    assert [each["result"] for each in events(bench, "finished")] == ["retry", *["failed"] * 3, "stopped"]


def test_a_stop_that_ends_clean_at_once_alerts_nobody(bench: StateBench) -> None:
    bench.stop()
    finish(bench, bench.claim_cleanup(), clean=True, alert="fine")
    assert events(bench, "alert") == []


@pytest.mark.parametrize(("event_json", "told"), [("", '{"told":1}'), ('{"brief":1}', '{"brief":1}')])
def test_the_event_tells_the_receipt_or_what_stands_for_it(
    bench: StateBench, event_json: str, told: str
) -> None:
    bench.stop()
    finish(bench, bench.claim_cleanup(), clean=False, event_json=event_json)
    (event,) = events(bench, "finished")
    assert event["outcome"] == told
    assert bench.record.outcome == '{"told":1}'


@pytest.mark.parametrize("keeps", [True, False])
def test_whether_orders_were_kept_is_remembered(bench: StateBench, keeps: bool) -> None:
    bench.stop()
    finish(bench, bench.claim_cleanup(), clean=True, keeps_orders=keeps)
    assert field(bench, "kept") == ("1" if keeps else "0")


def test_who_lost_the_cleanup_lease_changes_nothing(bench: StateBench) -> None:
    bench.stop()
    old = bench.claim_cleanup()
    bench.clock.advance(CLEANUP_LEASE_MS)
    new = bench.claim_cleanup()
    before = bench.client.hgetall(keys.record(NAME))
    with pytest.raises(LeaseLost):
        finish(bench, old, clean=True, books_json="old", bookings=["1"])
    assert bench.client.hgetall(keys.record(NAME)) == before
    assert BookingQueue(bench.client).length() == 0
    assert (old.attempt, new.attempt) == (1, 2)
