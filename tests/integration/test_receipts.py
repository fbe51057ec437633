"""Receipts on a real state server and a venue in memory: each ending, and the story over several attempts."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
import redis
import structlog

from cli.stack.valkey import ValkeyServer
from exchanges.errors import OutcomeUnknown, Unavailable
from ledger.bookings import ReceiptBooking, from_json
from market.orders import CancelOutcome, Role
from market.position import Fill
from runner import cleanup
from runner.cleanup import ATTEMPTS_UNTIL_FAILED, FAILED_AFTER_MS
from runner.position_at_stop import PositionAtStop
from runner.receipt import FlightEnd, Receipt, RequestFate, Result
from runner.receipt_reading import read_receipt
from state import keys
from state.bookings import BookingQueue
from state.leases import Lease
from state.record import Phase
from state.stop_policy import StopPolicy
from tests.factories import ACCOUNT, INSTANCE_ID, SLOT, SYMBOL, VERSION, loaded_instance, open_order
from tests.integration.cleanup_bench import SETTINGS, WINDOW_MS, let_only_attempts_count, limit_by_steps
from tests.integration.runner_bench import RunnerBench


@pytest.fixture
def make(
    redis_client: redis.Redis, valkey_server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., RunnerBench]:
    """Start an instance; the arguments replace settings."""

    def start(*, exclusive_symbol: bool = False, **settings: object) -> RunnerBench:
        monkeypatch.setattr(cleanup, "INTERRUPT_AFTER_S", 0.05)
        instance = loaded_instance(window_ms=WINDOW_MS, exclusive_symbol=exclusive_symbol)
        if "cleanup_soft_limit_s" in settings:
            limit_by_steps(monkeypatch)
        return RunnerBench(valkey_server.url, monkeypatch, instance, replace(SETTINGS, **settings))  # type: ignore[arg-type]

    return start


@pytest.fixture
def bench(make: Callable[..., RunnerBench]) -> RunnerBench:
    """A started instance."""
    return make()


def told(bench: RunnerBench) -> list[ReceiptBooking]:
    """Return what the ledger's queue has of receipts, oldest first."""
    found = [from_json(waiting.text) for waiting in BookingQueue(bench.client).oldest(100)]
    return [booking for booking in found if isinstance(booking, ReceiptBooking)]


def alerts(bench: RunnerBench) -> list[str]:
    """Return which alerts were raised."""
    events = bench.context.events.of_instance(INSTANCE_ID)
    return [event.fields["alert"] for event in events if event.event == "alert"]


def again(bench: RunnerBench) -> Receipt:
    """Run another attempt."""
    receipt = bench.clean_up()
    assert receipt is not None
    return receipt


def test_a_receipt_says_who_asked_where_and_when(bench: RunnerBench) -> None:
    bench.venue.rest(open_order("5"))
    bench.knows("5")
    receipt = bench.stop_and_clean_up()
    record = bench.record
    assert (receipt.instance_id, receipt.epoch, receipt.account) == (INSTANCE_ID, 1, ACCOUNT)
    assert (receipt.symbol, receipt.slot, receipt.config_version) == (SYMBOL, SLOT, VERSION)
    (asked,) = receipt.asked
    assert (asked.by, asked.reason, asked.policy) == ("test", "tested", StopPolicy())
    assert (asked.at_ms, receipt.started_at_ms) == (record.stop_requested_at_ms, record.started_at_ms)
    assert receipt.in_flight is not None
    assert receipt.in_flight.ended is FlightEnd.NONE
    (attempt,) = receipt.attempts
    times = [asked.at_ms, attempt.claimed_at_ms, *(step.at_ms for step in attempt.steps)]
    assert times == sorted(times)
    assert record.stopped_at_ms is not None
    assert times[-1] == receipt.verified_at_ms
    assert times[-1] <= record.stopped_at_ms
    assert all(attempt.claimed_at_ms <= seen.at_ms <= times[-1] for seen in receipt.last_lists)


def test_the_ledger_is_told_in_the_same_step(bench: RunnerBench) -> None:
    receipt = bench.stop_and_clean_up()
    # Once with the proof, and once more with what the fills that came last make of the position.
    booking, completed = told(bench)
    assert read_receipt(completed.receipt) == receipt
    assert read_receipt(bench.record.outcome) == receipt
    assert (receipt.position_of, receipt.position_before, receipt.position_after) == ("left", "0", "0")
    proof = read_receipt(booking.receipt)
    assert proof.with_net(Decimal(0), Decimal(0)) == receipt
    assert proof.verified_at_ms == receipt.verified_at_ms
    assert (booking.account, booking.instance_id, booking.epoch) == (ACCOUNT, INSTANCE_ID, 1)
    assert (booking.result, booking.attempts, booking.symbol) == ("clean", 1, SYMBOL)
    assert (booking.started_at_ms, booking.requested_at_ms) == (
        receipt.started_at_ms,
        receipt.requested_at_ms,
    )
    events = bench.context.events.of_instance(INSTANCE_ID)
    assert read_receipt(events[-1].fields["outcome"]) == proof


def test_an_iteration_that_commits_after_the_stop_is_in_the_receipt(bench: RunnerBench) -> None:
    lease = bench.claim()
    bench.stop()
    bench.commit(lease)
    flight = again(bench).in_flight
    assert flight is not None
    assert (flight.ended, flight.seq, flight.tick, flight.task_id) == (
        FlightEnd.COMMITTED,
        lease.seq,
        None,
        "its-task",
    )
    assert flight.ended_at_ms == bench.record.committed_at_ms
    assert flight.lease_until_ms == lease.claimed_at_ms + SETTINGS.lease_ms


def test_a_scheduled_iteration_in_flight_is_named_by_its_tick(bench: RunnerBench) -> None:
    bench.set_field("due", bench.context.instances.now_ms())
    lease = bench.context.leases.claim(INSTANCE_ID, epoch=1, tick=0, task_id="scheduled")
    assert isinstance(lease, Lease)
    bench.stop()
    bench.commit(lease)
    flight = again(bench).in_flight
    assert flight is not None
    assert (flight.tick, flight.task_id) == (0, "scheduled")


def test_an_iteration_that_was_cut_short_is_told_apart(bench: RunnerBench) -> None:
    lease = bench.claim()
    bench.stop()

    def end(_: str) -> None:
        bench.commit(lease)

    receipt = bench.clean_up(interrupt=end)
    assert receipt is not None
    assert receipt.in_flight is not None
    assert receipt.in_flight.ended is FlightEnd.INTERRUPTED
    assert receipt.in_flight.interrupted_at_ms is not None
    assert receipt.in_flight.ended_at_ms is not None
    assert receipt.in_flight.interrupted_at_ms <= receipt.in_flight.ended_at_ms


def test_an_iteration_that_never_came_back_is_told_with_the_end_of_its_lease(bench: RunnerBench) -> None:
    lease = bench.claim()
    bench.authorize(lease, window_ms=1)
    until_ms = bench.context.instances.now_ms() + 300
    bench.set_field("lease_until", until_ms)
    bench.stop()
    receipt = again(bench)
    flight = receipt.in_flight
    assert flight is not None
    assert (flight.ended, flight.seq) == (FlightEnd.LEASE_RAN_OUT, lease.seq)
    assert flight.ended_at_ms == until_ms
    (unanswered,) = receipt.unanswered
    assert unanswered.fate is RequestFate.NOT_OPEN
    assert lease.claimed_at_ms <= unanswered.authorised_at_ms <= receipt.fence_ms


def test_an_iteration_that_had_died_before_the_stop_is_not_called_running(
    make: Callable[..., RunnerBench],
) -> None:
    bench = make(lease_ms=300)
    bench.claim()
    # As if the sweep had not come by yet.
    bench.set_field("lease_until", bench.context.instances.now_ms() - 5)
    flight = bench.stop_and_clean_up().in_flight
    assert flight is not None
    assert flight.ended is FlightEnd.LEASE_RAN_OUT


def test_a_stop_that_an_iteration_decides_names_that_iteration(bench: RunnerBench) -> None:
    lease = bench.claim()
    bench.context.leases.commit(
        lease,
        resolved=True,
        state_json="",
        interval_ms=60_000,
        next_task_id="n",
        stop_reason="loss",
        stop_policy=StopPolicy(unwind=False),
    )
    receipt = again(bench)
    assert [(asked.by, asked.reason) for asked in receipt.asked] == [("strategy", "loss")]
    assert receipt.in_flight is not None
    assert (receipt.in_flight.ended, receipt.in_flight.seq) == (FlightEnd.COMMITTED, lease.seq)


def test_an_order_whose_answer_was_lost_is_named_with_its_order(bench: RunnerBench) -> None:
    lease = bench.claim()
    granted = bench.context.leases.authorize(lease, window_ms=1, orders=[(0, Role.QUOTE)])
    (client_order_id,) = granted.client_order_ids
    bench.commit(lease, resolved=False)
    bench.venue.rest(replace(open_order("77"), client_order_id=client_order_id))
    receipt = bench.stop_and_clean_up()
    (unanswered,) = receipt.unanswered
    assert (unanswered.client_order_id, unanswered.fate) == (client_order_id, RequestFate.RESTED)
    assert (unanswered.order_id, unanswered.authorised_at_ms) == ("77", granted.at_ms)
    assert receipt.cancelled_order_ids == ("77",)


def test_a_second_request_that_asks_for_more_is_in_the_receipt_and_one_that_does_not_is_not(
    bench: RunnerBench,
) -> None:
    bench.venue.rest(open_order("5"))
    kept = bench.stop_and_clean_up(StopPolicy(cancel_orders=False))
    assert (kept.is_clean, [order.order_id for order in kept.orders_kept]) == (True, ["5"])
    bench.stop(StopPolicy(cancel_orders=False))
    bench.stop(StopPolicy())
    receipt = again(bench)
    assert [asked.policy.cancel_orders for asked in receipt.asked] == [False, True]
    assert (receipt.policy, receipt.attempt_count) == (StopPolicy(), 2)
    assert (receipt.cancelled_order_ids, receipt.orders_kept) == (("5",), ())
    assert [booking.attempts for booking in told(bench)] == [1, 2, 2]


def test_attempts_accumulate_also_over_one_that_died(make: Callable[..., RunnerBench]) -> None:
    bench = make(cleanup_soft_limit_s=0.2)
    bench.venue.rest(open_order("1"), open_order("2"))
    bench.knows("1", "2")

    def cancel(name: str) -> CancelOutcome:
        if name == "2":
            return CancelOutcome.ACCEPTED
        bench.venue.resting.pop(name, None)
        return CancelOutcome.CANCELLED

    bench.venue.always["cancel"] = cancel
    first = bench.stop_and_clean_up()
    assert (first.result, first.cancelled_order_ids) == (Result.ORDERS_LEFT, ("1",))
    assert [order.order_id for order in first.orders_left or ()] == ["2"]
    # One that is killed after it has cancelled, before it can say so.
    bench.context.cleanup_leases.claim(INSTANCE_ID, epoch=1, by="a worker that dies")
    bench.venue.resting.clear()
    bench.set_field("cleanup_until", 0)
    bench.venue.always.clear()
    receipt = again(bench)
    assert receipt.is_clean
    assert (receipt.attempt, receipt.attempt_count, receipt.lost_attempts) == (3, 3, 1)
    assert [attempt.result for attempt in receipt.attempts] == [Result.ORDERS_LEFT, Result.CLEAN]
    assert receipt.cancelled_order_ids == ("1",)
    # That one died with it: cancelled by then, by nobody who said so.
    assert receipt.gone_order_ids == ("2",)
    assert [read_receipt(booking.receipt) for booking in told(bench)][::2] == [first, receipt]


def test_orders_of_an_exclusive_symbol_are_told_too(make: Callable[..., RunnerBench]) -> None:
    bench = make(exclusive_symbol=True)
    bench.venue.rest(open_order("1"), open_order("2"))
    bench.knows("1", "2")
    receipt = bench.stop_and_clean_up()
    # The answer to a cancel-all names none of them.
    assert (receipt.cancelled_order_ids, receipt.gone_order_ids) == ((), ("1", "2"))


def test_failed_is_said_from_the_third_attempt_on_once_and_again_when_it_is_clean(
    bench: RunnerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_only_attempts_count(monkeypatch)
    bench.venue.always["open_orders"] = ValueError("not to be read")
    bench.stop()
    seen = []
    with structlog.testing.capture_logs() as lines:
        for _ in range(ATTEMPTS_UNTIL_FAILED + 2):
            receipt = again(bench)
            seen.append((bench.phase, len(alerts(bench))))
        assert receipt.result is Result.UNVERIFIED
    assert seen == [(Phase.STOPPING, 0)] * 2 + [(Phase.FAILED, 1)] * 3
    assert alerts(bench) == ["stop_failed"]
    errors = [line for line in lines if line["log_level"] == "error"]
    assert [(line["instance"], line["epoch"]) for line in errors] == [(INSTANCE_ID, 1)]
    bench.venue.always.clear()
    assert again(bench).is_clean
    assert alerts(bench) == ["stop_failed", "stop_clean_at_last"]
    # After a clean end the next stop has nothing to say.
    bench.start()
    bench.context.instances.request_stop(INSTANCE_ID, by="test", reason="", policy=StopPolicy())
    cleanup.run_cleanup(bench.context, INSTANCE_ID, epoch=2, by="test")
    assert (bench.phase, alerts(bench)) == (Phase.STOPPED, ["stop_failed", "stop_clean_at_last"])


def test_a_stop_that_takes_long_is_called_failed_whichever_attempt_it_is(bench: RunnerBench) -> None:
    bench.venue.always["open_orders"] = ValueError("not to be read")
    bench.stop()
    bench.set_field("stop_requested_at", bench.context.instances.now_ms() - FAILED_AFTER_MS)
    again(bench)
    assert (bench.phase, alerts(bench)) == (Phase.FAILED, ["stop_failed"])


def test_a_stop_with_a_position_left_says_so(bench: RunnerBench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PositionAtStop, "follow_policy", lambda *_: False)
    receipt = bench.stop_and_clean_up()
    assert (receipt.result, receipt.orders_left) == (Result.POSITION_LEFT, ())
    assert (bench.phase, bench.field("left")) == (Phase.STOPPING, "")


def test_the_ids_left_are_kept_for_a_forced_start(make: Callable[..., RunnerBench]) -> None:
    bench = make(cleanup_soft_limit_s=0.1)
    bench.venue.rest(open_order("9"), open_order("10"))
    bench.venue.always["cancel"] = OutcomeUnknown("no answer")
    assert bench.stop_and_clean_up().result is Result.ORDERS_LEFT
    assert bench.field("left") == "10,9"
    bench.venue.always["open_orders"] = Unavailable("down")
    assert again(bench).result is Result.UNVERIFIED
    assert bench.field("left") == "?"


def test_a_stop_asked_for_by_the_version_before_is_cleaned_up_and_has_a_receipt(bench: RunnerBench) -> None:
    bench.stop()
    bench.client.hdel(keys.record(INSTANCE_ID), "asked", "flight")
    receipt = again(bench)
    assert receipt.is_clean
    assert receipt.in_flight is None
    (asked,) = receipt.asked
    assert (asked.by, asked.reason) == ("test", "tested")
    assert asked.at_ms == bench.record.stop_requested_at_ms


def test_events_repeat_only_the_last_attempt_of_an_unclean_stop(bench: RunnerBench) -> None:
    bench.venue.always["open_orders"] = ValueError("not to be read")
    bench.stop_and_clean_up()
    receipt = again(bench)
    events = [event for event in bench.context.events.of_instance(INSTANCE_ID) if event.event == "finished"]
    told_of = read_receipt(events[-1].fields["outcome"])
    assert [attempt.number for attempt in told_of.attempts] == [2]
    assert [attempt.number for attempt in receipt.attempts] == [1, 2]
    assert json.loads(bench.record.outcome)["attempt_count"] == 2


def test_a_position_that_is_left_is_told_with_the_fills_that_came_last(bench: RunnerBench) -> None:
    bench.rest_own(open_order("5"))
    bench.venue.hit("5", "0.4")
    receipt = bench.stop_and_clean_up()
    assert (receipt.position_of, receipt.position_before, receipt.position_after) == ("left", "0", "0.4")
    assert read_receipt(bench.record.outcome) == receipt


def test_fills_that_cannot_be_had_leave_the_position_unknown_and_the_stop_clean(
    bench: RunnerBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.unwinding.EPILOGUE_S", 0.1)
    bench.venue.always["fills"] = Unavailable("down")
    receipt = bench.stop_and_clean_up()
    assert (receipt.is_clean, receipt.position_of, receipt.position_after) == (True, "left", None)
    assert bench.phase is Phase.STOPPED


def test_a_new_run_keeps_its_own_receipt_whatever_the_last_one_still_counts(bench: RunnerBench) -> None:
    started: list[int] = []

    def begin(_: str) -> tuple[Fill, ...]:
        if not started:
            bench.start()
            started.append(bench.record.epoch)
        return ()

    bench.venue.always["fills"] = begin
    receipt = bench.stop_and_clean_up()
    assert (started, bench.record.outcome) == ([2], "")
    assert read_receipt(told(bench)[-1].receipt) == receipt
