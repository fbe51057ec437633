"""What perpetual orders need as margin, and what spot orders need as balance."""

from __future__ import annotations

from decimal import Decimal

import pytest

from simulator.errors import Refusal
from simulator.margin import equity, largest_order, required
from simulator.markets import MARKETS
from simulator.orders import Order
from tests.unit.simulator.small_exchange import PERP, SPOT, SmallExchange

ETH_PERP = "ETH_USDC_PERP"


@pytest.fixture
def exchange() -> SmallExchange:
    """A demo account with 100 USDC at ten times leverage, and both perpetuals at 100."""
    exchange = SmallExchange()
    exchange.demo.balances["USDC"] = Decimal(100)
    exchange.demo.leverage_limit = Decimal(10)
    for symbol in (PERP, ETH_PERP):
        exchange.show("99.99", "100.01", symbol=symbol, bid_quantity="50", ask_quantity="50")
    return exchange


def bid(exchange: SmallExchange, quantity: str, symbol: str = PERP, side: str = "Bid") -> Order:
    price = "100" if symbol == PERP else "99"
    price = price if side == "Bid" else "101"
    return exchange.place(exchange.demo, side, price, quantity, symbol=symbol)


def test_margin_is_notional_by_leverage(exchange: SmallExchange) -> None:
    with pytest.raises(Refusal, match="Insufficient margin"):
        bid(exchange, "10.01")
    assert bid(exchange, "10").rests


def test_open_orders_of_every_market_need_margin_together(exchange: SmallExchange) -> None:
    bid(exchange, "6")
    with pytest.raises(Refusal, match="Insufficient margin"):
        bid(exchange, "5", ETH_PERP)
    assert bid(exchange, "4", ETH_PERP).rests


def test_the_two_sides_of_a_market_do_not_add_up(exchange: SmallExchange) -> None:
    # Of a bid and an ask of the same size only one can be exposed at a time.
    bid(exchange, "9")
    assert bid(exchange, "9", side="Ask").rests


def test_what_a_cancel_frees_can_be_used_again(exchange: SmallExchange) -> None:
    order = bid(exchange, "10")
    exchange.engine.cancel(order)
    assert bid(exchange, "10").rests


def test_an_order_that_makes_the_position_smaller_needs_nothing(exchange: SmallExchange) -> None:
    exchange.place(exchange.demo, "Bid", None, "9.5", symbol=PERP)
    exchange.demo.balances["USDC"] = Decimal(0)
    with pytest.raises(Refusal, match="Insufficient margin"):
        bid(exchange, "0.01")
    assert bid(exchange, "9.5", side="Ask").rests


def test_an_open_loss_is_no_margin(exchange: SmallExchange) -> None:
    exchange.place(exchange.demo, "Bid", None, "5", symbol=PERP)
    exchange.show("89.99", "90.01", symbol=PERP)
    engine = exchange.engine
    held = exchange.demo.positions[PERP]
    assert equity(exchange.demo, engine.mark) == exchange.demo.balances["USDC"] - (held.entry - 90) * 5
    assert required(exchange.demo, [], engine.mark) == 45
    with pytest.raises(Refusal, match="Insufficient margin"):
        exchange.place(exchange.demo, "Bid", "89", "1", symbol=PERP)


def test_the_largest_order_is_accepted_and_one_step_more_is_not(exchange: SmallExchange) -> None:
    exchange.place(exchange.demo, "Bid", None, "3", symbol=PERP)
    market, engine = MARKETS[PERP], exchange.engine
    for side in ("Bid", "Ask"):
        most = market.in_steps(
            largest_order(
                exchange.demo, market, buys=side == "Bid", price=Decimal(100), orders=[], marks=engine.mark
            )
        )
        price = "100" if side == "Bid" else "100.01"
        with pytest.raises(Refusal, match="Insufficient margin"):
            exchange.place(exchange.demo, side, price, str(most + market.step * 2), symbol=PERP)
        order = exchange.place(exchange.demo, side, price, str(most - market.step), symbol=PERP)
        assert order.rests
        exchange.engine.cancel(order)


def test_a_market_order_needs_what_it_costs_and_not_the_dearest_price_on_the_book() -> None:
    exchange = SmallExchange()
    exchange.demo.balances["USDC"] = Decimal(201)
    exchange.place(exchange.other, "Ask", "100")
    exchange.place(exchange.other, "Ask", "101")
    exchange.place(exchange.other, "Ask", "1000")
    with pytest.raises(Refusal, match="Insufficient funds"):
        exchange.place(exchange.demo, "Bid", None, "2.01")
    assert exchange.place(exchange.demo, "Bid", None, "2").status == "Filled"
    assert exchange.demo.balances["USDC"] == 0


def test_a_market_order_larger_than_the_book_expires_with_what_it_got() -> None:
    exchange = SmallExchange()
    exchange.place(exchange.other, "Ask", "100")
    order = exchange.place(exchange.demo, "Bid", None, "2", symbol=SPOT)
    assert (order.status, order.executed) == ("Expired", Decimal(1))
    assert order.history()["expiryReason"] == "InsufficientLiquidity"
