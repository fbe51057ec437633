"""Read the fills and fundings of one market of one account, and what was folded of them before."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields
from decimal import Decimal
from typing import Any, NamedTuple, cast

from sqlalchemy import ColumnElement, Connection, Select, Table, collate, func, select, union

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
    tables = [schema.fills, schema.funding, schema.carried_forward]
    queries = []
    for table in tables:
        query = select(table.c.account, table.c.symbol).distinct()
        for column, wanted in (("account", account), ("symbol", symbol), ("instance_id", instance_id)):
            if wanted is not None:
                query = query.where(table.c[column] == wanted)
        queries.append(query)
    return sorted(Market(*row) for row in connection.execute(union(*queries)))


def starts(connection: Connection) -> Starts:
    """Return when every run began."""
    table = schema.runs
    rows = connection.execute(select(table.c.instance_id, table.c.epoch, table.c.started_at_ms))
    return Starts((row.instance_id, row.epoch, row.started_at_ms) for row in rows)


def carried(connection: Connection, market: Market, starts: Starts) -> Folding:
    """Return what was folded before, to go on from."""
    folding = Folding(starts)
    for row in _rows(connection, _of_market(schema.carried_positions, market)):
        folding.chains[row["instance_id"]] = Chain(
            base_asset=row["base_asset"],
            quote_asset=row["quote_asset"],
            profit=Profit(net=row["net_quantity"], average_price=row["average_price"]),
            epoch=row["epoch"],
        )
    for row in _rows(connection, _of_market(schema.carried_forward, market)):
        key = CellKey(row["instance_id"], row["epoch"], row["started_at_ms"], row["day"])
        values = {field.name: row[field.name] for field in fields(Cell)}
        values["fees_by_asset"] = {a: Decimal(v) for a, v in json.loads(row["fees_by_asset"]).items()}
        folding.cells[key] = Cell(**values)
    return folding


def fold(connection: Connection, market: Market, folding: Folding, *, before_ms: int | None = None) -> None:
    """Add what the tables hold of a market, in the order of time, up to but without `before_ms`."""
    table = schema.fills
    # Trade ids are numbers as texts: the shorter is the smaller.
    ids = (_by_bytes(connection, table.c.trade_id), _by_bytes(connection, table.c.order_id))
    order = (table.c.filled_at_ms, func.length(table.c.trade_id), *ids)
    fills = _timed(connection, market, table, table.c.filled_at_ms, before_ms, order)
    end = schema.funding.c.interval_end_ms
    fundings = _timed(connection, market, schema.funding, end, before_ms, (end,))
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


def _timed(
    connection: Connection,
    market: Market,
    table: Table,
    time: ColumnElement[int],
    before_ms: int | None,
    order: tuple[ColumnElement[Any], ...],
) -> Iterator[Mapping[str, Any]]:
    query = _of_market(table, market).order_by(*order)
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
