"""Where the order book of an iteration comes from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exchanges.errors import Unavailable
from runner.market_read import (
    MOST_AGE_MS,
    STREAM_LAG_MS,
    BookRead,
    Freshness,
    NoMarketData,
    Source,
    read_book,
)
from state.market_data import StreamedBook
from tests.factories import SYMBOL
from tests.fake_venue import FakeVenue

NOW_MS = 1_000_000
#: The exchange's clock is ahead of the state server's.
EXCHANGE_MS = 1_500_000


def streamed(*, changed_ago_ms: int = 0, received_ago_ms: int = 0) -> StreamedBook:
    book = replace(FakeVenue().order_book(SYMBOL), updated_at_ms=EXCHANGE_MS - changed_ago_ms)
    return StreamedBook(book=book, received_at_ms=NOW_MS - received_ago_ms)


def read(venue: FakeVenue, found: StreamedBook | None, limit_ms: int | None = None, **more: int) -> BookRead:
    freshness = Freshness(now_ms=NOW_MS, exchange_ms=EXCHANGE_MS, limit_ms=limit_ms, **more)
    return read_book(venue, SYMBOL, found, freshness)


@pytest.mark.parametrize(
    ("found", "limit_ms", "source"),
    [
        (streamed(), None, Source.STREAM),
        (None, None, Source.REST),
        (streamed(changed_ago_ms=MOST_AGE_MS), None, Source.STREAM),
        (streamed(changed_ago_ms=MOST_AGE_MS + 1), None, Source.REST),
        (streamed(received_ago_ms=MOST_AGE_MS + 1), None, Source.REST),
        (streamed(changed_ago_ms=400), 500, Source.STREAM),
        (streamed(changed_ago_ms=600), 500, Source.REST),
        # A long limit is for withdrawing: a feed that died must not be believed for so long.
        (streamed(changed_ago_ms=5_000), 60_000, Source.REST),
    ],
)
def test_the_stream_is_used_while_it_is_fresh_by_both_clocks(
    found: StreamedBook | None, limit_ms: int | None, source: Source
) -> None:
    venue = FakeVenue()
    assert read(venue, found, limit_ms).source is source
    assert venue.names("order_book") == ([] if source is Source.STREAM else ["order_book"])


def test_a_book_that_may_not_show_the_last_change_of_own_orders_is_not_used() -> None:
    found = streamed(changed_ago_ms=300, received_ago_ms=300)
    assert read(FakeVenue(), found, own_changed_at_ms=NOW_MS - 300).source is Source.REST
    earlier_ms = NOW_MS - 300 - STREAM_LAG_MS
    assert read(FakeVenue(), found, own_changed_at_ms=earlier_ms).source is Source.STREAM


def test_a_book_that_does_not_show_the_last_own_fill_is_not_used() -> None:
    found = streamed(changed_ago_ms=300)
    assert read(FakeVenue(), found, own_filled_ms=EXCHANGE_MS - 299).source is Source.REST
    assert read(FakeVenue(), found, own_filled_ms=EXCHANGE_MS - 300).source is Source.STREAM


def test_without_either_there_is_no_book() -> None:
    venue = FakeVenue()
    venue.always["order_book"] = Unavailable("away")
    for found in (streamed(changed_ago_ms=7_000, received_ago_ms=6_000), None):
        with pytest.raises(NoMarketData, match="away"):
            read(venue, found)
