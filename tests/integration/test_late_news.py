"""Fills, lists and answers that come late, twice or not at all change no sum and hide no order."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from types import FrameType

import pytest

from exchanges.errors import ExchangeError
from market.orders import OpenOrder, Side
from market.position import Fill
from market.profit import Profit
from market.snapshot import Snapshot
from runner import cleanup_attempt, loaded
from runner.flatten import Flattener
from state.record import Phase
from state.stop_policy import StopPolicy
from strategies.base import Decision, State, TakerOrder
from strategies.limits import Limits
from tests.factories import INSTANCE_ID, VERSION, instrument, quote
from tests.fake_venue import GO_ON
from tests.integration.trader import ASK, BID, Trader, close_what_is_long


class SoftLimit(Exception):
    """Stands for what a worker raises inside a task that has had its time."""


@contextmanager
def soft_limit() -> Iterator[Callable[[], None]]:
    """Yield what raises `SoftLimit` once, soon after its first call, in the middle of whatever runs then."""
    begun = threading.Event()

    def end(_: int, __: FrameType | None) -> None:
        raise SoftLimit

    def begin() -> None:
        if not begun.is_set():
            begun.set()
            signal.setitimer(signal.ITIMER_REAL, 0.3)

    before = signal.signal(signal.SIGALRM, end)
    try:
        yield begin
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def let_pass(trader: Trader, seconds: int) -> None:
    """Let the saved books be so much older: nobody ran."""
    books = json.loads(trader.bench.field("books") or "")
    for order in books["orders"].values():
        for name in ("unsettled_since_ms", "missing_since_ms"):
            order[name] = order[name] and order[name] - seconds * 1000
    trader.bench.set_field("books", json.dumps(books))


def limit(trader: Trader, limits: Limits) -> None:
    """Give the run limits."""
    instance = loaded._known[INSTANCE_ID][1]
    trader.monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, replace(instance, limits=limits)))


def decide_with(trader: Trader, decide: Callable[[Snapshot, State], Decision[State]]) -> None:
    """Let the run decide otherwise."""
    instance = loaded._known[INSTANCE_ID][1]
    strategy = replace(instance.strategy, decide=lambda snapshot, state, *_: decide(snapshot, state))
    trader.monkeypatch.setitem(loaded._known, INSTANCE_ID, (VERSION, replace(instance, strategy=strategy)))


def fill_in_part_unseen(trader: Trader, quantity: str = "0.3") -> str:
    """Let part of the bid be filled, the list tell and the history not; return the order's id."""
    trader.quotes = (BID,)
    trader.run()
    order_id = trader.resting(Side.BUY)[0]
    trader.venue.hit(order_id, quantity)
    trader.venue.always["fills"] = lambda _: ()
    trader.run()
    del trader.venue.always["fills"]
    return order_id


def shown(snapshot: Snapshot | None) -> Snapshot:
    """Return what an iteration was shown."""
    assert snapshot is not None
    return snapshot


def test_an_order_whose_fills_have_come_is_not_written_off_after_a_pause(trader: Trader) -> None:
    order_id = fill_in_part_unseen(trader)
    let_pass(trader, 61)
    trader.venue.hit(order_id)
    snapshot = shown(trader.run())
    assert snapshot.profit.net == 1
    assert [fill.quantity for fill in snapshot.fills] == [Decimal("0.3"), Decimal("0.7")]
    assert snapshot.unsettled == frozenset()


def test_no_empty_fill_is_told_after_a_pause(trader: Trader) -> None:
    fill_in_part_unseen(trader)
    let_pass(trader, 61)
    assert [fill.quantity for fill in shown(trader.run()).fills] == [Decimal("0.3")]


def test_a_fill_that_comes_after_it_was_written_off_is_not_counted_again(trader: Trader) -> None:
    fill_in_part_unseen(trader)
    let_pass(trader, 61)
    trader.venue.always["fills"] = lambda _: ()
    trader.run()
    del trader.venue.always["fills"]
    assert shown(trader.run()).profit.net == Decimal("0.3")
    # And what is filled afterwards counts
    trader.venue.hit(trader.resting(Side.BUY)[0])
    assert shown(trader.run()).profit.net == 1


def test_an_order_whose_fills_keep_coming_is_not_written_off(trader: Trader) -> None:
    trader.quotes = (quote(Side.BUY, "99", quantity="100", level=3),)
    trader.run()
    order_id = trader.resting(Side.BUY)[0]
    trader.venue.always["fills"] = lambda _: tuple(trader.venue.filled[:-1])
    for _ in range(4):
        trader.venue.hit(order_id, "1")
        trader.run()
        let_pass(trader, 31)
    assert trader.books.orders[order_id].written_off_until_ms == 0


def test_an_operators_stop_does_not_take_away_the_unwinding_of_a_decision_under_way(trader: Trader) -> None:
    trader.quotes = (BID,)
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.unwinding = close_what_is_long
    trader.stop_reason = "stop_loss"

    def stopped_meanwhile(snapshot: Snapshot, state: State) -> Decision[State]:
        trader.bench.stop(StopPolicy())
        return trader._decide(snapshot, state)

    decide_with(trader, stopped_meanwhile)
    trader.run()
    outcome = trader.bench.clean_up()
    assert outcome is not None
    assert (outcome.is_clean, outcome.position_after, trader.venue.net_quantity) == (True, "0", Decimal(-1))


def test_a_close_that_is_cut_short_is_in_the_books_of_the_next_attempt(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.venue.the_instrument = instrument(perp=True)
    trader.quotes = (BID,)
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.venue.net_quantity = Decimal(1)
    close = Flattener.close_position

    def close_out_of_time(self: Flattener) -> tuple[str, str]:
        close(self)
        raise cleanup_attempt.OutOfTime

    with monkeypatch.context() as patch:
        patch.setattr(Flattener, "close_position", close_out_of_time)
        trader.bench.stop_and_clean_up(StopPolicy(unwind=True, close_position=True))
    trader.unwinding = close_what_is_long
    assert trader.bench.clean_up() is not None
    assert trader.venue.names("place") == ["place", "place"]
    assert trader.books.profit.net == 0


def test_an_old_book_withdraws_also_the_orders_of_levels_that_wait(trader: Trader) -> None:
    fill_in_part_unseen(trader)
    trader.venue.always["fills"] = lambda _: ()
    limit(trader, Limits(max_data_age_s=Decimal(5)))  # the fake's book is of 1970
    trader.run()
    assert trader.venue.resting == {}


def test_orders_of_levels_that_wait_count_among_the_open_ones(trader: Trader) -> None:
    limit(trader, Limits(max_open_orders=1))
    fill_in_part_unseen(trader)
    trader.venue.always["fills"] = lambda _: ()
    trader.quotes = (BID, ASK)
    trader.run()
    assert len(trader.venue.resting) == 1


def test_an_order_that_takes_leaves_room_for_those_of_levels_that_wait(trader: Trader) -> None:
    limit(trader, Limits(max_position=Decimal(1)))
    fill_in_part_unseen(trader)
    trader.venue.always["fills"] = lambda _: ()
    taker = TakerOrder(side=Side.BUY, quantity=Decimal(1), limit_price=Decimal("100.1"), reason="test")
    decide_with(trader, lambda _, state: Decision(quotes=(BID,), state=state, taker=taker))
    trader.run()
    assert trader.venue.net_quantity == 0  # the fake counts only takers


def test_a_stop_that_asks_for_orders_which_hang_ends_when_its_time_is_over(trader: Trader) -> None:
    trader.run_and_die_before_the_commit()
    trader.wait_for_the_fence()
    answered = threading.Event()
    with soft_limit() as begin:

        def hang(*_: object) -> None:
            begin()
            answered.wait(120)

        trader.venue.always["find_order"] = hang
        started_s = time.monotonic()
        trader.bench.stop_and_clean_up()
    waited_s = time.monotonic() - started_s
    answered.set()
    assert waited_s < 60


def test_a_question_that_fails_once_does_not_keep_the_others_from_being_asked(trader: Trader) -> None:
    trader.quotes = tuple(quote(Side.BUY, str(80 + place), level=place + 1) for place in range(12))
    trader.run_and_die_before_the_commit()
    trader.wait_for_the_fence()
    trader.venue.always["open_orders"] = lambda _: ()
    trader.venue.faults["find_order"].append(ExchangeError("for a moment"))
    assert trader.bench.stop_and_clean_up().is_clean
    assert trader.venue.resting == {}


def test_an_order_that_cannot_be_asked_for_is_not_given_up(trader: Trader) -> None:
    trader.quotes = (BID,)
    trader.run()
    trader.venue.always |= {"open_orders": lambda _: (), "find_order": ExchangeError("too many requests")}
    trader.run()
    let_pass(trader, 61)
    trader.run()
    trader.run()
    assert len(trader.venue.resting) == 1


def test_a_fill_of_an_iteration_that_died_is_counted_after_the_stop_at_the_second_look(
    trader: Trader,
) -> None:
    trader.quotes = (BID,)
    trader.run_and_die_before_the_commit()
    trader.venue.hit(trader.resting(Side.BUY)[0])
    trader.wait_for_the_fence()
    asked: list[object] = []

    def not_at_first(*about: object) -> OpenOrder | object | None:
        asked.append(about)
        return None if len(asked) == 1 else GO_ON

    trader.venue.always["resolve_placement"] = not_at_first
    assert trader.bench.stop_and_clean_up().is_clean
    assert trader.books.profit.net == 1


def test_fills_that_were_read_are_saved_when_the_last_ones_are_cut_short(trader: Trader) -> None:
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0], "0.4")
    trader.venue.hit(trader.resting(Side.SELL)[0], "0.4")
    with soft_limit() as begin:

        def only_one(_: str) -> tuple[Fill, ...]:
            if trader.bench.phase is Phase.STOPPED:
                begin()
            return tuple(trader.venue.filled[:1])

        trader.venue.always["fills"] = only_one
        assert trader.bench.stop_and_clean_up().is_clean
    assert trader.books.profit.net == Decimal("0.4")


def test_a_fill_is_counted_though_an_interruption_comes_while_it_is(
    trader: Trader, monkeypatch: pytest.MonkeyPatch
) -> None:
    trader.quotes = (BID,)
    trader.run()
    trader.venue.hit(trader.resting(Side.BUY)[0])

    def interrupted(*_: object) -> Profit:
        raise SoftLimit

    with monkeypatch.context() as patch:
        patch.setattr(Profit, "after", interrupted)
        trader.run()
    assert shown(trader.run()).profit.net == 1
