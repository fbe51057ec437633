"""What the public sees of accounts' orders: trades, and a book that counts its updates."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simulator import tape
from simulator.markets import MARKETS
from tests.unit.simulator.small_exchange import PERP, SPOT, SmallExchange

Seen = list[tuple[Decimal, Decimal, bool]]


@pytest.fixture
def exchange() -> SmallExchange:
    return SmallExchange()


def seen(exchange: SmallExchange) -> Seen:
    return [(t.price, t.quantity, t.buyer_is_maker) for t in exchange.engine.books[SPOT].trades]


def test_every_fill_is_a_public_trade_with_its_number(exchange: SmallExchange) -> None:
    exchange.show("99", "101")
    exchange.place(exchange.demo, "Bid", "100", "1")
    exchange.trade("99.5", "3", sells=True)
    exchange.place(exchange.demo, "Bid", None, "1")
    exchange.place(exchange.demo, "Ask", "102", "1")
    exchange.show("103", "104")
    public = {trade.trade_id: trade for trade in exchange.engine.books[SPOT].trades}
    assert len(exchange.fills()) == 3
    for fill in exchange.fills():
        assert (public[fill.trade_id].price, public[fill.trade_id].quantity) == (fill.price, fill.quantity)


def test_a_trade_at_an_orders_price_is_shared_between_it_and_others(exchange: SmallExchange) -> None:
    exchange.show("99.9", "101")
    exchange.place(exchange.demo, "Bid", "100", "1")
    exchange.trade("100", "3", sells=True)
    assert seen(exchange) == [(Decimal(100), Decimal(1), True), (Decimal(100), Decimal(2), True)]


def test_a_trade_through_an_order_happens_besides_it(exchange: SmallExchange) -> None:
    exchange.place(exchange.demo, "Ask", "100", "1")
    exchange.trade("101", "3", sells=False)
    assert seen(exchange) == [(Decimal(100), Decimal(1), False), (Decimal(101), Decimal(3), False)]


def test_better_prices_are_traded_through_before_worse_ones(exchange: SmallExchange) -> None:
    exchange.place(exchange.demo, "Bid", "98", "1")
    exchange.place(exchange.demo, "Bid", "100", "1")
    exchange.trade("97", "1", sells=True)
    assert [price for price, _, _ in seen(exchange)] == [100, 98, 97]


def test_the_book_counts_every_change_that_an_order_makes(exchange: SmallExchange) -> None:
    book = exchange.engine.books[SPOT]
    counts = [book.update_id]

    def changed() -> bool:
        counts.append(book.update_id)
        return counts[-1] > counts[-2]

    exchange.place(exchange.demo, "Bid", "100", "1", timeInForce="IOC")
    assert not changed()
    order = exchange.place(exchange.demo, "Bid", "100", "1")
    assert changed()
    exchange.place(exchange.other, "Ask", "100", "0.5")
    assert changed()
    exchange.engine.cancel(order)
    assert changed()


def test_a_finer_recorded_quantity_never_makes_a_fill_between_steps(exchange: SmallExchange) -> None:
    exchange.show("99.9", "101")
    order = exchange.place(exchange.demo, "Bid", "100", "1")
    exchange.trade("100", "0.0099", sells=True)
    assert order.executed == 0
    exchange.trade("100", "0.1299", sells=True)
    assert order.executed == Decimal("0.12")


def test_a_trade_between_coarser_ticks_takes_from_the_level_that_shows_it() -> None:
    exchange = SmallExchange()
    market = MARKETS["BTC_USDC"]
    player = tape.TapePlayer(exchange.engine, market)
    player.play(
        tape.Quote(
            at_s=0,
            bid=Decimal("99.97"),
            bid_quantity=Decimal(1),
            ask=Decimal("100.02"),
            ask_quantity=Decimal(1),
        )
    )
    bid, ask = (
        exchange.place(exchange.demo, side, price, "1", symbol=market.symbol)
        for side, price in (("Bid", "99.9"), ("Ask", "100.1"))
    )
    for price, sells in (("99.97", True), ("100.02", False)):
        player.play(
            tape.TapeTrade(at_s=1, price=Decimal(price), quantity=Decimal("1.5"), aggressor_sells=sells)
        )
    assert (bid.executed, ask.executed) == (Decimal("0.5"), Decimal("0.5"))


def test_an_order_that_shrinks_with_its_position_is_witnessed(exchange: SmallExchange) -> None:
    exchange.show("99", "101", symbol=PERP)
    exchange.place(exchange.demo, "Bid", None, "2", symbol=PERP)
    order = exchange.place(exchange.demo, "Ask", "105", "2", symbol=PERP, reduceOnly=True)
    exchange.place(exchange.demo, "Ask", None, "1.5", symbol=PERP)
    (entry,) = exchange.events("order_modified")
    assert (entry["order_id"], entry["quantity"]) == (str(order.order_id), "0.5")
    assert order.wire()["quantity"] == "0.5"
