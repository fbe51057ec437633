"""What each day of a market came to, kept so that no question goes back to the first fill.

A row for every UTC day has the day's sums and where they led; the last one ends at a moment of its day, and
is replaced by one that ends later. From there on fills are folded as ever, so no digit is different. Nothing
rests on these rows: triggers delete those that lack a fill or funding which comes late, changes or goes, and
rows made before the start of a run of theirs was told are not used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal, localcontext
from itertools import takewhile
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select

from ledger import schema
from ledger.database import Ledger
from ledger.folding import DAY_MS, PRECISION, Cell, CellKey, Chain, Folding, Starts, day_of
from ledger.markets import Market, carried, edge_ms, fold, markets, starts
from ledger.rows import Row
from market.profit import Profit

#: Fills of one transaction: other writers wait for it no longer than a moment.
FILLS_AT_ONCE = 5_000
_MONEY = ("realized", "fees", "funding", "maker_volume", "taker_volume")


@dataclass(frozen=True, kw_only=True)
class FoldedDay:
    """The sums of a day up to `until_ms`, and how each chain of fills stood then."""

    day: str
    until_ms: int
    chains: dict[str, Chain]
    cells: dict[CellKey, Cell]
    #: The starts of each run that were known, by instance and epoch: they say whose the sums are.
    starts: dict[tuple[str, int], list[int]]

    def put_into(self, folding: Folding) -> None:
        """Let `folding`, which has the days before, stand where this day has led."""
        folding.chains = self.chains
        folding.cells.update(self.cells)


def resumed(
    connection: Connection, market: Market, starts: Starts, since_day: str = ""
) -> tuple[Folding, int]:
    """Return what is folded of a market, and from when on it is to be folded.

    Of days before `since_day` sums are missing, but not where they led.
    """
    folding, from_ms = carried(connection, market, starts, since_day), 0
    for day in folded_days(connection, market, starts, since_day):
        day.put_into(folding)
        from_ms = day.until_ms
    return folding, from_ms


def folded_days(
    connection: Connection, market: Market, starts: Starts, since_day: str = ""
) -> Iterator[FoldedDay]:
    """Yield the folded days from `since_day` or the last one before it on, oldest first; none is left out."""
    table, pruned = schema.folded_days, schema.pruned_until
    gone = select(pruned.c.until_ms).where(
        pruned.c.account == market.account, pruned.c.symbol == market.symbol
    )
    before = select(func.max(table.c.until_ms)).where(_is_of(market), table.c.day <= since_day)
    query = select(table).where(
        _is_of(market),
        # What retention has folded it has folded further.
        table.c.until_ms > func.coalesce(gone.scalar_subquery(), 0),
        table.c.until_ms >= func.coalesce(before.scalar_subquery(), 0),
    )
    days = (_day(row) for row in connection.execute(query.order_by(table.c.until_ms)).mappings())
    return takewhile(lambda day: all(starts.known(*run) == known for run, known in day.starts.items()), days)


def extend(ledger: Ledger, *, before_ms: int, fills_at_once: int = FILLS_AT_ONCE) -> Iterator[Market]:
    """Fold fills and fundings older than `before_ms`; yields the market behind each transaction.

    May be given up anywhere and called again. Raises `LedgerUnavailable`, `LedgerError`.
    """
    with ledger.reading() as connection:
        all_markets, all_starts = markets(connection), starts(connection)
    for market in all_markets:
        while _is_behind(ledger, market, before_ms):
            _extend(ledger, market, all_starts, before_ms, fills_at_once)
            yield market


def _is_behind(ledger: Ledger, market: Market, before_ms: int) -> bool:
    table = schema.folded_days
    newest = select(func.max(table.c.until_ms)).where(_is_of(market))
    with ledger.reading() as connection:
        first_ms = _first_ms(connection, market, connection.execute(newest).scalar_one() or 0)
    return first_ms is not None and first_ms < before_ms


def _extend(ledger: Ledger, market: Market, starts: Starts, before_ms: int, fills_at_once: int) -> None:
    with ledger.writing() as connection, localcontext(PRECISION):
        folding, begun_ms = resumed(connection, market, starts)
        until_ms = edge_ms(
            connection, market, before_ms=before_ms, rows_at_once=fills_at_once, from_ms=begun_ms
        )
        rows, from_ms = [], begun_ms
        while (first_ms := _first_ms(connection, market, from_ms)) is not None and first_ms < until_ms:
            ends_ms = min((first_ms // DAY_MS + 1) * DAY_MS, until_ms)
            fold(connection, market, folding, from_ms=from_ms, before_ms=ends_ms)
            rows.append({**market._asdict(), **_row(folding, starts, day_of(first_ms), ends_ms)})
            from_ms = ends_ms
        if rows:  # else another process was faster
            _replace(connection, market, begun_ms, rows)


def _first_ms(connection: Connection, market: Market, from_ms: int) -> int | None:
    times = []
    for time in (schema.fills.c.filled_at_ms, schema.funding.c.interval_end_ms):
        of_market = and_(time.table.c.account == market.account, time.table.c.symbol == market.symbol)
        query = select(func.min(time)).where(of_market, time >= from_ms)
        times.append(connection.execute(query).scalar_one())
    return min((int(time) for time in times if time is not None), default=None)


def _replace(connection: Connection, market: Market, begun_ms: int, rows: list[Row]) -> None:
    """Put `rows` behind what ends at `begun_ms`, which may be a part of their first day."""
    table = schema.folded_days
    connection.execute(
        delete(table).where(_is_of(market), or_(table.c.until_ms > begun_ms, table.c.day == rows[0]["day"]))
    )
    connection.execute(insert(table), rows)


def _is_of(market: Market) -> ColumnElement[bool]:
    table = schema.folded_days
    return and_(table.c.account == market.account, table.c.symbol == market.symbol)


def _row(folding: Folding, starts: Starts, day: str, until_ms: int) -> Row:
    chains = {
        name: [c.base_asset, c.quote_asset, str(c.profit.net), str(c.profit.average_price), c.epoch]
        for name, c in folding.chains.items()
    }
    cells = [
        {**key._asdict(), **asdict(cell), "starts": starts.known(key.instance_id, key.epoch)}
        for key, cell in folding.cells.items()
        if key.day == day
    ]
    return {
        "day": day,
        "until_ms": until_ms,
        "chains": json.dumps(chains),
        "cells": json.dumps(cells, default=str),
    }


def _day(row: Mapping[Any, Any]) -> FoldedDay:
    chains = {
        name: Chain(
            base_asset=base,
            quote_asset=quote,
            profit=Profit(net=Decimal(net), average_price=Decimal(average)),
            epoch=epoch,
        )
        for name, (base, quote, net, average, epoch) in json.loads(row["chains"]).items()
    }
    cells, starts = {}, {}
    for values in json.loads(row["cells"]):
        key = CellKey(*(values.pop(name) for name in CellKey._fields))
        starts[key.instance_id, key.epoch] = values.pop("starts")
        values |= {name: Decimal(values[name]) for name in _MONEY}
        values["fees_by_asset"] = {asset: Decimal(fee) for asset, fee in values["fees_by_asset"].items()}
        cells[key] = Cell(**values)
    return FoldedDay(day=row["day"], until_ms=row["until_ms"], chains=chains, cells=cells, starts=starts)
