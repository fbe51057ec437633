"""Receipts of real stops while the exchange misbehaves, held against the exchange's own journal."""

from __future__ import annotations

from decimal import Decimal

import pytest

from ledger.receipts import receipts
from runner.receipt import FlightEnd, Receipt, RequestFate, Result
from runner.receipt_reading import read_receipt
from tests.acceptance.command import Command
from tests.acceptance.simulated_exchange import CANCEL_ONE, FIND_ONE, LIST_OPEN, PLACE_BATCH, fault
from tests.acceptance.world import World, eventually, tell

pytestmark = pytest.mark.acceptance

#: Long enough that no iteration comes in between: what is cancelled after the stop is the cleanup's doing.
IDLE_S = "30"


def cancelled_since(world: World, line: int, slot: int) -> set[str]:
    """Return the orders of an instance that the journal has as cancelled behind a line."""
    return {
        entry.order_id
        for entry in world.exchange.journal(line)
        if entry.event == "order_cancelled" and entry.slot == slot
    }


def assert_times_are_ordered(receipt: Receipt) -> None:
    """Check that what came later is told later."""
    times = [receipt.started_at_ms, receipt.requested_at_ms or 0]
    for attempt in receipt.attempts:
        times += [attempt.claimed_at_ms, *(step.at_ms for step in attempt.steps), attempt.ended_at_ms]
    assert times == sorted(times)
    assert 0 < times[0] < times[1]
    lists = [seen.at_ms for seen in receipt.last_lists]
    last = receipt.attempts[-1]
    assert last.claimed_at_ms <= lists[0] < lists[1] <= last.ended_at_ms
    assert receipt.fence_ms <= lists[0]


def assert_the_truth(
    world: World, instance_id: str, receipt: Receipt, *, line: int, net: str | None = "0"
) -> None:
    """Check a clean receipt against the journal, which was at `line` when the stop was asked for.

    `net` is what the run made by its books; None where the exchange does not let them be completed.
    """
    record = world.record(instance_id)
    assert receipt.result is Result.CLEAN
    assert (receipt.instance_id, receipt.epoch, receipt.slot) == (instance_id, record.epoch, record.slot)
    assert (receipt.account, receipt.config_version) == (record.account, record.config_version)
    assert receipt.symbol == "SOL_USDC"
    assert [seen.own_orders for seen in receipt.last_lists] == [(), ()]
    assert_times_are_ordered(receipt)
    journal = cancelled_since(world, line, record.slot)
    assert set(receipt.cancelled_order_ids) <= journal
    assert journal <= set(receipt.cancelled_order_ids) | set(receipt.gone_order_ids)
    assert receipt.verified_at_ms is not None
    assert [
        entry for entry in world.exchange.accepted(record.slot) if entry.at_ms > receipt.verified_at_ms
    ] == []

    def counted() -> Receipt | None:
        kept = read_receipt(world.record(instance_id).outcome)
        return kept if kept.position_of == "left" else None

    # The fills that came last are counted once the stop is proven: nothing traded here.
    last = eventually(counted, what="the last word on the position")
    assert (last.position_before, last.position_after) == ("0", net)
    assert last in (receipt, receipt.with_net(Decimal(0), None if net is None else Decimal(net)))
    with world.ledger() as ledger:
        (booked,) = receipts(ledger, instance_id=instance_id)
    assert read_receipt(booked.receipt) == last
    assert (booked.result, booked.attempts) == ("clean", receipt.attempt_count)


def test_a_quiet_stop(world: World, manage: Command) -> None:
    instance_id = world.run("receipt_quiet_01", interval=IDLE_S)
    line = world.exchange.last_entry()
    receipt = world.stop(instance_id)
    assert_the_truth(world, instance_id, receipt, line=line)
    assert set(receipt.cancelled_order_ids) == cancelled_since(world, line, receipt.slot)
    assert len(receipt.cancelled_order_ids) == 6
    assert receipt.in_flight is not None
    assert receipt.in_flight.ended is FlightEnd.NONE
    assert [(asked.by, asked.reason) for asked in receipt.asked] == [("test", "test")]
    shown = manage("receipt", instance_id, "--json")
    assert shown.code == 0, shown.err
    assert shown.json["receipt"]["cancelled_order_ids"] == list(receipt.cancelled_order_ids)
    tell(f"receipt shown in {shown.took_s:.2f} s")


def test_a_placement_whose_answer_was_lost_and_that_nobody_can_ask_about_for_long(world: World) -> None:
    instance_id = world.configure("receipt_lost_01", interval=IDLE_S)
    line = world.exchange.last_entry()
    world.exchange.set_faults(fault(PLACE_BATCH, "reset_after"), fault(FIND_ONE, "hang"))
    world.start(instance_id)
    world.wait_for_request(FIND_ONE)
    # Only now: a start lists, too.
    world.exchange.set_faults(
        fault(FIND_ONE, "hang"),
        fault(LIST_OPEN, "error", status=503, count=3),
        fault(CANCEL_ONE, "error", status=503, count=4),
    )
    receipt = world.stop(instance_id)
    # What cannot be asked for cannot be counted either.
    assert_the_truth(world, instance_id, receipt, line=line, net=None)
    placed = {entry.order_id: entry.client_id for entry in world.exchange.accepted(receipt.slot)}
    assert len(placed) == 6
    # Cancels that were refused with an error did nothing: each one that counted was answered.
    assert set(receipt.cancelled_order_ids) == set(placed)
    assert receipt.had_unresolved
    flight = receipt.in_flight
    assert flight is not None
    assert (flight.ended, flight.seq, flight.tick) == (FlightEnd.INTERRUPTED, 1, 0)
    assert flight.ended_at_ms is not None
    assert flight.ended_at_ms > (receipt.requested_at_ms or 0)
    assert {each.order_id: each.client_order_id for each in receipt.unanswered} == placed
    assert {each.fate for each in receipt.unanswered} == {RequestFate.RESTED}


def test_cancels_that_happen_without_an_answer(world: World) -> None:
    instance_id = world.run("receipt_cancels_01", interval=IDLE_S)
    world.exchange.set_faults(fault(CANCEL_ONE, "reset_after", count=3))
    line = world.exchange.last_entry()
    receipt = world.stop(instance_id)
    assert_the_truth(world, instance_id, receipt, line=line)
    # That they were cancelled by our request the exchange has never said: only that they are gone.
    assert len(receipt.gone_order_ids) == 3
    assert len(receipt.cancelled_order_ids) == 3


def test_a_cleanup_that_is_killed_in_the_middle(world: World) -> None:
    instance_id = world.run("receipt_killed_01", interval=IDLE_S)
    slot = world.slot(instance_id)
    line = world.exchange.last_entry()
    world.exchange.set_faults(fault(LIST_OPEN, "hang"))
    world.request_stop(instance_id)
    eventually(lambda: len(cancelled_since(world, line, slot)) == 6, what="the cancels of the first attempt")
    world.stack.processes["cleanup"].kill()
    world.exchange.clear_faults()
    receipt = world.wait_stopped(instance_id)
    assert_the_truth(world, instance_id, receipt, line=line)
    assert (receipt.attempt_count, receipt.lost_attempts) == (2, 1)
    # Who cancelled them died before it could say so.
    assert (receipt.cancelled_order_ids, len(receipt.gone_order_ids)) == ((), 6)
