"""What histories and lists say, told and remembered."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
import redis

from exchanges.base import FillsPage
from exchanges.errors import Refused, Unavailable
from feed.reconciler import OVERLAP_MS
from ledger.errors import LedgerUnavailable
from ledger.queries import OrderRecord
from market.orders import OrderStatus
from market.position import FundingPayment
from state.bookings import MOST_WAITING, BookingQueue
from tests.factories import ACCOUNT, INSTANCE_ID, fill, instrument, open_order
from tests.unit.feed.feed_bench import FeedBench, watched


@pytest.fixture
def ready(bench: FeedBench) -> FeedBench:
    bench.teller.watch(watched())
    bench.teller.learn(instrument())
    return bench


def told(bench: FeedBench, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(entry.text) for entry in BookingQueue(bench.client).oldest(1000)]
    return [booking for booking in found if booking["kind"] == kind]


def record(order_id: str, *, updated_at_ms: int = 0) -> OrderRecord:
    order = open_order(order_id)
    return OrderRecord(
        account=ACCOUNT,
        instance_id=INSTANCE_ID,
        epoch=1,
        symbol=order.symbol,
        order_id=order_id,
        client_order_id=order.client_order_id,
        level=0,
        role=0,
        side=order.side,
        price=order.price,
        quantity=order.quantity,
        executed=order.executed_quantity,
        status=OrderStatus.NEW,
        reason="",
        created_at_ms=0,
        updated_at_ms=updated_at_ms,
    )


def test_the_first_time_histories_are_read_from_the_start_of_the_run(ready: FeedBench) -> None:
    ready.reconciler.reconcile()
    assert ready.venue.about("account_fills") == [1_000_000 - OVERLAP_MS]


def test_the_next_time_they_are_read_from_where_they_were_read_to(ready: FeedBench) -> None:
    ready.feeds.move_cursor(ACCOUNT, "fills", 7_000_000)
    ready.reconciler.reconcile()
    assert ready.venue.about("account_fills") == [7_000_000 - OVERLAP_MS]
    cursor_ms = ready.feeds.cursor(ACCOUNT, "fills")
    assert cursor_ms is not None
    assert cursor_ms > 7_000_000


def test_the_cursor_stays_where_a_history_could_not_be_read_or_told(
    ready: FeedBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready.feeds.move_cursor(ACCOUNT, "fills", 7_000_000)
    ready.venue.faults["account_fills"].append(Unavailable("away"))
    with pytest.raises(Unavailable):
        ready.reconciler.reconcile()
    ready.venue.filled.append(fill("t1"))

    def fail(*_: object) -> int:
        raise redis.ConnectionError("away")

    with monkeypatch.context() as patch:
        patch.setattr(ready.teller, "tell_fills", fail)
        with pytest.raises(redis.ConnectionError):
            ready.reconciler.reconcile()
    assert ready.feeds.cursor(ACCOUNT, "fills") == 7_000_000
    assert ready.reconciler.reconcile() == 1


def test_holdings_payments_and_open_orders_are_told(ready: FeedBench) -> None:
    ready.venue.rest(open_order("5"))
    ready.venue.funding.append(
        FundingPayment(symbol="SOL_USDC_PERP", amount=-1, rate=0, interval_end_ms=3_600_000)  # type: ignore[arg-type]
    )
    ready.reconciler.reconcile()
    assert [order["order_id"] for order in told(ready, "order")] == ["5"]
    (payment,) = told(ready, "funding")
    assert (payment["amount"], payment["interval_end_ms"]) == (-1, 3_600_000) or payment["amount"] == "-1"
    (snapshot,) = told(ready, "snapshot")
    assert snapshot["balances"]["SOL"] == {"available": "100", "locked": "0"}


def test_an_order_that_the_ledger_takes_for_open_and_no_list_shows_is_asked_for(ready: FeedBench) -> None:
    ready.believed = (record("1"), record("2"))
    ready.venue.rest(open_order("2"))
    ready.venue.ended["1"] = replace(open_order("1"), status=OrderStatus.CANCELLED)
    ready.reconciler.reconcile()
    assert ready.venue.about("find_ended") == ["1"]
    assert [(o["order_id"], o["status"]) for o in told(ready, "order")] == [("1", "cancelled")]


def test_a_young_order_is_left_to_the_stream(ready: FeedBench) -> None:
    ready.believed = (record("1", updated_at_ms=2**43),)
    ready.reconciler.reconcile()
    assert ready.venue.about("find_ended") == []


def test_a_ledger_that_is_down_holds_up_nothing(ready: FeedBench, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> tuple[OrderRecord, ...]:
        raise LedgerUnavailable("away")

    monkeypatch.setattr(ready.reconciler, "_believed_open", fail)
    ready.venue.filled.append(fill("t1"))
    assert ready.reconciler.reconcile() == 1
    assert told(ready, "snapshot") != []


def test_fills_of_markets_that_nobody_watches_are_told_with_their_market(bench: FeedBench) -> None:
    bench.teller.watch(watched(is_running=False))
    bench.venue.filled.append(fill("t1"))
    bench.reconciler.reconcile()
    assert [booking["base_asset"] for booking in told(bench, "fill")] == ["SOL"]


def test_what_the_ledger_knows_already_is_not_told_every_minute(ready: FeedBench) -> None:
    ready.venue.rest(open_order("1"), open_order("2"))
    ready.believed = (record("1"), replace(record("2"), executed=Decimal("0.4")))
    ready.reconciler.reconcile()
    assert [each["order_id"] for each in told(ready, "order")] == ["2"]


def test_a_gap_of_many_fills_is_read_part_by_part(ready: FeedBench) -> None:
    parts = {
        1_000_000 - OVERLAP_MS: FillsPage(fills=(fill("t1", filled_at_ms=1_500_000),), is_complete=False),
        1_500_000: FillsPage(fills=(fill("t1", filled_at_ms=1_500_000), fill("t2")), is_complete=True),
    }
    ready.venue.always["account_fills"] = lambda since_ms: parts[since_ms]
    assert ready.reconciler.reconcile() == 2
    assert ready.venue.about("account_fills") == list(parts)


def test_the_cursor_of_a_gap_read_in_part_stays_where_the_part_ends(ready: FeedBench) -> None:
    ready.feeds.move_cursor(ACCOUNT, "fills", 1_000_000)
    pages = iter([FillsPage(fills=(fill("t1", filled_at_ms=1_500_000),), is_complete=False)])

    def page(_: int) -> FillsPage:
        for found in pages:
            return found
        raise Unavailable("away")

    ready.venue.always["account_fills"] = page
    with pytest.raises(Unavailable):
        ready.reconciler.reconcile()
    assert ready.feeds.cursor(ACCOUNT, "fills") == 1_500_000


def test_with_the_ledgers_queue_full_fills_are_read_later_and_told_again(ready: FeedBench) -> None:
    ready.venue.filled.append(fill("t1"))
    assert ready.reconciler.reconcile() == 1
    cursor_ms = ready.feeds.cursor(ACCOUNT, "fills")
    ready.waiting = MOST_WAITING
    assert ready.reconciler.reconcile() == 0
    assert ready.feeds.cursor(ACCOUNT, "fills") == cursor_ms
    ready.waiting = 0
    assert ready.reconciler.reconcile() == 1


def test_an_order_that_cannot_be_asked_for_holds_up_nothing(ready: FeedBench) -> None:
    ready.believed = tuple(record(str(n)) for n in range(60))
    ready.venue.always["find_ended"] = lambda _: _refuse()
    ready.reconciler.reconcile()
    assert told(ready, "snapshot") != []
    first = set(ready.venue.about("find_ended"))
    ready.reconciler.reconcile()
    # Those that were left over come next.
    assert len(first | set(ready.venue.about("find_ended"))) == 60


def _refuse() -> None:
    raise Refused("no")
