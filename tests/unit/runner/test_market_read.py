"""Where the order book of an iteration comes from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exchanges.errors import Unavailable
from runner.market_read import DEFAULT_AGE_MS, BookRead, NoMarketData, Source, read_book
from state.market_data import StreamedBook
from tests.factories import SYMBOL
from tests.fake_venue import FakeVenue

NOW_MS = 1_000_000
#: The exchange's clock is ahead of the state server's.
EXCHANGE_MS = 1_500_000


def streamed(*, changed_ago_ms: int = 0, received_ago_ms: int = 0) -> StreamedBook:
    book = replace(FakeVenue().order_book(SYMBOL), updated_at_ms=EXCHANGE_MS - changed_ago_ms)
    return StreamedBook(book=book, received_at_ms=NOW_MS - received_ago_ms)


def read(venue: FakeVenue, found: StreamedBook | None, limit_ms: int | None = None) -> BookRead:
    return read_book(venue, SYMBOL, found, now_ms=NOW_MS, exchange_ms=EXCHANGE_MS, limit_ms=limit_ms)


@pytest.mark.parametrize(
    ("found", "limit_ms", "source"),
    [
        (streamed(), None, Source.STREAM),
        (None, None, Source.REST),
        (streamed(changed_ago_ms=DEFAULT_AGE_MS), None, Source.STREAM),
        (streamed(changed_ago_ms=DEFAULT_AGE_MS + 1), None, Source.REST),
        (streamed(received_ago_ms=DEFAULT_AGE_MS + 1), None, Source.REST),
        (streamed(changed_ago_ms=900), 1_000, Source.STREAM),
        (streamed(changed_ago_ms=1_100), 1_000, Source.REST),
        (streamed(changed_ago_ms=50_000), 60_000, Source.STREAM),
    ],
)
def test_the_stream_is_used_while_it_is_fresh_by_both_clocks(
    found: StreamedBook | None, limit_ms: int | None, source: Source
) -> None:
    venue = FakeVenue()
    assert read(venue, found, limit_ms).source is source
    assert venue.names("order_book") == ([] if source is Source.STREAM else ["order_book"])


def test_without_either_there_is_no_book_and_its_last_time_is_told() -> None:
    venue = FakeVenue()
    venue.always["order_book"] = Unavailable("away")
    with pytest.raises(NoMarketData, match="away") as caught:
        read(venue, streamed(changed_ago_ms=7_000, received_ago_ms=6_000))
    assert caught.value.last_at_ms == NOW_MS - 7_000
    with pytest.raises(NoMarketData) as caught:
        read(venue, None)
    assert caught.value.last_at_ms == 0
