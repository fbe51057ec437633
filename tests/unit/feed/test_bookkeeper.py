"""From Redis into the ledger: everything, once, however often it is interrupted."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from sqlalchemy import select

from feed.bookkeeper import (
    SETTLED_MS,
    AnotherLedger,
    Bookkeeper,
    Retention,
    catch_up,
    prune_once_a_day,
    require_its_ledger,
)
from ledger import glances, queries, schema
from ledger.bookings import FillBooking
from ledger.database import Ledger, open_ledger
from ledger.errors import LedgerUnavailable
from market.orders import Side
from state import keys
from state.bookings import BookingQueue
from state.events import Events
from state.instances import Instances
from state.scripts import Scripts
from state.stop_policy import StopPolicy
from tests.support import wait_until

KEEP = Retention(days=400, details_days=90)
DAY_MS = 86_400_000


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite") as ledger:
        yield ledger


@pytest.fixture
def queue(redis_client: redis.Redis) -> BookingQueue:
    return BookingQueue(redis_client)


def fill(trade_id: str, filled_at_ms: int = 1_000) -> str:
    return FillBooking(
        account="acc",
        instance_id="mm_01",
        epoch=1,
        symbol="SOL_USDC",
        market_type="spot",
        base_asset="SOL",
        quote_asset="USDC",
        trade_id=trade_id,
        order_id="1",
        client_order_id=7,
        level=0,
        role=0,
        side=Side.BUY,
        price=100,  # type: ignore[arg-type]
        quantity=1,  # type: ignore[arg-type]
        fee=0,  # type: ignore[arg-type]
        fee_asset="USDC",
        is_maker=True,
        filled_at_ms=filled_at_ms,
        source="stream",
    ).model_dump_json()


def trades(ledger: Ledger) -> list[str]:
    return sorted(each.trade_id for each in queries.fills(ledger, "mm_01", limit=10_000))


def test_what_waits_is_booked_and_taken_off_the_queue(
    queue: BookingQueue, ledger: Ledger, redis_client: redis.Redis
) -> None:
    queue.add([fill(str(n)) for n in range(1_200)])
    assert catch_up(queue, Events(redis_client), ledger) == 1_200
    assert len(trades(ledger)) == 1_200
    assert queue.length() == 0
    assert catch_up(queue, Events(redis_client), ledger) == 0


def test_who_dies_between_booking_and_taking_off_books_nothing_twice(
    queue: BookingQueue, ledger: Ledger, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add([fill("1"), fill("2")])

    def die(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(queue, "done", die)
        with pytest.raises(KeyboardInterrupt):
            catch_up(queue, Events(redis_client), ledger)
    assert catch_up(queue, Events(redis_client), ledger) == 2
    assert trades(ledger) == ["1", "2"]


def test_a_ledger_that_is_away_leaves_everything_in_the_queue(
    queue: BookingQueue, ledger: Ledger, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.add([fill("1")])

    def fail(*_: object, **__: object) -> None:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(ledger, "book", fail)
    with pytest.raises(LedgerUnavailable):
        catch_up(queue, Events(redis_client), ledger)
    assert queue.length() == 1


def test_a_booking_that_cannot_be_read_does_not_block_those_behind_it(
    queue: BookingQueue, ledger: Ledger, redis_client: redis.Redis
) -> None:
    queue.add(['{"kind":"riddle"}', fill("1")])
    catch_up(queue, Events(redis_client), ledger)
    assert trades(ledger) == ["1"]
    assert queue.length() == 0
    (aside,) = glances.rejected(ledger, 10)
    assert (aside.kind, json.loads(aside.booking)) == ("unreadable", '{"kind":"riddle"}')


def test_a_ledger_that_was_replaced_takes_nothing_any_more(
    queue: BookingQueue, ledger: Ledger, redis_client: redis.Redis
) -> None:
    keep = Retention(days=36_500, details_days=36_500)
    bookkeeper = Bookkeeper(lambda: ledger, redis_client, retention=keep)
    bookkeeper.start()
    try:
        wait_until(lambda: queue.registered_ledger() == ledger.ledger_id)
        queue.claim_ledger("a new one", replace=True)
        wait_until(lambda: bookkeeper._trouble != "")
        queue.add([fill("1")])
        time.sleep(0.3)
        assert queue.length() == 1
    finally:
        bookkeeper.stop()
        bookkeeper.join(5)


def test_lifecycle_events_become_runs(queue: BookingQueue, ledger: Ledger, redis_client: redis.Redis) -> None:
    instances = Instances(redis_client, Scripts(redis_client))
    instances.start("mm_01", config_version="v7", config_json="{}", slot=1, account="acc", by="me")
    instances.request_stop("mm_01", by="you", reason="lunch", policy=StopPolicy())
    assert catch_up(queue, Events(redis_client), ledger) == 2
    assert catch_up(queue, Events(redis_client), ledger) == 0
    (run,) = queries.runs(ledger, "mm_01")
    assert (run.account, run.epoch, run.config_version, run.started_by) == ("acc", 1, "v7", "me")
    assert (run.stop_by, run.stop_reason, run.finished_at_ms) == ("you", "lunch", None)


def test_bookings_are_not_split_between_two_ledgers(
    queue: BookingQueue, ledger: Ledger, tmp_path: Path
) -> None:
    require_its_ledger(queue, ledger)
    with open_ledger(f"sqlite:///{tmp_path}/other.sqlite") as other:
        with pytest.raises(AnotherLedger, match="--new-ledger"):
            require_its_ledger(queue, other)
        require_its_ledger(queue, other, replace=True)
        with pytest.raises(AnotherLedger):
            require_its_ledger(queue, ledger)


def test_the_thread_books_at_once_and_survives_a_database_that_comes_late(
    queue: BookingQueue, tmp_path: Path, redis_client: redis.Redis
) -> None:
    tries = iter([LedgerUnavailable("away"), LedgerUnavailable("away")])

    def open_late() -> Ledger:
        for error in tries:
            raise error
        return open_ledger(f"sqlite:///{tmp_path}/ledger.sqlite")

    # The fills of these tests are old.
    keep = Retention(days=36_500, details_days=36_500)
    bookkeeper = Bookkeeper(open_late, redis_client, retention=keep)
    bookkeeper.start()
    try:
        queue.add([fill("1")])
        wait_until(lambda: queue.length() == 0)
        queue.add([fill("2")])
        wait_until(lambda: queue.length() == 0)
        assert bookkeeper.ledger is not None
        assert trades(bookkeeper.ledger) == ["1", "2"]
    finally:
        bookkeeper.stop()
        bookkeeper.join(5)


def test_the_thread_folds_what_has_settled_so_that_nobody_reads_it_again(
    queue: BookingQueue, tmp_path: Path, redis_client: redis.Redis
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.sqlite"
    seconds, _ = redis_client.time()
    queue.add([fill("1"), fill("2", seconds * 1000 - SETTLED_MS // 2)])
    keep = Retention(days=36_500, details_days=36_500)
    bookkeeper = Bookkeeper(lambda: open_ledger(url), redis_client, retention=keep)
    bookkeeper.start()
    try:
        with open_ledger(url) as ledger:
            wait_until(lambda: queries.counts(ledger)["folded_days"] > 0)
    finally:
        bookkeeper.stop()
        bookkeeper.join(5)
    with open_ledger(url) as ledger, ledger.reading() as connection:
        (folded,) = connection.execute(select(schema.folded_days)).mappings()
    assert folded["day"] == "1970-01-01"


def test_the_queue_forgets_its_oldest_before_the_server_is_full(
    queue: BookingQueue, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("state.bookings.MOST_WAITING", 100)
    for start in range(0, 1_000, 100):
        queue.add([fill(str(n)) for n in range(start, start + 100)])
    assert redis_client.xlen(keys.BOOKINGS) < 300


def test_old_fills_are_folded_once_a_day(
    queue: BookingQueue, ledger: Ledger, redis_client: redis.Redis
) -> None:
    queue.add([fill("1")])
    catch_up(queue, Events(redis_client), ledger)
    first = prune_once_a_day(ledger, KEEP, now_ms=399 * DAY_MS)
    assert first is not None
    assert first.fills == 0
    assert prune_once_a_day(ledger, KEEP, now_ms=400 * DAY_MS - 1) is None
    second = prune_once_a_day(ledger, KEEP, now_ms=401 * DAY_MS)
    assert second is not None
    assert second.fills == 1
    assert trades(ledger) == []
