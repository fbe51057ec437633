"""Break what a chaos run has left behind, one thing at a time: each check has to notice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from tests.soak.ledger_run import Evidence
from tests.soak.ledger_story import Row

#: Smaller than anything that is booked.
CRUMB = Decimal("0.000000001")


def unnoticed(evidence: Evidence) -> list[str]:
    """Return what was broken without anybody noticing."""
    assert not evidence.problems()
    missed = []
    for what, broken in _broken(evidence):
        if not any(problem.startswith(what) for problem in broken.problems()):
            missed.append(f"{what}: {broken.problems()}")
    return missed


def _broken(found: Evidence) -> Iterator[tuple[str, Evidence]]:
    """Yield what is to be reported, with the evidence in which it is so."""

    def with_ledger(**changes: Any) -> Evidence:
        return replace(found, ledger=replace(found.ledger, **changes))

    told = found.ledger
    spot = next(number for number, row in enumerate(told.fills) if row["market_type"] == "spot")
    for number in (spot, len(told.fills) // 2):
        yield "fill lost", with_ledger(fills=_without(told.fills, number))
        yield "fill twice", with_ledger(fills=[*told.fills, told.fills[number]])
        for name, change in _CHANGES.items():
            yield "fill that never was", with_ledger(fills=_changed(told.fills, number, name, change))
        yield "owner wrong", with_ledger(fills=_changed(told.fills, number, "instance_id", lambda _: ""))
        yield "owner wrong", with_ledger(fills=_changed(told.fills, number, "epoch", lambda epoch: epoch + 1))
    yield (
        "fill that no feed told",
        replace(found, told_by_feed=found.told_by_feed - {min(found.told_by_feed)}),
    )
    yield "balance wrong", with_ledger(fills=_without(told.fills, spot))
    yield "booking put aside", with_ledger(rejected=[{"kind": "fill", "reason": "test"}])
    yield "owner wrong", with_ledger(orders=_changed(told.orders, 0, "epoch", lambda _: 0))
    yield "order missing", with_ledger(orders=_without(told.orders, 0))
    yield "order twice", with_ledger(orders=[*told.orders, told.orders[0]])
    yield "order that never was", with_ledger(orders=_changed(told.orders, 0, "order_id", lambda _: "none"))
    yield "order wrong", with_ledger(orders=_changed(told.orders, 0, "status", lambda _: "new"))
    yield "order wrong", with_ledger(orders=_changed(told.orders, 0, "executed", _more))
    yield "order wrong", _expiry_taken_back(found)
    yield "funding lost", with_ledger(funding=_without(told.funding, 0))
    yield "funding that never was", with_ledger(funding=_changed(told.funding, 0, "amount", _more))
    for asset in found.after:
        yield "balance wrong", replace(found, after={**found.after, asset: _more(found.after[asset])})
    for number, row in enumerate(found.profit):
        others = [*found.profit[:number], *found.profit[number + 1 :]]
        yield "profit wrong", replace(found, profit=others)
        yield "profit wrong", replace(found, profit=[*others, replace(row, realized=_more(row.realized))])


def _more(amount: Decimal) -> Decimal:
    return amount + CRUMB


_CHANGES: dict[str, Callable[[Any], Any]] = {
    "trade_id": lambda trade_id: f"{trade_id}0",
    "symbol": lambda symbol: f"{symbol}2",
    "side": lambda side: "sell" if side == "buy" else "buy",
    "price": _more,
    "quantity": _more,
    "fee": _more,
    "fee_asset": lambda _: "BTC",
    "is_maker": lambda is_maker: not is_maker,
}


def _expiry_taken_back(found: Evidence) -> Evidence:
    """Return an order that expired and was told so, and stands as cancelled nevertheless."""
    order_id = next(row["order_id"] for row in found.ledger.orders if row["status"] == "cancelled")
    order = replace(found.seen.orders[order_id], status="expired")
    statuses = {**found.ledger.statuses, order_id: frozenset({"cancelled", "expired"})}
    return replace(
        found,
        seen=replace(found.seen, orders={**found.seen.orders, order_id: order}),
        ledger=replace(found.ledger, statuses=statuses),
    )


def _without(rows: Sequence[Row], number: int) -> list[Row]:
    return [*rows[:number], *rows[number + 1 :]]


def _changed(rows: Sequence[Row], number: int, name: str, change: Callable[[Any], Any]) -> list[Row]:
    row = rows[number]
    return [*rows[:number], {**row, name: change(row[name])}, *rows[number + 1 :]]
