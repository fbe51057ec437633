"""How an instance came to where it is: net quantity and closed profit after each of its fills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

from sqlalchemy import Connection

from ledger.database import Ledger
from ledger.folded_days import FoldedDay, folded_days
from ledger.folding import PRECISION, ZERO, Cell, Folding, Starts
from ledger.markets import Market, carried, fold, markets, starts

#: Fills of one market that are read beside those of one day; what is folded of earlier days has to do.
MOST_FILLS = 10_000


@dataclass(frozen=True, kw_only=True)
class Point:
    """Where an instance stood after a fill or a funding, or at the end of a day."""

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


def progress(
    ledger: Ledger, instance_id: str, *, since_ms: int, most_fills: int = MOST_FILLS
) -> tuple[Progress, ...]:
    """Return the points not older than `since_ms`, for each market of an instance. Raises `LedgerError`.

    Where more than `most_fills` came, the days before those have one point each, as far as they are folded.
    """
    found = []
    with ledger.reading() as connection, localcontext(PRECISION):
        all_starts = starts(connection)
        for market in markets(connection, instance_id=instance_id):
            noting = _noted(connection, market, all_starts, instance_id, since_ms, most_fills)
            chain = noting.chains.get(instance_id)
            if chain is not None:
                found.append(
                    Progress(symbol=market.symbol, quote_asset=chain.quote_asset, points=tuple(noting.points))
                )
    return tuple(found)


def _noted(
    connection: Connection, market: Market, starts: Starts, instance_id: str, since_ms: int, most_fills: int
) -> _Noting:
    noting = _Noting(starts, carried(connection, market, starts), instance_id)
    days = list(folded_days(connection, market, starts))
    before = [day for day in days if day.until_ms <= since_ms]
    after = days[len(before) :]
    for day in before:
        day.put_into(noting)
    noting.sum_up()
    fold(connection, market, noting, from_ms=before[-1].until_ms if before else 0, before_ms=since_ms)
    noting.points = [noting.now(since_ms)]
    from_ms = since_ms
    fills = sum(_fills(day) for day in after)
    for day in after:
        if fills <= most_fills:
            break
        fills -= _fills(day)
        day.put_into(noting)
        noting.sum_up()
        noting.points.append(noting.now(day.until_ms))
        from_ms = day.until_ms
    fold(connection, market, noting, from_ms=from_ms)
    return noting


def _fills(day: FoldedDay) -> int:
    return sum(cell.fills for cell in day.cells.values())


class _Noting(Folding):
    """Notes where one instance stands after each row of its own."""

    def __init__(self, starts: Starts, before: Folding, instance_id: str) -> None:
        super().__init__(starts)
        self.chains, self.cells = before.chains, before.cells
        self._instance_id = instance_id
        self._closed = ZERO
        #: Whose sum the row at hand goes to, and what it came to before.
        self._touched: tuple[str, Cell, Decimal] = ("", Cell(), ZERO)
        self.points: list[Point] = []

    def sum_up(self) -> None:
        """Begin with the sums that were put in."""
        own = (cell for key, cell in self.cells.items() if key.instance_id == self._instance_id)
        self._closed = sum((_closed(cell) for cell in own), ZERO)

    def now(self, at_ms: int) -> Point:
        """Return where the instance stands."""
        chain = self.chains.get(self._instance_id)
        return Point(
            at_ms=at_ms, net_quantity=chain.profit.net if chain else ZERO, closed_profit=self._closed
        )

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
        if owner == self._instance_id:
            self._closed += _closed(cell) - before
            self.points.append(self.now(at_ms))


def _closed(cell: Cell) -> Decimal:
    return cell.realized + cell.funding - cell.fees
