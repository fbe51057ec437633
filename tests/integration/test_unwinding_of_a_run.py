"""A stop brings back what the run opened: once, within its price, through whatever cuts it short."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from market.orders import Side
from market.snapshot import Snapshot
from runner import loaded
from runner.closing import ClosingOrders
from runner.execution import ExecutionReport
from state.record import Phase
from state.stop_policy import StopPolicy
from strategies.base import TakerOrder
from tests.factories import INSTANCE_ID, VERSION
from tests.integration.trader import Killed, Trader, close_what_is_long, selling


def test_an_unwinding_overrules_a_policy_that_keeps_orders(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.bench.instance = replace(trader.bench.instance, stop_policy=StopPolicy(cancel_orders=False))
    monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, trader.bench.instance))
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.unwinding = close_what_is_long
    trader.stop_reason = "stop_loss"
    trader.run()
    outcome = trader.bench.clean_up()
    assert outcome is not None
    assert (outcome.is_clean, outcome.position_after, trader.venue.resting) == (True, "0", {})


def test_the_last_order_of_an_unwinding_is_not_forgotten_when_the_attempt_ends(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.unwinding = close_what_is_long
    trader.monkeypatch.setattr("runner.unwinding.MOST_ORDERS", 1)
    outcome = trader.bench.stop_and_clean_up(StopPolicy(unwind=True))
    assert outcome.result == "position_left"
    trader.monkeypatch.undo()
    trader.monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, trader.bench.instance))
    again = trader.bench.clean_up()
    assert again is not None
    assert again.is_clean
    assert trader.venue.net_quantity == -1  # sold once what was bought once; the fake counts only takers


def test_a_stop_that_unwinds_brings_back_what_the_run_opened(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0], "0.4")
    # Each order fills half of what it asks for; the strategy stops asking when little is left.
    trader.venue.ioc_share = Decimal("0.5")
    trader.unwinding = lambda s: close_what_is_long(s) if s.profit.net > Decimal("0.05") else None
    outcome = trader.bench.stop_and_clean_up(StopPolicy(unwind=True))
    assert outcome.is_clean
    assert (outcome.position_before, Decimal(outcome.position_after or "")) == ("0.4", Decimal("0.05"))
    sent = [order for batch in trader.venue.about("place")[1:] for order in batch]
    assert [order.quantity for order in sent] == [Decimal("0.4"), Decimal("0.2"), Decimal("0.1")]


def test_several_orders_that_unwind_do_not_walk_down_the_book(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0], "0.4")
    trader.venue.ioc_share = Decimal("0.5")
    asked = iter(["99.5", "99.0", "98.5", "98.0"])

    def lower_each_time(snapshot: Snapshot) -> TakerOrder | None:
        if snapshot.profit.net <= Decimal("0.05"):
            return None
        return replace(selling(str(snapshot.profit.net)), limit_price=Decimal(next(asked)))

    trader.unwinding = lower_each_time
    assert trader.bench.stop_and_clean_up(StopPolicy(unwind=True)).is_clean
    sent = [order for batch in trader.venue.about("place")[1:] for order in batch]
    assert [order.price for order in sent] == [Decimal("99.5")] * 3


def test_a_decision_that_asks_for_it_unwinds(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.unwinding = close_what_is_long
    trader.stop_reason = "boundary"
    trader.run()
    outcome = trader.bench.clean_up()
    assert outcome is not None
    assert (outcome.is_clean, outcome.reason, outcome.position_after) == (True, "boundary", "0")


def test_an_unwinding_that_cannot_end_leaves_the_position_and_is_tried_again(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.unwinding = close_what_is_long
    trader.venue.ioc_share = Decimal(0)
    outcome = trader.bench.stop_and_clean_up(StopPolicy(unwind=True))
    assert (outcome.result, outcome.position_after) == ("position_left", "1")
    assert trader.bench.phase is Phase.STOPPING
    # The next attempt goes on from there
    trader.venue.ioc_share = Decimal(1)
    again = trader.bench.clean_up()
    assert again is not None
    assert (again.is_clean, again.position_after) == (True, "0")


def test_an_order_of_a_cleanup_that_died_is_found_by_the_next_and_not_sent_again(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.unwinding = close_what_is_long

    def die_after_sending(orders: ClosingOrders) -> list[ExecutionReport]:
        if orders._reports:
            raise Killed
        return []

    trader.bench.stop(StopPolicy(unwind=True))
    with monkeypatch.context() as patch:
        patch.setattr(ClosingOrders, "take_reports", die_after_sending)
        with pytest.raises(Killed):
            trader.bench.clean_up()
    trader.bench.set_field("cleanup_until", 0)
    outcome = trader.bench.clean_up()
    assert outcome is not None
    assert (outcome.is_clean, outcome.position_after) == (True, "0")
    assert len(trader.venue.about("place")) == 2  # the quotes, and one order that unwinds
