from __future__ import annotations

import json
import random

import pytest

from bench.feed_market import Market, symbol_name
from exchanges.backpack import events, parse_market
from exchanges.backpack.rows import Row
from exchanges.base import DepthSnapshot
from exchanges.local_book import LocalBook
from market.instrument import MarketType


def snapshot_of(market: Market, at_us: int) -> DepthSnapshot:
    body = json.dumps(market.snapshot(at_us)).encode()
    return DepthSnapshot(
        book=parse_market.order_book(market.symbol, body),
        last_update_id=parse_market.last_update_id(body),
        max_levels=1000,
    )


@pytest.mark.parametrize("changes", [1, 500])
def test_a_book_that_follows_the_changes_is_the_one_that_a_snapshot_shows(changes: int) -> None:
    market = Market(symbol="C000_USDC", random=random.Random(3))
    book = LocalBook(market.symbol)
    book.apply(events.book_change(Row(market.change(1_000_000))))
    book.load(snapshot_of(market, 1_000_000))
    for number in range(changes):
        book.apply(events.book_change(Row(market.change(1_001_000 + number * 1000))))

    expected = snapshot_of(market, 1_000_000 + changes * 1000).book
    followed = book.book(1000)
    assert followed is not None
    assert (followed.bids, followed.asks) == (expected.bids, expected.asks)
    assert followed.best_bid is not None
    assert followed.best_ask is not None
    assert followed.best_bid < followed.best_ask


def test_every_other_market_is_a_perpetual() -> None:
    for number, expected in ((0, MarketType.SPOT), (1, MarketType.PERP)):
        market = Market(symbol=symbol_name(number), random=random.Random(1))
        assert parse_market.instrument(json.dumps(market.rules()).encode()).market_type is expected
