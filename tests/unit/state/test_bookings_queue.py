"""The queue of bookings: in order, taken off only when told to, and never without an end."""

from __future__ import annotations

import time

import pytest
import redis

from state import keys
from state.bookings import MOST_WAITING, BookingQueue


@pytest.fixture
def queue(client: redis.Redis) -> BookingQueue:
    return BookingQueue(client)


def test_what_is_told_waits_in_its_order_until_it_is_done(queue: BookingQueue) -> None:
    queue.add(["1", "2", "3"])
    assert queue.length() == 3
    first = queue.oldest(2)
    assert [entry.text for entry in first] == ["1", "2"]
    assert queue.oldest(2) == first
    queue.done(first)
    assert [entry.text for entry in queue.oldest(9)] == ["3"]
    queue.done(())
    queue.add([])
    assert queue.length() == 1


def test_what_is_added_to_a_pipeline_comes_with_it(queue: BookingQueue, client: redis.Redis) -> None:
    pipeline = client.pipeline(transaction=True)
    queue.add(["1"], pipeline)
    assert queue.length() == 0
    pipeline.execute()
    assert queue.length() == 1


def test_the_oldest_go_when_too_many_wait(
    queue: BookingQueue, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.bookings.MOST_WAITING", 10)
    # Approximately: whole nodes of a hundred go at once.
    for start in range(0, 400, 100):
        queue.add([str(number) for number in range(start, start + 100)])
    assert queue.length() < 400
    assert queue.oldest(1)[0].text != "0"
    assert MOST_WAITING == 200_000
    assert client.xlen(keys.BOOKINGS) == queue.length()


def test_the_first_ledger_that_asks_is_the_one_until_it_is_replaced(queue: BookingQueue) -> None:
    assert queue.registered_ledger() == ""
    assert queue.claim_ledger("first") == "first"
    assert queue.claim_ledger("second") == "first"
    assert queue.claim_ledger("second", replace=True) == "second"
    assert queue.claim_ledger("first") == "second"


def test_waiting_ends_with_a_booking_or_an_event(queue: BookingQueue, client: redis.Redis) -> None:
    began_s = time.monotonic()
    queue.wait("0-0", timeout_s=0.3)
    assert time.monotonic() - began_s >= 0.25
    queue.add(["1"])
    queue.wait("0-0", timeout_s=60)
    queue.done(queue.oldest(1))
    client.xadd(keys.EVENTS, {"event": "x"})
    queue.wait("0-0", timeout_s=60)
