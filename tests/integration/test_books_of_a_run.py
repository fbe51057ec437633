"""Orders and fills are followed through crashes, lags and stops: none doubled, none lost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from market.orders import CancelOutcome, OrderStatus, Role, Side
from runner.books import LONGEST_HISTORY_LAG_MS
from state.record import Phase
from tests.factories import open_order, quote
from tests.integration.trader import BID, Trader, hide_histories


def test_orders_of_an_iteration_that_died_are_taken_over_not_placed_again(trader: Trader) -> None:
    trader.run_and_die_before_the_commit()
    assert len(trader.intents) == 2
    trader.wait_for_the_fence()
    trader.run()
    assert (len(trader.resting(Side.BUY)), len(trader.resting(Side.SELL))) == (1, 1)
    assert trader.venue.names("place") == ["place"]
    assert trader.intents == {}


def test_orders_of_an_iteration_that_died_are_found_though_the_list_lags(trader: Trader) -> None:
    trader.run_and_die_before_the_commit()
    trader.wait_for_the_fence()
    trader.venue.always["open_orders"] = lambda _: ()
    trader.run()
    trader.run()
    assert trader.venue.names("place") == ["place"]


def test_nothing_is_placed_while_an_order_of_an_iteration_that_died_may_still_arrive(trader: Trader) -> None:
    trader.run_and_die_before_the_commit()
    trader.venue.resting.clear()
    trader.bench.set_field("fence", trader.bench.context.instances.now_ms() + 60_000)
    trader.run()
    assert trader.venue.names("place") == ["place"]
    assert len(trader.intents) == 2
    trader.wait_for_the_fence(behind_ms=LONGEST_HISTORY_LAG_MS)
    trader.run()
    assert trader.venue.names("place") == ["place", "place"]


def test_a_fill_of_an_iteration_that_died_is_counted_once(trader: Trader) -> None:
    trader.run_and_die_before_the_commit()
    trader.wait_for_the_fence()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.totals[3, int(Role.QUOTE)].bought == 1
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.totals[3, int(Role.QUOTE)].bought == 1


def test_every_fill_is_shown_to_one_saved_decision(trader: Trader) -> None:
    trader.run()
    fill = trader.venue.hit(trader.resting(Side.BUY)[0], "0.3")
    trader.run_and_die_before_the_commit()
    trader.wait_for_the_fence()
    again = trader.run()
    after = trader.run()
    assert again is not None
    assert after is not None
    assert [each.trade_id for each in again.fills] == [fill.trade_id]
    assert after.fills == ()


def test_a_partly_filled_order_that_the_exchange_ended_is_replaced_when_its_fills_are_known(
    trader: Trader,
) -> None:
    trader.run()
    order_id = trader.resting(Side.BUY)[0]
    trader.venue.hit(order_id, "0.3")
    gone = trader.venue.resting.pop(order_id)
    trader.venue.ended[order_id] = replace(gone, status=OrderStatus.EXPIRED)
    # Given a history of fills that lags behind the history of orders
    trader.venue.always["fills"] = lambda _: ()
    snapshot = trader.run()
    # Then the level gets nothing
    assert snapshot is not None
    assert snapshot.unsettled == {(3, int(Role.QUOTE))}
    assert trader.resting(Side.BUY) == []
    # Until its fill is known
    del trader.venue.always["fills"]
    trader.run()
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.unsettled == frozenset()
    assert snapshot.profit.net == Decimal("0.3")
    assert len(trader.resting(Side.BUY)) == 1


def test_orders_that_another_run_left_are_cancelled_before_anything_is_placed(trader: Trader) -> None:
    left = open_order("left", level=3)
    trader.venue.rest(left)
    trader.run()
    assert trader.venue.names("cancel", "place") == ["cancel"]
    trader.run()
    assert trader.venue.names("cancel", "place") == ["cancel", "place"]
    # And a fill of theirs is none of this run's
    assert trader.books.totals == {}


def test_an_order_without_a_trace_is_taken_for_resting_and_given_up_in_time(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.run()
    trader.venue.resting.clear()
    snapshot = trader.run()
    assert snapshot is not None
    assert len(snapshot.open_orders) == 2
    assert trader.venue.names("place") == ["place"]
    monkeypatch.setattr("runner.books.LONGEST_MISSING_MS", 0)
    trader.run()
    trader.run()
    assert trader.venue.names("place") == ["place", "place"]


def test_decisions_see_the_book_without_own_orders(trader: Trader) -> None:
    trader.quotes = (quote(Side.BUY, "99.9", quantity="50", level=3),)
    before = trader.run()
    after = trader.run()
    assert before is not None
    assert after is not None
    assert before.book.best_bid == Decimal("99.9")
    # All of what the exchange shows at that price is ours now.
    assert after.book.best_bid is None


def test_a_fill_that_comes_during_the_cleanup_is_counted(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0], "0.4")
    outcome = trader.bench.stop_and_clean_up()
    assert outcome.is_clean
    assert trader.books.profit.net == Decimal("0.4")
    assert trader.venue.resting == {}


def test_a_cleanup_does_not_wait_for_ever_for_fills_that_nobody_shows(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0], "0.4")
    trader.venue.always["fills"] = lambda _: ()
    assert trader.bench.stop_and_clean_up().is_clean


def test_an_order_that_a_late_history_hides_is_not_given_up_at_the_first_look(trader: Trader) -> None:
    # Given an order of an iteration that died, which was filled before any list could show it
    trader.quotes = (BID,)
    trader.run_and_die_before_the_commit()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.wait_for_the_fence()
    show = hide_histories(trader)
    snapshot = trader.run()
    # Then its level waits, and other levels need not
    assert snapshot is not None
    assert snapshot.unsettled == {(3, int(Role.QUOTE))}
    assert trader.resting(Side.BUY) == []
    # And its fill is counted once it is shown
    show()
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.profit.net == 1
    assert trader.intents == {}


def test_an_order_that_never_arrived_is_given_up_once_a_late_history_would_show_it(
    trader: Trader,
) -> None:
    trader.run_and_die_before_the_commit()
    trader.venue.resting.clear()
    trader.wait_for_the_fence()
    trader.run()
    assert len(trader.intents) == 2
    trader.wait_for_the_fence(behind_ms=LONGEST_HISTORY_LAG_MS)
    trader.run()
    assert trader.intents == {}


def test_a_fill_that_is_never_shown_is_counted_in_the_end(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.run()
    order_id = trader.resting(Side.BUY)[0]
    trader.venue.hit(order_id, "0.4")
    gone = trader.venue.resting.pop(order_id)
    trader.venue.ended[order_id] = replace(gone, status=OrderStatus.CANCELLED)
    trader.venue.always["fills"] = lambda _: ()
    trader.run()
    monkeypatch.setattr("runner.books.LONGEST_MISSING_MS", 0)
    trader.run()
    snapshot = trader.run()
    assert snapshot is not None
    assert (snapshot.unsettled, snapshot.profit.net) == (frozenset(), Decimal("0.4"))


def test_what_was_executed_and_not_counted_yet_is_in_the_bounds_of_the_net_quantity(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0], "0.4")
    trader.venue.always["fills"] = lambda _: ()
    snapshot = trader.run()
    assert snapshot is not None
    assert (snapshot.net.low, snapshot.net.high) == (Decimal(0), Decimal("0.4"))


def test_orders_that_cannot_be_cancelled_and_are_not_this_runs_become_an_error(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.venue.rest(open_order("left", level=3))
    trader.venue.always["cancel"] = lambda _: CancelOutcome.REFUSED
    trader.run()
    assert trader.bench.record.errors == 0
    monkeypatch.setattr("runner.books.LONGEST_MISSING_MS", 0)
    trader.run()
    assert "orders of an earlier run cannot be cancelled, so nothing is placed: left" in (
        trader.bench.record.last_error
    )


def test_a_level_that_waits_can_be_withdrawn(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0], "0.4")
    trader.venue.always["fills"] = lambda _: ()
    snapshot = trader.run()
    assert snapshot is not None
    assert snapshot.unsettled
    assert len(trader.resting(Side.BUY)) == 1
    trader.quotes = ()
    trader.run()
    assert trader.venue.resting == {}


def test_a_stop_that_a_decision_asks_for_is_saved_with_its_state(trader: Trader) -> None:
    trader.stop_reason = "boundary"
    trader.run_and_die_before_the_commit()
    phases = [trader.bench.phase]
    trader.run()
    assert [*phases, trader.bench.phase] == [Phase.RUNNING, Phase.STOPPING]
    assert (trader.bench.record.stop_reason, trader.bench.record.stop_by) == ("boundary", "strategy")


def test_a_stop_finds_an_order_that_no_list_shows_by_the_id_it_was_given(trader: Trader) -> None:
    trader.run_and_die_before_the_commit()
    trader.wait_for_the_fence()
    trader.venue.always["open_orders"] = lambda _: ()
    assert trader.bench.stop_and_clean_up().is_clean
    assert trader.venue.resting == {}
