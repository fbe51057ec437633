"""Orders and fills are followed through crashes, lags and stops: none doubled, none lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from market.orders import CancelOutcome, OrderStatus, Quote, Role, Side
from market.snapshot import Snapshot
from runner import loaded
from runner.books import LONGEST_HISTORY_LAG_MS, Books
from runner.closing import ClosingOrders
from runner.execution import ExecutionReport
from runner.loaded import parse_books
from state.instances import Phase, StopPolicy
from strategies.base import Decision, State, TakerOrder
from tests.factories import INSTANCE_ID, SLOT, VERSION, loaded_instance, open_order, quote
from tests.integration.cleanup_bench import SETTINGS
from tests.integration.runner_bench import RunnerBench

BID = quote(Side.BUY, "99", level=3)
ASK = quote(Side.SELL, "101", level=4)
WINDOW_MS = 1


class Killed(BaseException):
    """Stands for a process that dies."""


class Trader:
    """A run of a strategy that a test decides for, with what it was shown."""

    def __init__(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.monkeypatch = monkeypatch
        self.quotes: tuple[Quote, ...] = (BID, ASK)
        self.seen: list[Snapshot] = []
        self.stop_reason: str | None = None
        self.unwinding: Callable[[Snapshot], TakerOrder | None] = lambda _: None
        instance = replace(loaded_instance(decide=self._decide, window_ms=WINDOW_MS), interval_ms=1)
        strategy = replace(
            instance.strategy, fixed_levels=True, unwind=lambda snapshot, *_: self.unwinding(snapshot)
        )
        settings = replace(SETTINGS, fence_margin_ms=0)
        self.bench = RunnerBench(url, monkeypatch, replace(instance, strategy=strategy), settings)
        self.venue = self.bench.venue

    def _decide(self, snapshot: Snapshot, state: State) -> Decision[State]:
        self.seen.append(snapshot)
        return Decision(quotes=self.quotes, state=state, stop_reason=self.stop_reason, unwind=True)

    def run(self) -> Snapshot | None:
        """Run one iteration and return what it was shown."""
        self.seen.clear()
        self.bench.run(None)
        return self.seen[-1] if self.seen else None

    def run_and_die_before_the_commit(self) -> None:
        """Run one iteration that ends as if its process had been killed, and let its lease be over."""

        def die(*_: object, **__: object) -> None:
            raise Killed

        with self.monkeypatch.context() as patch:
            patch.setattr(self.bench.context.leases, "commit", die)
            with pytest.raises(Killed):
                self.bench.run(None)
        self.bench.set_field("lease_until", 0)

    def wait_for_the_fence(self, *, behind_ms: int = 1) -> None:
        """Let whatever is under way expire, so long ago."""
        self.bench.set_field("fence", self.bench.context.instances.now_ms() - behind_ms)

    @property
    def books(self) -> Books:
        """Return the books as saved."""
        return parse_books(self.bench.field("books") or "")

    @property
    def intents(self) -> dict[int, int]:
        """Return the orders whose fate is not known."""
        return dict(self.bench.context.instances.run_data(INSTANCE_ID, SLOT).intents)

    def resting(self, side: Side) -> list[str]:
        """Return what rests of a side."""
        return [order.order_id for order in self.venue.resting.values() if order.side is side]


@pytest.fixture
def trader(redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch) -> Trader:
    """A started run."""
    return Trader(valkey_server.url, monkeypatch)


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


def hide_histories(trader: Trader) -> Callable[[], None]:
    """Let no history show anything; return what ends that."""
    trader.venue.always |= {"fills": lambda _: (), "resolve_placement": lambda *_: None}

    def show() -> None:
        del trader.venue.always["fills"], trader.venue.always["resolve_placement"]

    return show


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


def test_a_stop_finds_an_order_that_no_list_shows_by_the_id_it_was_given(trader: Trader) -> None:
    trader.run_and_die_before_the_commit()
    trader.wait_for_the_fence()
    trader.venue.always["open_orders"] = lambda _: ()
    assert trader.bench.stop_and_clean_up().is_clean
    assert trader.venue.resting == {}


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


def selling(quantity: str) -> TakerOrder:
    """Return an order that brings a long position down."""
    return TakerOrder(
        side=Side.SELL, quantity=Decimal(quantity), limit_price=Decimal("99.5"), reason="unwind"
    )


def close_what_is_long(snapshot: Snapshot) -> TakerOrder | None:
    """Unwind a long position."""
    return selling(str(snapshot.profit.net)) if snapshot.profit.net > 0 else None


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
