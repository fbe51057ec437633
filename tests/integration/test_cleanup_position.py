"""A cleanup that closes a perpetual position, under its own authorisation."""

from __future__ import annotations

from decimal import Decimal

import pytest
import redis

from cli.stack.valkey import ValkeyServer
from exchanges.base import PlaceResult
from exchanges.errors import OutcomeUnknown, Unavailable
from market.book import OrderBook
from market.orders import NewOrder, Role, Side, TimeInForce
from runner.flatten import TRIES
from runner.receipt import Result
from state.client_ids import decode
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.factories import PERP_SYMBOL, SLOT, instrument, loaded_instance, open_order
from tests.fake_venue import GO_ON
from tests.integration.cleanup_bench import MARGIN_MS, SETTINGS, WINDOW_MS
from tests.integration.runner_bench import RunnerBench

CLOSE = StopPolicy(close_position=True)


@pytest.fixture
def bench(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> RunnerBench:
    """A started instance on a perpetual that nobody else trades, three long."""
    instance = loaded_instance(perp=True, exclusive_symbol=True, window_ms=WINDOW_MS)
    bench = RunnerBench(valkey_server.url, monkeypatch, instance, SETTINGS)
    bench.venue.the_instrument = instrument(perp=True)
    bench.venue.net_quantity = Decimal(3)
    return bench


def sent(bench: RunnerBench) -> list[NewOrder]:
    """Return every order sent."""
    return [order for batch in bench.venue.about("place") for order in batch]


@pytest.mark.parametrize(("net", "side", "limit"), [("3", Side.SELL, "98.90"), ("-0.5", Side.BUY, "101.11")])
def test_a_position_is_closed_by_one_protected_reduce_only_order(
    bench: RunnerBench, net: str, side: Side, limit: str
) -> None:
    bench.venue.net_quantity = Decimal(net)
    outcome = bench.stop_and_clean_up(CLOSE)
    (order,) = sent(bench)
    assert (order.symbol, order.side, order.quantity) == (PERP_SYMBOL, side, abs(Decimal(net)))
    assert (order.time_in_force, order.reduce_only, order.post_only) == (TimeInForce.IOC, True, False)
    assert order.price == Decimal(limit)
    parts = decode(order.client_order_id)
    assert (parts.slot, parts.role) == (SLOT, Role.CLEANUP)
    assert outcome.is_clean
    assert (outcome.position_before, outcome.position_after) == (net, str(bench.venue.net_quantity))
    assert bench.venue.net_quantity == 0


def test_the_position_is_closed_after_the_orders_are_gone_and_the_orders_are_looked_at_again(
    bench: RunnerBench,
) -> None:
    bench.venue.rest(open_order("5", symbol=PERP_SYMBOL))
    assert bench.stop_and_clean_up(CLOSE).is_clean
    assert bench.venue.names("cancel_all", "open_orders", "place") == [
        "cancel_all",
        "open_orders",
        "open_orders",
        "place",
        "open_orders",
        "open_orders",
    ]


def test_the_closing_order_is_signed_with_the_time_it_was_authorised_at(bench: RunnerBench) -> None:
    bench.venue.the_clock.offset_ms = -70
    fences: list[int] = []

    def accept(orders: tuple[NewOrder, ...]) -> tuple[PlaceResult, ...]:
        fences.append(bench.record.fence_ms)
        return tuple(PlaceResult(order=bench.venue.accept(order)) for order in orders)

    bench.venue.always["place"] = accept
    bench.stop_and_clean_up(CLOSE)
    (authorization,) = bench.venue.authorizations
    assert fences == [authorization.signed_at_ms + 70 + WINDOW_MS + MARGIN_MS]
    assert bench.record.fence_ms == 0


def test_a_position_that_is_closed_in_parts_is_closed_to_the_end(bench: RunnerBench) -> None:
    shares = iter([Decimal("0.5"), Decimal("0.5"), Decimal(1)])

    def fill_a_part(orders: tuple[NewOrder, ...]) -> tuple[PlaceResult, ...]:
        bench.venue.ioc_share = next(shares)
        return tuple(PlaceResult(order=bench.venue.accept(order)) for order in orders)

    bench.venue.always["place"] = fill_a_part
    assert bench.stop_and_clean_up(CLOSE).is_clean
    assert [order.quantity for order in sent(bench)] == [Decimal(3), Decimal("1.5"), Decimal("0.75")]


def test_a_position_that_nobody_takes_is_left_named_and_tried_again(bench: RunnerBench) -> None:
    bench.venue.ioc_share = Decimal(0)
    outcome = bench.stop_and_clean_up(CLOSE)
    assert len(sent(bench)) == TRIES
    assert outcome.result is Result.POSITION_LEFT
    assert (outcome.position_before, outcome.position_after) == ("3", "3")
    assert bench.phase is Phase.STOPPING
    bench.venue.ioc_share = Decimal(1)
    again = bench.clean_up()
    assert again is not None
    assert again.is_clean


def lose_the_answer(bench: RunnerBench, *, landed: bool) -> list[int]:
    """Let the next closing order get no answer; return where its fence is noted."""
    fences: list[int] = []

    def place(orders: tuple[NewOrder, ...]) -> tuple[PlaceResult, ...]:
        if landed:
            bench.venue.accept(orders[0])
            # Executed, and not in the history yet.
            bench.venue.faults["resolve_placement"].append(lambda *_: None)
        fences.append(bench.record.fence_ms)
        return (PlaceResult(error=OutcomeUnknown("no answer")),)

    bench.venue.faults["place"].append(place)
    return fences


def test_a_closing_order_without_an_answer_is_waited_out_before_anything_is_called_clean(
    bench: RunnerBench,
) -> None:
    fences = lose_the_answer(bench, landed=True)
    outcome = bench.stop_and_clean_up(CLOSE)
    assert outcome.is_clean
    assert len(sent(bench)) == 1
    assert [outcome.fence_ms] == fences
    assert all(each.at_ms >= fences[0] for each in outcome.last_lists)
    assert outcome.had_unresolved


def test_a_closing_order_without_an_answer_is_waited_out_also_where_the_position_is_hard_to_read(
    bench: RunnerBench,
) -> None:
    # The lease is renewed in between, which must not take the order for answered.
    fences = lose_the_answer(bench, landed=True)
    bench.venue.faults["position"] += [lambda *_: GO_ON, Unavailable("not now")]
    outcome = bench.stop_and_clean_up(CLOSE)
    assert outcome.is_clean
    assert [outcome.fence_ms] == fences
    assert all(each.at_ms >= fences[0] for each in outcome.last_lists)


def test_while_a_closing_order_may_still_arrive_no_second_one_is_sent(bench: RunnerBench) -> None:
    lose_the_answer(bench, landed=False)
    outcome = bench.stop_and_clean_up(CLOSE)
    assert len(sent(bench)) == 1
    assert outcome.result is Result.POSITION_LEFT


def test_an_interrupted_closing_order_is_never_called_clean(bench: RunnerBench) -> None:
    bench.venue.faults["place"].append(TimeoutError("soft limit"))
    outcome = bench.stop_and_clean_up(CLOSE)
    assert not outcome.is_clean
    assert bench.record.fence_ms > bench.record.stop_requested_at_ms  # type: ignore[operator]


def test_a_position_that_cannot_be_read_is_not_taken_as_flat(
    bench: RunnerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.cleanup_attempt.LONGEST_PAUSE_S", 0.001)
    bench.venue.always["position"] = Unavailable("down")
    outcome = bench.stop_and_clean_up(CLOSE)
    assert outcome.result is Result.UNVERIFIED
    assert sent(bench) == []


def test_with_nobody_to_close_against_the_position_is_left(
    bench: RunnerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.cleanup_attempt.LONGEST_PAUSE_S", 0.001)
    bench.venue.always["order_book"] = lambda symbol: OrderBook(
        symbol=symbol, bids=(), asks=(), updated_at_ms=0
    )
    outcome = bench.stop_and_clean_up(CLOSE)
    assert outcome.result is Result.POSITION_LEFT
    assert sent(bench) == []


def test_a_flat_position_costs_no_order(bench: RunnerBench) -> None:
    bench.venue.net_quantity = Decimal(0)
    assert bench.stop_and_clean_up(CLOSE).is_clean
    assert sent(bench) == []


def test_without_the_policy_the_position_stays(bench: RunnerBench) -> None:
    outcome = bench.stop_and_clean_up()
    assert outcome.is_clean
    assert (bench.venue.names("position", "place"), outcome.position_of) == ([], "left")
