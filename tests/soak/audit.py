"""What the simulated exchange's journal says of one instance, beside what the instance's own books say."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from market.orders import Role, Side
from market.snapshot import LevelRole, LevelTotals
from runner.books import Books
from state.client_ids import decode

SIDES = {"Bid": Side.BUY, "Ask": Side.SELL}


@dataclass(kw_only=True)
class SeenOrder:
    """An order that the exchange accepted."""

    order_id: str
    level_role: LevelRole
    side: Side
    price: Decimal
    remaining: Decimal


@dataclass(kw_only=True)
class Audit:
    """One instance by the journal alone."""

    base_asset: str
    totals: defaultdict[LevelRole, LevelTotals] = field(default_factory=lambda: defaultdict(LevelTotals))
    open: dict[str, SeenOrder] = field(default_factory=dict)
    #: Moments at which two orders of one level and role rested together.
    doubled: list[str] = field(default_factory=list)
    net: Decimal = Decimal(0)
    #: The largest position that filling every resting order of a side could have led to.
    worst_long: Decimal = Decimal(0)
    worst_short: Decimal = Decimal(0)
    accepted: int = 0
    fills: int = 0
    partial_fills: int = 0
    refused: int = 0

    def see(self, entry: Mapping[str, Any]) -> None:
        """Follow one entry."""
        event = entry["event"]
        if event == "order_accepted":
            self._accept(entry)
        elif event == "order_refused":
            self.refused += 1
        elif event == "fill":
            self._fill(entry)
        elif event in {"order_cancelled", "order_expired"}:
            self.open.pop(entry["order_id"], None)
        elif event == "order_modified":
            self.open[entry["order_id"]].remaining = Decimal(entry["quantity"]) - Decimal(entry["executed"])
        self._note_worst()

    def _accept(self, entry: Mapping[str, Any]) -> None:
        parts = decode(entry["client_id"])
        order = SeenOrder(
            order_id=entry["order_id"],
            level_role=(parts.level, int(parts.role)),
            side=SIDES[entry["side"]],
            price=Decimal(entry["price"]),
            remaining=Decimal(entry["quantity"]),
        )
        twin = next((o for o in self.open.values() if o.level_role == order.level_role), None)
        if twin is not None:
            self.doubled.append(
                f"{twin.order_id} and {order.order_id} at {order.level_role}, line {entry['n']}"
            )
        self.open[order.order_id] = order
        self.accepted += 1

    def _fill(self, entry: Mapping[str, Any]) -> None:
        order = self.open[entry["order_id"]]
        quantity, price, fee = (Decimal(entry[name]) for name in ("quantity", "price", "fee"))
        totals = self.totals[order.level_role]
        bought, sold = (quantity, Decimal(0)) if order.side is Side.BUY else (Decimal(0), quantity)
        in_base = entry["fee_asset"] == self.base_asset
        self.totals[order.level_role] = LevelTotals(
            bought=totals.bought + bought,
            sold=totals.sold + sold,
            paid=totals.paid + bought * price,
            received=totals.received + sold * price,
            base_fees=totals.base_fees + (fee if in_base else 0),
            quote_fees=totals.quote_fees + (0 if in_base else fee),
        )
        self.net += bought - sold - (fee if in_base else 0)
        order.remaining -= quantity
        self.fills += 1
        if order.remaining == 0:
            del self.open[order.order_id]
        else:
            self.partial_fills += 1

    def _note_worst(self) -> None:
        buys = sum((o.remaining for o in self.open.values() if o.side is Side.BUY), Decimal(0))
        sells = sum((o.remaining for o in self.open.values() if o.side is Side.SELL), Decimal(0))
        self.worst_long = max(self.worst_long, self.net + buys)
        self.worst_short = max(self.worst_short, sells - self.net)

    def resting(self, role: Role) -> dict[int, Decimal]:
        """Return what rests of a role by level."""
        found: dict[int, Decimal] = defaultdict(Decimal)
        for order in self.open.values():
            if order.level_role[1] == role:
                found[order.level_role[0]] += order.remaining
        return found

    def differences(self, books: Books) -> list[str]:
        """Return where the books differ from the journal, a sentence each: not in the last unit."""
        own, nothing = books.totals_by_level(), LevelTotals()
        pairs = {at: (self.totals.get(at, nothing), own.get(at, nothing)) for at in {*own, *self.totals}}
        return [
            f"level {at[0]}, role {at[1]}: journal {theirs}, books {ours}"
            for at, (theirs, ours) in sorted(pairs.items())
            if theirs != ours
        ]


def audit(entries: Iterable[Mapping[str, Any]], slots: Mapping[int, str]) -> dict[int, Audit]:
    """Return the audit of each slot; `slots` names the base asset of each."""
    found = {slot: Audit(base_asset=asset) for slot, asset in slots.items()}
    for entry in entries:
        client_id = entry.get("client_id")
        if client_id is not None and client_id >> 20 in found:
            found[client_id >> 20].see(entry)
    return found


def read_journal(path: Path, *, behind: int = 0) -> list[dict[str, Any]]:
    """Return the entries of a journal behind a size in bytes; a line that is being written is left out."""
    with path.open("rb") as file:
        file.seek(behind)
        lines = file.read().split(b"\n")[:-1]
    return [json.loads(line) for line in lines]
