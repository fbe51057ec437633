"""Books from a stream: right in Redis, or not there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from exchanges.base import DepthSnapshot
from exchanges.errors import Unavailable
from feed.markets import LEVELS, QUIET_S, STREAM_LAG_S, Markets, StreamFrozen
from state.market_data import StreamedBook
from tests.factories import SYMBOL
from tests.support import wait_until
from tests.unit.feed.feed_bench import FeedBench, change


class Clock:
    """Monotonic seconds in the hands of a test."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def markets(bench: FeedBench, clock: Clock) -> Markets:
    found = Markets("venue", bench.venue, bench.market_data, clock)
    found.watch([SYMBOL])
    return found


def kept(bench: FeedBench) -> StreamedBook | None:
    return bench.market_data.read("venue", SYMBOL)


def loaded(markets: Markets, bench: FeedBench) -> Callable[[], bool]:
    """Return what works on until a book is kept."""

    def condition() -> bool:
        markets.work()
        return kept(bench) is not None

    return condition


def test_a_book_is_kept_once_a_snapshot_joins_the_changes(markets: Markets, bench: FeedBench) -> None:
    bench.venue.last_update_id = 10
    markets.take(change(11, bid="99.95"))
    wait_until(loaded(markets, bench))
    found = kept(bench)
    assert found is not None
    assert [level.price for level in found.book.bids] == [Decimal("99.95"), Decimal("99.9")]
    assert found.book.asks[0].price == Decimal("100.1")


def test_changes_are_kept_as_they_come_but_not_more_often_than_needed(
    markets: Markets, bench: FeedBench, clock: Clock
) -> None:
    wait_until(loaded(markets, bench))
    markets.take(change(1, bid="99.91", at_ms=2_000_000))
    clock.now_s += 0.01
    assert markets.work()
    assert best_bid(bench) == "99.9"
    clock.now_s += 0.05
    assert not markets.work()
    assert best_bid(bench) == "99.91"


def best_bid(bench: FeedBench) -> str:
    found = kept(bench)
    assert found is not None
    return str(found.book.best_bid)


def test_after_a_gap_nothing_is_kept_until_a_new_snapshot(
    markets: Markets, bench: FeedBench, clock: Clock
) -> None:
    wait_until(loaded(markets, bench))
    bench.venue.always["order_book"] = Unavailable("away")
    markets.take(change(5, bid="99.97", at_ms=2_000_000))
    clock.now_s += 10
    markets.work()
    assert best_bid(bench) == "99.9"
    del bench.venue.always["order_book"]
    bench.venue.last_update_id = 5
    bench.venue.bid = Decimal("99.97")

    def again() -> bool:
        clock.now_s += 1.1
        markets.work()
        return best_bid(bench) == "99.97"

    wait_until(again)


def test_an_older_book_of_another_feed_does_not_replace_a_newer_one(bench: FeedBench) -> None:
    book = bench.venue.order_book(SYMBOL)
    bench.market_data.put("venue", [replace(book, updated_at_ms=5_000)])
    bench.market_data.put("venue", [replace(book, updated_at_ms=4_000)])
    found = kept(bench)
    assert found is not None
    assert found.book.updated_at_ms == 5_000


def test_a_new_connection_begins_with_a_new_snapshot(markets: Markets, bench: FeedBench) -> None:
    wait_until(loaded(markets, bench))
    markets.restart()
    bench.venue.calls.clear()
    markets.work()
    wait_until(lambda: bench.venue.names("order_book") == ["order_book"])


def test_a_quiet_book_is_compared_with_the_exchange_and_a_dead_stream_is_found(
    markets: Markets, bench: FeedBench, clock: Clock
) -> None:
    wait_until(loaded(markets, bench))
    bench.venue.last_update_id = 3
    clock.now_s += QUIET_S + 1
    bench.venue.calls.clear()
    markets.work()
    wait_until(lambda: bench.venue.names("order_book") == ["order_book"])

    def frozen() -> bool:
        clock.now_s += STREAM_LAG_S + 0.1
        try:
            markets.work()
        except StreamFrozen:
            return True
        return False

    wait_until(frozen)


def test_a_quiet_book_that_the_exchange_confirms_is_left_alone(
    markets: Markets, bench: FeedBench, clock: Clock
) -> None:
    wait_until(loaded(markets, bench))
    asked = len(bench.venue.names("order_book"))
    for n in range(1, 4):
        clock.now_s += QUIET_S + 1
        markets.work()
        wait_until(lambda n=n: len(bench.venue.names("order_book")) == asked + n)  # type: ignore[misc]
        # The answer is on its way to this thread: the next comparison waits for it.
        wait_until(lambda: _took_answer(markets))


def _took_answer(markets: Markets) -> bool:
    markets.work()
    return not any(market.is_asked for market in markets._markets.values())


def test_a_snapshot_whose_changes_come_late_is_no_sign_of_a_dead_stream(
    markets: Markets, bench: FeedBench, clock: Clock
) -> None:
    wait_until(loaded(markets, bench))
    bench.venue.last_update_id = 2
    clock.now_s += QUIET_S + 1
    markets.work()
    wait_until(lambda: _took_answer(markets))
    markets.take(change(1, 2, at_ms=2_000_000))
    clock.now_s += STREAM_LAG_S + 1
    markets.work()


def test_the_levels_that_iterations_get_are_no_more_than_needed(
    markets: Markets, bench: FeedBench, clock: Clock
) -> None:
    wait_until(loaded(markets, bench))
    for number in range(1, 81):
        markets.take(change(number, bid=f"{90 + number / 100:.2f}", at_ms=2_000_000 + number))

    def full() -> bool:
        clock.now_s += 0.1
        markets.work()
        found = kept(bench)
        return found is not None and len(found.book.bids) == LEVELS

    wait_until(full)


def test_a_snapshot_is_its_number_and_its_book(bench: FeedBench) -> None:
    assert isinstance(bench.venue.depth_snapshot(SYMBOL), DepthSnapshot)
