"""Carrying out a plan against a scripted venue: what is sent, in which order, and what is known then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from exchanges.base import PlaceResult
from exchanges.errors import (
    ExchangeError,
    OutcomeUnknown,
    PostOnlyWouldCross,
    RateLimited,
    Refused,
    Unavailable,
)
from market.orders import CancelAnswer, CancelOutcome, NewOrder, Quote, Role, Side, TimeInForce
from market.snapshot import OwnOrder
from runner.execution import ExecutionReport, Executor, cancel_orders
from runner.parallel import MOST_AT_ONCE
from state.permissions import AuthorizationRefused, Granted
from strategies.base import TakerOrder
from strategies.reconcile import OrderPlan
from tests import factories
from tests.factories import client_order_id, own_order, quote
from tests.fake_venue import Call, FakeVenue

AUTHORISED_AT_MS = 1_790_000_000_000
OFFSET_MS = -250
WINDOW_MS = 5_000


class Gate:
    """Gives permissions, notes what for, and writes itself into the venue's list of calls."""

    def __init__(self, venue: FakeVenue) -> None:
        self._venue = venue
        self.closed = False
        self.generation = 0

    def __call__(self, orders: Sequence[tuple[int, Role]]) -> Granted:
        """Authorise, each time 10 ms later."""
        self._venue.calls.append(Call("authorize", list(orders)))
        if self.closed:
            raise AuthorizationRefused("not authorised: phase")
        self.generation += 1
        ids = (client_order_id(level=level, role=role, generation=self.generation) for level, role in orders)
        return Granted(at_ms=AUTHORISED_AT_MS + 10 * self.generation, client_order_ids=tuple(ids))


@pytest.fixture
def venue() -> FakeVenue:
    """A venue whose clock differs from ours."""
    venue = FakeVenue()
    venue.the_clock.offset_ms = OFFSET_MS
    return venue


@pytest.fixture
def gate(venue: FakeVenue) -> Gate:
    """An open gate."""
    return Gate(venue)


@pytest.fixture
def executor(venue: FakeVenue, gate: Gate) -> Executor:
    """An executor for one iteration."""
    return Executor(
        venue,
        symbol=factories.SYMBOL,
        window_ms=WINDOW_MS,
        authorize=gate,
        signing_time_ms=lambda at_ms: at_ms + OFFSET_MS,
        report=ExecutionReport(),
    )


def plan(*, cancels: Sequence[OwnOrder] = (), places: Sequence[Quote] = ()) -> OrderPlan:
    """Return a plan that keeps nothing."""
    return OrderPlan(cancels=tuple(cancels), places=tuple(places), kept=())


def taker(side: Side = Side.BUY) -> TakerOrder:
    """Return a market action."""
    return TakerOrder(side=side, quantity=Decimal(2), limit_price=Decimal("100.5"), reason="rebalance")


def placed(venue: FakeVenue) -> list[NewOrder]:
    """Return every order sent, in order."""
    return [order for batch in venue.about("place") for order in batch]


def sides(venue: FakeVenue) -> list[Side]:
    """Return the side of every order sent."""
    return [order.side for order in placed(venue)]


BOTH = (quote(Side.BUY, "99", level=0), quote(Side.SELL, "101", level=1))


def test_a_plan_without_changes_sends_nothing_and_asks_nobody(venue: FakeVenue, executor: Executor) -> None:
    executor.carry_out(plan(), None)
    assert venue.calls == []


def test_every_cancel_is_answered_before_anything_is_placed(venue: FakeVenue, executor: Executor) -> None:
    old = [own_order(str(number), side=Side.BUY) for number in range(MOST_AT_ONCE * 2 + 1)]
    venue.rest(*(own.order for own in old))
    report = executor.carry_out(plan(cancels=old, places=BOTH), None)
    assert venue.names() == ["cancel"] * len(old) + ["authorize", "place"]
    assert sorted(report.cancelled) == sorted(own.order.order_id for own in old)
    assert report.uncertain_cancels == []


@pytest.mark.parametrize(
    "answer",
    [
        OutcomeUnknown("no answer"),
        Unavailable("down"),
        RateLimited("slow down"),
        Refused("no"),
        lambda _: CancelOutcome.ACCEPTED,
        lambda _: CancelOutcome.ALREADY_GONE,
    ],
    ids=["unknown", "down", "rate limited", "refused", "accepted only", "gone already"],
)
def test_a_side_whose_cancel_is_not_certain_gets_nothing_new(
    venue: FakeVenue, executor: Executor, answer: Exception
) -> None:
    venue.faults["cancel"].append(answer)
    report = executor.carry_out(plan(cancels=[own_order("5", side=Side.BUY)], places=BOTH), None)
    assert sides(venue) == [Side.SELL]
    assert venue.about("authorize") == [[(1, Role.QUOTE)]]
    assert (report.cancelled, report.uncertain_cancels) == ([], ["5"])


def test_a_side_whose_cancelled_order_was_filled_meanwhile_gets_nothing_new(
    venue: FakeVenue, executor: Executor
) -> None:
    # Its fill has changed the exposure since the snapshot.
    answer = CancelAnswer(outcome=CancelOutcome.CANCELLED, executed_quantity=Decimal("0.4"))
    venue.faults["cancel"].append(lambda _: answer)
    report = executor.carry_out(plan(cancels=[own_order("5", side=Side.BUY)], places=BOTH), None)
    assert sides(venue) == [Side.SELL]
    assert report.executed_when_cancelled == {"5": Decimal("0.4")}


def test_one_uncertain_cancel_among_many_blocks_its_side(venue: FakeVenue, executor: Executor) -> None:
    old = [own_order(str(number), side=Side.SELL) for number in range(4)]
    venue.rest(*(own.order for own in old[1:]))
    executor.carry_out(plan(cancels=old, places=BOTH), None)
    assert sides(venue) == [Side.BUY]


@pytest.mark.parametrize("side", Side)
def test_no_market_action_while_any_cancel_is_uncertain(
    venue: FakeVenue, executor: Executor, side: Side
) -> None:
    executor.carry_out(plan(cancels=[own_order("5", side=Side.BUY)]), taker(side))
    assert venue.names() == ["cancel"]


def test_a_market_action_goes_out_before_the_quotes_and_is_price_protected(
    venue: FakeVenue, executor: Executor
) -> None:
    executor.carry_out(plan(places=BOTH[:1]), taker())
    assert venue.about("authorize") == [[(0, Role.HEDGE)], [(0, Role.QUOTE)]]
    first, second = placed(venue)
    assert (first.time_in_force, first.price, first.quantity) == (
        TimeInForce.IOC,
        Decimal("100.5"),
        Decimal(2),
    )
    assert not first.post_only
    assert (second.time_in_force, second.price, second.post_only) == (TimeInForce.GTC, Decimal(99), True)


def test_all_quotes_go_out_as_one_request_with_the_client_order_ids_granted(
    venue: FakeVenue, executor: Executor
) -> None:
    report = executor.carry_out(plan(places=BOTH), None)
    assert venue.names() == ["authorize", "place"]
    wanted = [client_order_id(level=0), client_order_id(level=1)]
    assert [order.client_order_id for order in placed(venue)] == wanted
    assert [order.client_order_id for order in report.accepted] == wanted
    assert len(report.unresolved) == 0


def test_each_request_is_signed_with_its_own_authorised_time_on_the_exchanges_clock(
    venue: FakeVenue, executor: Executor
) -> None:
    executor.carry_out(plan(places=BOTH), taker())
    assert [each.signed_at_ms for each in venue.authorizations] == [
        AUTHORISED_AT_MS + 10 + OFFSET_MS,
        AUTHORISED_AT_MS + 20 + OFFSET_MS,
    ]
    assert {each.window_ms for each in venue.authorizations} == {WINDOW_MS}


def test_a_refused_authorisation_sends_nothing(venue: FakeVenue, executor: Executor, gate: Gate) -> None:
    gate.closed = True
    with pytest.raises(AuthorizationRefused):
        executor.carry_out(plan(places=BOTH), taker())
    assert venue.names("place") == []
    assert len(executor.report.unresolved) == 0


def test_a_gate_that_closes_after_the_first_request_stops_the_second(
    venue: FakeVenue, executor: Executor, gate: Gate
) -> None:
    def close_and_accept(orders: tuple[NewOrder, ...]) -> tuple[PlaceResult, ...]:
        gate.closed = True
        return tuple(PlaceResult(order=venue.accept(order)) for order in orders)

    venue.faults["place"].append(close_and_accept)
    with pytest.raises(AuthorizationRefused):
        executor.carry_out(plan(places=BOTH), taker())
    assert len(placed(venue)) == 1
    assert (len(executor.report.accepted), len(executor.report.unresolved)) == (1, 0)


def test_without_the_exchanges_clock_nothing_is_sent(venue: FakeVenue, gate: Gate) -> None:
    def no_clock(_: int) -> int:
        raise Unavailable("no clock")

    executor = Executor(
        venue,
        symbol="S",
        window_ms=1,
        authorize=gate,
        signing_time_ms=no_clock,
        report=ExecutionReport(),
    )
    with pytest.raises(Unavailable):
        executor.carry_out(plan(places=BOTH), None)
    assert venue.names("place") == []
    assert len(executor.report.unresolved) == 0


@pytest.mark.parametrize(
    "interruption", [TimeoutError("soft limit"), OSError("network"), ValueError("bad answer")]
)
def test_whatever_interrupts_a_placement_leaves_all_of_it_unresolved(
    venue: FakeVenue, executor: Executor, interruption: Exception
) -> None:
    venue.faults["place"].append(interruption)
    with pytest.raises(type(interruption)):
        executor.carry_out(plan(places=BOTH), None)
    assert len(executor.report.unresolved) == 2


def test_an_interruption_while_asking_what_became_of_an_order_loses_no_answer_that_came(
    venue: FakeVenue, executor: Executor
) -> None:
    unknown = PlaceResult(error=OutcomeUnknown("no answer"))
    venue.faults["place"].append(lambda orders: (unknown, PlaceResult(order=venue.accept(orders[1]))))
    venue.faults["resolve_placement"].append(TimeoutError("soft limit"))
    with pytest.raises(TimeoutError):
        executor.carry_out(plan(places=BOTH), None)
    assert [order.order_id for order in executor.report.accepted] == ["placed-1"]
    assert len(executor.report.unresolved) == 1


def unknown_but(venue: FakeVenue, *, landed: bool) -> None:
    """Let the next batch get no answer, whether it landed or not."""

    def lose_the_answer(orders: tuple[NewOrder, ...]) -> tuple[PlaceResult, ...]:
        if landed:
            for order in orders:
                venue.accept(order)
        return tuple(PlaceResult(error=OutcomeUnknown("no answer")) for _ in orders)

    venue.faults["place"].append(lose_the_answer)


def test_an_order_without_an_answer_that_is_found_counts_as_accepted(
    venue: FakeVenue, executor: Executor
) -> None:
    unknown_but(venue, landed=True)
    report = executor.carry_out(plan(places=BOTH), None)
    assert venue.about("resolve_placement") == [client_order_id(level=0), client_order_id(level=1)]
    assert sorted(order.order_id for order in report.accepted) == sorted(venue.resting)
    assert len(report.unresolved) == 0


def test_an_order_without_an_answer_that_is_not_found_stays_unresolved_and_is_not_sent_again(
    venue: FakeVenue, executor: Executor
) -> None:
    unknown_but(venue, landed=False)
    report = executor.carry_out(plan(places=BOTH), None)
    assert (report.accepted, len(report.unresolved)) == ([], 2)
    assert venue.names("place") == ["place"]


@pytest.mark.parametrize("error", [Unavailable("down"), RateLimited("slow down"), Refused("no")])
def test_an_order_that_nobody_can_tell_about_stays_unresolved(
    venue: FakeVenue, executor: Executor, error: ExchangeError
) -> None:
    unknown_but(venue, landed=True)
    venue.faults["resolve_placement"].append(error)
    report = executor.carry_out(plan(places=BOTH), None)
    assert (len(report.accepted), len(report.unresolved)) == (1, 1)


def test_an_old_order_whose_client_order_id_came_round_again_is_not_taken_for_the_new_one(
    venue: FakeVenue, executor: Executor
) -> None:
    asked: list[int | None] = []

    def note(_: int, not_before_ms: int | None) -> None:
        asked.append(not_before_ms)

    unknown_but(venue, landed=False)
    venue.always["resolve_placement"] = note
    executor.carry_out(plan(places=BOTH[:1]), None)
    assert asked == [AUTHORISED_AT_MS + 10 + OFFSET_MS]


@pytest.mark.parametrize(
    "other", [{"side": Side.SELL}, {"price": Decimal("98.5")}, {"quantity": Decimal("0.5")}], ids=str
)
def test_another_order_under_the_same_client_order_id_leaves_the_placement_unresolved(
    venue: FakeVenue, executor: Executor, other: dict[str, Any]
) -> None:
    # As after a state server that came back without its last second, and hands out the same ids again.
    unknown_but(venue, landed=False)
    same_id = replace(factories.open_order(side=Side.BUY), client_order_id=client_order_id())
    venue.rest(replace(same_id, **other))
    report = executor.carry_out(plan(places=BOTH[:1]), None)
    assert (report.accepted, len(report.unresolved)) == ([], 1)


@pytest.mark.parametrize(
    "error", [PostOnlyWouldCross("would cross"), Refused("no"), RateLimited("slow"), Unavailable("not sent")]
)
def test_a_refused_order_is_told_and_is_neither_open_nor_unresolved(
    venue: FakeVenue, executor: Executor, error: ExchangeError
) -> None:
    venue.faults["place"].append(
        lambda orders: (PlaceResult(error=error), PlaceResult(order=venue.accept(orders[1])))
    )
    report = executor.carry_out(plan(places=BOTH), None)
    assert len(report.accepted) == 1
    assert report.refused == [f"buy 1 @ 99: {error}"]
    assert len(report.unresolved) == 0
    assert venue.names("resolve_placement") == []


def test_an_answer_with_too_few_results_leaves_the_rest_unresolved(
    venue: FakeVenue, executor: Executor
) -> None:
    venue.faults["place"].append(lambda orders: (PlaceResult(order=venue.accept(orders[0])),))
    with pytest.raises(ValueError, match="shorter"):
        executor.carry_out(plan(places=BOTH), None)
    assert (len(executor.report.accepted), len(executor.report.unresolved)) == (1, 1)


def test_a_cleanups_order_is_authorised_for_its_role(venue: FakeVenue, executor: Executor) -> None:
    executor.take(taker(), Role.CLEANUP)
    assert venue.about("authorize") == [[(0, Role.CLEANUP)]]
    (order,) = placed(venue)
    assert order.client_order_id == client_order_id(role=Role.CLEANUP)


def test_a_cancel_nobody_knows_about_does_not_keep_the_others_from_being_known(venue: FakeVenue) -> None:
    venue.rest(*(factories.open_order(str(number)) for number in range(20)))

    def cancel(order_id: str) -> CancelAnswer:
        if int(order_id) % 5 == 0:
            raise OutcomeUnknown("no answer")
        return CancelAnswer(outcome=CancelOutcome.CANCELLED)

    venue.always["cancel"] = cancel
    outcomes = cancel_orders(venue, factories.SYMBOL, [str(number) for number in range(20)])
    assert [order_id for order_id, outcome in outcomes.items() if outcome is None] == ["0", "5", "10", "15"]
    assert len(outcomes) == 20


def test_nothing_to_cancel_asks_nobody(venue: FakeVenue) -> None:
    assert cancel_orders(venue, factories.SYMBOL, []) == {}
    assert venue.calls == []
