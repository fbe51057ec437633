"""What goes, what stays, and what happens when it is interrupted."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ledger import queries, retention
from ledger.bookings import Booking
from ledger.database import Ledger
from ledger.profit import Grouping, profit
from ledger.retention import PruneResult, prune
from market.orders import OrderStatus
from tests.unit.ledger import story
from tests.unit.ledger.story import ACCOUNT, DAY_MS, INSTANCE, SYMBOL, T0

LATER = T0 + 10 * DAY_MS


def test_old_fills_orders_and_funding_go(ledger: Ledger) -> None:
    ledger.book(story.life())
    ledger.book([story.fill("99", order_id="9", filled_at_ms=LATER), story.funding("1", LATER)])
    assert prune(ledger, before_ms=LATER) == PruneResult(fills=4, funding=1, orders=3)
    counts = queries.counts(ledger)
    assert (counts["fills"], counts["funding"], counts["orders"], counts["order_states"]) == (1, 1, 0, 0)
    # Runs, events and snapshots are none of its business.
    assert (counts["runs"], counts["events"], counts["balances"], counts["positions"]) == (2, 8, 1, 1)
    assert prune(ledger, before_ms=LATER) == PruneResult()


def test_receipts_are_proof_and_stay(ledger: Ledger) -> None:
    ledger.book([story.receipt()])
    prune(ledger, before_ms=LATER, details_before_ms=LATER)
    assert queries.counts(ledger)["receipts"] == 1


def test_orders_that_may_still_be_filled_stay(ledger: Ledger) -> None:
    ledger.book([story.order("1"), story.order("2", OrderStatus.CANCELLED)])
    ledger.book([story.order("3", OrderStatus.FILLED), story.fill(order_id="3", filled_at_ms=LATER)])
    assert prune(ledger, before_ms=LATER).orders == 1
    assert {order.order_id for order in queries.orders(ledger, INSTANCE)} == {"1", "3"}
    assert len(queries.order_states(ledger, ACCOUNT, SYMBOL, "1")) == 1


def test_what_was_folded_is_not_booked_again(ledger: Ledger) -> None:
    told: list[Booking] = [
        story.order("1", OrderStatus.FILLED),
        story.fill(),
        story.funding("1", symbol=SYMBOL),
    ]
    ledger.book(told)
    prune(ledger, before_ms=LATER)
    result = ledger.book(told)
    assert (result.ignored, result.fills, result.orders, result.funding) == (3, 0, 0, 0)
    assert sum(row.fills for row in profit(ledger)) == 1
    # Where to ask the exchange from, even without a fill left.
    assert queries.newest_fill_ms(ledger, ACCOUNT, SYMBOL) == LATER


def test_an_open_order_is_never_too_old(ledger: Ledger) -> None:
    ledger.book([story.fill()])
    prune(ledger, before_ms=LATER)
    assert ledger.book([story.order("5")]).orders == 1


def test_other_markets_are_not_affected(ledger: Ledger) -> None:
    ledger.book([story.fill()])
    prune(ledger, before_ms=LATER)
    assert ledger.book([story.fill(symbol="BTC_USDC"), story.fill(account="backpack:other")]).fills == 2


def test_details_go_but_not_what_makes_the_runs(ledger: Ledger) -> None:
    ledger.book([*story.life(), story.snapshot(LATER)])
    result = prune(ledger, before_ms=0, details_before_ms=LATER, rows_at_once=1)
    assert (result.events, result.snapshots, result.fills) == (1, 2, 0)
    runs = queries.runs(ledger, INSTANCE)
    ledger.book(story.life())
    assert queries.runs(ledger, INSTANCE) == runs
    assert queries.counts(ledger)["balances"] == 2


@pytest.mark.parametrize("step", ["_sums", "_remember", "_deleted"])
def test_a_crash_in_the_middle_changes_nothing_and_the_next_call_goes_on(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    # Averages without an end, of which no digit may be lost on the way.
    fills = [
        story.fill(str(n), order_id=str(n), filled_at_ms=T0 + n * DAY_MS // 4, price=Decimal(100 + n * n))
        for n in range(12)
    ]
    ledger.book(fills)
    expected = [profit(ledger, by=by) for by in Grouping]
    works, calls = getattr(retention, step), []

    def fails_later(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) > 3:
            raise RuntimeError("power cut")
        return works(*arguments)

    monkeypatch.setattr(retention, step, fails_later)
    with pytest.raises(RuntimeError, match="power cut"):
        prune(ledger, before_ms=LATER, rows_at_once=3)
    monkeypatch.undo()
    left = queries.counts(ledger)["fills"]
    assert 0 < left <= 12
    assert [profit(ledger, by=by) for by in Grouping] == expected
    assert prune(ledger, before_ms=LATER, rows_at_once=3).fills == left
    assert [profit(ledger, by=by) for by in Grouping] == expected
