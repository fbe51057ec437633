"""What must hold between the exchange's journal, its balances and the ledger; checks name what does not."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.profit import ProfitRow
from tests.soak.ledger_story import FillFacts, Told, Witness, facts

#: The simulated exchange divides for average prices, with 28 digits; everything that it books is coarser.
LEAST_UNIT = Decimal("1e-12")
#: Differences shown of one kind.
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The runs of the account's instances, as they were started."""

    #: By slot.
    names: Mapping[int, str]
    #: By slot: begin (ms) and epoch of each run, oldest first.
    epochs: Mapping[int, Sequence[tuple[int, int]]]

    def owner(self, client_id: int | None, at_ms: int) -> tuple[str, int]:
        """Return instance and epoch of an order accepted at `at_ms`; empty and 0 for one of nobody's."""
        slot = None if client_id is None else client_id >> 20
        if slot is None or slot not in self.names:
            return "", 0
        runs = self.epochs[slot]
        number = bisect_right([begun_ms for begun_ms, _ in runs], at_ms)
        return self.names[slot], runs[max(0, number - 1)][1]


def fill_problems(seen: Witness, ledger: Told) -> list[str]:
    """Return fills that are missing, made up, different, told twice, or put aside."""
    ours, theirs = Counter(map(facts, ledger.fills)), Counter(seen.fills)
    keys = Counter((row["symbol"], row["order_id"], row["trade_id"]) for row in ledger.fills)
    return [
        *_some("fill lost", (theirs - ours).elements()),
        *_some("fill that never was", (ours - theirs).elements()),
        *_some("fill twice", (key for key, count in keys.items() if count > 1)),
        *_some("booking put aside", (f"{row['kind']}: {row['reason']}" for row in ledger.rejected)),
    ]


def feed_problems(seen: Witness, told_by_feed: Collection[tuple[str, str]]) -> list[str]:
    """Return fills, by symbol and trade id, that only iterations and cleanups have told."""
    missing = {(fill.symbol, fill.trade_id) for fill in seen.fills} - set(told_by_feed)
    return _some("fill that no feed told", sorted(missing))


def owner_problems(seen: Witness, ledger: Told, runs: Runs) -> list[str]:
    """Return fills and orders that count for another instance, or for another run of it."""
    wrong = []
    for kind, rows in (("fill", ledger.fills), ("order", ledger.orders)):
        for row in rows:
            order = seen.orders.get(row["order_id"])
            if order is None:
                continue
            expected = runs.owner(order.client_id, order.accepted_at_ms)
            found = row["instance_id"], row["epoch"]
            if found != expected:
                wrong.append(f"{kind} of order {row['order_id']} ({row['symbol']}): {found}, not {expected}")
    return _some("owner wrong", wrong)


def order_problems(seen: Witness, ledger: Told) -> list[str]:
    """Return orders that are missing, made up, open, or ended otherwise than the journal says.

    What no stream told, histories and iterations do. An iteration cannot tell an order that expired from one
    that was cancelled: then the ledger may say "cancelled". Once told, "expired" has to stay.
    """
    rows = {row["order_id"]: row for row in ledger.orders}
    wrong = []
    for order_id, order in seen.orders.items():
        row = rows.get(order_id)
        if row is None:
            continue
        allowed = {order.status}
        if order.status == "expired" and "expired" not in ledger.statuses.get(order_id, frozenset()):
            allowed.add("cancelled")
        if row["status"] not in allowed:
            wrong.append(f"{order_id} ({order.symbol}) is {row['status']}, not {order.status or 'open'}")
        if row["executed"] != order.executed:
            wrong.append(f"{order_id} ({order.symbol}) has {row['executed']} executed, not {order.executed}")
    return [
        *_some("order missing", (seen.orders[order_id] for order_id in seen.orders.keys() - rows.keys())),
        *_some("order that never was", rows.keys() - seen.orders.keys()),
        *_some(
            "order twice", (key for key, n in Counter(r["order_id"] for r in ledger.orders).items() if n > 1)
        ),
        *_some("order rests", (order_id for order_id, order in seen.orders.items() if not order.status)),
        *_some("order wrong", wrong),
    ]


def funding_problems(seen: Witness, ledger: Told) -> list[str]:
    """Return payments that are missing, made up or told twice."""
    ours = Counter((row["symbol"], row["amount"], row["interval_end_ms"]) for row in ledger.funding)
    theirs = Counter(seen.funding)
    return [
        *_some("funding lost", (theirs - ours).elements()),
        *_some("funding that never was", (ours - theirs).elements()),
    ]


def balance_problems(
    ledger: Told, profit: Sequence[ProfitRow], before: Mapping[str, Decimal], after: Mapping[str, Decimal]
) -> list[str]:
    """Return assets that changed by something else than the ledger's fills, fees, fundings and profit."""
    expected: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in ledger.fills:
        if row["market_type"] == "spot":
            sign = 1 if row["side"] == "buy" else -1
            expected[row["base_asset"]] += sign * row["quantity"]
            expected[row["quote_asset"]] -= sign * row["quantity"] * row["price"]
            expected[row["fee_asset"]] -= row["fee"]
    for figures in profit:
        if figures.symbol.endswith("_PERP"):
            expected[figures.quote_asset] += figures.closed_total
    changes = {
        asset: after.get(asset, Decimal(0)) - before.get(asset, Decimal(0)) for asset in {*before, *after}
    }
    return _some(
        "balance wrong",
        (
            f"{asset} changed by {changes.get(asset)}, by the ledger {expected[asset]}"
            for asset in sorted({*changes, *expected})
            if abs(changes.get(asset, Decimal(0)) - expected[asset]) > LEAST_UNIT
        ),
    )


def profit_problems(
    seen: Witness, profit: Sequence[ProfitRow], marks: Mapping[str, Decimal], positions: Mapping[str, Decimal]
) -> list[str]:
    """Return markets whose profit is another than what the journal's fills have cost and are worth now."""
    worth: defaultdict[str, Decimal] = defaultdict(Decimal)
    held: defaultdict[str, Decimal] = defaultdict(Decimal)
    for fill in seen.fills:
        quantity = fill.quantity if fill.side == "buy" else -fill.quantity
        in_base = fill.fee_asset != "USDC"
        held[fill.symbol] += quantity - (fill.fee if in_base else 0)
        worth[fill.symbol] -= quantity * fill.price + (0 if in_base else fill.fee)
    for symbol, amount, _ in seen.funding:
        worth[symbol] += amount
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    net: defaultdict[str, Decimal] = defaultdict(Decimal)
    for row in profit:
        totals[row.symbol] += row.total or Decimal(0)
        net[row.symbol] += row.net_quantity
    wrong = []
    for symbol in sorted({*worth, *totals}):
        value = worth[symbol] + held[symbol] * marks[symbol]
        if abs(totals[symbol] - value) > LEAST_UNIT:
            wrong.append(f"{symbol}: {totals[symbol]}, by the journal {value}")
        if net[symbol] != held[symbol]:
            wrong.append(f"{symbol}: {net[symbol]} held, by the journal {held[symbol]}")
        if symbol.endswith("_PERP") and positions.get(symbol, Decimal(0)) != net[symbol]:
            wrong.append(f"{symbol}: {net[symbol]} held, by the exchange {positions.get(symbol)}")
    return _some("profit wrong", wrong)


def _some(kind: str, found: Iterable[object]) -> list[str]:
    problems = [_shown(each) for each in found]
    more = [f"{kind}: {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return [*(f"{kind}: {each}" for each in problems[:SHOWN]), *more]


def _shown(found: object) -> str:
    return (
        str(found) if not isinstance(found, FillFacts) else f"{found.symbol} trade {found.trade_id}: {found}"
    )
