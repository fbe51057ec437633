"""Books that are completed once a run has ended: only its own, and only while no other run has begun."""

from __future__ import annotations

from typing import Any

import pytest

from state import keys
from state.bookings import BookingQueue
from state.cleanup_leases import CleanupLease
from state.client_ids import intent_field
from tests.factories import client_order_id
from tests.integration.state_bench import NAME, StateBench

RECORD = keys.record(NAME)


@pytest.fixture
def lease(bench: StateBench) -> CleanupLease:
    """That of a cleanup which has ended clean."""
    bench.stop()
    lease = bench.claim_cleanup()
    assert bench.finish(lease, clean=True) == "stopped"
    bench.client.hset(RECORD, mapping={"books": "old", "daily": "old", "outcome": "old"})
    bench.client.hset(keys.intents(NAME), intent_field(client_order_id(level=1)), 5)
    return lease


def complete(bench: StateBench, lease: CleanupLease, **more: Any) -> bool:
    said: dict[str, Any] = {"books_json": "new", "daily_json": "", "intents": {}, "bookings": ["1", "2"]}
    return bench.cleanup_leases.complete_books(lease, **(said | more))


def kept(bench: StateBench) -> list[Any]:
    return [bench.client.hget(RECORD, name) for name in ("books", "daily", "outcome")]


def booked(bench: StateBench) -> list[str]:
    return [entry.text for entry in BookingQueue(bench.client).oldest(9)]


def test_books_and_intents_are_replaced_and_the_rest_stays(bench: StateBench, lease: CleanupLease) -> None:
    left = client_order_id(level=2)
    assert complete(bench, lease, intents={left: 7})
    assert kept(bench) == ["new", "old", "old"]
    assert bench.instances.run_data(NAME, 7).intents == {left: 7}
    assert booked(bench) == ["1", "2"]


def test_the_day_and_the_receipt_are_replaced_where_they_are_given(
    bench: StateBench, lease: CleanupLease
) -> None:
    assert complete(bench, lease, daily_json="day", receipt_json="receipt")
    assert kept(bench) == ["new", "day", "receipt"]
    assert bench.instances.run_data(NAME, 7).intents == {}


@pytest.mark.parametrize("field", [("phase", "running"), ("epoch", "2")])
def test_of_a_run_that_is_not_the_last_one_ended_the_ledger_alone_hears(
    bench: StateBench, lease: CleanupLease, field: tuple[str, str]
) -> None:
    bench.client.hset(RECORD, *field)
    assert not complete(bench, lease, daily_json="day", receipt_json="receipt")
    assert kept(bench) == ["old"] * 3
    assert len(bench.instances.run_data(NAME, 7).intents) == 1
    assert booked(bench) == ["1", "2"]
