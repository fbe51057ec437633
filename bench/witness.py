"""What one instance's orders did, read from the simulated exchange's journal."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from market.orders import Role, Side
from state.client_ids import decode, owns

_SIDES = {"Bid": Side.BUY, "Ask": Side.SELL}


@dataclass(kw_only=True)
class OrderLine:
    """An order from its acceptance to its end. Times are the exchange's, ms since the epoch."""

    side: Side
    role: Role
    price: Decimal
    began_at_ms: int
    #: None: it rests.
    ended_at_ms: int | None = None
    #: True: it may not take.
    post_only: bool


@dataclass(frozen=True, kw_only=True)
class FillDot:
    """One execution."""

    at_ms: int
    side: Side
    role: Role
    price: Decimal
    quantity: Decimal
    #: True: the order rested.
    is_maker: bool


@dataclass(kw_only=True)
class Witness:
    """The orders and fills of one instance, in the order of the journal."""

    base_asset: str
    lines: list[OrderLine] = field(default_factory=list)
    fills: list[FillDot] = field(default_factory=list)
    #: (ms since the epoch, what was bought more than sold by then, fees in the base asset taken off).
    net: list[tuple[int, Decimal]] = field(default_factory=list)
    _open: dict[str, OrderLine] = field(default_factory=dict)

    @property
    def resting(self) -> int:
        """Return how many orders have not ended."""
        return len(self._open)

    def see(self, entry: Mapping[str, Any]) -> None:
        """Follow one entry of the journal."""
        event = entry["event"]
        if event == "order_accepted":
            line = OrderLine(
                side=_SIDES[entry["side"]],
                role=decode(entry["client_id"]).role,
                price=Decimal(entry["price"]),
                began_at_ms=entry["at_ms"],
                post_only=entry["post_only"],
            )
            self.lines.append(line)
            self._open[entry["order_id"]] = line
        elif event == "fill":
            self._fill(entry)
        elif event in {"order_cancelled", "order_expired"}:
            self._end(entry)

    def _fill(self, entry: Mapping[str, Any]) -> None:
        line, quantity = self._open[entry["order_id"]], Decimal(entry["quantity"])
        self.fills.append(
            FillDot(
                at_ms=entry["at_ms"],
                side=line.side,
                role=line.role,
                price=Decimal(entry["price"]),
                quantity=quantity,
                is_maker=entry["maker"],
            )
        )
        change = quantity if line.side is Side.BUY else -quantity
        if entry["fee_asset"] == self.base_asset:
            change -= Decimal(entry["fee"])
        self.net.append((entry["at_ms"], (self.net[-1][1] if self.net else Decimal(0)) + change))
        if entry["status"] == "Filled":
            self._end(entry)

    def _end(self, entry: Mapping[str, Any]) -> None:
        line = self._open.pop(entry["order_id"], None)
        if line is not None:
            line.ended_at_ms = entry["at_ms"]


def witness(entries: Iterable[Mapping[str, Any]], *, slot: int, base_asset: str) -> Witness:
    """Return what the entries say of the instance in `slot`, whose market trades `base_asset`."""
    found = Witness(base_asset=base_asset)
    for entry in entries:
        if owns(slot, entry.get("client_id")):
            found.see(entry)
    return found


def read_journal(path: Path) -> list[dict[str, Any]]:
    """Return the entries of a journal; a line that is being written is left out."""
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
