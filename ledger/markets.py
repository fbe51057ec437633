"""Read the fills and fundings of one market of one account, and what was folded of them before."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, NamedTuple, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    ScalarSelect,
    Select,
    Table,
    and_,
    collate,
    func,
    select,
    true,
)

from ledger import schema
from ledger.folding import Cell, CellKey, Chain, Folding, Starts
from market.profit import Profit

_ROWS_AT_ONCE = 2000


class Market(NamedTuple):
    """A symbol of an account."""

    account: str
    symbol: str


def markets(
    connection: Connection,
    *,
    account: str | None = None,
    symbol: str | None = None,
    instance_id: str | None = None,
) -> list[Market]:
    """Return the markets with anything to sum up; with an instance, those where it has traded."""
    wanted = (("account", account), ("symbol", symbol), ("instance_id", instance_id))

    def which(table: Table) -> ColumnElement[bool]:
        return and_(true(), *(table.c[column] == value for column, value in wanted if value is not None))

    folded = schema.carried_forward
    queries = [_sought(table, which(table)) for table in (schema.fills, schema.funding)]
    queries.append(select(folded.c.account, folded.c.symbol).where(which(folded)).distinct())
    return sorted({Market(*row) for query in queries for row in connection.execute(query)})


def _sought(table: Table, which: ColumnElement[bool]) -> Select[Any]:
    """Return the query for the markets of `table`: from one to the next, not through all rows of each."""
    columns = (table.c.account, table.c.symbol)
    walk = select(select(*columns).where(which).order_by(*columns).limit(1).subquery()).cte(
        "walk", recursive=True
    )

    def first(*condition: ColumnElement[bool]) -> ScalarSelect[int]:
        query = select(table.c.id).where(which, *condition).order_by(*columns).limit(1)
        return query.correlate(walk).scalar_subquery()

    # In two steps: compared as a pair, SQLite reads every row of the account.
    of_account = first(table.c.account == walk.c.account, table.c.symbol > walk.c.symbol)
    following = table.alias("following")
    step = select(following.c.account, following.c.symbol).where(
        following.c.id == func.coalesce(of_account, first(table.c.account > walk.c.account))
    )
    return select(walk.union_all(step.select_from(walk.join(following, true()))))


def starts(connection: Connection) -> Starts:
    """Return when every run began."""
    table = schema.runs
    rows = connection.execute(select(table.c.instance_id, table.c.epoch, table.c.started_at_ms))
    return Starts((row.instance_id, row.epoch, row.started_at_ms) for row in rows)


def carried(connection: Connection, market: Market, starts: Starts, since_day: str = "") -> Folding:
    """Return what retention has folded, to go on from; of days before `since_day` only where they led."""
    folding = Folding(starts)
    for row in _rows(connection, _of_market(schema.carried_positions, market)):
        folding.chains[row["instance_id"]] = Chain(
            base_asset=row["base_asset"],
            quote_asset=row["quote_asset"],
            profit=Profit(net=row["net_quantity"], average_price=row["average_price"]),
            epoch=row["epoch"],
        )
    sums = schema.carried_forward
    for row in _rows(connection, _of_market(sums, market).where(sums.c.day >= since_day)):
        key = CellKey(row["instance_id"], row["epoch"], row["started_at_ms"], row["day"])
        values = {field.name: row[field.name] for field in fields(Cell)}
        values["fees_by_asset"] = {a: Decimal(v) for a, v in json.loads(row["fees_by_asset"]).items()}
        folding.cells[key] = Cell(**values)
    return folding


def fold(
    connection: Connection,
    market: Market,
    folding: Folding,
    *,
    from_ms: int = 0,
    before_ms: int | None = None,
) -> None:
    """Add what the tables hold of a market from `from_ms` until before `before_ms`, in the order of time."""
    table = schema.fills
    # Trade ids are numbers as texts: the shorter is the smaller.
    ids = (_by_bytes(connection, table.c.trade_id), _by_bytes(connection, table.c.order_id))
    order = (table.c.filled_at_ms, func.length(table.c.trade_id), *ids)
    fills = _timed(connection, market, table, table.c.filled_at_ms, from_ms, before_ms, order)
    end = schema.funding.c.interval_end_ms
    fundings = _timed(connection, market, schema.funding, end, from_ms, before_ms, (end,))
    # At the same moment funding comes first: it is paid for what was held until then.
    for _, is_fill, row in heapq.merge(
        ((row["filled_at_ms"], True, row) for row in fills),
        ((row["interval_end_ms"], False, row) for row in fundings),
        key=lambda entry: entry[:2],
    ):
        if is_fill:
            folding.add_fill(row)
        else:
            folding.add_funding(row)


def edge_ms(
    connection: Connection, market: Market, *, before_ms: int, rows_at_once: int, from_ms: int = 0
) -> int:
    """Return up to when to fold now: about `rows_at_once` fills, never between two of one ms."""
    table = schema.fills
    times = (
        select(table.c.filled_at_ms)
        .where(table.c.account == market.account, table.c.symbol == market.symbol)
        .where(table.c.filled_at_ms >= from_ms, table.c.filled_at_ms < before_ms)
        .order_by(table.c.filled_at_ms)
    )
    first_left = connection.execute(times.offset(rows_at_once).limit(1)).scalar_one_or_none()
    if first_left is None:
        return before_ms
    first: int = connection.execute(times.limit(1)).scalar_one()
    return max(int(first_left), first + 1)


def _timed(
    connection: Connection,
    market: Market,
    table: Table,
    time: ColumnElement[int],
    from_ms: int,
    before_ms: int | None,
    order: tuple[ColumnElement[Any], ...],
) -> Iterator[Mapping[str, Any]]:
    query = _of_market(table, market).where(time >= from_ms).order_by(*order)
    return _rows(connection, query if before_ms is None else query.where(time < before_ms))


def _by_bytes(connection: Connection, column: ColumnElement[str]) -> ColumnElement[str]:
    """Return `column` for an order that does not depend on the language of the database."""
    return collate(column, "C") if connection.dialect.name == "postgresql" else column


def _of_market(table: Table, market: Market) -> Select[Any]:
    return select(table).where(table.c.account == market.account, table.c.symbol == market.symbol)


def _rows(connection: Connection, query: Select[Any]) -> Iterator[Mapping[str, Any]]:
    # A cursor of the server's: the fills of years need not fit into memory.
    with connection.execute(query, execution_options={"yield_per": _ROWS_AT_ONCE}) as result:
        for row in result.mappings():
            yield cast("Mapping[str, Any]", row)
