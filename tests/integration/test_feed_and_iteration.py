"""What an iteration makes of a feed: its books, its fills, and what it tells the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from typing import Any

from structlog.testing import capture_logs

from exchanges.errors import Unavailable
from market.book import BookLevel
from market.orders import Side
from market.position import Fill
from runner import loaded
from state.bookings import BookingQueue
from state.own_fills import News, OwnFills
from strategies.limits import Limits
from tests.factories import INSTANCE_ID, SYMBOL, VERSION
from tests.integration.trader import Trader

VENUE = "backpack-simulated"


def source_of_book(trader: Trader) -> str:
    """Run an iteration; return where its line in the log says that its book came from."""
    with capture_logs() as lines:
        trader.run()
    return str(next(line for line in lines if line["event"] == "iteration")["book"])


def stream_book(trader: Trader, *, bid: str = "99.5", age_ms: int = 0) -> None:
    """Let a feed have seen a book."""
    context = trader.bench.context
    book = trader.venue.order_book(SYMBOL)
    level = BookLevel(price=Decimal(bid), quantity=Decimal(5))
    at_ms = context.instances.now_ms() - age_ms
    context.market_data.put(VENUE, [replace(book, bids=(level,), updated_at_ms=at_ms)])


def stream_fill(trader: Trader, fill: Fill) -> None:
    """Let a feed have seen a fill that no history shows yet."""
    trader.venue.filled.remove(fill)
    context = trader.bench.context
    context.own_fills.tell([News(booking="{}", instance_id=INSTANCE_ID, fill=fill)])


def bookings(trader: Trader, kind: str) -> list[dict[str, Any]]:
    queue = BookingQueue(trader.bench.client)
    found = [json.loads(entry.text) for entry in queue.oldest(10_000)]
    return [booking for booking in found if booking.get("kind") == kind]


def limit_data_age(trader: Trader, seconds: str) -> None:
    """Let the instance care for the age of its data, on an exchange that stamps its books."""
    instance = replace(loaded._known[INSTANCE_ID][1], limits=Limits(max_data_age_s=Decimal(seconds)))
    trader.monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, instance))
    show_books(trader)


def show_books(trader: Trader) -> None:
    book = trader.venue.order_book(SYMBOL)
    now_ms = trader.bench.context.instances.now_ms
    trader.venue.always["order_book"] = lambda _: replace(book, updated_at_ms=now_ms())


def test_a_fresh_book_of_the_feed_is_used_and_the_exchange_is_not_asked(trader: Trader) -> None:
    stream_book(trader, bid="99.77")
    trader.venue.calls.clear()
    assert source_of_book(trader) == "stream"
    assert str(trader.seen[-1].book.best_bid) == "99.77"
    assert trader.venue.names("order_book") == []


def test_an_old_book_of_the_feed_is_not_used(trader: Trader) -> None:
    stream_book(trader, bid="99.77", age_ms=60_000)
    assert source_of_book(trader) == "rest"
    assert str(trader.seen[-1].book.best_bid) == "99.9"


def test_own_orders_are_not_in_the_book_of_the_feed_either(trader: Trader) -> None:
    trader.run()
    context = trader.bench.context
    own = next(order for order in trader.venue.resting.values() if order.side is Side.BUY)
    assert own.price is not None
    book = trader.venue.order_book(SYMBOL)
    levels = (BookLevel(price=own.price, quantity=own.quantity), *book.bids)
    at_ms = context.instances.now_ms()
    context.market_data.put(VENUE, [replace(book, bids=levels, updated_at_ms=at_ms)])
    snapshot = trader.run()
    assert snapshot is not None
    assert own.price not in [level.price for level in snapshot.book.bids]


def test_a_fill_of_the_stream_counts_before_the_history_shows_it_and_once(trader: Trader) -> None:
    trader.run()
    (order_id,) = trader.resting(Side.BUY)
    fill = trader.venue.hit(order_id)
    stream_fill(trader, fill)
    snapshot = trader.run()
    assert snapshot is not None
    assert [each.trade_id for each in snapshot.fills] == [fill.trade_id]
    assert snapshot.profit.net == fill.quantity
    trader.venue.filled.append(fill)
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.fills == ()
    assert snapshot.profit.net == fill.quantity


def test_the_stream_does_not_hide_older_fills_that_the_history_shows_late(trader: Trader) -> None:
    trader.run()
    (bid,), (ask,) = trader.resting(Side.BUY), trader.resting(Side.SELL)
    late = trader.venue.hit(bid, "0.4")
    trader.venue.filled.remove(late)
    newer = trader.venue.hit(ask)
    stream_fill(trader, replace_time(trader, newer, ahead_ms=120_000))
    trader.run()
    trader.venue.filled.append(late)
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.profit.net == late.quantity - newer.quantity


def replace_time(trader: Trader, fill: Fill, *, ahead_ms: int) -> Fill:
    later = replace(fill, filled_at_ms=fill.filled_at_ms + ahead_ms)
    trader.venue.filled[trader.venue.filled.index(fill)] = later
    return later


def test_fills_of_another_runs_orders_are_not_counted(trader: Trader) -> None:
    trader.run()
    (order_id,) = trader.resting(Side.BUY)
    fill = trader.venue.hit(order_id)
    stream_fill(trader, replace_order(trader, fill))
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.profit.net == 0


def replace_order(trader: Trader, fill: Fill) -> Fill:
    other = replace(fill, order_id="somebody-else's")
    trader.venue.filled[trader.venue.filled.index(fill)] = other
    return other


def test_orders_and_fills_are_told_to_the_ledger_with_the_commit(trader: Trader) -> None:
    trader.run()
    told = bookings(trader, "order")
    assert {(each["side"], each["status"], each["epoch"]) for each in told} == {
        ("buy", "new", 1),
        ("sell", "new", 1),
    }
    (order_id,) = trader.resting(Side.BUY)
    fill = trader.venue.hit(order_id)
    trader.run()
    (booked,) = bookings(trader, "fill")
    assert (booked["trade_id"], booked["instance_id"], booked["source"]) == (
        fill.trade_id,
        INSTANCE_ID,
        "iteration",
    )
    assert (booked["level"], booked["role"]) == (3, 0)
    filled = [each for each in bookings(trader, "order") if each["order_id"] == order_id]
    assert [each["status"] for each in filled] == ["new", "filled"]


def test_what_stays_as_it_was_is_not_told_again(trader: Trader) -> None:
    trader.run()
    count = len(bookings(trader, "order"))
    trader.run()
    assert len(bookings(trader, "order")) == count


def test_an_iteration_that_died_before_its_commit_has_told_nothing_and_the_next_one_does(
    trader: Trader,
) -> None:
    trader.run_and_die_before_the_commit()
    assert bookings(trader, "order") == []
    trader.wait_for_the_fence()
    trader.run()
    assert {each["side"] for each in bookings(trader, "order")} == {"buy", "sell"}


def test_a_stop_tells_what_its_cancels_and_last_fills_were(trader: Trader) -> None:
    trader.run()
    (order_id,) = trader.resting(Side.BUY)
    trader.venue.hit(order_id, "0.4")
    trader.bench.stop()
    outcome = trader.bench.clean_up()
    assert outcome is not None
    assert outcome.is_clean
    assert [each["source"] for each in bookings(trader, "fill")] == ["cleanup"]
    ends = {each["order_id"]: each["status"] for each in bookings(trader, "order")}
    assert set(ends.values()) == {"cancelled"}


def test_without_market_data_nothing_is_placed_and_what_rests_stays_within_the_limit(trader: Trader) -> None:
    limit_data_age(trader, "60")
    trader.run()
    assert len(trader.venue.resting) == 2
    trader.venue.always["order_book"] = Unavailable("away")
    trader.venue.calls.clear()
    trader.bench.run(None)
    assert trader.venue.names("place", "cancel") == []
    assert trader.bench.record.last_error.startswith("NoMarketData")


def test_beyond_the_limit_everything_is_withdrawn_and_quoting_resumes_with_the_data(trader: Trader) -> None:
    limit_data_age(trader, "0.5")
    trader.run()
    assert len(trader.venue.resting) == 2
    trader.venue.always["order_book"] = Unavailable("away")
    assert source_of_book(trader) == "none"
    assert trader.venue.resting == {}
    # Missing data is no failure of the instance: its pace stays, and no count leads to a stop.
    assert trader.bench.record.errors == 0
    del trader.venue.always["order_book"]
    show_books(trader)
    trader.run()
    trader.run()
    assert len(trader.venue.resting) == 2


def test_any_other_failure_withdraws_beyond_the_limit_too_and_is_counted(trader: Trader) -> None:
    limit_data_age(trader, "0.5")
    trader.run()
    assert len(trader.venue.resting) == 2
    trader.venue.always["fills"] = Unavailable("away")
    trader.bench.run(None)
    assert trader.venue.resting == {}
    assert trader.bench.record.errors == 1


def test_without_a_limit_missing_data_is_an_error_as_any_other(trader: Trader) -> None:
    trader.run()
    trader.venue.always["order_book"] = Unavailable("away")
    trader.bench.run(None)
    assert len(trader.venue.resting) == 2
    assert trader.bench.record.errors == 1


def test_a_stop_knows_what_the_stream_has_shown(trader: Trader) -> None:
    trader.run()
    (order_id,) = trader.resting(Side.BUY)
    stream_fill(trader, trader.venue.hit(order_id))
    trader.bench.stop()
    outcome = trader.bench.clean_up()
    assert outcome is not None
    assert outcome.is_clean
    assert trader.books.profit.net == 1


def test_the_way_of_a_fill_from_feed_to_books_keeps_every_digit(trader: Trader) -> None:
    trader.run()
    (order_id,) = trader.resting(Side.BUY)
    fill = replace(trader.venue.hit(order_id), fee=Decimal("0.000000000123456789"))
    trader.venue.filled[-1] = fill
    stream_fill(trader, fill)
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.fills == (fill,)
    assert isinstance(trader.bench.context.own_fills, OwnFills)
