"""The outside market: queue places, a seeded walk, and recorded tapes."""

from __future__ import annotations

import asyncio
import gzip
from decimal import Decimal
from pathlib import Path

import pytest

from simulator import tape
from simulator.flow import SyntheticFlow
from simulator.markets import MARKETS
from simulator.orders import text
from tests.unit.simulator.small_exchange import SPOT, SmallExchange

ROOT = Path(__file__).parents[3]
TINY = ROOT / "tests" / "data" / "tiny_tape.jsonl"
RECORDED = ROOT.parent / "shared" / "data"
ETH = "ETH_USDC"


@pytest.fixture
def exchange() -> SmallExchange:
    exchange = SmallExchange()
    exchange.show("100", "100.04", bid_quantity="3")
    return exchange


def test_an_order_waits_for_what_was_displayed_before_it(exchange: SmallExchange) -> None:
    order = exchange.place(exchange.demo, "Bid", "100", "2")
    exchange.trade("100", "3", sells=True)
    assert order.executed == 0
    exchange.trade("100", "0.5", sells=True)
    assert order.executed == Decimal("0.5")
    exchange.trade("100", "9", sells=True)
    assert order.status == "Filled"


def test_two_orders_wait_for_the_same_quantity_and_then_for_each_other(exchange: SmallExchange) -> None:
    first = exchange.place(exchange.demo, "Bid", "100", "1")
    second = exchange.place(exchange.other, "Bid", "100", "1")
    exchange.trade("100", "4.5", sells=True)
    assert [first.executed, second.executed] == [1, Decimal("0.5")]


def test_trades_of_the_other_side_or_away_from_the_price_fill_nothing(exchange: SmallExchange) -> None:
    order = exchange.place(exchange.demo, "Bid", "100", "1")
    exchange.trade("100", "50", sells=False)
    exchange.trade("100.01", "50", sells=True)
    assert order.executed == 0


def test_a_trade_through_the_price_fills_whatever_stood_before(exchange: SmallExchange) -> None:
    bid = exchange.place(exchange.demo, "Bid", "100", "50")
    ask = exchange.place(exchange.demo, "Ask", "100.04", "50")
    exchange.trade("99.99", "0.01", sells=True)
    exchange.trade("100.05", "0.01", sells=False)
    assert (bid.status, ask.status) == ("Filled", "Filled")
    assert {fill.price for fill in exchange.fills()} == {Decimal(100), Decimal("100.04")}
    assert all(fill.maker for fill in exchange.fills())


def test_a_touch_that_moves_over_an_order_fills_it_at_its_own_price(exchange: SmallExchange) -> None:
    order = exchange.place(exchange.demo, "Bid", "99.5", "1")
    exchange.show("99.3", "99.4")
    assert (order.status, order.executed_quote) == ("Filled", Decimal("99.5"))


def test_the_same_seed_gives_the_same_market_and_another_seed_another() -> None:
    def run(seed: int) -> list[tuple[str, str]]:
        exchange = SmallExchange()
        flow = SyntheticFlow(exchange.engine, seed)
        exchange.place(exchange.demo, "Bid", "149.9", "1")
        exchange.place(exchange.demo, "Ask", "150.1", "1")
        for _ in range(300):
            flow.step()
            exchange.now_ms += 100
        trades = exchange.engine.books[SPOT].trades
        fills = [(str(entry["at_ms"]), str(entry["price"])) for entry in exchange.events("fill")]
        return [(str(trade.price), str(trade.quantity)) for trade in trades] + fills

    assert run(7) == run(7)
    assert run(7) != run(8)


@pytest.mark.parametrize(("side", "price"), [("Bid", "149.8"), ("Ask", "150.2")])
def test_a_market_that_takes_parts_leaves_an_order_partly_filled_and_its_touch_apart_from_it(
    side: str, price: str
) -> None:
    exchange = SmallExchange()
    flow = SyntheticFlow(exchange.engine, 5, partial_percent=100)
    order = exchange.place(exchange.demo, side, price, "5")
    seen = set()
    for _ in range(20_000):
        flow.step()
        seen.add(order.executed)
        if not order.rests:
            break
        book = exchange.engine.books[SPOT]
        assert book.ask > order.price if side == "Bid" else book.bid < order.price
    assert order.status == "Filled"
    assert len(seen) > 3
    assert sum(fill.quantity for fill in exchange.fills()) == 5
    assert all(fill.price == order.price and fill.maker for fill in exchange.fills())


@pytest.mark.parametrize("side", ["Bid", "Ask"])
def test_a_market_that_takes_parts_never_begins_with_a_whole_order_or_with_the_one_behind(side: str) -> None:
    for seed in range(25):
        exchange = SmallExchange()
        flow = SyntheticFlow(exchange.engine, seed, partial_percent=100)
        # Near enough that the touch comes to it before a sweep does.
        price = "149.95" if side == "Bid" else "150.05"
        first, second = (exchange.place(exchange.demo, side, price, "5") for _ in range(2))
        while not first.executed:
            flow.step()
        assert 0 < first.executed < 5, seed
        assert second.executed == 0, seed


def test_only_some_moves_take_parts_when_asked_for() -> None:
    def whole_fills(percent: int) -> int:
        exchange = SmallExchange()
        flow = SyntheticFlow(exchange.engine, 5, partial_percent=percent)
        for number in range(40):
            exchange.place(exchange.demo, "Bid", str(Decimal("149.9") - Decimal(number) / 20), "1")
        for _ in range(1_000):
            flow.step()
        return sum(fill.quantity == 1 for fill in exchange.fills())

    none, some, most = (whole_fills(percent) for percent in (100, 50, 0))
    assert none < some < most


def test_a_long_walk_stays_near_its_start_with_the_bid_below_the_ask() -> None:
    exchange = SmallExchange()
    flow = SyntheticFlow(exchange.engine, 3)
    for _ in range(5_000):
        flow.step()
        for symbol, book in exchange.engine.books.items():
            assert book.bid < book.ask
            assert Decimal("0.8") < book.mid / MARKETS[symbol].start_price < Decimal("1.2")


def play(path: Path, symbol: str = ETH) -> SmallExchange:
    """Play a tape with one order at its first bid and one a tick below."""
    exchange = SmallExchange()
    player = tape.TapePlayer(exchange.engine, MARKETS[symbol])
    placed = False
    for event in tape.read(path):
        exchange.now_ms = int(event.at_s * 1000)
        player.play(event)
        if isinstance(event, tape.Quote) and not placed:
            placed = True
            touch = exchange.engine.books[symbol].bid
            for price in (touch, touch - MARKETS[symbol].tick * 2):
                exchange.place(exchange.demo, "Bid", str(price), "1", symbol=symbol)
    return exchange


def test_a_tape_fills_at_the_touch_after_the_queue_and_below_it_when_traded_through() -> None:
    exchange = play(TINY)
    # Of 3 displayed the first trade takes 1, the second 2 and then 0.5 of ours; the third goes through both.
    fills = [(fill.at_ms, text(fill.price), text(fill.quantity)) for fill in exchange.fills()]
    assert fills == [(30, "100", "0.5"), (50, "100", "0.5"), (50, "99.98", "1")]


def test_a_tape_shows_its_recorded_depth_and_takers_pay_it() -> None:
    exchange = play(TINY)
    book = exchange.engine.books[ETH]
    assert book.levels(bids=True) == [(Decimal("99.95"), Decimal("1.5"))]
    assert book.levels(bids=False) == [
        (Decimal("100.02"), Decimal(2)),
        (Decimal("100.05"), Decimal(6)),
    ]
    taker = exchange.place(exchange.demo, "Bid", None, "3", symbol=ETH)
    assert taker.executed_quote == 2 * Decimal("100.02") + Decimal("100.05")
    assert exchange.place(exchange.demo, "Ask", "100.05", symbol=ETH).ahead == 6


def test_a_tape_plays_the_same_twice_plain_or_compressed(tmp_path: Path) -> None:
    packed = tmp_path / "tiny.jsonl.gz"
    packed.write_bytes(gzip.compress(TINY.read_bytes()))
    assert play(TINY).journal.since(0) == play(TINY).journal.since(0) == play(packed).journal.since(0)


def test_a_tape_on_coarser_ticks_keeps_its_touch_apart() -> None:
    exchange = play(TINY, "BTC_USDC")
    book = exchange.engine.books["BTC_USDC"]
    assert (book.bid, book.ask) == (Decimal("99.9"), Decimal("100.1"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1 {}\nno tape\n", "line 2"),
        ('1 {"stream":"x@trade","data":{"p":"1"}}\n', "line 1"),
        ('1 {"stream":"x@trade","data":{"p":"1","q":"much","m":true}}\n', "line 1"),
        ("1 []\n", "line 1"),
    ],
)
def test_a_line_that_is_no_stream_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "tape.jsonl"
    path.write_text(content)
    with pytest.raises(tape.TapeError, match=message):
        list(tape.read(path))


def test_a_tape_that_is_cut_short_or_empty_says_so(tmp_path: Path) -> None:
    cut = tmp_path / "tape.jsonl.gz"
    cut.write_bytes(gzip.compress(TINY.read_bytes())[:-20])
    with pytest.raises(tape.TapeError, match="not a whole gzip file"):
        list(tape.read(cut))
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(tape.TapeError, match="no bookTicker"):
        tape.first_quote(empty)


def test_playing_as_fast_as_possible_lets_others_run() -> None:
    async def run() -> int:
        exchange = SmallExchange()
        player = tape.TapePlayer(exchange.engine, MARKETS[ETH])
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await tape.run_tape(player, list(tape.read(TINY)) * 100, 1e9)
        beside.cancel()
        return turns

    assert asyncio.run(run()) >= 5


@pytest.mark.parametrize(
    ("name", "symbol"),
    [("ethusdt_spot_x.jsonl", "ETH_USDC"), ("ETHUSDT_PERP.gz", "ETH_USDC_PERP"), ("solusdt.gz", "SOL_USDC")],
)
def test_a_tape_is_mapped_by_its_name(name: str, symbol: str) -> None:
    assert tape.default_symbol(Path(name)) == symbol


@pytest.mark.parametrize("name", ["ethusdt_spot_20240808.jsonl.gz", "ethusdt_perp_20240808.jsonl.gz"])
def test_the_recorded_tapes_play_through_with_fills_the_same_each_time(name: str) -> None:
    path = RECORDED / name
    if not path.exists():
        pytest.skip(f"no recorded data beside the project: {path.name}")
    symbol = tape.default_symbol(path)
    first = play(path, symbol)
    assert first.events("fill")
    assert len(first.engine.books[symbol].trades) == 1000
    assert first.journal.since(0) == play(path, symbol).journal.since(0)
