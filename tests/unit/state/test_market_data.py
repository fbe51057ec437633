"""The newest book of each market, whichever of several feeds brings it."""

from __future__ import annotations

from decimal import Decimal

import pytest
import redis

from market.book import BookLevel, OrderBook
from state import keys
from state.market_data import SET_BACK_AFTER_MS, MarketData
from state.scripts import Scripts
from tests.store_clock import START_MS, StoreClock

SYMBOL = "SOL_USDC"


def book(price: str, *, changed_at_ms: int, symbol: str = SYMBOL) -> OrderBook:
    """Return a book with two levels of bids and one of asks."""
    bids = (
        BookLevel(price=Decimal(price), quantity=Decimal("1.50")),
        BookLevel(price=Decimal(price) - 1, quantity=Decimal(2)),
    )
    asks = (BookLevel(price=Decimal(price) + 1, quantity=Decimal(3)),)
    return OrderBook(symbol=symbol, bids=bids, asks=asks, updated_at_ms=changed_at_ms)


@pytest.fixture
def market_data(client: redis.Redis, scripts: Scripts) -> MarketData:
    return MarketData(client, scripts)


def test_a_book_is_read_as_it_was_put_and_with_the_time_of_its_arrival(
    market_data: MarketData, clock: StoreClock
) -> None:
    clock.advance(7)
    told = book("100", changed_at_ms=5)
    market_data.put("venue", [told, book("7", changed_at_ms=6, symbol="OTHER")])
    found = market_data.read("venue", SYMBOL)
    assert found is not None
    assert found.book == told
    assert found.received_at_ms == START_MS + 7
    assert market_data.read("another venue", SYMBOL) is None


def test_nothing_to_put_asks_nobody(market_data: MarketData, client: redis.Redis) -> None:
    market_data.put("venue", [])
    market_data.drop("venue", [])
    assert client.keys("*market*") == []


@pytest.mark.parametrize(("later_ms", "bid"), [(SET_BACK_AFTER_MS - 1, "100"), (SET_BACK_AFTER_MS, "90")])
def test_an_older_book_replaces_a_newer_one_only_when_nobody_renewed_that_for_long(
    market_data: MarketData, clock: StoreClock, later_ms: int, bid: str
) -> None:
    market_data.put("venue", [book("100", changed_at_ms=50)])
    clock.advance(later_ms)
    market_data.put("venue", [book("90", changed_at_ms=49)])
    found = market_data.read("venue", SYMBOL)
    assert found is not None
    assert found.book.best_bid == Decimal(bid)


def test_a_book_of_the_same_moment_is_kept_with_its_new_arrival(
    market_data: MarketData, clock: StoreClock
) -> None:
    market_data.put("venue", [book("100", changed_at_ms=50)])
    clock.advance(1)
    market_data.put("venue", [book("101", changed_at_ms=50)])
    found = market_data.read("venue", SYMBOL)
    assert found is not None
    assert (found.book.best_bid, found.received_at_ms) == (Decimal(101), START_MS + 1)


def test_a_market_that_is_dropped_has_no_book(market_data: MarketData) -> None:
    market_data.put("venue", [book("100", changed_at_ms=1), book("7", changed_at_ms=1, symbol="OTHER")])
    market_data.drop("venue", [SYMBOL])
    assert market_data.read("venue", SYMBOL) is None
    assert market_data.read("venue", "OTHER") is not None


def test_a_price_and_a_quantity_may_be_tiny(market_data: MarketData) -> None:
    tiny = BookLevel(price=Decimal("0.0001"), quantity=Decimal("0.00001"))
    market_data.put("venue", [OrderBook(symbol=SYMBOL, bids=(), asks=(tiny,), updated_at_ms=1)])
    found = market_data.read("venue", SYMBOL)
    assert found is not None
    assert found.book.asks == (tiny,)


@pytest.mark.parametrize("field", ["changed_at", "received_at", "book"])
def test_a_book_that_lacks_something_is_none(
    market_data: MarketData, client: redis.Redis, field: str
) -> None:
    market_data.put("venue", [book("100", changed_at_ms=1)])
    client.hdel(keys.market("venue", SYMBOL), field)
    assert market_data.read("venue", SYMBOL) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "null", "[]", "[[],[],[]]", "{}", '[[["x","1"]],[]]', '[[["1"]],[]]', "[" * 2000),
        *('[[["0","1"]],[]]', '[[["1","0"]],[]]', '[[],[["-1","1"]]]', '[[],[["1e30","1"]]]'),
        *(
            '[[],[["1","NaN"]]]',
            '[[],[["1","1e999999999999"]]]',
            '[[],[["1","1e21"]]]',
            '[[],[["1e21","1"]]]',
        ),
    ],
)
def test_a_book_that_is_damaged_is_none(market_data: MarketData, client: redis.Redis, text: str) -> None:
    market_data.put("venue", [book("100", changed_at_ms=1)])
    client.hset(keys.market("venue", SYMBOL), "book", text)
    assert market_data.read("venue", SYMBOL) is None


def test_a_mark_price_is_read_with_the_time_of_its_arrival_beside_the_book(
    market_data: MarketData, clock: StoreClock
) -> None:
    market_data.put("venue", [book("100", changed_at_ms=1)], {"OTHER": Decimal(8)})
    unmarked = market_data.read("venue", SYMBOL)
    assert unmarked is not None
    assert (unmarked.mark_price, unmarked.marked_at_ms) == (None, 0)
    clock.advance(1_007)
    market_data.put("venue", [], {SYMBOL: Decimal("100.50")})
    found = market_data.read("venue", SYMBOL)
    assert found is not None
    assert (found.mark_price, found.marked_at_ms) == (Decimal("100.50"), START_MS + 1_007)
    assert found.received_at_ms == START_MS


@pytest.mark.parametrize(
    ("price", "is_read"), [("0.0001", True), ("1e20", True), ("0", False), ("-1", False)]
)
def test_a_mark_price_is_above_zero(
    market_data: MarketData, client: redis.Redis, price: str, is_read: bool
) -> None:
    market_data.put("venue", [book("100", changed_at_ms=1)])
    client.hset(keys.market("venue", SYMBOL), "mark", price)
    assert (market_data.read("venue", SYMBOL) is not None) == is_read


@pytest.mark.parametrize(
    ("field", "text"),
    [*(("mark", text) for text in ("", "x", "NaN", "1e21", "Infinity")), ("marked_at", "lately")],
)
def test_a_market_whose_mark_price_is_damaged_is_none(
    market_data: MarketData, client: redis.Redis, field: str, text: str
) -> None:
    market_data.put("venue", [book("100", changed_at_ms=1)], {SYMBOL: Decimal(1)})
    client.hset(keys.market("venue", SYMBOL), field, text)
    assert market_data.read("venue", SYMBOL) is None
