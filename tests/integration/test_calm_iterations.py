"""An iteration that knows without asking that nothing has changed, and one that must not believe so."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchanges.errors import Unavailable
from market.book import BookLevel, OrderBook
from market.orders import Side
from market.position import Position
from runner import calm, loaded
from runner.calm import ANSWERS_LAG_MS, LONGEST_CALM_MS, MOST_MARK_AGE_MS, MOST_SILENCE_MS, OPENING_MS
from runner.gathering import Held
from state import keys
from state.hearing import FILLED, HEARD, SINCE, touched
from state.market_data import StreamedBook
from strategies.limits import Limits
from tests.factories import ACCOUNT, INSTANCE_ID, SYMBOL, VERSION, quote
from tests.integration.trader import ASK, BID, Trader

VENUE = "backpack-simulated"
HEARD_KEY = keys.heard(ACCOUNT)


BOOK = OrderBook(
    symbol=SYMBOL,
    bids=(BookLevel(price=Decimal("99.9"), quantity=Decimal(5)),),
    asks=(BookLevel(price=Decimal("100.1"), quantity=Decimal(5)),),
    updated_at_ms=0,
)


class Calm:
    """A run whose orders rest, whose last look is over, and whose feed has heard nothing since."""

    def __init__(self, trader: Trader) -> None:
        self.trader = trader
        self.client = trader.bench.client
        trader.run()
        # Own orders have changed by now, a moment before the look.
        self.look_ago(1_000)
        trader.run()
        self.hear(since_ago_ms=600_000)
        self.look_ago(500)
        trader.venue.calls.clear()

    @property
    def now_ms(self) -> int:
        return self.trader.bench.context.instances.now_ms()

    def look_ago(self, ago_ms: int, *, only: Sequence[str] = ("look", "books")) -> None:
        """Let what was saved be of so long ago."""
        moments = {"at_ms", "own_changed_at_ms", "book_at_ms"}
        for name in only:
            text = self.trader.bench.field(name)
            if text:
                shifted = json_with(text, lambda key, value: value - ago_ms if key in moments else value)
                self.trader.bench.set_field(name, shifted)

    def hear(self, *, since_ago_ms: int) -> None:
        """Let a feed have listened for so long, and heard nothing but that the stream lives."""
        self.client.hset(HEARD_KEY, mapping={SINCE: self.now_ms - since_ago_ms, HEARD: self.now_ms})
        self.show_book()

    def show_book(self, *, ago_ms: int = 0) -> None:
        """Let a feed have seen a book."""
        book = replace(BOOK, updated_at_ms=self.now_ms - ago_ms)
        self.client.delete(keys.market(VENUE, SYMBOL))
        self.trader.bench.context.market_data.put(VENUE, [book])
        if ago_ms:
            self.client.hset(keys.market(VENUE, SYMBOL), "received_at", self.now_ms - ago_ms)

    def asks(self) -> bool:
        """Run an iteration; tell whether it asked the exchange for anything."""
        self.trader.venue.calls.clear()
        self.trader.run()
        return bool(set(self.trader.venue.names()) - {"instrument"})


def json_with(text: str, change: Callable[[str, Any], Any]) -> str:
    return json.dumps({key: change(key, value) for key, value in json.loads(text).items()})


@pytest.fixture
def quiet(trader: Trader) -> Calm:
    """Nothing has to be done."""
    return Calm(trader)


def test_an_iteration_in_which_nothing_can_have_changed_asks_for_nothing(quiet: Calm) -> None:
    before = quiet.trader.books
    assert not quiet.asks()
    assert quiet.trader.seen[-1].book.best_bid == Decimal("99.9")
    assert len(quiet.trader.seen[-1].open_orders) == 2
    assert quiet.trader.books.orders == before.orders
    assert quiet.trader.books.book_at_ms > before.book_at_ms
    assert quiet.trader.bench.field("errors") == "0"


def test_the_next_one_does_neither_by_the_same_look(quiet: Calm) -> None:
    look = quiet.trader.bench.field("look")
    assert not quiet.asks()
    assert not quiet.asks()
    assert quiet.trader.bench.field("look") == look


def heard(name: str, ago_ms: int) -> Callable[[Calm], object]:
    return lambda quiet: quiet.client.hset(HEARD_KEY, name, quiet.now_ms - ago_ms)


def news(name: str) -> Callable[[Calm], None]:
    def hear(quiet: Calm) -> None:
        heard(name, 0)(quiet)
        # The feed's book is never far behind.
        quiet.show_book()

    return hear


def changed_since(quiet: Calm) -> None:
    """Let own orders have changed since the look, and the book show it."""
    books(own_changed_at_ms=quiet.now_ms - 400)(quiet)


def put(name: str, value: str) -> Callable[[Calm], None]:
    return lambda quiet: quiet.trader.bench.set_field(name, value)


def books(**changes: Any) -> Callable[[Calm], None]:
    def change(quiet: Calm) -> None:
        text = quiet.trader.bench.field("books") or ""
        put("books", json_with(text, lambda key, value: changes.get(key, value)))(quiet)

    return change


def every_order(**changes: Any) -> Callable[[Calm], None]:
    def change(quiet: Calm) -> None:
        books(orders={name: order | changes for name, order in known(quiet).items()})(quiet)

    def known(quiet: Calm) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(quiet.trader.bench.field("books") or "")["orders"]
        return found

    return change


REASONS: dict[str, Callable[[Calm], object]] = {
    "no stream stands": lambda quiet: quiet.client.hdel(HEARD_KEY, SINCE),
    "the stream was opened since": heard(SINCE, 0),
    "the stream was just being opened": heard(SINCE, 500 + OPENING_MS - 1_000),
    "something was executed just before the look": heard(FILLED, 500 + ANSWERS_LAG_MS - 500),
    "an own order changed just before the look": heard(touched(INSTANCE_ID), 500 + ANSWERS_LAG_MS - 500),
    "it was heard of in the future": heard(HEARD, -60_000),
    "position and fills tell different stories": books(
        carried={"low": "0", "high": "0", "differs_since_ms": 1}
    ),
    "nothing comes over it": heard(HEARD, MOST_SILENCE_MS + 500),
    "something was executed": news(FILLED),
    "something happened to an own order": news(touched(INSTANCE_ID)),
    "the look is long ago": lambda quiet: quiet.look_ago(LONGEST_CALM_MS),
    "the look is of the future": lambda quiet: quiet.look_ago(-60_000, only=("look",)),
    "nobody looked": put("look", ""),
    "another version looked": put("look", '{"at": 1}'),
    "something may still arrive": lambda quiet: quiet.trader.bench.set_field("fence", quiet.now_ms + 60_000),
    "an order's fate is not known": lambda quiet: quiet.client.hset(
        keys.intents(INSTANCE_ID), "3:0:77", quiet.now_ms
    ),
    "own orders changed since the look": changed_since,
    "an order is just over": books(over={"gone": 2**45}),
    "orders of another run rest": books(strangers_since_ms=1),
    "an order was not shown": every_order(missing_since_ms=1),
    "fills are missing": every_order(executed="0.1"),
    "what was heard is damaged": lambda quiet: quiet.client.hset(HEARD_KEY, HEARD, "lately"),
    "what was heard is no hash": lambda quiet: quiet.client.set(HEARD_KEY, "nothing"),
    "the market is no hash": lambda quiet: quiet.client.set(keys.market(VENUE, SYMBOL), "up"),
    "the book is old": lambda quiet: quiet.show_book(ago_ms=5_000),
    "there is no book": lambda quiet: quiet.client.delete(keys.market(VENUE, SYMBOL)),
}


@pytest.mark.parametrize("reason", REASONS)
def test_the_exchange_is_asked_when(quiet: Calm, reason: str) -> None:
    REASONS[reason](quiet)
    assert quiet.asks()
    assert {"open_orders", "fills", "balances"} <= set(quiet.trader.venue.names())


def test_an_execution_before_the_look_is_known(quiet: Calm) -> None:
    heard(FILLED, 5_000)(quiet)
    heard(touched(INSTANCE_ID), 5_000)(quiet)
    assert not quiet.asks()


def test_a_book_of_before_the_last_news_shows_what_is_gone(quiet: Calm) -> None:
    heard(FILLED, 600)(quiet)
    quiet.show_book(ago_ms=700)
    assert quiet.asks()


def test_other_instances_orders_are_their_own_matter(quiet: Calm) -> None:
    heard(touched("another"), 0)(quiet)
    assert not quiet.asks()


def test_nothing_is_sent_without_a_look_of_now(quiet: Calm) -> None:
    quiet.trader.quotes = (quote(Side.BUY, "98", level=3), ASK)
    quiet.trader.run()
    assert quiet.trader.venue.names("open_orders", "place", "cancel")[0] == "open_orders"
    assert [quiet.trader.venue.resting[each].price for each in quiet.trader.resting(Side.BUY)] == [
        Decimal(98)
    ]


def test_no_run_ends_without_a_look_of_now(quiet: Calm) -> None:
    quiet.trader.stop_reason = "enough"
    assert quiet.asks()
    assert quiet.trader.bench.phase == "stopping"


def test_after_own_orders_have_changed_the_exchange_is_asked_once(quiet: Calm) -> None:
    quiet.trader.quotes = (BID,)
    quiet.trader.run()
    assert quiet.asks()


def test_a_paused_run_looks(quiet: Calm) -> None:
    quiet.trader.bench.set_field("paused", quiet.now_ms)
    assert quiet.asks()


def test_another_place_than_the_runs_own_tells_nothing(quiet: Calm, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = replace(calm._places[INSTANCE_ID], account="another")
    quiet.client.copy(HEARD_KEY, keys.heard("another"))
    monkeypatch.setitem(calm._places, INSTANCE_ID, elsewhere)
    assert quiet.asks()


def test_a_clock_of_the_exchange_that_nobody_tells_is_for_the_one_who_asks(quiet: Calm) -> None:
    """What is withdrawn without market data is withdrawn there."""

    def unknown(*_: object) -> int:
        raise Unavailable("no time")

    quiet.trader.monkeypatch.setattr(calm, "freshness_of", unknown)
    assert quiet.asks()
    assert quiet.trader.bench.field("errors") == "0"


def test_rules_of_a_market_that_nobody_tells_are_for_the_one_who_asks(quiet: Calm) -> None:
    """Likewise, and what rests may not rest for as long as they are missing."""
    held = quiet.trader.bench.instance
    limited = replace(held, limits=Limits(max_data_age_s=Decimal(1)))
    quiet.trader.monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, limited))
    books(book_at_ms=1)(quiet)

    def unknown(*_: object) -> None:
        raise Unavailable("no answer")

    quiet.trader.monkeypatch.setattr(type(quiet.trader.bench.context.venues), "instrument", unknown)
    assert quiet.asks()
    assert not quiet.trader.venue.resting


def test_a_process_that_has_not_had_the_instance_before_asks_for_nothing_either(quiet: Calm) -> None:
    calm._places.clear()
    assert not quiet.asks()
    assert quiet.trader.seen[-1].book.best_bid == Decimal("99.9")


@pytest.mark.parametrize(
    "news", [heard(FILLED, 0), heard(touched(INSTANCE_ID), 0), heard(SINCE, 0)], ids=["fill", "order", "gap"]
)
def test_it_hears_what_the_others_hear(quiet: Calm, news: Callable[[Calm], object]) -> None:
    calm._places.clear()
    news(quiet)
    quiet.show_book()
    assert quiet.asks()


def test_it_asks_where_what_feeds_tell_is_damaged(quiet: Calm) -> None:
    calm._places.clear()
    quiet.client.delete(HEARD_KEY)
    quiet.client.set(HEARD_KEY, "no hash")
    assert quiet.asks()
    assert quiet.trader.bench.field("errors") == "0"


def test_a_run_begins_with_a_look(quiet: Calm) -> None:
    quiet.trader.bench.stop_and_clean_up()
    quiet.trader.bench.start()
    assert quiet.trader.bench.field("look") is None


def test_a_server_that_may_have_forgotten_something_forgets_the_look(quiet: Calm) -> None:
    quiet.trader.bench.set_field("keeps", "everysec")
    quiet.trader.bench.set_field("server", "another:one")
    quiet.trader.bench.set_field("reach", 0)
    claimed = quiet.trader.bench.claim()
    assert claimed.look_json == ""
    # Nor is it there again when that iteration could not look.
    quiet.trader.bench.commit(claimed)
    assert quiet.trader.bench.claim().look_json == ""


POSITION = Position(
    symbol=SYMBOL,
    net_quantity=Decimal(2),
    entry_price=Decimal(100),
    mark_price=Decimal(101),
    unrealized_pnl=Decimal("1.5"),
)


def marked(price: str | None, *, ago_ms: int = 0, position: Position | None = POSITION) -> Held | None:
    mark = None if price is None else Decimal(price)
    streamed = StreamedBook(book=BOOK, received_at_ms=0, mark_price=mark, marked_at_ms=1_000_000 - ago_ms)
    return calm._with_mark(Held(position=position, balances={}), streamed, 1_000_000)


def test_a_position_is_seen_at_the_price_of_now() -> None:
    found = marked("103")
    assert found is not None
    assert found.position == replace(POSITION, mark_price=Decimal(103), unrealized_pnl=Decimal("5.5"))


def test_a_result_that_the_exchange_does_not_tell_is_not_made_up() -> None:
    found = marked("103", position=replace(POSITION, unrealized_pnl=Decimal(0)))
    assert found is not None
    assert found.position is not None
    assert found.position.unrealized_pnl == 0


def test_without_a_price_of_now_the_exchange_is_asked() -> None:
    assert marked(None) is None
    assert marked("103", ago_ms=MOST_MARK_AGE_MS + 1) is None


def test_where_the_exchange_names_no_mark_none_is_needed() -> None:
    unmarked = replace(POSITION, mark_price=None)
    found = marked(None, position=unmarked)
    assert found is not None
    assert found.position == unmarked
