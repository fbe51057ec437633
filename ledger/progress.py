"""How an instance came to where it is: net quantity and closed profit after each of its fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from ledger.database import Ledger
from ledger.folding import PRECISION, ZERO, Cell, Folding, Starts
from ledger.markets import carried, fold, markets, starts


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where an instance stood after a fill or a funding."""

    #: Exchange time.
    at_ms: int
    net_quantity: Decimal
    #: Realised and funding, after fees, quote units, since its first fill ever.
    closed_profit: Decimal


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The points of an instance on one market, oldest first."""

    symbol: str
    quote_asset: str
    #: The first one is where it stood at the beginning of the time asked for.
    points: tuple[Point, ...]


def progress(ledger: Ledger, instance_id: str, *, since_ms: int) -> tuple[Progress, ...]:
    """Return the points not older than `since_ms`, for each market of an instance. Raises `LedgerError`.

    Reads the market from its beginning, since an average cost has no other one.
    """
    found = []
    with ledger.reading() as connection, localcontext(PRECISION):
        all_starts = starts(connection)
        for market in markets(connection, instance_id=instance_id):
            before = carried(connection, market, all_starts)
            noting = _Noting(all_starts, before, instance_id, since_ms)
            fold(connection, market, noting)
            chain = noting.chains.get(instance_id)
            if chain is not None:
                points = (noting.first, *noting.points)
                found.append(Progress(symbol=market.symbol, quote_asset=chain.quote_asset, points=points))
    return tuple(found)


class _Noting(Folding):
    """Notes where one instance stands after each row of its own."""

    def __init__(self, starts: Starts, before: Folding, instance_id: str, since_ms: int) -> None:
        super().__init__(starts)
        self.chains, self.cells = before.chains, before.cells
        self._instance_id = instance_id
        self._since_ms = since_ms
        own = (cell for key, cell in self.cells.items() if key.instance_id == instance_id)
        self._closed = sum((_closed(cell) for cell in own), ZERO)
        #: Whose sum the row at hand goes to, and what it came to before.
        self._touched: tuple[str, Cell, Decimal] = ("", Cell(), ZERO)
        self.first = self._now(since_ms)
        self.points: list[Point] = []

    def add_fill(self, row: Mapping[str, Any]) -> None:
        """Add a row of `fills`."""
        super().add_fill(row)
        self._note(row["filled_at_ms"])

    def add_funding(self, row: Mapping[str, Any]) -> None:
        """Add a row of `funding`."""
        super().add_funding(row)
        self._note(row["interval_end_ms"])

    def _cell(self, instance_id: str, epoch: int, at_ms: int) -> Cell:
        cell = super()._cell(instance_id, epoch, at_ms)
        self._touched = (instance_id, cell, _closed(cell))
        return cell

    def _note(self, at_ms: int) -> None:
        owner, cell, before = self._touched
        if owner != self._instance_id:
            return
        self._closed += _closed(cell) - before
        if at_ms < self._since_ms:
            self.first = self._now(self._since_ms)
        else:
            self.points.append(self._now(at_ms))

    def _now(self, at_ms: int) -> Point:
        chain = self.chains.get(self._instance_id)
        return Point(
            at_ms=at_ms, net_quantity=chain.profit.net if chain else ZERO, closed_profit=self._closed
        )


def _closed(cell: Cell) -> Decimal:
    return cell.realized + cell.funding - cell.fees
